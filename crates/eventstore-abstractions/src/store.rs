//! An exclusive session on one stream.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    AppendOptions, Appended, Database, Error, EventMessage, History, IdempotencyKey, ReadOptions,
    RecordedEvent, Replay, Result, SessionId, Snapshot, StreamId, Timestamp, Version,
};

/// A session: the exclusive, expiring hold on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Identifies the session.
    pub id: SessionId,
    /// Grows with every session of the database, and is checked inside every commit. Pass it to other systems that
    /// must refuse a writer whose session is over: they accept no token below one that they have seen.
    pub fencing_token: u64,
    /// When the session ends unless it is renewed.
    pub expires_at: Timestamp,
}

impl Session {
    /// A session from its parts: for implementations of a store.
    #[must_use]
    pub fn new(id: SessionId, fencing_token: u64, expires_at: Timestamp) -> Self {
        Self {
            id,
            fencing_token,
            expires_at,
        }
    }
}

/// An exclusive session on one stream, opened by an [`EventStoreProvider`](crate::EventStoreProvider).
///
/// While it is open nobody else can write to the stream; everybody can read it. Dropping it releases the stream
/// in the background; [`close`](Self::close) does so before it returns.
///
/// # Contract
/// Every line below is a case of the testkit's provider suite.
/// - Every operation first checks the session: [`Error::StoreNotOpen`] after close, [`Error::InvalidStoreSession`]
///   when another session holds the stream, [`Error::StoreSessionExpired`] when its time is over.
/// - The check of a write is part of its commit: a session whose time is over, or that was taken over, never writes.
/// - Closing releases only the session's own hold, and may be repeated.
/// - No snapshot above the stream's version is accepted or used.
/// - The state as of a version never uses a snapshot above it.
#[async_trait]
pub trait EventStore: Debug + Send + Sync + 'static {
    /// The database that the stream is in.
    fn database(&self) -> &Database;

    /// The stream that the session holds.
    fn stream(&self) -> &StreamId;

    /// The session, as of its opening or last renewal.
    fn session(&self) -> Session;

    /// Appends `events`, all or nothing, and returns the new version. An empty list returns the current one.
    ///
    /// # Errors
    /// Those of the session check, and as [`EventLog::append_with`](crate::EventLog::append_with).
    async fn append_with(&self, events: Vec<EventMessage>, options: AppendOptions) -> Result<Appended>;

    /// Reads the stream as `options` say.
    ///
    /// # Errors
    /// Those of the session check, and [`Error::VersionNotFound`] when the state as of a version is asked for that
    /// the stream has not reached.
    async fn read_with(&self, options: ReadOptions) -> Result<Replay>;

    /// The version of the stream: 0 when it is empty. It costs the same however long the stream is.
    ///
    /// # Errors
    /// Those of the session check.
    async fn version(&self) -> Result<Version>;

    /// What the append did that used `key`.
    ///
    /// # Errors
    /// Those of the session check, and [`Error::IdempotencyIdNotFound`] when no event has the id.
    async fn find_append(&self, key: &IdempotencyKey) -> Result<Appended>;

    /// Stores or replaces the snapshot at `version`.
    ///
    /// # Errors
    /// Those of the session check; [`Error::VersionNotFound`] when the version is above the stream's version;
    /// [`Error::InvalidInput`] when it is 0 or the snapshot is too large.
    async fn snapshot(&self, version: Version, snapshot: EventMessage) -> Result<()>;

    /// The newest snapshot whose version is not above `version`.
    ///
    /// # Errors
    /// Those of the session check.
    async fn read_snapshot(&self, version: Version) -> Result<Option<Snapshot>>;

    /// The versions of all snapshots, ascending.
    ///
    /// # Errors
    /// Those of the session check.
    async fn snapshot_versions(&self) -> Result<Vec<Version>>;

    /// Removes the snapshot at `version`.
    ///
    /// # Errors
    /// Those of the session check, and [`Error::SnapshotVersionNotFound`] when there is none.
    async fn clear_snapshot(&self, version: Version) -> Result<()>;

    /// Removes all snapshots.
    ///
    /// # Errors
    /// Those of the session check.
    async fn clear_snapshots(&self) -> Result<()>;

    /// Lets the session last for `timeout` from now; as long as it was opened for if `None`.
    ///
    /// # Errors
    /// Those of the session check: a session that is over cannot be renewed. [`Error::InvalidInput`] when the
    /// time-out is out of its limits.
    async fn renew(&self, timeout: Option<Duration>) -> Result<Session>;

    /// Releases the stream, if the session still holds it. Closing again does nothing.
    ///
    /// # Errors
    /// As the storage fails; the session is closed all the same, and its hold ends at its time-out.
    async fn close(&self) -> Result<()>;
}

