//! What happened in a run, line by line.

use std::sync::Mutex;

use tokio::time::Instant;

use crate::fault::locked;

/// The lines of a run. Two runs of one plan have the same.
#[derive(Debug, Default)]
pub(super) struct Trace {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    /// The time that has passed in earlier runtimes.
    before_ms: u64,
    /// When the runtime of now was started.
    started: Option<Instant>,
}

impl Trace {
    /// Begins to count the time of a new runtime, from inside it, where that of the last one ended.
    pub(super) fn start(&self) {
        let mut lines = locked(&self.lines);
        lines.started = Some(Instant::now());
    }

    /// Keeps what time it is, before the runtime is dropped: outside of it time is real.
    pub(super) fn stop(&self) {
        let mut lines = locked(&self.lines);
        lines.before_ms = lines.now_ms();
        lines.started = None;
    }

    /// The simulated time since the run began.
    pub(super) fn now_ms(&self) -> u64 {
        locked(&self.lines).now_ms()
    }

    pub(super) fn add(&self, line: impl AsRef<str>) {
        let mut lines = locked(&self.lines);
        let now = lines.now_ms();
        lines.lines.push(format!("{now:>6} ms  {}", line.as_ref()));
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut locked(&self.lines).lines)
    }
}

impl Lines {
    fn now_ms(&self) -> u64 {
        let passed = self.started.map_or(0, |started| started.elapsed().as_millis());
        self.before_ms + u64::try_from(passed).unwrap_or(u64::MAX)
    }
}
