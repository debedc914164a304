//! Proves that each case of the key-value suite can fail: a store that is wrong in just that point fails it, and the
//! same store without the mistake passes it.

mod commits;
mod disk;
mod reads;
mod reopen;

use std::any::Any;
use std::collections::BTreeSet;
use std::panic;
use std::sync::Arc;
use std::thread;

use disk::{Disk, Flaw, NothingWrong, Shared, Wrong};
use eventstore_testkit::kv::{self, CASES, Case};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

// The right store passes every case.
eventstore_testkit::kv_conformance!(Disk::new(Arc::new(NothingWrong)));

/// Names the threads on which panics are expected, so that their messages can be kept quiet.
const WRONG_STORE_THREAD: &str = "wrong-store";

/// For each case a store that must fail it.
fn wrong_stores() -> Vec<(&'static str, Arc<dyn Wrong>)> {
    macro_rules! table {
        ($($case:ident: $wrong:expr,)+) => { vec![$((stringify!($case), Arc::new($wrong) as Arc<dyn Wrong>)),+] };
    }
    table! {
        get_of_absent_key_is_none: reads::AbsentIsEmpty,
        get_returns_what_was_put: commits::ForgetsWrites,
        put_replaces_the_value: commits::KeepsTheFirstValue,
        empty_value_is_a_value: reads::EmptyIsAbsent,
        any_bytes_round_trip: commits::KeysAreText,
        trailing_zeros_tell_keys_apart: commits::TrimsZeros,
        get_many_answers_in_the_order_asked: reads::SortsGetMany,
        read_after_commit_sees_it: reads::CachesFirstRead::default(),
        buffered_commit_is_visible_at_once: commits::HoldsBackBuffered::default(),
        scan_is_in_key_order: reads::SwapsNeighbours,
        reverse_scan_is_in_descending_order: reads::ReversesNothing,
        scan_includes_its_start: reads::ScanSkipsItsStart,
        scan_excludes_its_end: reads::ScanIncludesItsEnd,
        scan_without_end_reaches_the_last_key: reads::EndsAtTheLastByte,
        empty_and_inverted_ranges_have_no_entries: reads::SwapsInvertedBounds,
        prefix_scan_stays_in_its_prefix: reads::RoundsTheEndUp,
        deleted_key_is_in_no_scan: reads::ScanShowsTombstones,
        pages_add_up_to_the_range: reads::LosesAnEntryBetweenPages,
        paging_goes_on_where_it_stopped: reads::ContinuesAtAKeyItSawBefore,
        page_holds_at_most_max_items: reads::IgnoresMaxItems,
        page_holds_at_most_max_bytes: reads::IgnoresMaxBytes,
        first_entry_is_returned_whatever_its_size: reads::LeavesOutLargeEntries,
        every_write_of_a_batch_lands: commits::LosesTheLastWrite,
        puts_and_deletes_of_one_batch_all_apply: commits::IgnoresDeletes,
        delete_of_absent_key_is_applied: commits::RefusesToDeleteAbsentKeys,
        commit_leaves_other_keys_alone: commits::DeletesByPrefix,
        empty_batch_is_applied: commits::RefusesEmptyBatches,
        durable_commit_does_not_block_the_runtime: Flaw::BlocksInCommit,
        absent_holds_only_without_a_value: commits::AbsentAlwaysHolds,
        present_holds_only_with_a_value: commits::PresentAlwaysHolds,
        equals_holds_only_for_the_same_value: commits::EqualsComparesLengths,
        conditions_look_at_what_was_before: commits::ChecksAfterWriting,
        first_failed_condition_is_named: commits::NamesTheLastFailedCondition,
        failed_condition_writes_nothing: commits::AppliesPartOfAFailedBatch,
        conditions_without_writes_are_checked: commits::SkipsBatchesWithoutWrites,
        empty_key_is_invalid: commits::AcceptsEmptyKeys,
        longest_key_is_a_key: commits::RefusesTheLongestKey,
        key_over_the_limit_is_refused: commits::AcceptsLongerKeys,
        largest_value_is_kept: commits::CutsLargeValues,
        value_over_the_limit_is_refused: commits::AcceptsLargerValues,
        batch_of_most_bytes_is_applied: commits::LosesTheEndOfLargeBatches,
        batch_over_the_byte_limit_is_refused: commits::AcceptsLargerBatches,
        batch_of_most_operations_is_applied: commits::RefusesTheMostOperations,
        batch_over_the_operation_limit_is_refused: commits::AcceptsMoreOperations,
        racing_increments_lose_no_update: commits::ChecksOutsideTheCommit::default(),
        one_of_racing_creates_wins: commits::ChecksOutsideTheCommit::default(),
        racing_commits_of_different_keys_all_land: commits::LosesCommitsWhenBusy::default(),
        racing_transfers_keep_the_total: commits::ChecksTheFirstConditionOnly,
        page_never_shows_part_of_a_batch: reads::PageNotAtomic,
        get_many_never_goes_back_in_time: reads::GetManyReadsBackwards,
        reads_never_go_back_in_time: reads::SometimesStale::default(),
        watch_wakes_for_every_commit: Flaw::WakesOnce,
        watch_wakes_for_a_commit_between_calls: Flaw::ForgetsWakeUpsBetweenCalls,
        watch_wakes_for_commits_of_another_handle: Flaw::WakesForItsOwnCommitsAlone,
        watch_never_wakes_too_early: Flaw::WakesBeforeTheCommit,
        dropped_wait_loses_no_wake_up: Flaw::LosesTheWakeUpOfADroppedWait,
        watch_of_a_closed_store_says_closed: Flaw::WatchOutlivesTheStore,
        dropped_commit_is_whole_or_nothing: commits::AppliesInTwoSteps,
        calls_after_close_say_closed: Flaw::WorksAfterClose,
        closing_again_does_nothing: Flaw::SecondCloseFails,
        closed_store_opens_again: Flaw::StaysLockedAfterClose,
        acknowledged_commits_survive_a_racing_close: reopen::AcknowledgesBeforeWriting::default(),
        durable_commit_survives_close: reopen::LosesOnReopen,
        durable_commit_survives_drop: reopen::LosesOnDrop::default(),
        buffered_commit_survives_close: reopen::LosesBuffered::default(),
        durable_commit_keeps_buffered_ones_before_it: reopen::LosesBuffered::default(),
        deleted_keys_stay_deleted: reopen::ResurrectsDeleted::default(),
        second_open_is_refused_while_open: Flaw::OpensTwice,
        handles_of_a_shared_store_see_one_truth: commits::SharedWithoutConditions::default(),
        random_operations_match_a_sorted_map: commits::LosesEveryHundredthCommit::default(),
    }
}

