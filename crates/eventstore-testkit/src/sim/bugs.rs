//! Bugs that are planted on purpose, to see that the simulation finds them.
//!
//! Each makes the store, or what is beneath or above it, behave as if a line of it were wrong. They are layers around
//! the right store, so that nothing of them is in what applications use.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventstore_abstractions::{
    Deletion, EventLog, ExpectedVersion, Notice, StreamId, SubscribeOptions, Subscription,
};
use futures_util::StreamExt;
use kv_core::{
    Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan, Watch,
};

use super::disk::Mistakes;
use crate::fault::locked;

/// The first byte of a key, by kind of record (`docs/storage-format.md`).
mod space {
    pub(super) const DATABASE_HEAD: u8 = 0x10;
    pub(super) const LOG_BLOCK: u8 = 0x11;
    pub(super) const STREAM_HEAD: u8 = 0x12;
    pub(super) const RUN: u8 = 0x13;
    pub(super) const MESSAGE: u8 = 0x15;
    pub(super) const IDEMPOTENCY: u8 = 0x16;
    pub(super) const LEASE: u8 = 0x17;
    pub(super) const SETTLED: u8 = 0x1c;
    pub(super) const STATE: u8 = 0x20;
}

/// A bug that can be planted in a run.
///
/// ```
/// use eventstore_testkit::sim::Bug;
///
/// assert!(Bug::ALL.len() >= 10);
/// assert_eq!(Bug::AckBeforeSync.to_string(), "ack-before-sync");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// Appends are acknowledged when they are written, before they are synced.
    AckBeforeSync,
    /// An append whose commit failed is acknowledged.
    AckOfFailedCommit,
    /// A commit of unknown outcome is told to have done nothing.
    UnknownToldAsFailure,
    /// What a failed commit would have written stays in memory: the cache of heads is not rolled back.
    CacheNotRolledBack,
    /// Nothing is required of what was read before a commit.
    HeadNotInCondition,
    /// A commit that lost against another process is taken for one that has won.
    LostCommitTakenForWon,
    /// A session that is over writes on: its lease is not in the condition.
    SessionNotInCondition,
    /// A write past a session that is over leaves its lease, which a clock that jumps back revives.
    DeadLeaseKept,
    /// A session is granted before its fencing token is durable.
    TokenNotDurable,
    /// The entries by which appends are recognised are not looked at.
    IdempotencyForgotten,
    /// A scavenge removes one event more.
    ScavengeRemovesOneMore,
    /// Who follows misses an event between what was there and what comes.
    SubscriptionSkips,
    /// The checkpoint of a consumer is stored before its effect.
    CheckpointBeforeEffect,
    /// A projection does not require its checkpoint to be as it was read.
    ProjectionCheckpointNotRequired,
    /// The engine keeps a part of a batch.
    TornBatch,
    /// A durable commit does not keep the buffered ones before it.
    SyncOfOwnBatchOnly,
    /// What is put off is said to be settled, and runs of it are not written.
    SettledNotWritten,
    /// A deletion or a retention is acknowledged before it is durable.
    DeletionNotDurable,
    /// A deletion reaches the stream of that name in another database.
    DeletionInEveryDatabase,
    /// A deletion does not look at what it expects.
    DeletionExpectsNothing,
    /// An event is parked after the commit that moves the checkpoint past it, not with it.
    ParkedAfterCheckpoint,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::AckBeforeSync,
        Self::AckOfFailedCommit,
        Self::UnknownToldAsFailure,
        Self::CacheNotRolledBack,
        Self::HeadNotInCondition,
        Self::LostCommitTakenForWon,
        Self::SessionNotInCondition,
        Self::DeadLeaseKept,
        Self::TokenNotDurable,
        Self::IdempotencyForgotten,
        Self::ScavengeRemovesOneMore,
        Self::SubscriptionSkips,
        Self::CheckpointBeforeEffect,
        Self::ProjectionCheckpointNotRequired,
        Self::TornBatch,
        Self::SyncOfOwnBatchOnly,
        Self::SettledNotWritten,
        Self::DeletionNotDurable,
        Self::DeletionInEveryDatabase,
        Self::DeletionExpectsNothing,
        Self::ParkedAfterCheckpoint,
    ];

    pub(super) fn mistakes(self) -> Mistakes {
        Mistakes {
            tears_batches: self == Self::TornBatch,
            syncs_own_batch_only: self == Self::SyncOfOwnBatchOnly,
        }
    }
}

