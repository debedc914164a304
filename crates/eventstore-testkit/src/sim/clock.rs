//! The clock of a simulated process: it follows simulated time, and jumps.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Timestamp};
use tokio::sync::Notify;

use super::trace::Trace;
use crate::clock::ManualClock;
use crate::fault::locked;

/// A process may think that it is any time; all clocks go equally fast between their jumps.
#[derive(Debug)]
pub(super) struct SimClock {
    trace: Arc<Trace>,
    /// How far it was ahead of simulated time, in milliseconds, from jump to jump.
    ahead_ms: Mutex<Vec<i64>>,
    jumped: Notify,
}

impl SimClock {
    pub(super) fn new(trace: Arc<Trace>, ahead_ms: i64) -> Self {
        Self {
            trace,
            ahead_ms: Mutex::new(vec![ahead_ms]),
            jumped: Notify::new(),
        }
    }

    pub(super) fn jump(&self, ms: i64) {
        {
            let mut ahead_ms = locked(&self.ahead_ms);
            let now = ahead_ms.last().copied().unwrap_or_default();
            ahead_ms.push(now + ms);
        }
        self.jumped.notify_waiters();
    }

    fn at(&self, simulated_ms: u64, ahead_ms: Option<i64>) -> Timestamp {
        let ms = i64::try_from(simulated_ms).unwrap_or(i64::MAX);
        let ms = ms.saturating_add(ahead_ms.unwrap_or_default());
        Timestamp::from_micros(ManualClock::START.as_micros().saturating_add(ms * 1_000))
    }
}

/// All that a clock has shown since a moment.
#[derive(Debug)]
pub(super) struct Shown {
    clock: Arc<SimClock>,
    begun_ms: u64,
    /// The jumps before.
    jumps: usize,
}

impl Shown {
    pub(super) fn since_now(clock: &Arc<SimClock>) -> Self {
        Self {
            clock: Arc::clone(clock),
            begun_ms: clock.trace.now_ms(),
            jumps: locked(&clock.ahead_ms).len() - 1,
        }
    }

    pub(super) fn earliest(&self) -> Timestamp {
        let ahead_ms = locked(&self.clock.ahead_ms)[self.jumps..].iter().min().copied();
        self.clock.at(self.begun_ms, ahead_ms)
    }

    pub(super) fn latest(&self) -> Timestamp {
        let ahead_ms = locked(&self.clock.ahead_ms)[self.jumps..].iter().max().copied();
        self.clock.at(self.clock.trace.now_ms(), ahead_ms)
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = locked(&self.ahead_ms).last().copied();
        self.at(self.trace.now_ms(), ahead_ms)
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
