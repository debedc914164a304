//! The list of cases: the only place that names them all.

use super::Case;
use super::{appends, expectations, reads, selections, sessions, snapshots, stale, waiting};

/// Hands every case, as `module::name,`, to the macro `$then`, after its arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __provider_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! {
            $arguments
            appends::append_returns_version_position_and_count,
            appends::events_are_numbered_in_the_order_appended,
            appends::empty_append_returns_the_current_version,
            appends::empty_append_checks_the_expectation,
            appends::append_is_one_commit,
            appends::buffered_append_is_read_at_once,
            appends::message_addressed_elsewhere_is_refused,
            appends::too_many_scopes_are_refused,
            appends::oversized_event_is_refused,
            appends::oversized_append_is_refused,
            appends::failed_append_writes_nothing,
            appends::databases_are_independent,
            appends::settings_are_validated,
            appends::settings_have_their_defaults,
            expectations::any_version_is_accepted,
            expectations::no_stream_accepts_an_empty_stream_only,
            expectations::stream_exists_accepts_streams_with_events_only,
            expectations::exact_accepts_that_version_only,
            expectations::session_append_checks_the_expectation,
            expectations::mismatch_names_stream_expected_and_actual,
            expectations::sequence_number_that_matches_is_accepted,
            expectations::sequence_number_must_match,
            reads::absent_stream_reads_as_empty,
            reads::metadata_round_trips,
            reads::payloads_round_trip,
            reads::largest_event_round_trips,
            reads::page_size_changes_nothing_but_the_pages,
            reads::read_holds_a_bounded_amount_of_memory,
            reads::read_ends_where_it_began,
            reads::read_sees_what_was_acknowledged,
            reads::version_is_read_in_constant_time,
            selections::read_begins_at_the_newest_snapshot,
            selections::read_without_snapshots_gives_every_event,
            selections::read_as_of_uses_the_newest_snapshot_not_above,
            selections::read_as_of_a_version_above_the_head_is_refused,
            selections::slice_is_inclusive_and_never_out_of_range,
            selections::backward_slice_is_the_slice_in_reverse,
            sessions::open_gives_an_empty_stream_at_version_zero,
            sessions::open_in_a_database_reaches_that_database,
            sessions::open_by_metadata_reaches_its_stream,
            sessions::open_options_are_validated,
            sessions::session_lasts_for_its_timeout,
            sessions::close_releases_the_stream,
            sessions::closing_again_does_nothing,
            sessions::dropped_store_releases_the_stream,
            sessions::renew_prolongs_the_session,
            sessions::renew_for_an_invalid_time_is_refused,
            sessions::fencing_tokens_grow,
            sessions::held_stream_refuses_writes_without_the_session,
            sessions::readers_need_no_session,
            sessions::session_holds_its_own_stream_only,
            sessions::stream_is_free_after_the_session,
            stale::closed_store_refuses_every_operation,
            stale::expired_session_refuses_every_operation,
            stale::overtaken_session_refuses_every_operation,
            stale::session_ends_to_the_moment,
            stale::stale_session_cannot_write,
            stale::expired_session_stays_expired,
            stale::close_of_a_stale_session_leaves_the_holder,
            stale::write_that_is_overtaken_is_fenced,
            stale::clock_jumps_are_safe,
            stale::clock_that_jumps_back_keeps_the_session,
            waiting::open_without_waiting_fails_at_once,
            waiting::open_waits_for_the_open_timeout_and_not_longer,
            waiting::open_store_failed_names_the_holder,
            waiting::waiting_open_gets_the_stream_on_close,
            waiting::waiting_open_gets_the_stream_on_expiry,
            waiting::renewed_session_is_not_taken_over,
            waiting::of_many_waiting_opens_each_gets_the_stream_once,
            snapshots::snapshot_round_trips,
            snapshots::snapshot_replaces_the_one_at_its_version,
            snapshots::snapshot_never_ahead,
            snapshots::snapshot_at_version_zero_is_invalid,
            snapshots::oversized_snapshot_is_refused,
            snapshots::snapshot_is_no_event,
            snapshots::snapshot_versions_are_ascending,
            snapshots::newest_snapshot_not_above_is_read,
            snapshots::cleared_snapshot_is_gone,
            snapshots::clearing_an_absent_snapshot_is_an_error,
            snapshots::clearing_all_leaves_none,
            snapshots::many_snapshots_are_listed_and_cleared,
            snapshots::snapshot_all_folds_state_and_events,
            snapshots::snapshot_all_reads_every_event_once,
            snapshots::snapshot_interval_of_zero_is_invalid,
            snapshots::failing_fold_keeps_what_was_taken,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __provider_registry {
    ({} $($module:ident::$case:ident,)+) => {
        /// Every case of the suite, in the order in which to fix them.
        pub const CASES: &[Case] = &[$(
            Case { name: stringify!($case), run: |harness| Box::pin($module::$case(harness)) },
        )+];
    };
}

crate::__provider_cases! { __provider_registry {} }
