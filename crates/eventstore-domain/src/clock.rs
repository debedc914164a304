//! The system's clock: what is used unless another is injected. `eventstore-kv` has the same; neither crate may name the
//! other, and the abstractions below both have no timer.

use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Timestamp};

/// Longest sleep before the clock is looked at again: a clock that is set forward is noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The system's clock; sleeping uses tokio's timer.
#[derive(Debug)]
pub(crate) struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let left = deadline.saturating_since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}
