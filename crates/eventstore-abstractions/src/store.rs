//! An exclusive session on one stream.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

#[cfg(doc)]
use crate::Error;
use crate::{
    AppendOptions, Appended, Database, EventMessage, IdempotencyKey, ReadOptions, Replay, Result, SessionId,
    Snapshot, StreamId, Timestamp, Version,
};

/// A session: the exclusive, expiring hold on a stream.
///
/// ```
/// # use eventstore_abstractions::*;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let provider = eventstores::connect("memory:").await?;
/// let store = provider.open(&StreamId::new("account", "alice")?).await?;
/// let session = store.session();
/// println!("session {} lasts until {}", session.id, session.expires_at);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Identifies the session.
    pub id: SessionId,
    /// Grows with every session of the database, and is checked inside every commit. Pass it to other
    /// systems that must refuse a writer whose session is over: they accept no token below one that
    /// they have seen.
    pub fencing_token: u64,
    /// When the session ends unless it is renewed.
    pub expires_at: Timestamp,
}

impl Session {
    /// A session from its parts: for implementations of a store.
    ///
    /// ```
    /// use eventstore_abstractions::{Session, SessionId, Timestamp};
    ///
    /// let session = Session::new(SessionId::generate(), 7, Timestamp::from_micros(60_000_000));
    /// assert_eq!(session.fencing_token, 7);
    /// ```
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
/// While it is open nobody else can write to the stream; everybody can read it. Dropping it releases
/// the stream in the background; [`close`](Self::close) does so before it returns.
///
/// ```
/// use eventstore_abstractions::{EventMessage, EventStore, EventStoreExt, EventStoreProviderExt, StreamId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstore_abstractions::Result<()> {
/// let provider = eventstores::connect("memory:").await?;
/// let store = provider.open(&StreamId::new("account", "alice")?).await?;
///
/// // No expected version is needed: between the read and the append nobody else writes.
/// let history = store.read().await?;
/// let bonus = EventMessage::json("BonusPaid", &history.events.len())?;
/// assert_eq!(store.append([bonus]).await?.version, history.version().next());
/// store.close().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// Every line, here and at the methods, is the case of that name in the testkit's provider suite. Every
/// operation first checks the session:
/// - `closed_store_refuses_every_operation`: with [`Error::StoreNotOpen`].
/// - `expired_session_refuses_every_operation`: with [`Error::StoreSessionExpired`].
/// - `overtaken_session_refuses_every_operation`: with [`Error::InvalidStoreSession`].
/// - `write_that_is_overtaken_is_fenced`: the check of a write is part of its commit.
/// - `expired_session_stays_expired`: whatever the clock does.
/// - `dropped_store_releases_the_stream`: in the background.
#[async_trait]
pub trait EventStore: Debug + Send + Sync + 'static {
    /// The database that the stream is in.
    ///
    /// **Contract**
    /// - `open_by_metadata_reaches_its_stream`: the store says which it is.
    fn database(&self) -> &Database;

    /// The stream that the session holds.
    ///
    /// **Contract**
    /// - `open_by_metadata_reaches_its_stream`: the store says which it is.
    fn stream(&self) -> &StreamId;

    /// The session, as of its opening or last renewal.
    ///
    /// **Contract**
    /// - `session_lasts_for_its_timeout`: it says until when.
    fn session(&self) -> Session;

    /// Appends `events`, all or nothing, and returns the new version. An empty list returns the current one.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// let deposit = EventMessage::json("Deposited", &500)?;
    /// let options = AppendOptions::default().durability(Durability::Buffered);
    /// assert_eq!(store.append_with(vec![deposit], options).await?.version, Version::FIRST);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `stale_session_cannot_write`: not after it was taken over.
    /// - `session_append_checks_the_expectation`: where there is one.
    /// - `append_returns_version_position_and_count`: as without a session.
    ///
    /// # Errors
    /// Those of the session check, and as [`EventLog::append_with`](crate::EventLog::append_with).
    async fn append_with(&self, events: Vec<EventMessage>, options: AppendOptions) -> Result<Appended>;

    /// Reads the stream as `options` say.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// store.append([EventMessage::json("Deposited", &500)?]).await?;
    /// let mut events = store.read_with(ReadOptions::replay().page_size(1_000)).await?.events;
    /// while let Some(event) = events.next().await {
    ///     println!("{}", event?.message.type_name());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `read_begins_at_the_newest_snapshot`: unless snapshots are left out.
    /// - `read_without_snapshots_gives_every_event`: from version 1.
    /// - `read_as_of_a_version_above_the_head_is_refused`: and both versions are named.
    ///
    /// # Errors
    /// Those of the session check, and as [`EventLog::read_stream`](crate::EventLog::read_stream).
    async fn read_with(&self, options: ReadOptions) -> Result<Replay>;

