//! What is remembered of committed plans, so that most requests are decided without a read.

use std::num::NonZeroUsize;

use bytes::Bytes;
use eventstore_abstractions::Database;
use hashbrown::HashMap;
use lru::LruCache;

use crate::record::{DatabaseHead, Lease, StreamHead};

/// The committed state of a stream, as far as writes depend on it.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamState {
    pub(super) head: StreamHead,
    pub(super) lease: Option<Lease>,
}

/// The committed head of a database, and its stored bytes for the condition of the next commit.
#[derive(Clone, Debug, Default)]
pub(super) struct DatabaseState {
    pub(super) head: DatabaseHead,
    pub(super) stored: Option<Bytes>,
}

/// What is remembered between plans. Everything in it is committed.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) databases: HashMap<Database, DatabaseState>,
    pub(super) streams: LruCache<Bytes, StreamState>,
}

impl Cache {
    pub(super) fn new(max_streams: usize) -> Self {
        let capacity = NonZeroUsize::new(max_streams).unwrap_or(NonZeroUsize::MIN);
        Self {
            databases: HashMap::new(),
            streams: LruCache::new(capacity),
        }
    }

    /// Forgets everything: the next group reads the truth from the engine.
    pub(super) fn clear(&mut self) {
        self.databases.clear();
        self.streams.clear();
    }

    pub(super) fn put_database(&mut self, name: &Database, state: &DatabaseState) {
        match self.databases.get_mut(name) {
            Some(known) => known.clone_from(state),
            None => {
                self.databases.insert(name.clone(), state.clone());
            }
        }
    }

    pub(super) fn put_stream(&mut self, head_key: &Bytes, state: &StreamState) {
        match self.streams.get_mut(head_key) {
            Some(known) => known.clone_from(state),
            None => {
                self.streams.put(head_key.clone(), state.clone());
            }
        }
    }
}
