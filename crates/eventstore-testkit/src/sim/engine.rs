//! A simulated engine: what is on its disk, what is not yet, and all that may go wrong in between.
//!
//! A [`Disk`] outlives crashes; an [`Engine`] is one process's handle of it. Every operation may wait before and after
//! it happens, so that operations that overlap end in any order; it may fail before it happens, or after; a commit may
//! go on when its caller was told that nobody knows its outcome; and the power may be cut at any of them. A cut keeps
//! what was synced, and of what was not a beginning, as the contract of `kv-core` says.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use kv_core::{Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::plan::Death;
use super::trace::Trace;
use crate::fault::locked;

type Entries = BTreeMap<Bytes, Bytes>;
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
    state: Mutex<State>,
    capabilities: Capabilities,
    mistakes: Mistakes,
    trace: Arc<Trace>,
    cut: Notify,
    died: Notify,
}

#[derive(Debug)]
struct State {
    durable: Entries,
    /// What readers see.
    visible: Entries,
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
    is_cut: bool,
    /// Who is to die, after how many more of its operations.
    dying: Option<Death>,
    dead: Option<usize>,
    operations: u64,
}

/// What becomes of one operation.
struct Fate {
    before: Duration,
    after: Duration,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
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
        Arc::new(Engine { disk, process })
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
    fn enter(&mut self, process: usize, is_commit: bool) -> Option<Fate> {
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
    fn is_gone(&self, process: usize) -> bool {
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

    /// Makes durable what was applied up to `number`.
    fn sync(&mut self, number: u64, only_that: bool) {
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

/// A process's handle of a [`Disk`].
#[derive(Debug)]
pub(super) struct Engine {
    disk: Arc<Disk>,
    process: usize,
}

impl Engine {
    /// Begins an operation. It never returns once the power was cut, or its process has died: whoever waits is gone.
    async fn enter(&self, is_commit: bool) -> Fate {
        let fate = locked(&self.disk.state).enter(self.process, is_commit);
        let Some(fate) = fate else {
            self.disk.cut.notify_one();
            self.disk.died.notify_one();
            return pending().await;
        };
        self.wait(fate.before).await;
        fate
    }

    async fn wait(&self, pause: Duration) {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        if locked(&self.disk.state).is_gone(self.process) {
            pending::<()>().await;
        }
    }

    async fn read<T: Send>(&self, what: &str, read: impl FnOnce(&Entries) -> T + Send) -> Result<T> {
        let fate = self.enter(false).await;
        if fate.end != End::Well {
            self.disk
                .trace
                .add(format!("  engine {}: {what} fails", self.process));
            return Err(Error::unavailable("it cannot be read now", "simulated"));
        }
        let answer = read(&locked(&self.disk.state).visible);
        self.wait(fate.after).await;
        Ok(answer)
    }

    /// Applies a batch, if its conditions hold; its number.
    fn apply(&self, batch: Batch) -> (Outcome, u64) {
        let mut guard = locked(&self.disk.state);
        let state = &mut *guard;
        let holds = |it: &kv_core::Condition| it.holds(state.visible.get(it.key()).map(Bytes::as_ref));
        if let Some(condition) = batch.conditions().position(|it| !holds(it)) {
            return (Outcome::ConditionFailed { condition }, state.applied);
        }
        let (_, writes) = batch.into_parts();
        write(&mut state.visible, writes.clone());
        state.applied += 1;
        state.unsynced.push_back((state.applied, writes));
        (Outcome::Applied, state.applied)
    }

    fn sync(&self, number: u64) {
        let only_that = self.disk.mistakes.syncs_own_batch_only;
        locked(&self.disk.state).sync(number, only_that);
    }

    fn note(&self, what: &str, durability: Durability, outcome: &str) {
        let process = self.process;
        let line = format!("  engine {process}: {durability:?} commit of {what} {outcome}");
        self.disk.trace.add(line);
    }

    async fn straggle(self: Arc<Self>, what: String, batch: Batch, durability: Durability, pause: Duration) {
        sleep(pause).await;
        if locked(&self.disk.state).is_cut {
            return;
        }
        let (outcome, number) = self.apply(batch);
        if durability == Durability::Durable {
            self.sync(number);
        }
        self.note(&what, durability, &format!("straggles: {}", told(outcome)));
    }
}

/// How an outcome is told in a trace: which condition failed depends on the order in which a batch was filled.
fn told(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "is applied",
        Outcome::ConditionFailed { .. } => "fails a condition",
    }
}

fn unknown() -> Error {
    Error::outcome_unknown("the answer was lost", "simulated")
}

#[async_trait]
impl KeyValueStore for Engine {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read("get", |entries| entries.get(key).cloned()).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        // They may be read one after the other: what is committed in between is seen from there on.
        let (first, rest) = keys.split_at(keys.len() / 2);
        let values = |keys: &[Bytes], entries: &Entries| {
            keys.iter()
                .map(|key| entries.get(key).cloned())
                .collect::<Vec<_>>()
        };
        let mut all = self.read("get_many", |entries| values(first, entries)).await?;
        let fate = locked(&self.disk.state).delay_of_reads();
        self.wait(fate).await;
        all.extend(values(rest, &locked(&self.disk.state).visible));
        Ok(all)
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.read("scan", |entries| Page::of_map(entries, scan)).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        batch.check(&self.disk.capabilities)?;
        let what = format!("{} writes", batch.writes().len());
        let fate = self.enter(true).await;
        match fate.end {
            End::FailBefore { is_known } => {
                self.note(&what, durability, "fails before it is applied");
                return Err(match is_known {
                    true => Error::unavailable("it cannot be written now", "simulated"),
                    false => unknown(),
                });
            }
            End::Straggle => {
                let engine = self.disk.engine(self.process);
                tokio::spawn(engine.straggle(what, batch, durability, fate.after * 4));
                return Err(unknown());
            }
            End::Well | End::FailAfter => {}
        }
        let (outcome, number) = self.apply(batch);
        self.note(&what, durability, told(outcome));
        // The power may be cut between the two.
        self.wait(fate.after).await;
        if fate.end == End::FailAfter {
            self.note(&what, durability, "fails after it was applied");
            return Err(unknown());
        }
        if durability == Durability::Durable {
            self.sync(number);
        }
        Ok(outcome)
    }

    async fn close(&self) -> Result<()> {
        self.disk.sync_all();
        Ok(())
    }
}

impl State {
    fn delay_of_reads(&mut self) -> Duration {
        match self.is_calm {
            true => Duration::ZERO,
            false => self.delay(),
        }
    }
}
