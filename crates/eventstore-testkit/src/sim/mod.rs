//! Deterministic simulation: the whole store on a simulated engine, on one thread, in simulated time.
//!
//! A seed makes a plan: one process or up to four, one database or two, clients that append, read, hold sessions, retry
//! and give up, somebody who follows, an engine that delays, fails and straggles, clocks that jump, the death of one of
//! several processes, and power cuts. The plan is run, what is told is checked against what must be true, and a seed
//! that fails is cut down to the few steps that make it fail.
//!
//! ```
//! use eventstore_testkit::sim;
//!
//! let report = sim::run(7, None);
//! assert_eq!(report.failure, None, "{}", report.trace.join("\n"));
//! assert_eq!(report.trace, sim::run(7, None).trace, "a seed makes the same run each time");
//! ```
//!
//! # What is checked
//! Whenever the processes start anew, and at the end, nothing goes on and everything is looked at:
//! - what was acknowledged is there, where it was told, once, and as a whole; after a power cut what was durable is;
//! - what was refused is not there, and what nobody knows is there as a whole or not at all;
//! - versions and positions have no gaps, and what was read before has not changed;
//! - expected versions, conditions of appends and idempotency ids were kept to;
//! - nobody has written in a session after somebody wrote past it, and no fencing token was given out twice;
//! - no snapshot is ahead of its stream, or is one that nobody stored;
//! - databases, whose streams have the same names, know nothing of each other; but a durable commit to one keeps what
//!   was told of the other before;
//! - what is kept of a stream with a retention, by count or by age, is there, and nothing else; what was deleted is not
//!   read again, and a stream that was deleted for good is never written to; a scavenge removes all that is not kept,
//!   and no more;
//! - each subscription saw each event once and in order, a projection, also one that is built anew, has counted each once,
//!   and a consumer has handled all of them, in the order of each stream, also those that failed, were parked and
//!   replayed, unless somebody has discarded them;
//! - the history of each stream is [linearizable](crate::linear);
//! - every call comes to an end;
//! - of a flipped bit the store tells, or nothing follows from it.
//!
//! # What a seed depends on
//! On nothing beside it: there is one thread, ids and times come from the seed, and of the runtime nothing is used that
//! chooses at random. So that a wait with several waiters, which the runtime wakes in any order, does not matter, each
//! process has one who follows its log.

mod age;
mod bugs;
mod checks;
mod client;
mod clock;
mod consumers;
mod disk;
mod engine;
mod followers;
mod life;
mod minimise;
mod plan;
mod run;
mod trace;
mod world;

use std::fmt;

pub use bugs::Bug;
pub use disk::Faults;
use plan::Plan;

/// What came of a run.
///
/// See [the module](self) for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was done and told, line by line.
    pub trace: Vec<String>,
    /// What must be true and was not.
    pub failure: Option<String>,
    /// Operations of the engine.
    pub operations: u64,
    /// Calls whose histories were found linearizable.
    pub calls: usize,
    /// How often the power was cut.
    pub cuts: usize,
}

/// A seed that fails, cut down.
///
/// Its text is the seed, what is wrong, and the trace of the shortest run that was found to fail.
///
/// ```
/// use eventstore_testkit::sim::{self, Bug};
///
/// let bug = Some(Bug::IdempotencyForgotten);
/// let seed = (0..1_000).find(|seed| sim::run(*seed, bug).failure.is_some()).expect("it is found");
/// let failure = sim::minimise(seed, bug).expect("it fails again");
/// assert!(failure.steps <= failure.steps_before);
/// println!("{failure}");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The steps of clients in the run of the seed, and how many starts there are.
    pub steps_before: usize,
    /// The same of the shortest run that was found to fail.
    pub steps: usize,
    /// What is wrong in the shortest run.
    pub what: String,
    /// Its trace.
    pub trace: Vec<String>,
}

/// Runs what a seed makes, with a planted bug or without.
///
/// See [the module](self) for an example.
#[must_use]
pub fn run(seed: u64, bug: Option<Bug>) -> Report {
    run::run(&Plan::of(seed, bug))
}

/// Cuts a seed that fails down to the steps that make it fail; `None` when it does not fail.
///
/// See [`Failure`] for an example.
#[must_use]
pub fn minimise(seed: u64, bug: Option<Bug>) -> Option<Failure> {
    let plan = Plan::of(seed, bug);
    let (shortest, report) = minimise::minimise(&plan)?;
    Some(Failure {
        seed,
        steps_before: plan.size(),
        steps: shortest.size(),
        what: report.failure.unwrap_or_default(),
        trace: report.trace,
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            steps_before,
            steps,
            what,
            trace,
        } = self;
        writeln!(f, "seed {seed} fails: {what}")?;
        writeln!(f, "replay with cargo xtask sim --seeds 1 --from {seed}")?;
        writeln!(f, "cut down from {steps_before} steps to {steps}:")?;
        trace.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
