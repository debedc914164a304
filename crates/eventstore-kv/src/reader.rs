//! Single records, read straight from the engine.

use std::sync::Arc;

use bytes::Bytes;
use eventstore_abstractions::{
    Appended, Clock, Database, Error, IdempotencyKey, Position, RecordedEvent, Result, Snapshot, StreamId,
    Timestamp, Version,
};
use kv_core::{KeyValueStore, Page, Scan};

use crate::error::open_error;
use crate::idempotency::Earlier;
use crate::options::{Options, Threads};
use crate::record::{
    self, DatabaseHead, IdempotencyEntry, Lease, MessageEntry, Record, Run, Runs, StreamHead, decode_snapshot,
};
use crate::stream_cache::StreamCache;
use crate::{keys, life};

/// Reads records of one engine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    engine: Arc<dyn KeyValueStore>,
    cache: Arc<StreamCache>,
    clock: Arc<dyn Clock>,
    may_read_ahead: bool,
}

impl Reader {
    pub(crate) fn new(engine: Arc<dyn KeyValueStore>, options: &Options) -> Self {
        Self {
            engine,
            cache: Arc::new(StreamCache::new(options.stream_cache_bytes)),
            clock: Arc::clone(&options.clock),
            may_read_ahead: options.threads == Threads::Own,
        }
    }

    /// Whether a page may be read on a thread beside the runtime's own.
    pub(crate) fn may_read_ahead(&self) -> bool {
        self.may_read_ahead
    }

    /// What time it is, for how old events are.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The short streams that are kept in memory.
    pub(crate) fn cache(&self) -> &StreamCache {
        &self.cache
    }

    pub(crate) async fn get_many(&self, keys: &[Bytes]) -> kv_core::Result<Vec<Option<Bytes>>> {
        self.engine.get_many(keys).await
    }

    pub(crate) async fn scan(&self, scan: Scan) -> Result<Page> {
        self.engine.scan(scan).await.map_err(open_error)
    }

