//! What CI tests on real servers: what takes a minute or two there, of what `cargo xtask conformance` runs in full.

use crate::Outcome;
use crate::cargo::{has_nextest, run_with};

/// A test that misses its server fails.
const REQUIRED: &[(&str, &str)] = &[("EVENTSTORES_REQUIRE_SERVICES", "1")];

/// The invariants of the store, by the names of their cases.
const INVARIANTS: &[&str] = &[
    "acked_is_kept",
    "checkpoint_and_effects_are_one_commit",
    "clock_jumps_are_safe",
    "corruption_is_reported",
    "dropped_future_is_safe",
    "expected_version_is_linearizable",
    "failed_append_writes_nothing",
    "hostile_names_stay_apart",
    "idempotent_append_applies_once",
    "positions_have_no_gaps",
    "readers_need_no_session",
    "snapshot_never_ahead",
    "stale_session_cannot_write",
    "subscription_sees_each_once_in_order",
    "versions_have_no_gaps",
];

/// Both suites on PostgreSQL, the one of key-value stores and the invariants on etcd, and the walk-through of the guide. `cargo xtask services up` has
/// started both servers.
pub(crate) fn test() -> Outcome {
    if !has_nextest() {
        return Err(
            "tests on servers are chosen by cargo-nextest; cargo install cargo-nextest --locked".to_owned(),
        );
    }
    // As the other tests were built, so that nothing is built for this. A machine that is busy makes a server slow: what
    // passes when it is tried again is printed as flaky.
    let options = [
        "nextest",
        "run",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
        "--retries",
        "2",
    ];
    run_with(&[&options[..], &["-E", &chosen()]].concat(), REQUIRED)
}

fn chosen() -> String {
    let invariants = INVARIANTS.join("|");
    format!(
        "(binary(conformance) & (package(kv-postgres) + package(kv-etcd) + (package(eventstores) & (test(/^postgres::/) + \
         test(/^etcd::.*::({invariants}|.*_across_providers)$/))))) + (binary(tour) & test(/^store_moves_to_postgres/))"
    )
}
