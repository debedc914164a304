//! The conformance suite of an [`EventStoreProvider`]: what the contract says, as cases that any
//! backend can run.
//!
//! A backend's test file is a harness, the same as for the key-value suite, and one macro call:
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventstore_testkit::kv::KvHarness;
//! use kv_core::{KeyValueStore, Result};
//!
//! /// In real life this holds a temporary directory; each case gets a fresh harness.
//! struct Memory;
//!
//! #[async_trait::async_trait]
//! impl KvHarness for Memory {
//!     async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
//!         Ok(Arc::new(kv_memory::Store::new()))
//!     }
//! }
//!
//! eventstore_testkit::provider_conformance!(Memory);
//! ```
//!
//! The provider that is tested is `eventstore_kv`'s over that engine; another one implements
//! [`ProviderHarness`]. Between them the suite places a store that counts and injects faults, and a
//! clock that it moves by hand: no case waits for real time. What the suite cannot show from inside the
//! process stays with each backend's crash tests.
//!
//! The functions in the modules below are the cases. They are public for their docs, which say what
//! each checks; the macro calls them.
//!
//! # What is where
//! The invariants of the design are cases of their own names. Some have more, which begin with the
//! name: `dropped_future_is_safe_…` in [`drops`], `…_across_providers` in [`shared`].
//!
//! | time and clocks | case |
//! |---|---|
//! | comes from the injected clock alone | [`defect_06_expiry_follows_the_injected_clock`] |
//! | jumps neither lose data nor give two sessions a token | [`clock_jumps_are_safe`], [`clock_jumps_are_safe_across_providers`] |
//!
//! [`defect_06_expiry_follows_the_injected_clock`]: defects::defect_06_expiry_follows_the_injected_clock
//! [`clock_jumps_are_safe`]: stale::clock_jumps_are_safe
//! [`clock_jumps_are_safe_across_providers`]: shared::clock_jumps_are_safe_across_providers
//!
//! | error | case that ends with it |
//! |---|---|
//! | [`StoreVersionMismatch`](Error::StoreVersionMismatch) | [`expectations::mismatch_names_stream_expected_and_actual`] |
//! | [`StoreNotOpen`](Error::StoreNotOpen) | [`stale::closed_store_refuses_every_operation`] |
//! | [`InvalidStoreSession`](Error::InvalidStoreSession) | [`stale::overtaken_session_refuses_every_operation`] |
//! | [`StoreSessionExpired`](Error::StoreSessionExpired) | [`stale::expired_session_refuses_every_operation`] |
//! | [`OpenStoreFailed`](Error::OpenStoreFailed) | [`waiting::open_store_failed_names_the_holder`] |
//! | [`StreamHeld`](Error::StreamHeld) | [`sessions::held_stream_refuses_writes_without_the_session`] |
//! | [`DuplicateIdempotencyId`](Error::DuplicateIdempotencyId) | [`idempotency::id_with_other_content_is_refused`] |
//! | [`IdempotencyIdNotFound`](Error::IdempotencyIdNotFound) | [`idempotency::absent_id_is_not_found`] |
//! | [`SnapshotVersionNotFound`](Error::SnapshotVersionNotFound) | [`snapshots::clearing_an_absent_snapshot_is_an_error`] |
//! | [`VersionNotFound`](Error::VersionNotFound) | [`selections::read_as_of_a_version_above_the_head_is_refused`] |
//! | [`StreamDeleted`](Error::StreamDeleted) | [`deletions::hard_deleted_stream_refuses_every_write`] |
//! | [`AppendConditionFailed`](Error::AppendConditionFailed) | [`conditions::failed_condition_is_named_and_writes_nothing`] |
//! | [`OutcomeUnknown`](Error::OutcomeUnknown) | [`faults::write_after_an_unknown_outcome_follows_what_is_stored`] |
//! | [`Unavailable`](Error::Unavailable) | [`faults::failed_append_writes_nothing_when_its_commit_fails`] |
//! | [`Corrupt`](Error::Corrupt) | [`corruption::corruption_is_reported`] |
//!
//! The acceptance figures are in [`acceptance`].
//!
//! Each case is proved able to fail: this crate's own tests run it against a provider, or an engine
//! beneath the right provider, that is wrong in just that point.

pub mod acceptance;
pub mod appends;
mod bench;
mod cases;
pub mod conditions;
pub mod consumers;
pub mod corruption;
pub mod defects;
pub mod deletions;
pub mod drops;
pub mod expectations;
pub mod faults;
mod harness;
pub mod idempotency;
pub mod life;
pub mod life_model;
pub mod log;
mod meter;
pub mod model;
pub mod multi;
pub mod names;
pub mod namespaces;
pub mod projections;
pub mod queries;
pub mod races;
pub mod reads;
pub mod reopen;
pub mod scavenge_races;
pub mod scavenges;
pub mod selections;
pub mod sessions;
pub mod shared;
mod shared_engine;
pub mod snapshots;
pub mod stale;
pub mod subscriptions;
pub mod waiting;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

