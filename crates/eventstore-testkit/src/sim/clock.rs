//! The clock of a simulated process: it follows simulated time, and jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Timestamp};
use tokio::sync::Notify;

use super::trace::Trace;
use crate::clock::ManualClock;

/// A process may think that it is any time; all clocks go equally fast between their jumps.
#[derive(Debug)]
pub(super) struct SimClock {
    trace: Arc<Trace>,
    /// How far it is ahead of simulated time, in milliseconds.
    ahead_ms: AtomicI64,
    jumped: Notify,
}

impl SimClock {
    pub(super) fn new(trace: Arc<Trace>, ahead_ms: i64) -> Self {
        Self {
            trace,
            ahead_ms: AtomicI64::new(ahead_ms),
            jumped: Notify::new(),
        }
    }

    pub(super) fn jump(&self, ms: i64) {
        self.ahead_ms.fetch_add(ms, Ordering::SeqCst);
        self.jumped.notify_waiters();
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let ms = i64::try_from(self.trace.now_ms()).unwrap_or(i64::MAX);
        let ms = ms.saturating_add(self.ahead_ms.load(Ordering::SeqCst));
        Timestamp::from_micros(ManualClock::START.as_micros().saturating_add(ms * 1_000))
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let mut jumped = std::pin::pin!(self.jumped.notified());
            jumped.as_mut().enable();
            let left = deadline.saturating_since(self.now());
            if left.is_zero() {
                return;
            }
            // Timers have milliseconds: a deadline in between is reached with the next one.
            let left = left.max(Duration::from_millis(1));
            tokio::select! {
                biased;
                () = jumped => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}
