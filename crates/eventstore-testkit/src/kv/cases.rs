//! The list of cases: the only place that names them all.

use super::Case;
use super::{
    close, commits, conditions, drops, limits, model, pages, races, reads, reopen, scans, views, watches,
};

/// Hands every case, as `module::name,`, to the macro `$then`, after its arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __kv_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! {
            $arguments
            reads::get_of_absent_key_is_none,
            reads::get_returns_what_was_put,
            reads::put_replaces_the_value,
            reads::empty_value_is_a_value,
            reads::any_bytes_round_trip,
            reads::trailing_zeros_tell_keys_apart,
            reads::get_many_answers_in_the_order_asked,
            reads::read_after_commit_sees_it,
            reads::buffered_commit_is_visible_at_once,
            scans::scan_is_in_key_order,
            scans::reverse_scan_is_in_descending_order,
            scans::scan_includes_its_start,
            scans::scan_excludes_its_end,
            scans::scan_without_end_reaches_the_last_key,
            scans::empty_and_inverted_ranges_have_no_entries,
            scans::prefix_scan_stays_in_its_prefix,
            scans::deleted_key_is_in_no_scan,
            pages::pages_add_up_to_the_range,
            pages::paging_goes_on_where_it_stopped,
            pages::page_holds_at_most_max_items,
            pages::page_holds_at_most_max_bytes,
            pages::first_entry_is_returned_whatever_its_size,
            commits::every_write_of_a_batch_lands,
            commits::puts_and_deletes_of_one_batch_all_apply,
            commits::delete_of_absent_key_is_applied,
            commits::commit_leaves_other_keys_alone,
            commits::empty_batch_is_applied,
            commits::durable_commit_does_not_block_the_runtime,
            conditions::absent_holds_only_without_a_value,
            conditions::present_holds_only_with_a_value,
            conditions::equals_holds_only_for_the_same_value,
            conditions::conditions_look_at_what_was_before,
            conditions::first_failed_condition_is_named,
            conditions::failed_condition_writes_nothing,
            conditions::conditions_without_writes_are_checked,
            limits::empty_key_is_invalid,
            limits::longest_key_is_a_key,
            limits::key_over_the_limit_is_refused,
            limits::largest_value_is_kept,
            limits::value_over_the_limit_is_refused,
            limits::batch_of_most_bytes_is_applied,
            limits::batch_over_the_byte_limit_is_refused,
            limits::batch_of_most_operations_is_applied,
            limits::batch_over_the_operation_limit_is_refused,
            races::racing_increments_lose_no_update,
            races::one_of_racing_creates_wins,
            races::racing_commits_of_different_keys_all_land,
            races::racing_transfers_keep_the_total,
            views::page_never_shows_part_of_a_batch,
            views::get_many_never_goes_back_in_time,
            views::reads_never_go_back_in_time,
            watches::watch_wakes_for_every_commit,
            watches::watch_wakes_for_a_commit_between_calls,
            watches::watch_wakes_for_commits_of_another_handle,
            watches::watch_never_wakes_too_early,
            watches::dropped_wait_loses_no_wake_up,
            watches::watch_of_a_closed_store_says_closed,
            drops::dropped_commit_is_whole_or_nothing,
            close::calls_after_close_say_closed,
            close::closing_again_does_nothing,
            close::closed_store_opens_again,
            close::acknowledged_commits_survive_a_racing_close,
            reopen::durable_commit_survives_close,
            reopen::durable_commit_survives_drop,
            reopen::buffered_commit_survives_close,
            reopen::durable_commit_keeps_buffered_ones_before_it,
            reopen::deleted_keys_stay_deleted,
            reopen::second_open_is_refused_while_open,
            reopen::handles_of_a_shared_store_see_one_truth,
            model::random_operations_match_a_sorted_map,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kv_registry {
    ({} $($module:ident::$case:ident,)+) => {
        /// Every case of the suite, in the order in which to fix them.
        ///
        /// See [`Case`] for an example.
        pub const CASES: &[Case] = &[$(
            Case { name: stringify!($case), run: |harness| Box::pin($module::$case(harness)) },
        )+];
    };
}

crate::__kv_cases! { __kv_registry {} }
