//! Finds out when nobody has asked for anything for a while: then there is time for what was put off.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{Clock, Timestamp};
use tokio::task::JoinHandle;

/// For so long at least nobody asks for anything, and for twice as long at most.
const REST: Duration = Duration::from_millis(200);

/// A wait that is not begun anew for each request, which would cost more than the request.
#[derive(Debug)]
pub(super) struct Rest {
    clock: Arc<dyn Clock>,
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
    is_disturbed: bool,
}

impl Rest {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            wait: None,
            is_possible: true,
        }
    }

    /// Somebody has asked for something.
    pub(super) fn disturb(&mut self) {
        if let Some(wait) = &mut self.wait {
            wait.is_disturbed = true;
        }
    }

    /// Becomes ready when nobody has asked for anything for a while, by the store's clock as well; never once the runtime
    /// has ended.
    pub(super) async fn undisturbed(&mut self) {
        while self.is_possible {
            let wait = self.wait.get_or_insert_with(|| Wait {
                task: tokio::spawn(tokio::time::sleep(REST)),
                since: self.clock.now(),
                is_disturbed: false,
            });
            self.is_possible = (&mut wait.task).await.is_ok();
            // Whoever has a clock of its own decides how time passes.
            let passed = self.clock.now().saturating_since(wait.since);
            let is_over = !wait.is_disturbed && passed >= REST;
            self.wait = None;
            if self.is_possible && is_over {
                return;
            }
        }
        pending().await
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.task.abort();
    }
}