/// Computes the state at a version from the snapshot before it and the events since: see
/// [`EventStoreExt::snapshot_all`].
type Fold<'a> = dyn FnMut(Option<&Snapshot>, &[RecordedEvent]) -> Result<EventMessage> + Send + 'a;

/// Short forms of what an [`EventStore`] does.
#[async_trait]
pub trait EventStoreExt: EventStore {
    /// Appends `events` durably, all or nothing.
    ///
    /// # Errors
    /// As [`append_with`](EventStore::append_with).
    async fn append<I>(&self, events: I) -> Result<Appended>
    where
        I: IntoIterator<Item = EventMessage> + Send,
    {
        let events = events.into_iter().collect();
        self.append_with(events, AppendOptions::default()).await
    }

    /// The newest snapshot, if any, and the events after it, in memory.
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read(&self) -> Result<History> {
        self.read_with(ReadOptions::replay()).await?.collect().await
    }

    /// All events from version 1, in memory.
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read_without_snapshots(&self) -> Result<Vec<RecordedEvent>> {
        self.read_with(ReadOptions::replay().without_snapshots())
            .await?
            .events
            .collect()
            .await
    }

    /// The state as of `version`: the newest snapshot not above it and the events up to it, in memory.
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read_as_of(&self, version: Version) -> Result<History> {
        self.read_with(ReadOptions::as_of(version)).await?.collect().await
    }

    /// The events numbered `first` to `last`, both included, in memory; those that there are.
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read_slice(&self, first: Version, last: Version) -> Result<Vec<RecordedEvent>> {
        self.read_with(ReadOptions::slice(first, last))
            .await?
            .events
            .collect()
            .await
    }

    /// The version of the newest snapshot: 0 when there is none.
    ///
    /// # Errors
    /// As [`read_snapshot`](EventStore::read_snapshot).
    async fn last_snapshot_version(&self) -> Result<Version> {
        Ok(self
            .read_snapshot(Version::MAX)
            .await?
            .map_or(Version::ZERO, |snapshot| snapshot.version))
    }

    /// Takes a snapshot at `interval`, 2 · `interval` and so on, up to the stream's version.
    ///
    /// `fold` is called once per snapshot, in order, with the snapshot before it and the `interval` events since,
    /// and returns the state: every event is read and folded once. Each snapshot is a commit of its own, so that
    /// those taken before an error stay. Returns how many were taken.
    ///
    /// # Errors
    /// Those of the session check; [`Error::InvalidInput`] when `interval` is 0; what `fold` returns (see
    /// [`Error::application`]).
    async fn snapshot_all<F>(&self, interval: u64, mut fold: F) -> Result<u64>
    where
        F: FnMut(Option<&Snapshot>, &[RecordedEvent]) -> Result<EventMessage> + Send,
    {
        snapshot_all(self, interval, &mut fold).await
    }
}

impl<T: EventStore + ?Sized> EventStoreExt for T {}

async fn snapshot_all<S: EventStore + ?Sized>(store: &S, interval: u64, fold: &mut Fold<'_>) -> Result<u64> {
    if interval == 0 {
        return Err(Error::invalid(
            "an interval of 0 events takes no snapshots; use 1 or more",
        ));
    }
    let mut events = store
        .read_with(ReadOptions::replay().without_snapshots())
        .await?
        .events;
    let mut previous: Option<Snapshot> = None;
    let mut since = Vec::new();
    let mut taken = 0;
    while let Some(event) = events.next().await {
        let event = event?;
        let version = event.version;
        let recorded_at = event.recorded_at;
        since.push(event);
        if version.get() % interval == 0 {
            let message = fold(previous.as_ref(), &since)?;
            store.snapshot(version, message.clone()).await?;
            previous = Some(Snapshot::new(version, recorded_at, message));
            since.clear();
            taken += 1;
        }
    }
    Ok(taken)
}
