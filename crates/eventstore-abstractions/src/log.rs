//! The session-free side of a database: optimistic appends, and reads of streams and of the whole log.

use std::fmt::Debug;

use async_trait::async_trait;

#[cfg(doc)]
use crate::Error;
use crate::{
    AppendOptions, Appended, Database, EventMessage, EventStream, IdempotencyKey, LogReadOptions, Position,
    ReadOptions, Replay, Result, Snapshot, StreamId, Version,
};

/// The log of one database: appends with an expected version, and reads, without a session.
///
/// ```
/// use eventstore_abstractions::{
///     EventLog, EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, StreamId,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstore_abstractions::Result<()> {
/// let log = eventstores::connect("memory:").await?.default_log();
/// let alice = StreamId::new("account", "alice")?;
///
/// let opened = EventMessage::json("Opened", &"Alice")?;
/// let appended = log.append(&alice, ExpectedVersion::NoStream, [opened]).await?;
/// assert_eq!((appended.version.get(), appended.position.get()), (1, 1));
///
/// let history = log.read(&alice).await?.collect().await?;
/// assert_eq!(history.events[0].message.type_name(), "Opened");
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// Every line, here and at the methods, is the case of that name in the testkit's provider suite.
/// - `acked_is_kept`: an acknowledged append survives a close and a crash on a durable backend.
/// - `versions_have_no_gaps`: neither gaps nor duplicates in a stream, under any concurrency.
/// - `positions_have_no_gaps`: nor in the log; and nothing appears at or below a position that a reader
///   has seen.
/// - `hostile_names_stay_apart`: no name reaches another's events.
/// - `corruption_is_reported`: a damaged record is an error that names it: never skipped, never returned.
/// - `dropped_future_is_safe`: a write whose future is dropped happens whole or not at all.
#[async_trait]
pub trait EventLog: Debug + Send + Sync + 'static {
    /// The database whose log this is.
    ///
    /// **Contract**
    /// - `settings_have_their_defaults`: the database that the log was asked for.
    fn database(&self) -> &Database;

    /// Appends `events` to `stream`, all or nothing. An empty list appends nothing and returns the
    /// current version, if the expectation holds.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// let event = EventMessage::json("Deposited", &500)?;
    /// let options = AppendOptions::expecting(ExpectedVersion::NoStream).durability(Durability::Buffered);
    /// let appended = log.append_with(&alice, vec![event.clone()], options).await?;
    /// assert_eq!(appended.version, Version::FIRST);
    ///
    /// // The same message again is recognised: this is how a write of unknown outcome is tried again.
    /// assert_eq!(log.append_with(&alice, vec![event], options).await?, appended);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `append_is_one_commit`: no partial write can exist.
    /// - `failed_append_writes_nothing`: neither events nor heads nor indexes.
    /// - `expected_version_is_linearizable`: of several appends that expect the same version one succeeds.
    /// - `mismatch_names_stream_expected_and_actual`: the others are told what the stream has.
    /// - `sequence_number_must_match`: a message that has a sequence number gets that version or is refused.
    /// - `idempotent_append_applies_once`: the same messages again give the first outcome.
    /// - `idempotency_id_recognises_new_messages`: so do new messages with the same idempotency id and
    ///   content.
    /// - `id_with_other_content_is_refused`: an id is used for one content.
    /// - `held_stream_refuses_writes_without_the_session`: a session's stream is its own, and the error
    ///   says whose.
    /// - `oversized_append_is_refused`: as a whole.
    /// - `oversized_event_is_refused`: and all that is appended with it.
    /// - `message_addressed_elsewhere_is_refused`: to another stream or database.
    ///
    /// # Errors
    /// - [`Error::StoreVersionMismatch`]: the expected version, or a message's sequence number, does
    ///   not match.
    /// - [`Error::StreamHeld`]: a session holds the stream.
    /// - [`Error::DuplicateIdempotencyId`]: an id was used before with other content.
    /// - [`Error::InvalidInput`]: a message is too large or is addressed to another stream.
    /// - [`Error::OutcomeUnknown`]: the storage failed in the middle; append the same messages again to
    ///   find out.
    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended>;

    /// Reads `stream` as `options` say. A stream that does not exist reads as empty.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let events = [EventMessage::json("Opened", &())?, EventMessage::json("Deposited", &500)?];
    /// # log.append(&alice, ExpectedVersion::NoStream, events).await?;
    /// let mut newest_first = log.read_stream(&alice, ReadOptions::backward()).await?.events;
    /// let newest = newest_first.next().await.expect("the stream has events")?;
    /// assert_eq!((newest.version, newest.message.type_name()), (Version::new(2), "Deposited"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `read_sees_what_was_acknowledged`: before the read began.
    /// - `read_ends_where_it_began`: not what is appended meanwhile.
    /// - `read_holds_a_bounded_amount_of_memory`: a page, however long the stream is.
    /// - `readers_need_no_session`: reads go on while a session holds the stream.
    /// - `absent_stream_reads_as_empty`: and reading does not make it.
    /// - `read_begins_at_the_newest_snapshot`: unless snapshots are left out.
    /// - `read_as_of_uses_the_newest_snapshot_not_above`: the version that is asked for.
    /// - `slice_is_inclusive_and_never_out_of_range`: what is not there is left out without an error.
    /// - `backward_slice_is_the_slice_in_reverse`: newest event first.
    /// - `damage_names_stream_and_version`: of an event that cannot be decoded.
    ///
    /// # Errors
    /// [`Error::VersionNotFound`] when the state as of a version is asked for that the stream has not
    /// reached; [`Error::InvalidInput`] when the page size is out of its limits.
    async fn read_stream(&self, stream: &StreamId, options: ReadOptions) -> Result<Replay>;

    /// Reads the log of the whole database, up to where it ends when the read begins.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
    /// // Go on after the last position that was handled.
    /// let handled = Position::ZERO;
    /// let mut events = log.read_all(LogReadOptions::forward_from(handled.next()).limit(1_000));
    /// while let Some(event) = events.next().await {
    ///     let event = event?;
    ///     println!("{}: {} of {}", event.position, event.message.type_name(), event.stream);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `log_reads_from_anywhere_both_ways`: with any limit and page size.
    /// - `log_and_streams_agree`: event for event.
    /// - `databases_have_their_own_positions`: each counts from 1.
    /// - `log_read_ends_where_it_began`: not with what is appended meanwhile.
    /// - `impossible_page_is_refused`: by the first item of the stream.
    fn read_all(&self, options: LogReadOptions) -> EventStream;

    /// The version of `stream`: 0 when it is empty.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// let version = log.version(&alice).await?;
    /// assert_eq!(version, Version::ZERO);
    /// // Decide on what was read, and append only if it is still so.
    /// log.append(&alice, version.into(), [EventMessage::json("Opened", &())?]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `version_is_read_in_constant_time`: however long the stream is.
    ///
    /// # Errors
    /// As the storage fails.
    async fn version(&self, stream: &StreamId) -> Result<Version>;

    /// The position of the newest event of the log: 0 when it is empty.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// assert_eq!(log.head().await?, Position::ZERO);
    /// let appended = log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
    /// assert_eq!(log.head().await?, appended.position);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `buffered_append_is_read_at_once`: the head counts it, too.
    ///
    /// # Errors
    /// As the storage fails.
    async fn head(&self) -> Result<Position>;

    /// What the append did that used `key`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// let command = IdempotencyId::new("command-17")?;
    /// let event = EventMessage::json("Deposited", &500)?.with_idempotency_id(command.clone());
    /// let appended = log.append(&alice, ExpectedVersion::Any, [event]).await?;
    /// assert_eq!(log.find_append(&alice, &command.into()).await?, appended);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `message_is_found_by_its_id`: by the log and by a session.
    /// - `absent_id_is_not_found`: also when another stream has it.
    ///
    /// # Errors
    /// [`Error::IdempotencyIdNotFound`] when no event of the stream has the id.
    async fn find_append(&self, stream: &StreamId, key: &IdempotencyKey) -> Result<Appended>;

    /// Stores or replaces the snapshot of `stream` at `version`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let deposit = EventMessage::json("Deposited", &500)?;
    /// let appended = log.append(&alice, ExpectedVersion::Any, [deposit]).await?;
    /// let state = EventMessage::json("Balance", &500)?;
    /// log.snapshot(&alice, appended.version, state).await?;
    /// let replay = log.read(&alice).await?;
    /// assert_eq!(replay.snapshot.map(|snapshot| snapshot.version), Some(appended.version));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `snapshot_never_ahead`: none above the stream's version is accepted or used.
    /// - `snapshot_round_trips`: with its whole metadata and the store's time.
    /// - `snapshot_replaces_the_one_at_its_version`: a version has one snapshot.
    /// - `snapshot_is_no_event`: it changes neither the version nor the log.
    /// - `snapshot_at_version_zero_is_invalid`: there is no state before the first event.
    /// - `oversized_snapshot_is_refused`: by its size.
    ///
    /// # Errors
    /// - [`Error::VersionNotFound`]: the version is above the stream's version.
    /// - [`Error::InvalidInput`]: the version is 0, or the snapshot is too large.
    /// - [`Error::StreamHeld`]: a session holds the stream.
    async fn snapshot(&self, stream: &StreamId, version: Version, snapshot: EventMessage) -> Result<()>;

    /// The newest snapshot of `stream` whose version is not above `version`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// let newest = log.read_snapshot(&alice, Version::MAX).await?;
    /// assert_eq!(newest, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `newest_snapshot_not_above_is_read`: the version that is asked for.
    ///
    /// # Errors
    /// As the storage fails.
    async fn read_snapshot(&self, stream: &StreamId, version: Version) -> Result<Option<Snapshot>>;

    /// The versions of all snapshots of `stream`, ascending.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let events = [EventMessage::json("Opened", &())?, EventMessage::json("Deposited", &500)?];
    /// # log.append(&alice, ExpectedVersion::NoStream, events).await?;
    /// # for version in [1, 2] {
    /// #     log.snapshot(&alice, Version::new(version), EventMessage::json("Balance", &500)?).await?;
    /// # }
    /// // Keep the newest snapshot alone.
    /// let versions = log.snapshot_versions(&alice).await?;
    /// if let Some((_newest, older)) = versions.split_last() {
    ///     for version in older {
    ///         log.clear_snapshot(&alice, *version).await?;
    ///     }
    /// }
    /// assert_eq!(log.snapshot_versions(&alice).await?, [Version::new(2)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `snapshot_versions_are_ascending`: whatever the order in which they were taken.
    ///
    /// # Errors
    /// As the storage fails.
    async fn snapshot_versions(&self, stream: &StreamId) -> Result<Vec<Version>>;

    /// Removes the snapshot of `stream` at `version`.
    ///
    /// See [`snapshot_versions`](Self::snapshot_versions) for an example.
    ///
    /// **Contract**
    /// - `cleared_snapshot_is_gone`: from every list and read; the others stay.
    /// - `clearing_an_absent_snapshot_is_an_error`: that names the version.
    ///
    /// # Errors
    /// [`Error::SnapshotVersionNotFound`] when there is none; [`Error::StreamHeld`] when a session
    /// holds the stream.
    async fn clear_snapshot(&self, stream: &StreamId, version: Version) -> Result<()>;

    /// Removes all snapshots of `stream`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Deposited", &500)?]).await?;
    /// # log.snapshot(&alice, Version::FIRST, EventMessage::json("Balance", &500)?).await?;
    /// log.clear_snapshots(&alice).await?;
    /// assert!(log.snapshot_versions(&alice).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `clearing_all_leaves_none`: of this stream; no other stream and no event is touched.
    /// - `many_snapshots_are_listed_and_cleared`: however many there are.
    ///
    /// # Errors
    /// [`Error::StreamHeld`] when a session holds the stream.
    async fn clear_snapshots(&self, stream: &StreamId) -> Result<()>;
}
