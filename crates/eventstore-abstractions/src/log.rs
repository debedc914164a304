//! The session-free side of a database: optimistic appends, and reads of streams and of the whole log.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::namespace::NoNamespace;
use crate::{
    Access, AppendOptions, Appended, Database, Deletion, Error, EventMessage, EventStream, ExpectedVersion,
    IdempotencyKey, LogReadOptions, MultiAppend, MultiAppended, Namespace, NamespaceName, Position, Query,
    ReadOptions, Replay, Result, Retention, Scavenged, Snapshot, StreamId, StreamInfo, SubscribeOptions,
    Subscription, Version,
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
///
/// # Implementing it
/// A log need not do everything: what has a default here fails with [`Error::Unsupported`] unless it is implemented.
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
    /// - [`Error::StreamDeleted`]: the stream was deleted for good.
    /// - [`Error::OutcomeUnknown`]: the storage failed in the middle; append the same messages again to
    ///   find out.
    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended>;

    /// Reads `stream` as `options` say. A stream that does not exist reads as empty, and events that are
    /// [not kept](Self::set_retention) are left out.
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
    /// - `query_reads_agree_with_a_scan`: in both directions, with any limit, and whatever is indexed.
    /// - `index_turned_on_later_misses_nothing`: what was there before is looked at, event by event.
    /// - `query_read_holds_a_bounded_amount_of_memory`: a page, whether it scans or not.
    /// - `damaged_index_is_reported`: never an event less.
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

    /// Appends to several streams in one atomic append, each with its own expected version, if all conditions hold.
    ///
    /// See [`MultiAppend`] for an example.
    ///
    /// A condition is checked against everything that is committed before the append, whatever is committed at the same
    /// time. An append that is tried again gives its first outcome, and its conditions are not asked again; a stream
    /// that it only required is told with the version that it has by then.
    ///
    /// **Contract**
    /// - `multi_append_is_one_commit`: however many streams it names.
    /// - `failed_multi_append_writes_nothing`: to no stream.
    /// - `multi_append_positions_follow_the_order_given`: and each stream is told its own outcome.
    /// - `multi_append_checks_streams_not_written`: what is only required is checked in the commit, too.
    /// - `stream_named_twice_is_refused`: and so is an append that names none.
    /// - `retry_of_a_multi_append_applies_once`: the same messages again give the first outcome.
    /// - `multi_append_known_in_part_is_refused`: an append is known in all of its streams, or was not done.
    /// - `held_stream_refuses_a_multi_append`: if it is written.
    /// - `oversized_multi_append_is_refused`: as a whole.
    /// - `condition_excludes_what_matches_after_its_position`: and nothing else.
    /// - `failed_condition_is_named_and_writes_nothing`: with the position of an event that it excludes.
    /// - `racing_conditions_let_one_win`: of several appends that exclude each other.
    /// - `condition_sees_its_own_commit_group`: also where they share a commit.
    /// - `conditional_appends_share_commits`: as other appends do.
    /// - `retry_under_a_condition_is_recognised`: though its own events are what the condition excludes.
    /// - `tags_are_compared_exactly`: byte by byte.
    /// - `impossible_tags_are_refused`: too many, or one twice.
    /// - `impossible_conditions_are_refused`: too many, or with too many names.
    /// - `type_of_removed_events_is_refused`: here and in every append.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with) for each stream, and [`Error::AppendConditionFailed`] when an event
    /// matches what a condition excludes.
    async fn append_all(&self, append: MultiAppend) -> Result<MultiAppended> {
        let _ = append;
        Err(unsupported("append to several streams at once"))
    }

    /// How events that match `query` are found: by an index, or by looking at every event. Tags are always indexed;
    /// types and categories where [`Settings`](crate::Settings) ask for it. A query for everything looks at everything.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// let course = QueryItem::types(["StudentSubscribed"])?.tag(Tag::new("course:c1")?);
    /// assert_eq!(log.explain(&course.into()).await?, Access::Index);
    /// // Without `Settings::index_types` nothing says where events of a type are.
    /// let opened = QueryItem::types(["Opened"])?;
    /// assert_eq!(log.explain(&opened.into()).await?, Access::Scan);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `explain_says_where_it_scans`: everything that no index has.
    /// - `indexed_query_reads_about_what_matches`: where it says that there is an index.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the query has too many names.
    async fn explain(&self, query: &Query) -> Result<Access> {
        let _ = query;
        Err(unsupported("query its log"))
    }

    /// Follows the log, or one stream: what is there, and then what comes.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let log = provider.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
    /// let mut subscription = log.subscribe(SubscribeOptions::from_start());
    /// let opened = subscription.next_event().await.expect("it does not end by itself")?;
    /// assert_eq!(opened.message.type_name(), "Opened");
    /// // What is appended from now on follows.
    /// log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Deposited", &500)?]).await?;
    /// let deposited = subscription.next_event().await.expect("it does not end by itself")?;
    /// assert_eq!(deposited.position, opened.position.next());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `subscription_sees_each_once_in_order`: also from what was there to what comes.
    /// - `subscription_begins_where_it_is_told`: after a position, or with what is appended after the call.
    /// - `caught_up_is_told_once_and_again_after_falling_behind`: by [`Notice::CaughtUp`](crate::Notice::CaughtUp).
    /// - `subscription_follows_one_stream`: read from the stream itself, from any position.
    /// - `subscription_filters_by_query`: of what is there and of what comes.
    /// - `slow_subscriber_holds_a_bounded_amount_of_memory`: a page, however much there is.
    /// - `slow_subscriber_does_not_slow_writers`: and gets all of it later.
    /// - `many_subscribers_share_the_read_of_the_tail`: what is appended is read about once.
    /// - `subscription_goes_on_while_a_session_is_held`: also of the stream that is held.
    /// - `subscription_ends_with_its_provider`: by [`Error::ProviderClosed`].
    /// - `subscription_ends_at_an_error`: which is told, and is the last that is.
    /// - `resubscribing_after_the_last_position_misses_nothing`: whenever the subscriber stops.
    /// - `dropped_subscription_costs_nothing`: from then on.
    /// - `subscription_sees_commits_across_providers`: on an engine that is shared.
    fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        let _ = options;
        Subscription::failed(unsupported("follow its log"))
    }

    /// State beside the events, for projections and checkpoints.
    ///
    /// See [`Namespace`] for an example.
    ///
    /// **Contract**
    /// - `namespaces_stay_apart`: those of other names, and those of other databases.
    fn namespace(&self, name: &NamespaceName) -> Arc<dyn Namespace> {
        Arc::new(NoNamespace(name.clone()))
    }

    /// What `stream` is: its version, the first event that is kept, which events are, and whether it was deleted. A
    /// stream that was never written to has version 0.
    ///
    /// See [`set_retention`](Self::set_retention) for an example.
    ///
    /// **Contract**
    /// - `retention_hides_events_at_once`: the first event that is kept is the first that is read.
    /// - `retention_survives_reopen`: so it says the same after a restart or a crash.
    ///
    /// # Errors
    /// As the storage fails.
    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo> {
        let _ = stream;
        Err(unsupported("say what a stream is"))
    }

    /// Sets which events of `stream` are kept, in place of what was set before; the stream need not exist yet.
    ///
    /// From then on reads of the stream leave the others out, and so do those of its snapshots that they would be missed
    /// after. What is not kept once is not kept again, whatever is set later. The log has all of them until they are
    /// [scavenged](Self::scavenge).
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// let readings = StreamId::new("sensor", "7")?;
    /// for celsius in [21, 22, 23] {
    ///     let event = EventMessage::json("Measured", &celsius)?;
    ///     log.append(&readings, ExpectedVersion::Any, [event]).await?;
    /// }
    /// log.set_retention(&readings, Retention::default().max_count(2)).await?;
    ///
    /// let history = log.read(&readings).await?.collect().await?;
    /// assert_eq!(history.events[0].version, Version::new(2));
    /// let info = log.stream_info(&readings).await?;
    /// assert_eq!((info.first, info.version), (Version::new(2), Version::new(3)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `retention_hides_events_at_once`: by version, count and age, also as the stream grows and time passes.
    /// - `reads_after_truncation_start_at_the_first_kept`: without an error; the state as of a version below it is empty.
    /// - `excluded_events_stay_excluded`: a longer retention does not bring them back.
    /// - `snapshot_below_a_gap_is_not_used`: a state that lacks events is never rebuilt.
    /// - `retention_that_keeps_nothing_is_refused`: for ever, or of events to come.
    /// - `held_stream_cannot_be_deleted`: nor truncated.
    /// - `retention_survives_reopen`: it is durable when it is acknowledged.
    ///
    /// # Errors
    /// - [`Error::InvalidInput`]: it would keep no event for ever, or leave out events that the stream does not have yet.
    /// - [`Error::StreamDeleted`]: the stream was deleted for good.
    /// - [`Error::StreamHeld`]: a session holds the stream.
    async fn set_retention(&self, stream: &StreamId, retention: Retention) -> Result<()> {
        let _ = (stream, retention);
        Err(unsupported("remove events"))
    }

    /// Deletes `stream` if it is as `expected`: its events and snapshots are not read any more.
    ///
    /// After a soft deletion [`NoStream`](ExpectedVersion::NoStream) and the exact version hold, and
    /// [`StreamExists`](ExpectedVersion::StreamExists) does not; the next append goes on with the next version. To delete
    /// what was deleted softly before, or is empty, does nothing. After a hard deletion, which an unused name can have,
    /// too, nothing is written to the stream any more.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let event = EventMessage::json("Opened", &())?;
    /// log.append(&alice, ExpectedVersion::NoStream, [event.clone()]).await?;
    /// log.delete_stream(&alice, ExpectedVersion::StreamExists, Deletion::Soft).await?;
    /// assert!(log.read(&alice).await?.collect().await?.events.is_empty());
    ///
    /// // The same message is known as long as its event is not removed: a new stream begins with a new one.
    /// let event = event.with_message_id(MessageId::generate());
    /// let appended = log.append(&alice, ExpectedVersion::NoStream, [event.clone()]).await?;
    /// assert_eq!(appended.version, Version::new(2));
    ///
    /// log.delete_stream(&alice, appended.version.into(), Deletion::Hard).await?;
    /// let refused = log.append(&alice, ExpectedVersion::Any, [event]).await;
    /// assert!(matches!(refused, Err(Error::StreamDeleted { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `soft_deleted_stream_reads_as_empty_and_goes_on`: no snapshot from before is ever used again.
    /// - `hard_deleted_stream_refuses_every_write`: appends, snapshots, sessions; `version` still answers.
    /// - `deletion_checks_the_expectation`: and does nothing if it does not hold.
    /// - `held_stream_cannot_be_deleted`: the error says who holds it.
    /// - `retention_survives_reopen`: a deletion, too, is durable when it is acknowledged.
    ///
    /// # Errors
    /// - [`Error::StoreVersionMismatch`]: the stream is not as expected.
    /// - [`Error::StreamDeleted`]: the stream was deleted for good.
    /// - [`Error::StreamHeld`]: a session holds the stream.
    async fn delete_stream(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        deletion: Deletion,
    ) -> Result<()> {
        let _ = (stream, expected, deletion);
        Err(unsupported("remove events"))
    }

    /// Removes events that are not kept any more, with the snapshots and ids that belong to them. It goes on where the
    /// last call has stopped, also after a restart, and looks at about `events` events of the log, 1 or more. What was left
    /// out before a round through the log began is removed when that round is [complete](Scavenged::is_complete).
    ///
    /// In the log a removed event is reported as [removed](crate::RecordedEvent::is_removed): with its stream, version and
    /// position, and nothing else. Its ids are not known any more. Events that were appended at once are removed when none
    /// of them is kept. It never holds up a reader, and a writer no longer than a commit does; several may run at a time.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
    /// log.delete_stream(&alice, ExpectedVersion::Any, Deletion::Soft).await?;
    /// // A little at a time, with room for others in between.
    /// while !log.scavenge(1_000).await?.is_complete {}
    ///
    /// let all = log.read_all(LogReadOptions::forward()).collect().await?;
    /// assert!(all[0].is_removed() && all[0].stream == alice);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `scavenge_gives_back_space`: nothing of a removed event's content is stored any more.
    /// - `scavenge_resumes_where_it_stopped`: at the end it begins anew.
    /// - `removed_events_are_reported_as_removed`: positions have no gaps, in either direction.
    /// - `scavenge_leaves_kept_events_alone`: whatever was set, deleted and appended in between.
    /// - `id_of_a_removed_event_is_unknown`: used again it is that of a new event.
    /// - `lost_run_is_not_taken_for_a_removed_one`: damage stays an error.
    /// - `read_goes_on_behind_what_is_removed`: while it reads.
    /// - `reads_race_with_scavenge`: no read fails, or misses an event that is kept.
    /// - `append_races_with_scavenge`: no append fails or is lost.
    /// - `scavenges_race_with_each_other`: each event is removed once.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when `events` is 0; otherwise as the storage fails: what was done before stays done.
    async fn scavenge(&self, events: u64) -> Result<Scavenged> {
        let _ = events;
        Err(unsupported("remove events"))
    }
}

fn unsupported(what: &'static str) -> Error {
    Error::Unsupported { what }
}
