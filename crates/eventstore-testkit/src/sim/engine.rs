//! A simulated engine: what it does with its disk, and all that may go wrong in between.
//!
//! Every operation may wait before and after it happens, so that operations that overlap end in any order; it may fail
//! before it happens, or after; a commit may go on when its caller was told that nobody knows its outcome; and the power
//! may be cut at any of them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan};
use tokio::time::sleep;

use super::disk::{Disk, End, Entries, Fate};
use crate::fault::locked;

/// A process's handle of a [`Disk`].
#[derive(Debug)]
pub(super) struct Engine {
    disk: Arc<Disk>,
    process: usize,
}

impl Engine {
    pub(super) fn new(disk: Arc<Disk>, process: usize) -> Self {
        Self { disk, process }
    }

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
        locked(&self.disk.state).apply(batch)
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
