//! The disk of a simulated engine: what is on it, what is not yet, and what is to go wrong.
//!
//! It outlives crashes. A cut of the power keeps what was synced, and of what was not a beginning, as the contract of
//! `kv-core` says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use kv_core::{Batch, Bytes, Capabilities, Condition, Outcome};
use tokio::sync::Notify;

use super::engine::Engine;
use super::plan::Death;
use super::trace::Trace;
use crate::fault::locked;

pub(super) type Entries = BTreeMap<Bytes, Bytes>;
type Writes = BTreeMap<Bytes, Option<Bytes>>;

/// How often things go wrong, each in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Operations that wait before they happen, and after.
    pub delay: u16,
    /// The longest of such waits, in milliseconds.
    pub longest_delay_ms: u64,
    /// Commits that fail and have done nothing.
    pub fail_before: u16,
    /// Commits that are applied, and whose callers are told that it is not known.
    pub fail_after: u16,
    /// Commits that go on after their callers were told that nobody knows.
    pub straggle: u16,
    /// Reads that fail.
    pub fail_read: u16,
}

/// In what the engine itself is wrong: these are planted, to see that a simulation finds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mistakes {
    /// A power cut may keep a part of a batch.
    pub(super) tears_batches: bool,
    /// A durable commit syncs its own batch, and none before it.
    pub(super) syncs_own_batch_only: bool,
}

/// What outlives a crash.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) state: Mutex<State>,
    pub(super) capabilities: Capabilities,
    pub(super) mistakes: Mistakes,
    pub(super) trace: Arc<Trace>,
    pub(super) cut: Notify,
    pub(super) died: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    durable: Entries,
    /// What readers see.
    pub(super) visible: Entries,
    /// Batches that readers see and that are not durable yet, with their numbers.
    unsynced: VecDeque<(u64, Writes)>,
    /// The number of the last batch that was applied.
    applied: u64,
    rng: Rng,
    faults: Faults,
    /// While it is calm nothing goes wrong.
    is_calm: bool,
    /// Operations until the power is cut.
    left: Option<u64>,
    pub(super) is_cut: bool,
    /// Who is to die, after how many more of its operations.
    dying: Option<Death>,
    dead: Option<usize>,
    operations: u64,
}

/// What becomes of one operation.
pub(super) struct Fate {
    pub(super) before: Duration,
    pub(super) after: Duration,
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Well,
    /// Nothing happens; the caller may be told so, or not.
    FailBefore {
        is_known: bool,
    },
    FailAfter,
    Straggle,
}

impl Disk {
    pub(super) fn new(
        seed: u64,
        capabilities: Capabilities,
        mistakes: Mistakes,
        trace: Arc<Trace>,
    ) -> Arc<Self> {
        let state = State {
            durable: Entries::new(),
            visible: Entries::new(),
            unsynced: VecDeque::new(),
            applied: 0,
            rng: Rng::with_seed(seed),
            faults: Faults::default(),
            is_calm: true,
            left: None,
            is_cut: false,
            dying: None,
            dead: None,
            operations: 0,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            capabilities,
            mistakes,
            trace,
            cut: Notify::new(),
            died: Notify::new(),
        })
    }

    /// The handle of a process.
    pub(super) fn engine(self: &Arc<Self>, process: usize) -> Arc<Engine> {
        let disk = Arc::clone(self);
        Arc::new(Engine::new(disk, process))
    }

    /// From now on things go wrong as `faults` say, and the power is cut after so many operations.
    pub(super) fn rough(&self, faults: Faults, cut_after: Option<u64>) {
        let mut state = locked(&self.state);
        (state.faults, state.left, state.is_calm) = (faults, cut_after, false);
    }

    /// Lets a process die, all by itself.
    pub(super) fn doom(&self, death: Option<Death>) {
        locked(&self.state).dying = death;
    }

    /// All processes have ended: the next ones are others.
    pub(super) fn bury(&self) {
        let mut state = locked(&self.state);
        (state.dying, state.dead) = (None, None);
    }

    /// The process that has died.
    pub(super) fn dead(&self) -> Option<usize> {
        locked(&self.state).dead
    }

    /// Returns when a process has died.
    pub(super) async fn when_dead(&self) -> usize {
        loop {
            self.died.notified().await;
            // What is left of an earlier death says nothing.
            if let Some(process) = self.dead() {
                return process;
            }
        }
    }

    /// Goes on as before it was calm.
    pub(super) fn resume(&self) {
        locked(&self.state).is_calm = false;
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm(&self) {
        locked(&self.state).is_calm = true;
    }

    /// Operations so far.
    pub(super) fn operations(&self) -> u64 {
        locked(&self.state).operations
    }

    /// Returns when the power is cut.
    pub(super) async fn when_cut(&self) {
        loop {
            self.cut.notified().await;
            // What is left of an earlier cut says nothing.
            if locked(&self.state).is_cut {
                return;
            }
        }
    }

    /// Forgets what was not durable, when all processes are gone.
    pub(super) fn lose(&self) {
        let mut state = locked(&self.state);
        let all = state.unsynced.len();
        let kept = state.rng.usize(..=all);
        let unsynced = std::mem::take(&mut state.unsynced);
        let mut unsynced = unsynced.into_iter().map(|(_, writes)| writes);
        for writes in unsynced.by_ref().take(kept) {
            write(&mut state.durable, writes);
        }
        if self.mistakes.tears_batches
            && let Some(torn) = unsynced.next()
        {
            let some = state.rng.usize(..=torn.len());
            write(&mut state.durable, torn.into_iter().take(some).collect());
        }
        state.visible = state.durable.clone();
        (state.is_cut, state.left, state.is_calm) = (false, None, true);
        drop(state);
        self.trace.add(format!(
            "the power was cut: {kept} of {all} unsynced batches are kept"
        ));
    }

    /// Makes everything durable, as a close does.
    pub(super) fn sync_all(&self) {
        let mut state = locked(&self.state);
        state.sync(u64::MAX, false);
    }

    /// Flips a bit of a stored value: the key, or `None` when nothing is stored.
    pub(super) fn flip_bit(&self) -> Option<Bytes> {
        let mut guard = locked(&self.state);
        let state = &mut *guard;
        let at = state.rng.usize(..state.durable.len().max(1));
        let (key, value) = state.durable.iter().nth(at)?;
        let (key, mut bytes) = (key.clone(), value.to_vec());
        if bytes.is_empty() {
            return None;
        }
        let (byte, bit) = (state.rng.usize(..bytes.len()), state.rng.u8(..8));
        bytes[byte] ^= 1 << bit;
        state.durable.insert(key.clone(), bytes.into());
        state.visible = state.durable.clone();
        Some(key)
    }

    /// All that is stored, to be put back.
    pub(super) fn image(&self) -> Entries {
        locked(&self.state).durable.clone()
    }

    pub(super) fn restore(&self, image: Entries) {
        let mut state = locked(&self.state);
        state.visible = image.clone();
        state.durable = image;
    }
}

