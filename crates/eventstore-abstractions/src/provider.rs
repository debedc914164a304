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
/// ```
/// use eventstore_abstractions::{EventLogExt, EventStoreExt, EventStoreProviderExt, StreamId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstore_abstractions::Result<()> {
/// let provider = eventstores::connect("memory:").await?; // or "fjall:./data"
/// let alice = StreamId::new("account", "alice")?;
///
/// // Without a session: reads, and appends with an expected version.
/// let log = provider.default_log();
/// assert!(log.read(&alice).await?.collect().await?.events.is_empty());
///
/// // With one: nobody else writes to the stream until it is closed.
/// let store = provider.open(&alice).await?;
/// assert!(store.read().await?.events.is_empty());
/// store.close().await?;
///
/// provider.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// Every line, here and at the methods, is the case of that name in the testkit's provider suite.
/// - `databases_are_independent`: streams of one name in two databases are two streams.
/// - `stale_session_cannot_write`: at any moment at most one session can write to a stream.
/// - `settings_are_validated`: a provider is not opened with settings out of their limits.
#[async_trait]
pub trait EventStoreProvider: Debug + Send + Sync + 'static {
    /// What the provider was configured with.
    ///
    /// **Contract**
    /// - `settings_have_their_defaults`: where nothing else was set.
    fn settings(&self) -> &Settings;

    /// Whether what is acknowledged outlives the provider: the same location, opened again, has it. A
    /// provider in memory says no, and an application that must not lose its data can refuse to start
    /// on it.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// if !provider.is_durable() {
    ///     eprintln!("everything is gone when this program ends");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `acked_is_kept`: and the provider says so.
    fn is_durable(&self) -> bool;

    /// The log of `database`: reads and optimistic appends that need no session.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// let tenant = provider.log(&Database::new("tenant-7")?);
    /// tenant.append(&alice, ExpectedVersion::NoStream, [EventMessage::json("Opened", &())?]).await?;
    /// assert_eq!(provider.default_log().version(&alice).await?, Version::ZERO);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `databases_are_independent`: also in their positions.
    fn log(&self, database: &Database) -> Arc<dyn EventLog>;

    /// Opens a session on `stream` in `database`, waiting while another session holds it.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// use std::time::Duration;
    ///
    /// let options = OpenOptions::default()
    ///     .owner("nightly import")
    ///     .session_timeout(Duration::from_secs(600))
    ///     .open_timeout(Duration::ZERO);
    /// let database = &provider.settings().database;
    /// let store = provider.open_with(database, &alice, options.clone()).await?;
    ///
    /// let Err(error) = provider.open_with(database, &alice, options).await else {
    ///     panic!("two sessions on one stream");
    /// };
    /// assert!(error.to_string().contains("held by session"));
    /// assert!(error.to_string().contains("of nightly import until"));
    /// # drop(store);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `open_gives_an_empty_stream_at_version_zero`: where there was none.
    /// - `open_in_a_database_reaches_that_database`: its events are there and nowhere else.
    /// - `open_waits_for_the_open_timeout_and_not_longer`: while another session holds the stream.
    /// - `open_without_waiting_fails_at_once`: with an open time-out of zero.
    /// - `waiting_open_gets_the_stream_on_close`: of its holder.
    /// - `waiting_open_gets_the_stream_on_expiry`: of its holder's session.
    /// - `of_many_waiting_opens_each_gets_the_stream_once`: one at a time, and each in the end.
    /// - `open_store_failed_names_the_holder`: and until when it holds the stream.
    /// - `fencing_tokens_grow`: with every session of a database.
    /// - `open_options_are_validated`: before anything is opened.
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
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// let log = provider.default_log();
    /// provider.close().await?;
    /// assert!(matches!(log.version(&alice).await, Err(Error::ProviderClosed)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `acked_is_kept`: when the location is opened again.
    /// - `restart_frees_held_streams`: sessions end with their provider; on a shared engine when they expire.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the storage could not be flushed; it is closed all the same.
    async fn close(&self) -> Result<()>;
}

/// Short forms of what an [`EventStoreProvider`] does.
///
/// See [`EventStoreProvider`] for an example.
#[async_trait]
pub trait EventStoreProviderExt: EventStoreProvider {
    /// Opens a session on `stream` in the default database.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// let store = provider.open(&alice).await?;
    /// store.append([EventMessage::json("Opened", &())?]).await?;
    /// store.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open_with`](EventStoreProvider::open_with).
    async fn open(&self, stream: &StreamId) -> Result<Box<dyn EventStore>> {
        self.open_with(&self.settings().database, stream, OpenOptions::default())
            .await
    }

    /// Opens a session on `stream` in `database`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// let store = provider.open_in(&Database::new("tenant-7")?, &alice).await?;
    /// assert_eq!(store.database().as_str(), "tenant-7");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open_with`](EventStoreProvider::open_with).
    async fn open_in(&self, database: &Database, stream: &StreamId) -> Result<Box<dyn EventStore>> {
        self.open_with(database, stream, OpenOptions::default()).await
    }

    /// Opens a session on the stream that `metadata` names: its domain, in its partition or the default
    /// database.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// // Where a message from elsewhere is addressed to.
    /// let message = EventMessage::json("Deposited", &500)?.with_domain(alice.clone());
    /// let store = provider.open_for(&message.metadata).await?;
    /// assert_eq!(store.stream(), &alice);
    /// # Ok(())
    /// # }
    /// ```
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

    /// The log of the default database: see [`EventLog`].
    fn default_log(&self) -> Arc<dyn EventLog> {
        self.log(&self.settings().database)
    }

    /// Appends to `stream` in the default database without a session.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// let opened = EventMessage::json("Opened", &())?;
    /// provider.append(&alice, ExpectedVersion::NoStream, vec![opened]).await?;
    /// let history = provider.read(&alice).await?.collect().await?;
    /// assert_eq!(history.events.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
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
    /// See [`append`](Self::append) for an example.
    ///
    /// # Errors
    /// As [`EventLog::read_stream`].
    async fn read(&self, stream: &StreamId) -> Result<Replay> {
        self.default_log().read(stream).await
    }
}

impl<T: EventStoreProvider + ?Sized> EventStoreProviderExt for T {}