    /// The version of the stream: 0 when it is empty.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// assert_eq!(store.version().await?, Version::ZERO);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `open_gives_an_empty_stream_at_version_zero`: where there was none.
    ///
    /// # Errors
    /// Those of the session check.
    async fn version(&self) -> Result<Version>;

    /// What the append did that used `key`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// let deposit = EventMessage::json("Deposited", &500)?;
    /// let id = deposit.id();
    /// let appended = store.append([deposit]).await?;
    /// assert_eq!(store.find_append(&id.into()).await?, appended);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `message_is_found_by_its_id`: by the log and by a session.
    ///
    /// # Errors
    /// Those of the session check, and [`Error::IdempotencyIdNotFound`] when no event has the id.
    async fn find_append(&self, key: &IdempotencyKey) -> Result<Appended>;

    /// Stores or replaces the snapshot at `version`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// let appended = store.append([EventMessage::json("Deposited", &500)?]).await?;
    /// store.snapshot(appended.version, EventMessage::json("Balance", &500)?).await?;
    /// assert_eq!(store.last_snapshot_version().await?, appended.version);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `snapshot_never_ahead`: none above the stream's version is accepted or used.
    /// - `snapshot_round_trips`: with its whole metadata and the store's time.
    ///
    /// # Errors
    /// Those of the session check; [`Error::VersionNotFound`] when the version is above the stream's version;
    /// [`Error::InvalidInput`] when it is 0 or the snapshot is too large.
    async fn snapshot(&self, version: Version, snapshot: EventMessage) -> Result<()>;

    /// The newest snapshot whose version is not above `version`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// let newest = store.read_snapshot(Version::MAX).await?;
    /// assert_eq!(newest, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `newest_snapshot_not_above_is_read`: the version that is asked for.
    ///
    /// # Errors
    /// Those of the session check.
    async fn read_snapshot(&self, version: Version) -> Result<Option<Snapshot>>;

    /// The versions of all snapshots, ascending.
    ///
    /// See [`clear_snapshots`](Self::clear_snapshots) for an example.
    ///
    /// **Contract**
    /// - `snapshot_versions_are_ascending`: whatever the order in which they were taken.
    ///
    /// # Errors
    /// Those of the session check.
    async fn snapshot_versions(&self) -> Result<Vec<Version>>;

    /// Removes the snapshot at `version`.
    ///
    /// See [`clear_snapshots`](Self::clear_snapshots) for an example.
    ///
    /// **Contract**
    /// - `cleared_snapshot_is_gone`: from every list and read; the others stay.
    /// - `clearing_an_absent_snapshot_is_an_error`: that names the version.
    ///
    /// # Errors
    /// Those of the session check, and [`Error::SnapshotVersionNotFound`] when there is none.
    async fn clear_snapshot(&self, version: Version) -> Result<()>;

    /// Removes all snapshots.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// # let deposits = (0..3).map(|_| EventMessage::json("Deposited", &1)).collect::<Result<Vec<_>>>()?;
    /// # store.append(deposits).await?;
    /// store.snapshot_all(1, |_, _| EventMessage::json("Balance", &0)).await?;
    /// store.clear_snapshot(Version::new(2)).await?;
    /// assert_eq!(store.snapshot_versions().await?, [Version::new(1), Version::new(3)]);
    ///
    /// store.clear_snapshots().await?;
    /// assert!(store.snapshot_versions().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `clearing_all_leaves_none`: of this stream; no other stream and no event is touched.
    ///
    /// # Errors
    /// Those of the session check.
    async fn clear_snapshots(&self) -> Result<()>;

    /// Lets the session last for `timeout` from now; as long as it was opened for if `None`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// let before = store.session();
    /// let session = store.renew(None).await?;
    /// assert_eq!((session.id, session.fencing_token), (before.id, before.fencing_token));
    /// assert!(session.expires_at >= before.expires_at);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `renew_prolongs_the_session`: from now on.
    /// - `renew_for_an_invalid_time_is_refused`: the session stays as it was.
    /// - `renewed_session_is_not_taken_over`: by those who wait for the stream.
    ///
    /// # Errors
    /// Those of the session check: a session that is over cannot be renewed. [`Error::InvalidInput`] when the
    /// time-out is out of its limits.
    async fn renew(&self, timeout: Option<Duration>) -> Result<Session>;

    /// Releases the stream, if the session still holds it. Closing again does nothing.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// store.close().await?;
    /// assert!(matches!(store.version().await, Err(Error::StoreNotOpen { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `close_releases_the_stream`: before it returns.
    /// - `close_of_a_stale_session_leaves_the_holder`: only the session's own hold is released.
    /// - `closing_again_does_nothing`: also when another session holds the stream by then.
    ///
    /// # Errors
    /// As the storage fails; the session is closed all the same, and its hold ends at its time-out.
    async fn close(&self) -> Result<()>;
}
