//! Proves that each case of the provider suite can fail: a provider that is wrong in just that point fails
//! it, or the right one over a wrong engine or clock, and the same provider without the mistake passes it.

mod appends;
mod domain;
mod engine;
mod harness;
mod holders;
mod lives;
mod logs;
mod multi;
mod names;
mod namespaces;
mod provider;
mod reads;
mod right;
mod sessions;
mod snapshots;
mod subscriptions;
mod tries;
mod wrong;

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use eventstore_testkit::provider::{CASES, Case};
use harness::Harness;
use tokio::runtime::Builder;
use wrong::{NothingWrong, Wrong};

// The right provider passes every case.
eventstore_testkit::provider_conformance!(Harness::new(Arc::new(NothingWrong)));

/// Names the threads on which panics are expected, so that their messages can be kept quiet.
const WRONG_PROVIDER_THREAD: &str = "wrong-provider";
/// Ends the test when a case goes round in circles on its wrong provider. Nothing else depends on it.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Characters of a failure that are shown: some hold the whole state of a provider.
const MOST_OF_A_MESSAGE: usize = 400;

/// A thing that must fail a case, and its name.
struct Entry {
    case: &'static str,
    name: &'static str,
    wrong: Arc<dyn Wrong>,
}

/// For each case a thing that must fail it.
fn wrong_providers() -> Vec<Entry> {
    macro_rules! table {
        ($($case:ident: $wrong:expr,)+) => {
            vec![$(Entry { case: stringify!($case), name: stringify!($wrong), wrong: Arc::new($wrong) }),+]
        };
    }
    table! {
        append_returns_version_position_and_count: appends::TellsTheFirstPosition,
        events_are_numbered_in_the_order_appended: appends::ReversesEvents,
        empty_append_returns_the_current_version: appends::EmptyAppendTellsNothing,
        empty_append_checks_the_expectation: appends::EmptyAppendExpectsNothing,
        append_is_one_commit: engine::CommitsInTwoSteps,
        buffered_append_is_read_at_once: appends::HoldsBackBuffered::default(),
        message_addressed_elsewhere_is_refused: appends::RemovesAddresses,
        too_many_scopes_are_refused: appends::CutsScopes,
        oversized_event_is_refused: appends::CutsLargePayloads,
        oversized_append_is_refused: appends::SplitsLargeAppends,
        failed_append_writes_nothing: appends::AppendsOneByOne,
        databases_are_independent: names::HasOneDatabase,
        settings_are_validated: appends::CorrectsSettings,
        settings_have_their_defaults: appends::HasDefaultsOfItsOwn,
        any_version_is_accepted: appends::AnyMeansNoStream,
        no_stream_accepts_an_empty_stream_only: appends::NoStreamMeansAny,
        stream_exists_accepts_streams_with_events_only: appends::StreamExistsMeansAny,
        exact_accepts_that_version_only: appends::ExactMeansAtLeast,
        session_append_checks_the_expectation: appends::SessionsExpectNothing,
        mismatch_names_stream_expected_and_actual: appends::NamesTheVersionAfter,
        sequence_number_that_matches_is_accepted: appends::CountsSequenceNumbersFromZero,
        sequence_number_must_match: appends::IgnoresSequenceNumbers,
        idempotent_append_applies_once: tries::TakesEveryTryForNew,
        retry_with_its_first_expectation_is_recognised: appends::ChecksTheExpectationFirst,
        idempotency_id_recognises_new_messages: tries::KnowsMessageIdsOnly,
        id_with_other_content_is_refused: tries::RecognisesByIdAlone,
        absent_id_is_not_found: tries::FindsAbsentIdsAtZero,
        message_is_found_by_its_id: tries::FindsCommandsOnly,
        racing_retries_apply_once: tries::LooksIdsUpOutsideTheCommit,
        hostile_names_stay_apart: names::IgnoresCase,
        hostile_names_stay_apart_in_every_part: names::JoinsNames,
        names_have_limits: names::RefusesLongNames,
        absent_stream_reads_as_empty: reads::AbsentStreamIsAnError,
        metadata_round_trips: appends::LosesUserIds,
        payloads_round_trip: appends::CutsPayloadsAt64KiB,
        largest_event_round_trips: appends::CutsLargePayloads,
        page_size_changes_nothing_but_the_pages: reads::LosesTheEventAfterEachPage,
        read_holds_a_bounded_amount_of_memory: reads::ReadsAllAheadFromTheThirdPage,
        read_ends_where_it_began: reads::BeginsAtTheFirstPoll,
        read_sees_what_was_acknowledged: reads::RemembersReads::default(),
        version_is_read_in_constant_time: reads::CountsEventsForTheVersion,
        read_begins_at_the_newest_snapshot: reads::UsesTheOldestSnapshot,
        read_without_snapshots_gives_every_event: reads::UsesSnapshotsUnasked,
        read_as_of_uses_the_newest_snapshot_not_above: reads::UsesTheNewestSnapshotAlways,
        read_as_of_a_version_above_the_head_is_refused: reads::ReadsAsOfTheHeadAtMost,
        slice_is_inclusive_and_never_out_of_range: reads::SliceExcludesItsEnd,
        backward_slice_is_the_slice_in_reverse: reads::BackwardIsForward,
        log_reads_from_anywhere_both_ways: logs::LogExcludesItsStart,
        log_and_streams_agree: logs::LogTellsPositionsForVersions,
        databases_have_their_own_positions: appends::CountsPositionsOverAllDatabases::default(),
        log_read_ends_where_it_began: logs::LogReadFollows,
        impossible_page_is_refused: logs::CorrectsPages,
        multi_append_is_one_commit: multi::AppendsStreamByStream,
        multi_append_positions_follow_the_order_given: multi::ReversesStreams,
        failed_multi_append_writes_nothing: multi::AppendsStreamByStream,
        multi_append_checks_streams_not_written: multi::LooksAtWrittenStreamsOnly,
        stream_named_twice_is_refused: multi::KeepsTheFirstOfTwoNames,
        retry_of_a_multi_append_applies_once: multi::TakesEveryTryForNew,
        multi_append_known_in_part_is_refused: multi::AppendsStreamByStream,
        held_stream_refuses_a_multi_append: multi::AppendsStreamByStream,
        oversized_multi_append_is_refused: multi::AppendsStreamByStream,
        condition_excludes_what_matches_after_its_position: multi::ForgetsConditions,
        failed_condition_is_named_and_writes_nothing: multi::NamesTheFirstCondition,
        condition_sees_its_own_commit_group: multi::ChecksConditionsOutsideTheCommit,
        conditional_appends_share_commits: multi::AppendsOneAtATime::default(),
        racing_conditions_let_one_win: multi::ChecksConditionsOutsideTheCommit,
        conditions_are_linearizable_across_providers: engine::IgnoresConditions,
        retry_under_a_condition_is_recognised: multi::ChecksConditionsFirst,
        tags_are_compared_exactly: multi::IgnoresTheCaseOfTags,
        impossible_tags_are_refused: multi::CutsTags,
        type_of_removed_events_is_refused: multi::RenamesReservedTypes,
        impossible_conditions_are_refused: multi::CutsConditions,
        query_reads_agree_with_a_scan: logs::QueryForgetsAllTagsButOne,
        explain_says_where_it_scans: logs::SaysThatEverythingIsIndexed,
        index_turned_on_later_misses_nothing: logs::QueryLeavesOutTheOldest,
        indexed_query_reads_about_what_matches: logs::QueryLooksAtEveryEvent,
        query_read_holds_a_bounded_amount_of_memory: logs::QueryLooksAtEveryEvent,
        damaged_index_is_reported: logs::LogEndsAtDamage,
        open_gives_an_empty_stream_at_version_zero: sessions::OpenWritesAnEvent,
        open_in_a_database_reaches_that_database: sessions::OpensInTheDefaultDatabase,
        open_by_metadata_reaches_its_stream: sessions::OpensInLowerCase,
        open_options_are_validated: sessions::CorrectsOpenOptions,
        session_lasts_for_its_timeout: sessions::IgnoresTheSessionTimeout,
        close_releases_the_stream: sessions::CloseReleasesNothing,
        closing_again_does_nothing: sessions::ClosingAgainIsAnError,
        dropped_store_releases_the_stream: sessions::DropReleasesNothing,
        renew_prolongs_the_session: sessions::RenewsForTheUsualTime,
        renew_for_an_invalid_time_is_refused: sessions::CorrectsRenewals,
        fencing_tokens_grow: sessions::CountsTokensInMemory::default(),
        held_stream_refuses_writes_without_the_session: holders::LetsAnybodyWrite::default(),
        readers_need_no_session: reads::NeedsASession,
        session_holds_its_own_stream_only: holders::HoldsTheCategory::default(),
        stream_is_free_after_the_session: engine::LooksAtTheClockOnce,
        closed_store_refuses_every_operation: sessions::AnswersWhenClosed,
        expired_session_refuses_every_operation: sessions::AnswersWhenExpired,
        overtaken_session_refuses_every_operation: sessions::AnswersWhenOvertaken,
        session_is_checked_before_the_arguments: sessions::ChecksTheRenewalFirst,
        session_ends_to_the_moment: sessions::EndsSessionsAMomentLate,
        stale_session_cannot_write: holders::LetsStaleSessionsWrite::default(),
        expired_session_stays_expired: sessions::RenewRevives,
        close_of_a_stale_session_leaves_the_holder: holders::CloseReleasesWhoeverHolds::default(),
        write_that_is_overtaken_is_fenced: sessions::ChecksTheTimeAfterTheCommit,
        clock_jumps_are_safe: sessions::TokensAreTimes,
        clock_that_jumps_back_keeps_the_session: sessions::EndsSessionsThatLastTooLong,
        open_without_waiting_fails_at_once: sessions::IgnoresTheOpenTimeout,
        open_waits_for_the_open_timeout_and_not_longer: sessions::IgnoresTheOpenTimeout,
        open_store_failed_names_the_holder: sessions::ForgetsTheOwner,
        waiting_open_gets_the_stream_on_close: sessions::LooksAgainAtTheEndOnly,
        waiting_open_gets_the_stream_on_expiry: sessions::LooksAgainAtTheEndOnly,
        renewed_session_is_not_taken_over: holders::TakesOverAtTheFirstEnd::default(),
        of_many_waiting_opens_each_gets_the_stream_once: holders::GivesOneSessionToAll::default(),
        snapshot_round_trips: snapshots::LosesScopes,
        snapshot_replaces_the_one_at_its_version: snapshots::KeepsTheFirst,
        snapshot_never_ahead: snapshots::RoundsDownToTheHead,
        snapshot_at_version_zero_is_invalid: snapshots::ForgetsTheOneAtZero,
        oversized_snapshot_is_refused: snapshots::CutsLargeStates,
        snapshot_is_no_event: snapshots::IsAnEvent,
        snapshot_versions_are_ascending: snapshots::ListsAsText,
        newest_snapshot_not_above_is_read: snapshots::ReadsTheOneAtTheVersionOnly,
        cleared_snapshot_is_gone: snapshots::ClearsNothing,
        clearing_an_absent_snapshot_is_an_error: snapshots::ClearsAbsentOnes,
        clearing_all_leaves_none: snapshots::ClearsAllButTheNewest,
        many_snapshots_are_listed_and_cleared: snapshots::ClearsOnePage,
        snapshot_all_folds_state_and_events: snapshots::StandsOneEarly,
        snapshot_all_reads_every_event_once: snapshots::ReadsEveryEventToTakeOne,
        snapshot_interval_of_zero_is_invalid: snapshots::TakesOneAfterEachAppend,
        failing_fold_keeps_what_was_taken: snapshots::StoresThemOnClose::default(),
        retention_hides_events_at_once: lives::KeepsOneMore,
        reads_after_truncation_start_at_the_first_kept: lives::ReadsNothingFromBelowTheFirst,
        excluded_events_stay_excluded: lives::HidesOnlyWhenScavenging::default(),
        retention_that_keeps_nothing_is_refused: lives::CorrectsRetentions,
        snapshot_below_a_gap_is_not_used: lives::UsesSnapshotsBelowGaps::default(),
        soft_deleted_stream_reads_as_empty_and_goes_on: lives::DeletesByTruncating,
        hard_deleted_stream_refuses_every_write: lives::DeletesSoftly,
        deletion_checks_the_expectation: lives::DeletesWhateverIsThere,
        held_stream_cannot_be_deleted: holders::DeletesHeldStreams::default(),
        retention_survives_reopen: lives::HidesOnlyWhenScavenging::default(),
        scavenge_gives_back_space: lives::ScavengesNothing,
        scavenge_resumes_where_it_stopped: lives::ScavengesAllAtOnce,
        removed_events_are_reported_as_removed: lives::LeavesOutRemovedEvents,
        id_of_a_removed_event_is_unknown: lives::RemembersWhereIdsWere::default(),
        lost_run_is_not_taken_for_a_removed_one: reads::EndsAtDamage,
        read_goes_on_behind_what_is_removed: lives::TakesRemovedEventsForLost,
        reads_race_with_scavenge: reads::LosesTheEventAfterEachPage,
        append_races_with_scavenge: lives::ScavengesAllButTheNewest,
        scavenges_race_with_each_other: engine::IgnoresConditions,
        scavenge_leaves_kept_events_alone: lives::ScavengesAllButTheNewest,
        versions_have_no_gaps: appends::TellsTheVersionItSawBefore,
        positions_have_no_gaps: logs::LogSwapsNeighbours,
        expected_version_is_linearizable: appends::ChecksTheExpectationOutsideTheCommit,
        thousand_events_are_read_back_equal: appends::CutsSchemaVersions,
        snapshots_cut_a_load_by_four_fifths: reads::ReadsWhatTheSnapshotReplaces,
        concurrent_operations_corrupt_nothing: appends::AppendsOneByOne,
        acked_is_kept: engine::LosesEverythingOnReopen,
        acked_is_kept_by_a_durable_commit: engine::NeverSyncs,
        restart_frees_held_streams: engine::SaysThatItIsShared,
        dropped_future_is_safe: appends::AppendsOneByOne,
        dropped_future_is_safe_while_queued: appends::AppendsOneByOne,
        dropped_future_is_safe_while_its_commit_is_held: tries::TriesDroppedAppendsAgain,
        dropped_future_is_safe_for_an_open: tries::KeepsSessionsThatNobodyTook,
        dropped_future_is_safe_in_a_session: tries::LosesTheHoldInADroppedAppend,
        dropped_future_is_safe_when_the_provider_goes_too: engine::IgnoresConditions,
        failed_append_writes_nothing_when_its_commit_fails: engine::FailsAfterWriting,
        write_after_an_unknown_outcome_follows_what_is_stored: engine::TellsUnknownForApplied,
        retry_after_an_unknown_outcome_applies_once: tries::ForgetsIdsAfterAnUnknownOutcome::default(),
        straggling_commit_lands_first_or_never: engine::IgnoresConditions,
        failing_reread_is_no_conflict: appends::TellsFailuresAsConflicts,
        every_caller_of_a_failed_commit_is_told: appends::TellsOneCallerOfAFailedCommit::default(),
        open_with_an_unknown_outcome_frees_the_stream_in_time: tries::OpensAgainWhenNotSure,
        random_operations_match_a_plain_store: appends::LosesEveryTenthAppend::default(),
        expected_version_is_linearizable_across_providers: appends::ChecksTheExpectationOutsideTheCommit,
        versions_have_no_gaps_across_providers: engine::IgnoresConditions,
        positions_have_no_gaps_across_providers: logs::LogSwapsNeighbours,
        held_stream_refuses_writes_across_providers: engine::SaysThatItIsNotShared,
        waiting_open_gets_the_stream_across_providers: engine::SaysThatItIsNotShared,
        stale_session_cannot_write_across_providers: engine::IgnoresConditions,
        expired_session_stays_expired_across_providers: holders::LetsStaleSessionsWrite::default(),
        idempotent_append_applies_once_across_providers: tries::LooksIdsUpOutsideTheCommit,
        append_is_decided_at_one_moment_across_providers: appends::ChecksTheExpectationFirst,
        straggling_commit_lands_first_or_never_across_providers: engine::IgnoresConditions,
        clock_jumps_are_safe_across_providers: sessions::TokensAreTimes,
        corruption_is_reported: reads::EndsAtDamage,
        missing_record_is_reported: reads::EndsAtDamage,
        damage_names_stream_and_version: reads::DoesNotNameTheDamage,
        namespace_round_trips: namespaces::LosesEmptyValues,
        namespace_scan_is_in_key_order: namespaces::ScanIncludesWhereItGoesOn,
        namespace_scans_add_up: namespaces::ScansEverything,
        namespace_commit_is_all_or_nothing: namespaces::WritesOneByOne,
        racing_increments_of_a_namespace_lose_nothing: namespaces::ChecksRequirementsBefore,
        namespaces_stay_apart: namespaces::HasOneNamespace,
        namespace_leaves_the_log_alone: namespaces::NotesChangesInTheLog,
        namespace_corruption_is_reported: namespaces::ReadsDamageAsAbsent,
        namespace_survives_reopen: engine::LosesEverythingOnReopen,
        namespace_limits_are_clear_errors: namespaces::CutsLongKeys,
        namespace_failures_are_told_apart: namespaces::TellsUnknownForFailed,
        closed_provider_refuses_its_namespaces: namespaces::ReadsClosedAsAbsent,
        namespace_is_one_across_providers: namespaces::RemembersState::default(),
            subscription_sees_each_once_in_order: subscriptions::SkipsAtTheSwitch,
        subscription_sees_each_once_in_order: subscriptions::DoublesAtTheSwitch,
        subscription_sees_each_once_in_order: subscriptions::SwapsNeighbours,
        subscription_begins_where_it_is_told: subscriptions::IncludesWhereItBegins,
        subscription_begins_where_it_is_told: subscriptions::BeginsWhenItIsAskedFirst,
        caught_up_is_told_once_and_again_after_falling_behind: subscriptions::TellsOnceThatItCaughtUp,
        subscription_follows_one_stream: subscriptions::ForgetsTheStream,
        subscription_filters_by_query: subscriptions::ForgetsTheQuery,
        slow_subscriber_holds_a_bounded_amount_of_memory: subscriptions::CollectsBeforeItTells,
        slow_subscriber_does_not_slow_writers: subscriptions::WritersWaitForSubscribers::default(),
        many_subscribers_share_the_read_of_the_tail: subscriptions::ReadsForEachSubscriber,
        subscription_ends_with_its_provider: subscriptions::EndsWithoutAWord,
        subscription_ends_at_an_error: subscriptions::PassesOverErrors,
        subscription_goes_on_while_a_session_is_held: subscriptions::StopsWhereSomebodyHolds,
        dropped_subscription_costs_nothing: subscriptions::FollowsForGood,
        resubscribing_after_the_last_position_misses_nothing: subscriptions::SkipsWhereItGoesOn,
        subscription_sees_commits_across_providers: engine::SaysThatItIsNotShared,
            consumer_hands_out_each_event_at_least_once_in_stream_order: domain::LosesBufferedState,
        consumer_resumes_at_its_checkpoint: domain::LosesBufferedState,
        failing_event_is_parked_and_replayed: domain::KeepsWhatIsDeleted,
        stale_worker_cannot_move_the_checkpoint: domain::IgnoresRequirements,
        checkpoint_and_effects_are_one_commit: domain::IgnoresRequirements,
        projection_rebuild_swaps_at_once: namespaces::WritesOneByOne,
        wait_for_gives_read_your_writes: namespaces::WritesOneByOne,
            defect_01_message_without_sequence_number_is_kept: appends::LosesMessagesWithoutNumber,
        defect_02_failed_append_leaves_nothing: appends::AppendsOneByOne,
        defect_03_stale_session_is_fenced: holders::LetsStaleSessionsWrite::default(),
        defect_04_live_session_is_not_stolen_and_an_expired_one_is_replaced:
            holders::StealsLiveSessions::default(),
        defect_05_close_releases_only_its_own_session: holders::CloseReleasesWhoeverHolds::default(),
        defect_06_expiry_follows_the_injected_clock: sessions::ComparesWithTheSystemsClock,
        defect_07_read_after_the_first_snapshot_works: reads::NeedsAnEventAfterTheSnapshot,
        defect_08_fold_is_called_once_per_snapshot_with_its_events: reads::LeavesOutTheFirstEvent,
        defect_09_state_as_of_a_version_uses_no_newer_snapshot: reads::UsesTheNewestSnapshotAlways,
        defect_10_cleared_snapshot_leaves_the_list: snapshots::ListsClearedOnes::default(),
        defect_11_version_costs_the_same_however_long_the_stream: reads::ProbesForTheVersion,
        defect_12_idempotency_ids_are_checked: tries::KnowsMessageIdsOnly,
        defect_13_readers_need_no_session: reads::NeedsASession,
    }
}

