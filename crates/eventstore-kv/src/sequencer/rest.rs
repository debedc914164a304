//! Waits of the sequencer: for a time, and until nobody has asked for anything for a while, when there is time for what was
//! put off.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore_abstractions::{Clock, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// For so long at least nobody asks for anything, and for twice as long at most.
const REST: Duration = Duration::from_millis(200);

/// A wait that is not begun anew for each request, which would cost more than the request.
#[derive(Debug)]
pub(super) struct Rest {
    clock: Arc<dyn Clock>,
    /// Whether somebody has asked for something since the wait began.
    is_disturbed: Arc<AtomicBool>,
    wait: Option<Wait>,
    /// Whether there is a runtime that can wait.
    is_possible: bool,
}

#[derive(Debug)]
struct Wait {
    /// A task of its own: a timer that the sequencer waits for would panic when the runtime ends before it.
    task: JoinHandle<()>,
    /// When it began.
    since: Timestamp,
}

impl Rest {
    /// `is_disturbed` is set by whoever asks for something.
    pub(super) fn new(clock: Arc<dyn Clock>, is_disturbed: Arc<AtomicBool>) -> Self {
        Self {
            clock,
            is_disturbed,
            wait: None,
            is_possible: true,
        }
    }

    /// Becomes ready when nobody has asked for anything for a while, by the store's clock as well; never once the runtime
    /// has ended.
    pub(super) async fn undisturbed(&mut self) {
        while self.is_possible {
            let wait = self.wait.get_or_insert_with(|| {
                self.is_disturbed.store(false, Ordering::Relaxed);
                Wait {
                    task: tokio::spawn(tokio::time::sleep(REST)),
                    since: self.clock.now(),
                }
            });
            self.is_possible = (&mut wait.task).await.is_ok();
            // Whoever has a clock of its own decides how time passes.
            let passed = self.clock.now().saturating_since(wait.since);
            let is_over = !self.is_disturbed.load(Ordering::Relaxed) && passed >= REST;
            self.wait = None;
            if self.is_possible && is_over {
                return;
            }
        }
        pending().await
    }
}

/// Becomes ready at a time, if there is one.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => {
            // A task of its own: a timer that is waited for here would panic when the runtime ends before the sequencer.
            let _ended = tokio::spawn(sleep_until(time)).await;
        }
        None => pending().await,
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.task.abort();
    }
}