    pub(crate) async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get(key).await.map_err(open_error)
    }

    async fn is_empty(&self, scan: Scan) -> Result<bool> {
        Ok(self.scan(scan.max_items(1)).await?.entries.is_empty())
    }

    pub(crate) async fn database_head(&self, database: &Database) -> Result<DatabaseHead> {
        let key = keys::database_head(database);
        let value = self.get(&key).await?;
        self.database_head_in(database, &key, value.as_ref()).await
    }

    /// The head in `value`. A database without a head must have no log: if it has one, its head was lost.
    pub(crate) async fn database_head_in(
        &self,
        database: &Database,
        key: &[u8],
        value: Option<&Bytes>,
    ) -> Result<DatabaseHead> {
        match value {
            Some(value) => DatabaseHead::open(key, value),
            None if self
                .is_empty(keys::log_blocks(database, Position::ZERO, Position::MAX))
                .await? =>
            {
                Ok(DatabaseHead::default())
            }
            // On a shared engine the first append may have come between the two reads: look again.
            None => match self.get(key).await? {
                Some(value) => DatabaseHead::open(key, &value),
                None => Err(record::missing(key)),
            },
        }
    }

    pub(crate) async fn stream_head(&self, database: &Database, stream: &StreamId) -> Result<StreamHead> {
        let key = keys::stream_head(database, stream);
        self.stream_head_at(database, stream, &key).await
    }

    /// The head of `stream`, which is kept under `key`.
    pub(crate) async fn stream_head_at(
        &self,
        database: &Database,
        stream: &StreamId,
        key: &[u8],
    ) -> Result<StreamHead> {
        let value = self.get(key).await?;
        self.stream_head_in(database, stream, key, value.as_ref()).await
    }

    /// The head in `value`. A stream without a head must have no events: if it has some, its head was lost.
    pub(crate) async fn stream_head_in(
        &self,
        database: &Database,
        stream: &StreamId,
        key: &[u8],
        value: Option<&Bytes>,
    ) -> Result<StreamHead> {
        match value {
            Some(value) => StreamHead::open(key, value),
            None if self
                .is_empty(keys::runs(database, stream, Version::ZERO, Version::MAX))
                .await? =>
            {
                Ok(StreamHead::default())
            }
            None => match self.get(key).await? {
                Some(value) => StreamHead::open(key, &value),
                None => Err(record::missing(key)),
            },
        }
    }

    pub(crate) async fn lease(&self, database: &Database, stream: &StreamId) -> Result<Option<Lease>> {
        let key = keys::lease(database, stream);
        self.get(&key)
            .await?
            .map(|value| Lease::open(&key, &value))
            .transpose()
    }

    /// The run that has the version, which the stream has reached; `None` when it was removed.
    pub(crate) async fn run(
        &self,
        database: &Database,
        stream: &StreamId,
        version: Version,
    ) -> Result<Option<Run>> {
        let page = self
            .scan(keys::runs(database, stream, version, Version::MAX).max_items(1))
            .await?;
        let entry = page.entries.first();
        let runs = entry.map(|entry| Runs::open(&entry.key, &entry.value, stream));
        let mut runs = runs.transpose()?.into_iter().flatten();
        if let Some(run) = runs.find(|run| run.last_version() >= version)
            && run.first_version() <= version
        {
            return Ok(Some(run));
        }
        // The head says that something is not kept any more before it is removed.
        let head = self.stream_head(database, stream).await?;
        if version < head.first() {
            return Ok(None);
        }
        Err(record::missing(&keys::run(database, stream, version)))
    }

    /// The event of a version that the stream has reached; `None` when it was removed.
    pub(crate) async fn event(
        &self,
        database: &Database,
        stream: &StreamId,
        version: Version,
    ) -> Result<Option<RecordedEvent>> {
        let Some(mut run) = self.run(database, stream, version).await? else {
            return Ok(None);
        };
        run.select(version, version)?;
        run.next().transpose()
    }

    /// The newest snapshot that is of use and not above `version`.
    pub(crate) async fn snapshot(
        &self,
        database: &Database,
        stream: &StreamId,
        version: Version,
    ) -> Result<Option<Snapshot>> {
        match self.first_usable_snapshot(database, stream).await? {
            Some(first) => self.snapshot_from(database, stream, first, version).await,
            None => Ok(None),
        }
    }

    /// The newest snapshot from the version `first` to the version `last`.
    pub(crate) async fn snapshot_from(
        &self,
        database: &Database,
        stream: &StreamId,
        first: Version,
        last: Version,
    ) -> Result<Option<Snapshot>> {
        if first > last {
            return Ok(None);
        }
        let scan = keys::snapshots(database, stream, first, last);
        let scan = scan.reverse().max_items(1);
        let page = self.scan(scan).await?;
        page.entries
            .first()
            .map(|entry| open_snapshot(&entry.key, &entry.value))
            .transpose()
    }

    /// The lowest version at which a snapshot is of use; `None` when there are no snapshots.
    async fn first_usable_snapshot(&self, database: &Database, stream: &StreamId) -> Result<Option<Version>> {
        let head = self.stream_head(database, stream).await?;
        if !head.has_snapshots {
            return Ok(None);
        }
        let first = life::first_kept(self, database, stream, &head).await?;
        Ok(Some(head.first_usable_snapshot(first)))
    }

    /// The versions of the snapshots that are of use, ascending.
    pub(crate) async fn usable_snapshots(
        &self,
        database: &Database,
        stream: &StreamId,
    ) -> Result<Vec<Version>> {
        match self.first_usable_snapshot(database, stream).await? {
            Some(first) => self.snapshot_versions(database, stream, first, usize::MAX).await,
            None => Ok(Vec::new()),
        }
    }

    /// The versions of snapshots from `first` on, ascending, at most `limit` of them. Each record is checked on the way.
    pub(crate) async fn snapshot_versions(
        &self,
        database: &Database,
        stream: &StreamId,
        first: Version,
        limit: usize,
    ) -> Result<Vec<Version>> {
        let mut versions = Vec::new();
        let mut next = Some(keys::snapshots(database, stream, first, Version::MAX));
        while let Some(scan) = next.take().filter(|_| versions.len() < limit) {
            let page = self.scan(scan).await?;
            for entry in page.entries.iter().take(limit - versions.len()) {
                versions.push(open_snapshot(&entry.key, &entry.value)?.version);
            }
            next = page.next;
        }
        Ok(versions)
    }

    pub(crate) async fn has_snapshot(
        &self,
        database: &Database,
        stream: &StreamId,
        version: Version,
    ) -> Result<bool> {
        Ok(self
            .get(&keys::snapshot(database, stream, version))
            .await?
            .is_some())
    }

    pub(crate) async fn find_append(
        &self,
        database: &Database,
        stream: &StreamId,
        id: &IdempotencyKey,
    ) -> Result<Appended> {
        // An entry can be seen before the append that wrote it is at its end; by the head that has not happened yet.
        let head = &self.stream_head(database, stream).await?;
        let (last, events) = match id {
            IdempotencyKey::Message(message) => {
                let key = keys::message(database, stream, *message);
                let version = match self.get(&key).await? {
                    Some(value) => Some(MessageEntry::open(&key, &value)?.version),
                    None => {
                        let reader = self;
                        let earlier = Earlier {
                            reader,
                            database,
                            stream,
                            head,
                        };
                        earlier.version_of(*message).await?.map(Version::get)
                    }
                };
                (version, 1)
            }
            IdempotencyKey::Idempotency(text) => {
                let key = keys::idempotency(database, stream, text);
                let found = self
                    .get(&key)
                    .await?
                    .map(|value| IdempotencyEntry::open(&key, &value))
                    .transpose()?;
                let events = found.as_ref().map_or(0, |entry| entry.events);
                (found.map(|entry| entry.last_version()), events)
            }
        };
        // An id whose event was removed is not known any more.
        let event = match last.filter(|last| *last <= head.version) {
            Some(last) => self.event(database, stream, Version::new(last)).await?,
            None => None,
        };
        let Some(event) = event else {
            return Err(Error::IdempotencyIdNotFound {
                stream: stream.clone(),
                key: id.clone(),
            });
        };
        Ok(Appended::new(event.version, event.position, events))
    }
}

fn open_snapshot(key: &[u8], value: &Bytes) -> Result<Snapshot> {
    let version = keys::number_of(key).unwrap_or_default();
    decode_snapshot(key, value, Version::new(version))
}
