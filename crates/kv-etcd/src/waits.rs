//! Waits of calls that may be made on any thread.
//!
//! The store above has threads of its own, which make calls on the application's runtime and may be in one when that ends. A
//! timer that such a thread waits for would panic then, so timers are tasks, which end with their runtime.

use std::future::Future;
use std::time::Duration;

use tokio::select;
use tokio::task::JoinSet;

/// Waits for so long. `false` when the runtime ends before: nothing can be waited for any more, nor asked.
pub(crate) async fn slept(duration: Duration) -> bool {
    matches!(timer(duration).join_next().await, Some(Ok(())))
}

/// What `call` gives; `None` when it takes longer than `limit`, or the runtime ends.
pub(crate) async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut timer = timer(limit);
    select! {
        biased;
        given = call => Some(given),
        _ = timer.join_next() => None,
    }
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
    use crate::client::Client;
    use crate::messages::{RangeRequest, RangeResponse, call};
    use crate::options::Options;

    const HOUR: Duration = Duration::from_secs(3600);

    /// What a thread gets that makes `call` while the runtime that it makes it on has ended.
    fn after_the_end<T>(call: impl Future<Output = T>) -> T {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let handle = runtime.handle().clone();
        drop(runtime);
        handle.block_on(call)
    }

    #[test]
    fn waits_end_with_their_runtime() {
        assert_eq!(after_the_end(within(HOUR, pending::<()>())), None);
        assert!(!after_the_end(slept(HOUR)));
    }

    #[test]
    fn call_within_its_time_gives_its_answer() {
        let runtime = Builder::new_current_thread().enable_all().build();
        let given = runtime.expect("a runtime").block_on(within(HOUR, async { 7 }));
        assert_eq!(given, Some(7));
    }

    #[test]
    fn call_on_a_runtime_that_has_ended_is_an_error() {
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let nobody_listens = Options::new(["127.0.0.1:1"]);
        let client = runtime.block_on(Client::new(&nobody_listens)).expect("a client");
        let handle = runtime.handle().clone();
        drop(runtime);
        let read = client.read::<_, RangeResponse>(call::RANGE, RangeRequest::default());
        assert!(handle.block_on(read).is_err());
    }
}
