//! Running the calls of a blocking engine without blocking the async runtime.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use kv_core::{Result, blocking};
//!
//! /// A handle on an engine whose calls wait for the disk.
//! #[derive(Clone)]
//! struct Engine(Arc<Mutex<u64>>);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let engine = Engine(Arc::new(Mutex::new(7)));
//! let handle = engine.clone();
//! blocking::commit(move || Ok(*handle.0.lock().unwrap() += 1)).await?;
//! let handle = engine.clone();
//! assert_eq!(blocking::read(move || Ok(*handle.0.lock().unwrap())).await?, 8);
//!
//! // The engine panics: nobody knows whether the commit happened.
//! let result = blocking::commit(|| -> Result<()> { panic!("a damaged page") }).await;
//! assert!(result.unwrap_err().is_outcome_unknown());
//! # Ok(())
//! # }
//! ```

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor, worker_index};
use tokio::task;

use crate::{BoxError, Error, Result};

/// A read that takes longer has waited for the disk. Reading a page from memory takes less, and a runtime can bear it.
const QUICK: Duration = Duration::from_micros(250);
/// So many quick reads in a row show that what is read is in memory.
const QUICK_READS: u32 = 8;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Says that nothing but the caller waits for the current thread, from now on: blocking calls that are made on it
/// run on it, and save two changes of threads each.
///
/// ```
/// use std::thread;
///
/// use kv_core::blocking;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let runtime = tokio::runtime::Handle::current();
/// let ran_on = thread::spawn(move || {
///     blocking::allow_on_this_thread();
///     runtime.block_on(blocking::commit(|| Ok(thread::current().id()))).unwrap() == thread::current().id()
/// });
/// assert!(ran_on.join().unwrap());
/// # });
/// ```
pub fn allow_on_this_thread() {
    MAY_BLOCK.set(true);
}

/// Whether the calling thread is one that a runtime can spare: a worker of a runtime with several threads, which hands its
/// other tasks to another thread while this one blocks.
///
/// ```
/// use kv_core::blocking;
///
/// assert!(!blocking::is_possible_here(), "there is no runtime");
/// ```
#[must_use]
pub fn is_possible_here() -> bool {
    // On the thread of a `LocalSet`, or of a runtime of one thread, other tasks would wait.
    worker_index().is_some()
        && Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Runs blocking calls that `future` makes on the threads on which it is polled, where that is possible; elsewhere they
/// run where they always do.
async fn in_place<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        if !is_possible_here() {
            return future.as_mut().poll(context);
        }
        task::block_in_place(|| {
            let _allowed = Allowed::on_this_thread();
            future.as_mut().poll(context)
        })
    })
    .await
}

/// Runs `future` on this thread as far as it comes without a wait for others, with the blocking calls that it makes where
/// that [is possible](is_possible_here). What is left of it becomes a task.
///
/// So a call that meets nobody changes no threads, and one that has to wait for another future of the same task does
/// not wait for ever.
///
/// ```
/// use std::thread;
///
/// use kv_core::blocking;
///
/// let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
/// let is_here = runtime.block_on(runtime.spawn(async {
///     let (tell, told) = tokio::sync::oneshot::channel();
///     let here = thread::current().id();
///     assert!(blocking::is_possible_here());
///     blocking::begin_here(async move {
///         let ran_on = blocking::commit(|| Ok(thread::current().id())).await;
///         let _ = tell.send(ran_on.unwrap() == here);
///     });
///     told.await.unwrap()
/// }));
/// assert!(is_here.unwrap());
/// ```
///
/// # Panics
/// Outside of a runtime, if `future` has to wait, and where `future` does.
pub fn begin_here(future: impl Future<Output = ()> + Send + 'static) {
    let mut future = Box::pin(in_place(future));
    let begun = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    if begun.is_pending() {
        task::spawn(future);
    }
}

/// Blocking calls run on this thread as long as it is there.
struct Allowed {
    before: bool,
}

impl Allowed {
    fn on_this_thread() -> Self {
        let before = MAY_BLOCK.replace(true);
        Self { before }
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        MAY_BLOCK.set(self.before);
    }
}

/// Where the reads of one store run: on the thread that asks as long as they are quick, because what they read is in
/// memory, and on tokio's blocking pool after one was not.
///
/// ```
/// use kv_core::blocking::Reads;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv_core::Result<()> {
/// let reads = Reads::new();
/// assert_eq!(reads.run(|| Ok(7)).await?, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Reads {
    /// How many reads in a row were quick.
    quick: AtomicU32,
}