impl State {
    /// Begins an operation of a process, unless that is gone.
    pub(super) fn enter(&mut self, process: usize, is_commit: bool) -> Option<Fate> {
        self.operations += 1;
        if !self.is_calm
            && let Some(left) = &mut self.left
        {
            *left = left.saturating_sub(1);
            self.is_cut |= *left == 0;
        }
        if !self.is_calm
            && let Some(death) = self.dying.as_mut().filter(|death| death.process == process)
        {
            death.after = death.after.saturating_sub(1);
            if death.after == 0 {
                self.dead = Some(process);
            }
        }
        if self.is_gone(process) {
            return None;
        }
        if self.is_calm {
            let (before, after, end) = (Duration::ZERO, Duration::ZERO, End::Well);
            return Some(Fate { before, after, end });
        }
        let faults = self.faults;
        let (before, after) = (self.delay(), self.delay());
        let end = if !is_commit {
            match self.happens(faults.fail_read) {
                true => End::FailBefore { is_known: true },
                false => End::Well,
            }
        } else if self.happens(faults.fail_before) {
            let is_known = self.rng.bool();
            End::FailBefore { is_known }
        } else if self.happens(faults.fail_after) {
            End::FailAfter
        } else if self.happens(faults.straggle) {
            End::Straggle
        } else {
            End::Well
        };
        Some(Fate { before, after, end })
    }

    /// Whether a process gets no answer any more, because it is not there.
    pub(super) fn is_gone(&self, process: usize) -> bool {
        self.is_cut || self.dead == Some(process)
    }

    fn happens(&mut self, in_a_thousand: u16) -> bool {
        self.rng.u16(..1_000) < in_a_thousand
    }

    fn delay(&mut self) -> Duration {
        if !self.happens(self.faults.delay) {
            return Duration::ZERO;
        }
        Duration::from_millis(self.rng.u64(..=self.faults.longest_delay_ms))
    }

    pub(super) fn delay_of_reads(&mut self) -> Duration {
        match self.is_calm {
            true => Duration::ZERO,
            false => self.delay(),
        }
    }

    /// Applies a batch, if its conditions hold; its number.
    pub(super) fn apply(&mut self, batch: Batch) -> (Outcome, u64) {
        let holds = |it: &Condition| it.holds(self.visible.get(it.key()).map(Bytes::as_ref));
        if let Some(condition) = batch.conditions().position(|it| !holds(it)) {
            return (Outcome::ConditionFailed { condition }, self.applied);
        }
        let (_, writes) = batch.into_parts();
        write(&mut self.visible, writes.clone());
        self.applied += 1;
        self.unsynced.push_back((self.applied, writes));
        (Outcome::Applied, self.applied)
    }

    /// Makes durable what was applied up to `number`.
    pub(super) fn sync(&mut self, number: u64, only_that: bool) {
        let mut kept = VecDeque::new();
        for (at, writes) in std::mem::take(&mut self.unsynced) {
            if at == number || (at < number && !only_that) {
                write(&mut self.durable, writes);
            } else {
                kept.push_back((at, writes));
            }
        }
        self.unsynced = kept;
    }
}

fn write(entries: &mut Entries, writes: Writes) {
    for (key, value) in writes {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    }
}
