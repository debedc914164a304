//! The session-free side of a database: optimistic appends, and reads of streams and of the whole log.

use std::fmt::Debug;

use async_trait::async_trait;

#[cfg(doc)]
use crate::Error;
use crate::{
    AppendOptions, Appended, Database, EventMessage, EventStream, ExpectedVersion, IdempotencyKey,
    LogReadOptions, Position, ReadOptions, Replay, Result, Snapshot, StreamId, Version,
};

/// The log of one database: appends with an expected version, and reads, without a session.
///
/// # Contract
/// Every line below is a case of the testkit's provider suite.
/// - An append is all or nothing: a failed one writes neither events nor anything else.
/// - Versions of a stream and positions of the log have no gaps and no duplicates, under any concurrency.
/// - Of several appends that expect the same version, one succeeds.
/// - An acknowledged append survives a crash and a reopen on a durable backend.
/// - A message or idempotency id that is appended to its stream again with the same content returns the first
///   outcome; with other content it is an error.
/// - Reads go on while a session holds the stream; writes are refused with who holds it and until when.
/// - A record that cannot be decoded is an error that names it: never skipped, never returned.
/// - A read sees what was acknowledged before it began, and holds a bounded amount of memory.
/// - Dropping a future leaves the store consistent: its write happens whole or not at all.
#[async_trait]
pub trait EventLog: Debug + Send + Sync + 'static {
    /// The database whose log this is.
    fn database(&self) -> &Database;

    /// Appends `events` to `stream`, all or nothing. An empty list appends nothing and returns the current version,
    /// if the expectation holds.
    ///
    /// # Errors
    /// - [`Error::StoreVersionMismatch`]: the expected version, or a message's sequence number, does not match.
    /// - [`Error::StreamHeld`]: a session holds the stream.
    /// - [`Error::DuplicateIdempotencyId`]: an id was used before with other content.
    /// - [`Error::InvalidInput`]: a message is too large or is addressed to another stream.
    /// - [`Error::OutcomeUnknown`]: the storage failed in the middle; append the same messages again to find out.
    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended>;

    /// Reads `stream` as `options` say. A stream that does not exist reads as empty.
    ///
    /// # Errors
    /// [`Error::VersionNotFound`] when the state as of a version is asked for that the stream has not reached.
    async fn read_stream(&self, stream: &StreamId, options: ReadOptions) -> Result<Replay>;

    /// Reads the log of the whole database, up to where it ends when the read begins.
    fn read_all(&self, options: LogReadOptions) -> EventStream;

    /// The version of `stream`: 0 when it is empty. It costs the same however long the stream is.
    ///
    /// # Errors
    /// As the storage fails.
    async fn version(&self, stream: &StreamId) -> Result<Version>;

    /// The position of the newest event of the log: 0 when it is empty.
    ///
    /// # Errors
    /// As the storage fails.
    async fn head(&self) -> Result<Position>;

    /// What the append did that used `key`.
    ///
    /// # Errors
    /// [`Error::IdempotencyIdNotFound`] when no event of the stream has the id.
    async fn find_append(&self, stream: &StreamId, key: &IdempotencyKey) -> Result<Appended>;

    /// Stores or replaces the snapshot of `stream` at `version`.
    ///
    /// # Errors
    /// - [`Error::VersionNotFound`]: the version is above the stream's version.
    /// - [`Error::InvalidInput`]: the version is 0, or the snapshot is too large.
    /// - [`Error::StreamHeld`]: a session holds the stream.
    async fn snapshot(&self, stream: &StreamId, version: Version, snapshot: EventMessage) -> Result<()>;

    /// The newest snapshot of `stream` whose version is not above `version`.
    ///
    /// # Errors
    /// As the storage fails.
    async fn read_snapshot(&self, stream: &StreamId, version: Version) -> Result<Option<Snapshot>>;

    /// The versions of all snapshots of `stream`, ascending.
    ///
    /// # Errors
    /// As the storage fails.
    async fn snapshot_versions(&self, stream: &StreamId) -> Result<Vec<Version>>;

    /// Removes the snapshot of `stream` at `version`.
    ///
    /// # Errors
    /// [`Error::SnapshotVersionNotFound`] when there is none; [`Error::StreamHeld`] when a session holds the stream.
    async fn clear_snapshot(&self, stream: &StreamId, version: Version) -> Result<()>;

    /// Removes all snapshots of `stream`.
    ///
    /// # Errors
    /// [`Error::StreamHeld`] when a session holds the stream.
    async fn clear_snapshots(&self, stream: &StreamId) -> Result<()>;
}

/// Short forms of what an [`EventLog`] does.
#[async_trait]
pub trait EventLogExt: EventLog {
    /// Appends `events` to `stream` durably if the stream is as `expected`.
    ///
    /// # Errors
    /// As [`append_with`](EventLog::append_with).
    async fn append<I>(&self, stream: &StreamId, expected: ExpectedVersion, events: I) -> Result<Appended>
    where
        I: IntoIterator<Item = EventMessage> + Send,
    {
        let events = events.into_iter().collect();
        self.append_with(stream, events, AppendOptions::expecting(expected))
            .await
    }

    /// Reads `stream`: its newest snapshot, if any, and the events after it.
    ///
    /// # Errors
    /// As [`read_stream`](EventLog::read_stream).
    async fn read(&self, stream: &StreamId) -> Result<Replay> {
        self.read_stream(stream, ReadOptions::replay()).await
    }
}

impl<T: EventLog + ?Sized> EventLogExt for T {}
