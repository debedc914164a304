//! Derives again, from the blocks of a log, what was not in the engine when the store ended.

use bytes::Bytes;
use eventstore_abstractions::{Database, Position, Result, Version};
use hashbrown::HashMap;
use kv_core::KeyValueStore;

use super::DerivedStream;
use crate::error::open_error;
use crate::keys;
use crate::record::{self, Place, Record, Run, Runs, Segment, StreamHead, open_block};

/// Blocks that are read at once.
const BLOCKS_PER_PAGE: usize = 16;

/// A part of the log of a database.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    pub(super) engine: &'a dyn KeyValueStore,
    pub(super) database: &'a Database,
    /// All up to here is derived.
    pub(super) after: u64,
    pub(super) position: u64,
}

/// A stream while what follows is derived.
#[derive(Debug)]
struct Replayed {
    head: StreamHead,
    /// The version of the head that is stored: with it there may be runs that the log comes to later.
    stored: u64,
    /// Up to this version runs were found in the engine.
    found: u64,
}

/// The last position of a block, and what it leads to.
pub(super) type Block = (u64, Vec<DerivedStream>);

impl Replay<'_> {
    /// What each block leads to, in order; `pending` has what is not in the engine.
    pub(super) async fn run(&self, pending: impl Fn(&[u8]) -> Option<Bytes>) -> Result<Vec<Block>> {
        let (first, last) = (Position::new(self.after).next(), Position::new(self.position));
        let mut reached = self.after;
        let mut replayed = HashMap::new();
        let mut blocks = Vec::new();
        let mut next = (first <= last).then(|| keys::log_blocks(self.database, first, last));
        while let Some(scan) = next {
            let page = self.engine.scan(scan.max_items(BLOCKS_PER_PAGE)).await;
            let page = page.map_err(open_error)?;
            for entry in page.entries {
                let segments = open_block(&entry.key, &entry.value)?;
                let starts = segments.first().map(|segment| segment.position.get());
                if starts.is_some_and(|position| position > reached + 1) {
                    return Err(record::missing(&keys::log_block(
                        self.database,
                        Position::new(reached).next(),
                    )));
                }
                reached = keys::number_of(&entry.key).unwrap_or_default();
                let mut streams = Vec::new();
                for segment in &segments {
                    self.segment(segment, &mut streams, &mut replayed, &pending)
                        .await?;
                }
                blocks.push((reached, streams));
            }
            next = page.next;
        }
        if reached < self.position {
            return Err(record::missing(&keys::log_block(self.database, last)));
        }
        Ok(blocks)
    }

    /// Adds what `segment` leads to to that of `streams`, as far as the engine may not have it.
    async fn segment(
        &self,
        segment: &Segment,
        streams: &mut Vec<DerivedStream>,
        replayed: &mut HashMap<Bytes, Replayed>,
        pending: &impl Fn(&[u8]) -> Option<Bytes>,
    ) -> Result<()> {
        // A long run, and the head with it, were written at once; so was the head of whatever has been removed since.
        let Place::Copied(run) = &segment.run else {
            return Ok(());
        };
        let head_key = keys::stream_head(self.database, &segment.stream);
        if !replayed.contains_key(&head_key) {
            let stored = match pending(&head_key) {
                Some(stored) => Some(stored),
                None => self.engine.get(&head_key).await.map_err(open_error)?,
            };
            let head = stored.map(|stored| StreamHead::open(&head_key, &stored));
            let head = head.transpose()?.unwrap_or_default();
            let (stored, found) = (head.version, 0);
            replayed.insert(head_key.clone(), Replayed { head, stored, found });
        }
        let stream = replayed.get_mut(&head_key).expect("it was just added");
        if self.is_stored(stream, segment).await? {
            return Ok(());
        }
        let at = match streams.iter().position(|stream| stream.head_key == head_key) {
            Some(at) => at,
            None => {
                streams.push(DerivedStream {
                    head_key: head_key.clone(),
                    is_direct: false,
                    head: None,
                    runs: Vec::new(),
                });
                streams.len() - 1
            }
        };
        let key = keys::run(self.database, &segment.stream, segment.last_version);
        let value = run.seal(&key);
        streams[at].runs.push((key, value));
        let head = &mut stream.head;
        if head.version < segment.last_version.get() {
            head.version = segment.last_version.get();
            head.newest_id = run.newest_id()?.map(|id| *id.as_uuid().as_bytes());
            head.grow();
            streams[at].head = Some(head.seal(&head_key));
        }
        Ok(())
    }

    /// Whether the engine has the run of `segment`: it may be in a record with older ones, which would be lost under its own.
    async fn is_stored(&self, stream: &mut Replayed, segment: &Segment) -> Result<bool> {
        let version = segment.last_version;
        if version.get() > stream.found && version.get() <= stream.stored {
            let runs = keys::runs(self.database, &segment.stream, version, Version::MAX);
            let page = self.engine.scan(runs.max_items(1)).await.map_err(open_error)?;
            if let Some(entry) = page.entries.first() {
                let mut runs = Runs::open(&entry.key, &entry.value, &segment.stream)
                    .into_iter()
                    .flatten();
                // One that is damaged is left to who reads it.
                if runs
                    .next()
                    .is_none_or(|first: Run| first.first_version() <= version)
                {
                    stream.found = keys::number_of(&entry.key).unwrap_or_default();
                }
            }
        }
        Ok(version.get() <= stream.found)
    }
}