#[test]
fn every_case_has_a_wrong_store() {
    let cases: BTreeSet<_> = CASES.iter().map(Case::name).collect();
    let proved: BTreeSet<_> = wrong_stores().into_iter().map(|(case, _)| case).collect();
    assert_eq!(proved, cases);
}

#[test]
fn every_case_fails_on_its_wrong_store() {
    keep_expected_panics_quiet();
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .thread_name(WRONG_STORE_THREAD)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let mut passed = Vec::new();
    // Cases that wait for what never comes wait together; the others come one by one, so that none is disturbed.
    let (waiting, others): (Vec<_>, Vec<_>) = wrong_stores().into_iter().partition(|(case, _)| waits(case));
    let start = |(name, wrong): (&'static str, Arc<dyn Wrong>)| {
        let case = CASES.iter().find(|case| case.name() == name);
        let case = *case.expect("the table names cases only");
        (
            name,
            Arc::clone(&wrong),
            runtime.spawn(async move { case.run(&Disk::new(wrong)).await }),
        )
    };
    let waiting: Vec<_> = waiting.into_iter().map(start).collect();
    for (name, wrong, task) in others.into_iter().map(start).chain(waiting) {
        match failure(&runtime, task) {
            Some(message) => println!("{name} fails on {wrong:?}: {message}"),
            None => passed.push(format!("{name} on {wrong:?}")),
        }
    }
    assert!(passed.is_empty(), "cases that cannot fail: {passed:#?}");
}

#[test]
fn right_shared_store_passes_the_cases_of_shared_stores() {
    for case in [
        "handles_of_a_shared_store_see_one_truth",
        "watch_wakes_for_commits_of_another_handle",
    ] {
        kv::run(case, || Disk::new(Arc::new(Shared)));
    }
}

/// Whether a case fails by waiting for a wake-up.
fn waits(case: &str) -> bool {
    case.starts_with("watch_") || case == "dropped_wait_loses_no_wake_up"
}

/// How a case failed, or `None` when it passed.
fn failure(runtime: &Runtime, task: JoinHandle<()>) -> Option<String> {
    let error = runtime.block_on(task).err()?;
    Some(text(&*error.into_panic()))
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
        if thread::current().name() != Some(WRONG_STORE_THREAD) {
            report(info);
        }
    }));
}