impl Reads {
    /// Reads of which nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            quick: AtomicU32::new(0),
        }
    }

    /// Runs a read of a blocking engine.
    ///
    /// See the [type](Self) for an example.
    ///
    /// # Errors
    /// As [`read`].
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (elapsed, result) = if MAY_BLOCK.get() || self.are_quick() {
            timed(|| here(read))
        } else {
            match task::spawn_blocking(move || timed(read)).await {
                Ok((elapsed, result)) => (elapsed, Ok(result)),
                Err(error) => (Duration::MAX, Err(error.into())),
            }
        };
        self.note(elapsed);
        result.unwrap_or_else(|error| Err(stopped_in_a_read(error)))
    }

    fn are_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed) >= QUICK_READS
    }

    fn note(&self, elapsed: Duration) {
        if elapsed > QUICK {
            self.quick.store(0, Ordering::Relaxed);
        } else if !self.are_quick() {
            self.quick.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs a read of a blocking engine on tokio's blocking pool, or here where that is
/// [allowed](allow_on_this_thread).
///
/// See the [module](self) for an example.
///
/// # Errors
/// Those of `read`; a panic of the engine becomes [`Error::Unavailable`].
pub async fn read<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    off_the_runtime(read)
        .await
        .unwrap_or_else(|error| Err(stopped_in_a_read(error)))
}

/// Runs a commit of a blocking engine on tokio's blocking pool, or here where that is
/// [allowed](allow_on_this_thread). It runs to its end when the caller goes away.
///
/// See the [module](self) for an example.
///
/// # Errors
/// Those of `commit`; a panic of the engine becomes [`Error::OutcomeUnknown`].
pub async fn commit<T: Send + 'static>(commit: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    off_the_runtime(commit)
        .await
        .unwrap_or_else(|error| Err(Error::outcome_unknown("the engine stopped in a commit", error)))
}

/// Runs `call` where it may block. An error is its panic.
async fn off_the_runtime<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> std::result::Result<T, BoxError> {
    if MAY_BLOCK.get() {
        return here(call);
    }
    task::spawn_blocking(call).await.map_err(BoxError::from)
}

/// Runs `call` on this thread. What a panic leaves behind is the engine's to know: after one, engines refuse to go on.
fn here<T>(call: impl FnOnce() -> T) -> std::result::Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        BoxError::from(text.unwrap_or_else(|| "a panic".to_owned()))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a read took says where the next one runs, and nothing else"
)]
fn timed<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let result = call();
    (begun.elapsed(), result)
}

fn stopped_in_a_read(error: BoxError) -> Error {
    Error::unavailable("the engine stopped in a read", error)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn is_here(reads: &Reads) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let here = thread::current().id();
        runtime
            .block_on(reads.run(move || Ok(thread::current().id() == here)))
            .expect("runs")
    }

    #[test]
    fn reads_come_here_once_they_are_quick_and_leave_after_a_slow_one() {
        let reads = Reads::new();
        assert!(!is_here(&reads), "nothing is known yet");
        for _ in 0..QUICK_READS {
            reads.note(QUICK);
        }
        assert!(is_here(&reads));
        reads.note(QUICK + Duration::from_nanos(1));
        assert!(!is_here(&reads));
    }

    fn may_block_in_place(runtime: &tokio::runtime::Runtime) -> [bool; 2] {
        let asked = runtime.spawn(async {
            let within = in_place(async { MAY_BLOCK.get() }).await;
            [within, MAY_BLOCK.get()]
        });
        runtime.block_on(asked).expect("it does not panic")
    }

    #[test]
    fn calls_in_place_run_on_a_thread_that_can_be_spared_and_those_after_them_do_not() {
        let several = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        assert_eq!(may_block_in_place(&several.expect("a runtime")), [true, false]);
        let alone = tokio::runtime::Builder::new_current_thread().build();
        assert_eq!(may_block_in_place(&alone.expect("a runtime")), [false, false]);
        let own = thread::spawn(|| {
            allow_on_this_thread();
            drop(Allowed::on_this_thread());
            MAY_BLOCK.get()
        });
        assert!(own.join().expect("it does not panic"), "it was allowed before");
    }

    #[test]
    fn panic_on_a_thread_that_may_block_is_told() {
        let told = thread::spawn(|| {
            allow_on_this_thread();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let damaged = || -> Result<()> { panic!("a damaged page") };
                [
                    commit(damaged).await,
                    read(damaged).await,
                    Reads::new().run(damaged).await,
                ]
            })
        });
        let [commit, read, quick] = told.join().expect("the panics are caught");
        assert!(commit.expect_err("a panic").is_outcome_unknown());
        for error in [read, quick] {
            assert!(matches!(error.expect_err("a panic"), Error::Unavailable { .. }));
        }
    }
}
