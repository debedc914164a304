//! Waits of calls that may be made on any thread.
//!
//! A store has threads of its own, which make calls on the application's runtime and may be in one when that ends. A timer
//! that such a thread waits for would panic then, so these timers are tasks, which end with their runtime.
//!
//! ```
//! use std::future::pending;
//! use std::time::Duration;
//!
//! use kv_core::waits::{slept, within};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let soon = Duration::from_millis(5);
//! assert!(slept(soon).await);
//! assert_eq!(within(soon, async { 7 }).await, Some(7));
//! assert_eq!(within(soon, pending::<u64>()).await, None);
//! # }
//! ```

use std::future::Future;
use std::time::Duration;

use tokio::select;
use tokio::task::JoinSet;

/// Waits for so long. `false` when the runtime ends before: nothing can be waited for any more, nor asked.
///
/// See the [module](self) for an example.
///
/// # Panics
/// Outside of a tokio runtime with a clock.
pub async fn slept(duration: Duration) -> bool {
    matches!(timer(duration).join_next().await, Some(Ok(())))
}

/// What `call` gives; `None` when it takes longer than `limit`, or the runtime ends.
///
/// See the [module](self) for an example.
///
/// # Panics
/// Outside of a tokio runtime with a clock.
pub async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut timer = timer(limit);
    select! {
        biased;
        given = call => Some(given),
        _ = timer.join_next() => None,
    }
}

/// What `call` gives as a task of the runtime, with timers of its own; `None` when the runtime ends before. It ends when
/// nobody waits for it any more.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(kv_core::waits::as_task(async { 7 }).await, Some(7));
/// # }
/// ```
///
/// # Panics
/// Outside of a tokio runtime. A panic of `call` gives `None`.
pub async fn as_task<T: Send + 'static>(call: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let mut task = JoinSet::new();
    task.spawn(call);
    task.join_next().await?.ok()
}

/// A set, because it ends its task when it is dropped.
fn timer(duration: Duration) -> JoinSet<()> {
    let mut timer = JoinSet::new();
    timer.spawn(tokio::time::sleep(duration));
    timer
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::runtime::Builder;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// What a thread gets that makes `call` while the runtime that it makes it on has ended.
    fn after_the_end<T>(call: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        drop(runtime);
        handle.block_on(call)
    }

    #[test]
    fn waits_end_with_their_runtime() {
        assert_eq!(after_the_end(within(HOUR, pending::<()>())), None);
        assert!(!after_the_end(slept(HOUR)));
        assert_eq!(after_the_end(as_task(async { 7 })), None);
    }

    #[test]
    fn call_within_its_time_gives_its_answer() {
        let runtime = Builder::new_current_thread().enable_all().build();
        let given = runtime.expect("a runtime").block_on(within(HOUR, async { 7 }));
        assert_eq!(given, Some(7));
    }
}