#[cfg(doc)]
use eventstore_abstractions::{Error, EventStoreProvider};
use tokio::runtime::Builder;

pub use cases::CASES;
pub use harness::ProviderHarness;

/// More threads than a test machine may have cores, so that tasks are interrupted at any point.
const WORKER_THREADS: usize = 4;
/// Ends a case that hangs, far above what the slowest engine needs.
const CASE_TIMEOUT: Duration = Duration::from_secs(300);

/// One promise of the contract, checked against the provider that a harness opens.
///
/// ```
/// use eventstore_testkit::provider::{CASES, Case};
///
/// // The suite as a list: of what a backend promises, or for a runner other than the macro.
/// let names = CASES.iter().map(Case::name);
/// assert!(names.len() > 50);
/// ```
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: RunCase,
}

type RunCase = for<'a> fn(&'a dyn ProviderHarness) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Case {
    /// The fact that the case checks.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the fact.
    ///
    /// # Panics
    /// When the provider does not keep it, or does not answer for five minutes.
    pub async fn run(&self, harness: &dyn ProviderHarness) {
        if tokio::time::timeout(CASE_TIMEOUT, (self.run)(harness))
            .await
            .is_err()
        {
            panic!("{} did not end within {CASE_TIMEOUT:?}: a call hangs", self.name);
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs the case `name` on a multi-threaded runtime with a harness made there: the body of each
/// test that [`provider_conformance!`](crate::provider_conformance) makes.
///
/// ```
/// # use std::sync::Arc;
/// # struct Memory;
/// # #[async_trait::async_trait]
/// # impl eventstore_testkit::kv::KvHarness for Memory {
/// #     async fn open(&self) -> kv_core::Result<Arc<dyn kv_core::KeyValueStore>> {
/// #         Ok(Arc::new(kv_memory::Store::new()))
/// #     }
/// # }
/// // Memory is a harness.
/// eventstore_testkit::provider::run("append_is_one_commit", || Memory);
/// ```
///
/// # Panics
/// When the case fails, or when no case has this name.
pub fn run<H: ProviderHarness>(name: &str, harness: impl FnOnce() -> H) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("no provider case is named {name}"));
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async { case.run(&harness()).await });
}

/// Makes one `#[test]` of every case of the provider suite, in a module `provider_conformance`.
///
/// The argument is an expression that makes a fresh [`KvHarness`](crate::kv::KvHarness) or
/// [`ProviderHarness`](crate::provider::ProviderHarness); it is evaluated once per case. See
/// [the module](crate::provider) for an example.
///
/// An engine behind a network adds `, if reachable()`: where that is not true a case is left out, and `reachable` is the
/// one to say so, or to panic where a server is required.
#[macro_export]
macro_rules! provider_conformance {
    ($harness:expr) => {
        $crate::provider_conformance!($harness, if true);
    };
    ($harness:expr, if $reachable:expr) => {
        $crate::__provider_cases! { __provider_tests { $harness, $reachable } }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __provider_tests {
    ({ $harness:expr, $reachable:expr } $($module:ident::$case:ident,)+) => {
        mod provider_conformance {
            #[allow(unused_imports)]
            use super::*;

            // One function for all tests: with a closure in each of them they would take minutes to compile.
            #[cfg(test)]
            fn fresh() -> impl $crate::provider::ProviderHarness {
                $harness
            }

            $(
                #[test]
                fn $case() {
                    if $reachable {
                        $crate::provider::run(stringify!($case), fresh);
                    }
                }
            )+
        }
    };
}

#[cfg(test)]
mod tests {
    use super::CASES;

    /// The invariants of the design that hold so far, by their names there.
    const INVARIANTS: [&str; 14] = [
        "acked_is_kept",
        "versions_have_no_gaps",
        "positions_have_no_gaps",
        "expected_version_is_linearizable",
        "failed_append_writes_nothing",
        "idempotent_append_applies_once",
        "snapshot_never_ahead",
        "stale_session_cannot_write",
        "readers_need_no_session",
        "corruption_is_reported",
        "subscription_sees_each_once_in_order",
        "checkpoint_and_effects_are_one_commit",
        "dropped_future_is_safe",
        "hostile_names_stay_apart",
    ];

    #[test]
    fn every_invariant_is_a_case_of_its_name() {
        for invariant in INVARIANTS {
            assert!(
                CASES.iter().any(|case| case.name() == invariant),
                "{invariant} is no case"
            );
        }
    }

    #[test]
    fn names_of_cases_are_unique() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
    }
}