/// Words with dashes between them, such as `ack-before-sync`.
impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in format!("{self:?}").char_indices() {
            if letter.is_uppercase() && at > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// Follows `log`, rightly unless the bug is there.
pub(super) fn subscribe(log: &dyn EventLog, options: SubscribeOptions, bug: Option<Bug>) -> Subscription {
    let right = log.subscribe(options);
    if bug != Some(Bug::SubscriptionSkips) {
        return right;
    }
    let mut is_first = false;
    let skipping = right.filter(move |notice| {
        let is_skipped = is_first && matches!(notice, Ok(Notice::Event(_)));
        is_first = matches!(notice, Ok(Notice::CaughtUp(_)));
        std::future::ready(!is_skipped)
    });
    Subscription::new(skipping)
}

/// Deletes `stream`, rightly unless the bug is there.
pub(super) async fn delete(
    logs: &[Arc<dyn EventLog>],
    log: &dyn EventLog,
    stream: &StreamId,
    expected: ExpectedVersion,
    deletion: Deletion,
    bug: Option<Bug>,
) -> eventstore_abstractions::Result<()> {
    match bug {
        Some(Bug::DeletionExpectsNothing) => log.delete_stream(stream, ExpectedVersion::Any, deletion).await,
        Some(Bug::DeletionInEveryDatabase) => {
            for other in logs.iter().filter(|other| other.database() != log.database()) {
                other
                    .delete_stream(stream, ExpectedVersion::Any, deletion)
                    .await?;
            }
            log.delete_stream(stream, expected, deletion).await
        }
        _ => log.delete_stream(stream, expected, deletion).await,
    }
}

/// An engine as a store with a bug would use it.
#[derive(Debug)]
pub(super) struct Buggy {
    inner: Arc<dyn KeyValueStore>,
    bug: Bug,
    /// What failed commits would have written to heads.
    cache: Mutex<BTreeMap<Bytes, Option<Bytes>>>,
}

impl Buggy {
    pub(super) fn over(inner: Arc<dyn KeyValueStore>, bug: Option<Bug>) -> Arc<dyn KeyValueStore> {
        match bug {
            None => inner,
            Some(bug) => Arc::new(Self {
                inner,
                bug,
                cache: Mutex::default(),
            }),
        }
    }

    /// What is read for `key` instead of `value`.
    fn seen(&self, key: &[u8], value: Option<Bytes>) -> Option<Bytes> {
        match self.bug {
            Bug::CacheNotRolledBack => locked(&self.cache).get(key).cloned().unwrap_or(value),
            Bug::IdempotencyForgotten if is_in(key, space::IDEMPOTENCY) || is_in(key, space::MESSAGE) => None,
            _ => value,
        }
    }

    /// What is committed instead of `batch`.
    async fn changed(&self, batch: Batch, durability: Durability) -> Result<(Batch, Durability)> {
        let writes_to = |batch: &Batch, space| batch.writes().any(|(key, _)| is_in(key, space));
        Ok(match self.bug {
            Bug::AckBeforeSync => (batch, Durability::Buffered),
            Bug::TokenNotDurable if grants_only(&batch) => (batch, Durability::Buffered),
            Bug::DeletionNotDurable if changes_life_only(&batch) => (batch, Durability::Buffered),
            Bug::HeadNotInCondition => (without_conditions(batch), durability),
            Bug::ProjectionCheckpointNotRequired if writes_to(&batch, space::STATE) => {
                (without_conditions(batch), durability)
            }
            Bug::DeadLeaseKept if writes_to(&batch, space::LOG_BLOCK) => {
                let is_end = |key: &Bytes, value: &Option<Bytes>| is_in(key, space::LEASE) && value.is_none();
                (without(batch, is_end), durability)
            }
            Bug::SettledNotWritten if writes_to(&batch, space::SETTLED) => {
                let is_run = |key: &Bytes, _: &Option<Bytes>| is_in(key, space::RUN);
                (without(batch, is_run), durability)
            }
            Bug::ScavengeRemovesOneMore => (self.with_one_more(batch).await?, durability),
            _ => (batch, durability),
        })
    }

    /// `batch`, and when it removes a run, the one behind it as well.
    async fn with_one_more(&self, batch: Batch) -> Result<Batch> {
        let removed = batch
            .writes()
            .filter(|(key, value)| is_in(key, space::RUN) && value.is_none());
        let Some((last, _)) = removed.last() else {
            return Ok(batch);
        };
        let behind = Scan::range([last, &[0][..]].concat(), vec![space::RUN + 1]).max_items(1);
        let behind = self.inner.scan(behind).await?.entries;
        Ok(behind
            .into_iter()
            .fold(batch, |batch, entry| batch.delete(entry.key)))
    }

    /// What the caller is told instead of `outcome`.
    fn told(&self, outcome: Result<Outcome>, writes: Vec<(Bytes, Option<Bytes>)>) -> Result<Outcome> {
        match (self.bug, outcome) {
            (Bug::AckOfFailedCommit, Err(Error::Unavailable { .. })) => Ok(Outcome::Applied),
            (Bug::LostCommitTakenForWon, Ok(Outcome::ConditionFailed { .. })) => Ok(Outcome::Applied),
            (Bug::UnknownToldAsFailure, Err(Error::OutcomeUnknown { reason, source })) => {
                Err(Error::Unavailable { reason, source })
            }
            (Bug::CacheNotRolledBack, Err(error)) => {
                let is_head =
                    |key: &Bytes| is_in(key, space::STREAM_HEAD) || is_in(key, space::DATABASE_HEAD);
                let heads = writes.into_iter().filter(|(key, _)| is_head(key));
                locked(&self.cache).extend(heads);
                Err(error)
            }
            (Bug::CacheNotRolledBack, Ok(Outcome::Applied)) => {
                locked(&self.cache).clear();
                Ok(Outcome::Applied)
            }
            (_, outcome) => outcome,
        }
    }
}

/// Whether a batch grants sessions, and appends nothing beside that.
fn grants_only(batch: &Batch) -> bool {
    let mut writes = batch.writes();
    writes.any(|(key, value)| is_in(key, space::LEASE) && value.is_some())
        && !batch.writes().any(|(key, _)| is_in(key, space::LOG_BLOCK))
}

/// The event that a batch parks, by how the keys of the simulated consumer begin.
fn parked_of(batch: &Batch) -> Option<(Bytes, Bytes)> {
    const PARKED: &[u8] = b"simulated\0k";
    let is_parked =
        |key: &Bytes| is_in(key, space::STATE) && key.windows(PARKED.len()).any(|it| it == PARKED);
    let mut parked = batch.writes().filter(|(key, _)| is_parked(key));
    parked.find_map(|(key, value)| Some((key.clone(), value?.clone())))
}

/// Whether a batch changes which events of a stream are kept, and does nothing beside that.
fn changes_life_only(batch: &Batch) -> bool {
    let writes_to = |space| batch.writes().any(|(key, _)| is_in(key, space));
    let others = [space::LOG_BLOCK, space::LEASE, space::SETTLED];
    writes_to(space::STREAM_HEAD) && !others.into_iter().any(writes_to)
}

fn is_in(key: &[u8], space: u8) -> bool {
    key.first() == Some(&space)
}

fn without_conditions(batch: Batch) -> Batch {
    let (_, writes) = batch.into_parts();
    writes.into_iter().fold(Batch::new(), write)
}

fn without(batch: Batch, is_left_out: impl Fn(&Bytes, &Option<Bytes>) -> bool) -> Batch {
    let (conditions, writes) = batch.into_parts();
    let batch = conditions.into_iter().fold(Batch::new(), Batch::require);
    let writes = writes.into_iter().filter(|(key, value)| !is_left_out(key, value));
    writes.fold(batch, write)
}

fn write(batch: Batch, (key, value): (Bytes, Option<Bytes>)) -> Batch {
    match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    }
}

#[async_trait]
impl KeyValueStore for Buggy {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.inner.get(key).await?;
        Ok(self.seen(key, value))
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let values = self.inner.get_many(keys).await?;
        let seen = keys.iter().zip(values).map(|(key, value)| self.seen(key, value));
        Ok(seen.collect())
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.inner.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        let (batch, durability) = self.changed(batch, durability).await?;
        let writes = batch.writes().map(|(key, value)| (key.clone(), value.cloned()));
        let writes = writes.collect();
        let parked = match self.bug {
            Bug::ParkedAfterCheckpoint => parked_of(&batch),
            _ => None,
        };
        if let Some((key, value)) = parked {
            let first = without(batch, |other, _| *other == key);
            return match self.inner.commit(first, durability).await? {
                // Without conditions it is applied, unless it fails.
                Outcome::Applied => self.inner.commit(Batch::new().put(key, value), durability).await,
                outcome => Ok(outcome),
            };
        }
        let outcome = self.inner.commit(batch, durability).await;
        self.told(outcome, writes)
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        self.inner.watch().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