#[test]
fn every_case_has_a_wrong_provider() {
    let cases: BTreeSet<_> = CASES.iter().map(Case::name).collect();
    let proved: BTreeSet<_> = wrong_providers().iter().map(|entry| entry.case).collect();
    assert_eq!(proved, cases);
}

#[test]
fn every_case_fails_on_its_wrong_provider() {
    keep_expected_panics_quiet();
    let mut passed = Vec::new();
    for Entry { case, name, wrong } in wrong_providers() {
        match failure(named(case), wrong) {
            Some(message) => println!("{case} fails on {name}: {message:.MOST_OF_A_MESSAGE$}"),
            None => passed.push(format!("{case} on {name}")),
        }
    }
    assert!(passed.is_empty(), "cases that cannot fail: {passed:#?}");
}

/// What fails on a wrong provider must not fail for the way in which it is run.
#[test]
fn no_case_fails_on_the_right_provider_where_the_wrong_ones_run() {
    keep_expected_panics_quiet();
    let failed = CASES
        .iter()
        .filter_map(|case| Some((case.name(), failure(*case, Arc::new(NothingWrong))?)));
    assert_eq!(failed.collect::<Vec<_>>(), []);
}

fn named(name: &str) -> Case {
    let case = CASES.iter().find(|case| case.name() == name);
    *case.expect("the table names cases only")
}

/// How `case` fails on what is `wrong`, or `None` when it passes.
///
/// One thread, so that a race ends the same in every run; and tokio's time stands still until nothing is left
/// to do, so that a case in which a call hangs ends at once, with its own time-out.
fn failure(case: Case, wrong: Arc<dyn Wrong>) -> Option<String> {
    let (ended, outcome) = mpsc::channel();
    let run = move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        let runtime = runtime.expect("a runtime can be built");
        let run = async { case.run(&Harness::new(wrong)).await };
        let result = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
        // Nobody waits any more when the watchdog was faster.
        let _ = ended.send(result.err().map(|panic| text(&*panic)));
    };
    thread::Builder::new()
        .name(WRONG_PROVIDER_THREAD.to_owned())
        .spawn(run)
        .expect("a thread can be started");
    let outcome = outcome.recv_timeout(WATCHDOG);
    outcome.unwrap_or_else(|_| {
        panic!(
            "{} goes round in circles: give it another wrong provider",
            case.name()
        )
    })
}

fn text(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(ToString::to_string);
    literal
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

fn keep_expected_panics_quiet() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(WRONG_PROVIDER_THREAD) {
            report(info);
        }
    }));
}
