//! The conformance suite of a [`KeyValueStore`]: what the contract says, as cases that any backend can run.
//!
//! A backend's test file is a harness, which opens its store at one location, and one macro call:
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
//! eventstore_testkit::kv_conformance!(Memory);
//! ```
//!
//! Every case is a test of its own on a multi-threaded runtime. A case that a store's [`Capabilities`]
//! rule out says so on standard error. What the suite cannot show from inside the process stays with
//! each backend's own tests: that a durable commit survives a killed process ([`killed::check`]) and a power cut, and that nothing is acknowledged
//! once the directory was removed ([`removed::check`]).
//!
//! The functions in the modules below are the cases. They are public for their docs, which say what
//! each checks; the macro calls them.
//!
//! Each case is proved able to fail: this crate's own tests run it against a store that is wrong in
//! just that point.
//!
//! [`Capabilities`]: kv_core::Capabilities

mod cases;
pub mod close;
pub mod commits;
pub mod conditions;
pub mod drops;
pub mod killed;
pub mod limits;
pub mod model;
pub mod pages;
pub mod races;
pub mod reads;
pub mod removed;
pub mod reopen;
pub mod scans;
mod support;
pub mod views;
pub mod watches;

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kv_core::{KeyValueStore, Result};
use tokio::runtime::Builder;

pub use cases::CASES;

/// More threads than this machine may have cores, so that tasks are interrupted at any point.
const WORKER_THREADS: usize = 4;
/// Ends a case that hangs, far above what the slowest engine needs.
const CASE_TIMEOUT: Duration = Duration::from_secs(300);

/// Opens the store under test, always at the same location. A fresh harness has a fresh, empty
/// location.
///
/// See the [module](self) for an example.
#[async_trait]
pub trait KvHarness: Send + Sync {
    /// Opens the store.
    ///
    /// A durable engine opens what it had when it was last closed or dropped. Others may open an empty store.
    ///
    /// # Errors
    /// Those of the engine; [`kv_core::Error::InUse`] while the location is open and the engine is not
    /// shared.
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>>;
}

/// One promise of the contract, checked against the store that a harness opens.
///
/// ```
/// use eventstore_testkit::kv::{CASES, Case};
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

type RunCase = for<'a> fn(&'a dyn KvHarness) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Case {
    /// The fact that the case checks.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the fact.
    ///
    /// # Panics
    /// When the store does not keep it, or does not answer for five minutes.
    pub async fn run(&self, harness: &dyn KvHarness) {
        if tokio::time::timeout(CASE_TIMEOUT, (self.run)(harness))
            .await
            .is_err()
        {
            panic!("{} did not end within {CASE_TIMEOUT:?}: a call hangs", self.name);
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs the case `name` on a multi-threaded runtime with a harness made there: the body of each test that
/// [`kv_conformance!`](crate::kv_conformance) makes.
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
/// eventstore_testkit::kv::run("empty_value_is_a_value", || Memory);
/// ```
///
/// # Panics
/// When the case fails, or when no case has this name.
pub fn run<H: KvHarness>(name: &str, harness: impl FnOnce() -> H) {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("no key-value case is named {name}"));
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async { case.run(&harness()).await });
}

/// Makes one `#[test]` of every case of the key-value suite, in a module `kv_conformance`.
///
/// The argument is an expression that makes a fresh [`KvHarness`](crate::kv::KvHarness); it is
/// evaluated once per case. See [the module](crate::kv) for an example.
///
/// An engine behind a network adds `, if reachable()`: where that is not true a case is left out, and `reachable` is the
/// one to say so, or to panic where a server is required.
#[macro_export]
macro_rules! kv_conformance {
    ($harness:expr) => {
        $crate::kv_conformance!($harness, if true);
    };
    ($harness:expr, if $reachable:expr) => {
        $crate::__kv_cases! { __kv_tests { $harness, $reachable } }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __kv_tests {
    ({ $harness:expr, $reachable:expr } $($module:ident::$case:ident,)+) => {
        mod kv_conformance {
            #[allow(unused_imports)]
            use super::*;

            // One function for all tests: with a closure in each of them they would take minutes to compile.
            #[cfg(test)]
            fn fresh() -> impl $crate::kv::KvHarness {
                $harness
            }

            $(
                #[test]
                fn $case() {
                    if $reachable {
                        $crate::kv::run(stringify!($case), fresh);
                    }
                }
            )+
        }
    };
}

/// Says, even when the test runner captures output, that a case was left out.
fn skip(case: &str, reason: &str) {
    // The print macros are captured in a test that passes; the stream itself is not.
    let _ = writeln!(std::io::stderr(), "skipped {case}: {reason}");
}
