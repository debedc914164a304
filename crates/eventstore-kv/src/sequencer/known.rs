//! What must be known of the store before requests can be decided: read in as few calls as possible.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use eventstore_abstractions::{Database, Error, Result, Version};
use lru::LruCache;

use super::request::{Action, Request};
use crate::error::repeated;
use crate::idempotency::{self, Verdict};
use crate::keys;
use crate::reader::Reader;
use crate::record::{DatabaseHead, Lease, Record, StreamHead};

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

/// What one request needs beyond the states of its database and stream.
#[derive(Clone, Debug)]
pub(super) enum Facts {
    None,
    Append(Verdict),
    Snapshots(Vec<Version>),
}

/// What one group of requests needs to know.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) databases: BTreeMap<Database, DatabaseState>,
    pub(super) streams: HashMap<Bytes, StreamState>,
    /// Per request, in order: an error here is the answer to that request alone.
    pub(super) facts: Vec<Result<Facts>>,
}

/// What is remembered between groups. Everything in it is committed.
#[derive(Debug)]
pub(super) struct Cache {
    databases: HashMap<Database, DatabaseState>,
    streams: LruCache<Bytes, StreamState>,
}

impl Cache {
    pub(super) fn new(max_streams: usize) -> Self {
        let capacity = std::num::NonZeroUsize::new(max_streams).unwrap_or(std::num::NonZeroUsize::MIN);
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

    pub(super) fn store(
        &mut self,
        databases: impl IntoIterator<Item = (Database, DatabaseState)>,
        streams: impl IntoIterator<Item = (Bytes, StreamState)>,
    ) {
        self.databases.extend(databases);
        for (key, state) in streams {
            self.streams.put(key, state);
        }
    }
}

/// Finds out what `requests` need to know, from `cache` and else from the engine.
///
/// With `shared`, other processes write too: the heads of databases are always read, first, and what is cached of a
/// database whose head has moved is dropped.
///
/// # Errors
/// Only when the engine fails as a whole.
pub(super) async fn gather(
    reader: &Reader,
    cache: &mut Cache,
    requests: &[Request],
    shared: bool,
) -> kv_core::Result<Known> {
    let mut known = Known::default();
    let mut broken = databases(reader, cache, requests, shared, &mut known).await?;
    let fetched = fetch(reader, cache, requests).await?;
    for request in requests {
        if known.streams.contains_key(&request.head_key) || broken.contains_key(&request.head_key) {
            continue;
        }
        match stream_state(reader, cache, request, &fetched).await {
            Ok(state) => {
                cache.streams.put(request.head_key.clone(), state.clone());
                known.streams.insert(request.head_key.clone(), state);
            }
            Err(error) => {
                broken.insert(request.head_key.clone(), error);
            }
        }
    }
    for request in requests {
        let database_key = keys::database_head(&request.database);
        let facts = match broken
            .get(&request.head_key)
            .or_else(|| broken.get(&database_key))
        {
            Some(error) => Err(repeated(error)),
            None => facts(reader, request, &fetched).await,
        };
        known.facts.push(facts);
    }
    Ok(known)
}

/// Reads the heads of the databases of `requests`; what cannot be decoded is returned by key.
async fn databases(
    reader: &Reader,
    cache: &mut Cache,
    requests: &[Request],
    shared: bool,
    known: &mut Known,
) -> kv_core::Result<HashMap<Bytes, Error>> {
    let mut broken = HashMap::new();
    let names = requests
        .iter()
        .map(|request| &request.database)
        .collect::<HashSet<_>>();
    let unknown = names
        .iter()
        .filter(|name| shared || !cache.databases.contains_key(**name));
    let unknown = unknown
        .map(|name| (*name, keys::database_head(name)))
        .collect::<Vec<_>>();
    let head_keys = unknown.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>();
    let values = if head_keys.is_empty() {
        Vec::new()
    } else {
        reader.get_many(&head_keys).await?
    };
    for ((name, key), stored) in unknown.into_iter().zip(values) {
        let cached = cache.databases.get(name);
        if cached.is_some_and(|cached| cached.stored == stored) {
            continue;
        }
        if cached.is_some() {
            // Another process has written to the database; which streams is not known.
            cache.streams.clear();
        }
        match reader.database_head_in(name, &key, stored.as_ref()).await {
            Ok(head) => {
                cache
                    .databases
                    .insert(name.clone(), DatabaseState { head, stored });
            }
            Err(error) => {
                cache.databases.remove(name);
                broken.insert(key, error);
            }
        }
    }
    for name in names {
        if let Some(state) = cache.databases.get(name) {
            known.databases.insert(name.clone(), state.clone());
        }
    }
    Ok(broken)
}

/// Reads, in one call, what is not cached of the streams of `requests`, and the entries of the ids of appends.
async fn fetch(
    reader: &Reader,
    cache: &Cache,
    requests: &[Request],
) -> kv_core::Result<HashMap<Bytes, Bytes>> {
    let mut wanted = HashSet::new();
    for request in requests {
        if !cache.streams.contains(&request.head_key) {
            wanted.insert(request.head_key.clone());
            wanted.insert(keys::lease(&request.database, &request.stream));
        }
        if let Action::Append { events, .. } = &request.action {
            wanted.extend(idempotency::entry_keys(
                &request.database,
                &request.stream,
                events,
            ));
        }
    }
    let wanted = wanted.into_iter().collect::<Vec<_>>();
    let values = if wanted.is_empty() {
        Vec::new()
    } else {
        reader.get_many(&wanted).await?
    };
    Ok(wanted
        .into_iter()
        .zip(values)
        .filter_map(|(key, value)| Some((key, value?)))
        .collect())
}

async fn stream_state(
    reader: &Reader,
    cache: &mut Cache,
    request: &Request,
    fetched: &HashMap<Bytes, Bytes>,
) -> Result<StreamState> {
    if let Some(state) = cache.streams.get(&request.head_key) {
        return Ok(state.clone());
    }
    let (database, stream) = (&request.database, &request.stream);
    let stored = fetched.get(&request.head_key);
    let head = reader
        .stream_head_in(database, stream, &request.head_key, stored)
        .await?;
    let lease_key = keys::lease(database, stream);
    let lease = fetched
        .get(&lease_key)
        .map(|value| Lease::open(&lease_key, value))
        .transpose()?;
    Ok(StreamState { head, lease })
}

async fn facts(reader: &Reader, request: &Request, fetched: &HashMap<Bytes, Bytes>) -> Result<Facts> {
    let (database, stream) = (&request.database, &request.stream);
    match &request.action {
        Action::Append { events, .. } => idempotency::judge(reader, database, stream, events, fetched)
            .await
            .map(Facts::Append),
        Action::ClearSnapshot { version, .. } => {
            let found = reader.has_snapshot(database, stream, *version).await?;
            Ok(Facts::Snapshots(found.then_some(*version).into_iter().collect()))
        }
        Action::ClearSnapshots { limit, .. } => reader
            .snapshot_versions(database, stream, *limit)
            .await
            .map(Facts::Snapshots),
        _ => Ok(Facts::None),
    }
}
