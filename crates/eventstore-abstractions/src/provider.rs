//! The way in: opens sessions and gives the session-free log of a database.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Appended, Database, Error, EventLog, EventLogExt, EventMessage, EventStore, ExpectedVersion, Metadata,
    OpenOptions, Replay, Result, Settings, StreamId,
};

/// Opens event stores. An application holds one as `Arc<dyn EventStoreProvider>`.
///
/// # Contract
/// - Opening waits while another session holds the stream, up to the open time-out, and not longer.
/// - At any moment at most one session can write to a stream.
/// - Opening a stream that does not exist opens an empty one, at version 0.
/// - Databases are independent: no name reaches another's events.
#[async_trait]
pub trait EventStoreProvider: Debug + Send + Sync + 'static {
    /// What the provider was configured with.
    fn settings(&self) -> &Settings;

    /// Whether what is acknowledged outlives the provider: the same location, opened again, has it. A provider in
    /// memory says no, and an application that must not lose its data can refuse to start on it.
    fn is_durable(&self) -> bool;

    /// The log of `database`: reads and optimistic appends that need no session.
    fn log(&self, database: &Database) -> Arc<dyn EventLog>;

    /// Opens a session on `stream` in `database`.
    ///
    /// # Errors
    /// - [`Error::OpenStoreFailed`] when another session held the stream for the whole open time-out.
    /// - [`Error::InvalidInput`] when an option is out of its limits.
    async fn open_with(
        &self,
        database: &Database,
        stream: &StreamId,
        options: OpenOptions,
    ) -> Result<Box<dyn EventStore>>;

    /// Waits for the writes that were begun, and releases the storage: the same location can be opened again.
    /// Sessions and logs of this provider fail from then on; closing again does nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the storage could not be flushed; it is closed all the same.
    async fn close(&self) -> Result<()>;
}

/// Short forms of what an [`EventStoreProvider`] does.
#[async_trait]
pub trait EventStoreProviderExt: EventStoreProvider {
    /// Opens a session on `stream` in the default database.
    ///
    /// # Errors
    /// As [`open_with`](EventStoreProvider::open_with).
    async fn open(&self, stream: &StreamId) -> Result<Box<dyn EventStore>> {
        self.open_with(&self.settings().database, stream, OpenOptions::default())
            .await
    }

    /// Opens a session on `stream` in `database`.
    ///
    /// # Errors
    /// As [`open_with`](EventStoreProvider::open_with).
    async fn open_in(&self, database: &Database, stream: &StreamId) -> Result<Box<dyn EventStore>> {
        self.open_with(database, stream, OpenOptions::default()).await
    }

    /// Opens a session on the stream that `metadata` names: its domain, in its partition or the default database.
    ///
    /// # Errors
    /// As [`open_with`](EventStoreProvider::open_with), and [`Error::InvalidInput`] when it names no domain.
    async fn open_for(&self, metadata: &Metadata) -> Result<Box<dyn EventStore>> {
        let stream = metadata.message.domain.as_ref().ok_or_else(|| {
            Error::invalid("the metadata names no domain; set the stream with EventMessage::with_domain")
        })?;
        let database = metadata
            .context
            .partition_id
            .as_ref()
            .unwrap_or(&self.settings().database);
        self.open_with(database, stream, OpenOptions::default()).await
    }

    /// The log of the default database.
    fn default_log(&self) -> Arc<dyn EventLog> {
        self.log(&self.settings().database)
    }

    /// Appends to `stream` in the default database without a session.
    ///
    /// # Errors
    /// As [`EventLog::append_with`].
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: Vec<EventMessage>,
    ) -> Result<Appended> {
        self.default_log().append(stream, expected, events).await
    }

    /// Reads `stream` in the default database: its newest snapshot, if any, and the events after it.
    ///
    /// # Errors
    /// As [`EventLog::read_stream`].
    async fn read(&self, stream: &StreamId) -> Result<Replay> {
        self.default_log().read(stream).await
    }
}

impl<T: EventStoreProvider + ?Sized> EventStoreProviderExt for T {}
