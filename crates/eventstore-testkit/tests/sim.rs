//! The simulation within the budget of the tests; `cargo xtask sim` runs more.

use eventstore_testkit::sim::{self, Bug};

/// Seeds of each run of the tests.
const SEEDS: u64 = 1_500;
/// Seeds within which every planted bug is found.
const SEEDS_PER_BUG: u64 = 2_000;

fn assert_holds(seed: u64) {
    if sim::run(seed, None).failure.is_some() {
        let failure = sim::minimise(seed, None);
        panic!("{}", failure.expect("a seed fails each time"));
    }
}

#[test]
fn every_seed_holds() {
    (0..SEEDS).for_each(assert_holds);
}

#[test]
fn seed_makes_the_same_run_each_time() {
    for seed in 0..100 {
        let (first, second) = (sim::run(seed, None), sim::run(seed, None));
        assert_eq!(first, second, "seed {seed}");
        assert!(!first.trace.is_empty() && first.operations > 0);
    }
    assert_ne!(sim::run(0, None).trace, sim::run(1, None).trace);
}

#[test]
fn seeds_reach_what_they_are_for() {
    let reports: Vec<_> = (0..400).map(|seed| sim::run(seed, None)).collect();
    let happens = |what: &str| {
        let lines = reports.iter().flat_map(|report| &report.trace);
        lines.filter(|line| line.contains(what)).count()
    };
    for what in [
        "the power was cut",
        "fails before it is applied",
        "fails after it was applied",
        "straggles: is applied",
        "get_many fails",
        "nobody knows",
        "gives up",
        "its clock jumps",
        "opens a session",
        "StoreSessionExpired",
        "StoreVersionMismatch",
        "AppendConditionFailed",
        "stores a snapshot",
        "reads stream",
        "a bit is flipped",
        "of database 1: append",
        "engine 3:",
        "deletes stream",
        "StreamDeleted",
        "replays what is parked: 1 handled",
        "discards what is parked: Some(true)",
        "sets the retention of 4",
        "dies",
        "Rebuild of 0: begun",
    ] {
        assert!(happens(what) >= 10, "{what}: {}", happens(what));
    }
    assert!(reports.iter().map(|report| report.calls).sum::<usize>() > 1_000);
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let found = (0..SEEDS_PER_BUG).any(|seed| sim::run(seed, Some(bug)).failure.is_some());
        assert!(found, "{bug} is not found within {SEEDS_PER_BUG} seeds");
    }
}

#[test]
fn failure_is_cut_down_and_says_how_to_replay_it() {
    let bug = Some(Bug::AckBeforeSync);
    let seed = (0..SEEDS_PER_BUG).find(|seed| sim::run(*seed, bug).failure.is_some());
    let seed = seed.expect("it is found");
    let failure = sim::minimise(seed, bug).expect("it fails again");
    assert!(
        failure.steps < failure.steps_before && failure.steps <= 6,
        "{failure}"
    );
    let text = failure.to_string();
    assert!(text.contains("--from") && text.contains("WRONG"), "{text}");
}
