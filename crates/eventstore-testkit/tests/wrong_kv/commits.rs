//! Stores that commit wrongly.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Capabilities, Condition, Durability, Error, Outcome, Result};
use tokio::task::yield_now;

use crate::disk::{
    RIGHT, Shared, Store, Wrong, all_keys, batch, keep_conditions, map_writes, wait_for_rival,
};

/// Declares stores of which `commit` is wrong.
macro_rules! wrong_commits {
    ($($name:ident: |$right:ident, $batch:ident, $durability:ident| $commit:expr;)+) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        #[async_trait]
        impl Wrong for $name {
            async fn commit(&self, $right: &Store, $batch: Batch, $durability: Durability) -> Result<Outcome> {
                $commit
            }
        }
    )+};
}

/// Declares stores that check a batch against other limits than those that they report.
macro_rules! wrong_limits {
    ($($name:ident: $limit:ident => $wrong:expr;)+) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Wrong for $name {
            fn check(&self, batch: &Batch) -> Result<()> {
                batch.check(&Capabilities { $limit: $wrong, ..RIGHT })
            }
        }
    )+};
}

wrong_limits! {
    RefusesTheLongestKey: max_key_bytes => RIGHT.max_key_bytes - 1;
    AcceptsLongerKeys: max_key_bytes => usize::MAX;
    AcceptsLargerValues: max_value_bytes => usize::MAX;
    AcceptsLargerBatches: max_batch_bytes => usize::MAX;
    RefusesTheMostOperations: max_batch_operations => RIGHT.max_batch_operations - 1;
    AcceptsMoreOperations: max_batch_operations => usize::MAX;
}

// What is written.
wrong_commits! {
    ForgetsWrites: |_right, _batch, _durability| Ok(Outcome::Applied);
    KeepsTheFirstValue: |right, batch, durability| {
        let present = all_keys(right).await;
        let batch = map_writes(batch, |(key, value)| (value.is_none() || !present.contains(&key)).then_some((key, value)));
        right.commit(batch, durability).await
    };
    KeysAreText: |right, batch, durability| {
        let batch = map_writes(batch, |(key, value)| {
            Some((String::from_utf8_lossy(&key).into_owned().into(), value))
        });
        right.commit(batch, durability).await
    };
    TrimsZeros: |right, batch, durability| {
        let batch = map_writes(batch, |(key, value)| {
            let len = key.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
            Some((key.slice(..len), value))
        });
        right.commit(batch, durability).await
    };
    LosesTheLastWrite: |right, batch, durability| {
        let last = batch.writes().len().saturating_sub(1);
        let mut index = 0..;
        let batch = map_writes(batch, |write| (last == 0 || index.next() != Some(last)).then_some(write));
        right.commit(batch, durability).await
    };
    IgnoresDeletes: |right, batch, durability| {
        right.commit(map_writes(batch, |(key, value)| value.map(|value| (key, Some(value)))), durability).await
    };
    RefusesToDeleteAbsentKeys: |right, batch, durability| {
        let present = all_keys(right).await;
        if batch.writes().any(|(key, value)| value.is_none() && !present.contains(key)) {
            return Err(Error::invalid("the key to delete is absent"));
        }
        right.commit(batch, durability).await
    };
    DeletesByPrefix: |right, batch, durability| {
        let deleted: Vec<Bytes> =
            batch.writes().filter(|(_, value)| value.is_none()).map(|(key, _)| key.clone()).collect();
        let mut also = all_keys(right).await;
        also.retain(|key| deleted.iter().any(|prefix| key.starts_with(prefix)));
        right.commit(also.into_iter().fold(batch, Batch::delete), durability).await
    };
    RefusesEmptyBatches: |right, batch, durability| {
        if batch.is_empty() {
            return Err(Error::invalid("the batch is empty"));
        }
        right.commit(batch, durability).await
    };
    CutsLargeValues: |right, batch, durability| {
        let cut = |value: Bytes| value.slice(..value.len().min(8192));
        right.commit(map_writes(batch, |(key, value)| Some((key, value.map(cut)))), durability).await
    };
    LosesTheEndOfLargeBatches: |right, batch, durability| {
        let mut room = 32_000_usize;
        let batch = map_writes(batch, |(key, value)| {
            room = room.saturating_sub(value.as_ref().map_or(0, Bytes::len));
            (room > 0).then_some((key, value))
        });
        right.commit(batch, durability).await
    };
}

// What is checked.
wrong_commits! {
    AbsentAlwaysHolds: |right, batch, durability| {
        right.commit(keep_conditions(batch, |it| !matches!(it, Condition::Absent(_))), durability).await
    };
    PresentAlwaysHolds: |right, batch, durability| {
        right.commit(keep_conditions(batch, |it| !matches!(it, Condition::Present(_))), durability).await
    };
    EqualsComparesLengths: |right, original, durability| {
        let (conditions, writes) = original.into_parts();
        let mut loose = Vec::new();
        for condition in conditions {
            loose.push(match condition {
                Condition::Equals { key, value } => {
                    let current = right.get(&key).await?.filter(|current| current.len() == value.len());
                    Condition::Equals { key, value: current.unwrap_or(value) }
                }
                other => other,
            });
        }
        right.commit(batch(loose, writes), durability).await
    };
    ChecksAfterWriting: |right, original, durability| {
        let (conditions, writes) = original.into_parts();
        let _ = right.commit(batch([], writes), durability).await?;
        right.commit(batch(conditions, []), durability).await
    };
    ChecksTheFirstConditionOnly: |right, original, durability| {
        let (conditions, writes) = original.into_parts();
        right.commit(batch(conditions.into_iter().take(1), writes), durability).await
    };
    NamesTheLastFailedCondition: |right, batch, durability| {
        let mut last = None;
        for (index, condition) in batch.conditions().enumerate() {
            if !condition.holds(right.get(condition.key()).await?.as_deref()) {
                last = Some(index);
            }
        }
        match last {
            Some(condition) => Ok(Outcome::ConditionFailed { condition }),
            None => right.commit(batch, durability).await,
        }
    };
    AppliesPartOfAFailedBatch: |right, original, durability| {
        let outcome = right.commit(original.clone(), durability).await?;
        if outcome != Outcome::Applied {
            let _ = right.commit(batch([], original.into_parts().1.into_iter().take(1)), durability).await?;
        }
        Ok(outcome)
    };
    SkipsBatchesWithoutWrites: |right, batch, durability| {
        if batch.writes().len() == 0 {
            return Ok(Outcome::Applied);
        }
        right.commit(batch, durability).await
    };
}

// What others see.
wrong_commits! {
    AppliesInTwoSteps: |right, original, durability| {
        let (conditions, mut writes) = original.into_parts();
        let middle = writes.keys().nth(writes.len() / 2).cloned().unwrap_or_default();
        let second = writes.split_off(&middle);
        let outcome = right.commit(batch(conditions, writes), durability).await?;
        if outcome != Outcome::Applied {
            return Ok(outcome);
        }
        yield_now().await;
        right.commit(batch([], second), durability).await
    };
}

/// Skips the operations on empty keys, and applies the rest.
#[derive(Debug)]
pub(crate) struct AcceptsEmptyKeys;

#[async_trait]
impl Wrong for AcceptsEmptyKeys {
    fn check(&self, _batch: &Batch) -> Result<()> {
        Ok(())
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        let batch = keep_conditions(batch, |condition| !condition.key().is_empty());
        right
            .commit(
                map_writes(batch, |write| (!write.0.is_empty()).then_some(write)),
                durability,
            )
            .await
    }
}

/// Shows buffered commits only with the next durable one.
#[derive(Debug, Default)]
pub(crate) struct HoldsBackBuffered(Mutex<BTreeMap<Bytes, Option<Bytes>>>);

#[async_trait]
impl Wrong for HoldsBackBuffered {
    async fn commit(&self, right: &Store, original: Batch, durability: Durability) -> Result<Outcome> {
        let (conditions, writes) = original.into_parts();
        let held = {
            let mut held = self.0.lock().expect("no panic under the lock");
            held.extend(writes);
            if durability == Durability::Buffered {
                return Ok(Outcome::Applied);
            }
            std::mem::take(&mut *held)
        };
        right.commit(batch(conditions, held), durability).await
    }
}

/// Checks the conditions of a commit, and then writes without looking at them again.
#[derive(Debug, Default)]
pub(crate) struct ChecksOutsideTheCommit {
    checks: AtomicUsize,
}

#[async_trait]
impl Wrong for ChecksOutsideTheCommit {
    async fn commit(&self, right: &Store, original: Batch, durability: Durability) -> Result<Outcome> {
        let (conditions, writes) = original.into_parts();
        let outcome = right.commit(batch(conditions, []), durability).await?;
        if outcome != Outcome::Applied {
            return Ok(outcome);
        }
        let checks = self.checks.fetch_add(1, Ordering::SeqCst) + 1;
        wait_for_rival(|| self.checks.load(Ordering::SeqCst) > checks).await;
        right.commit(batch([], writes), durability).await
    }
}

/// Acknowledges a commit that arrives during another one, and forgets it.
#[derive(Debug, Default)]
pub(crate) struct LosesCommitsWhenBusy {
    busy: AtomicBool,
    lost: AtomicUsize,
}

#[async_trait]
impl Wrong for LosesCommitsWhenBusy {
    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        if self.busy.swap(true, Ordering::SeqCst) {
            self.lost.fetch_add(1, Ordering::SeqCst);
            return Ok(Outcome::Applied);
        }
        let lost = self.lost.load(Ordering::SeqCst);
        wait_for_rival(|| self.lost.load(Ordering::SeqCst) > lost).await;
        let outcome = right.commit(batch, durability).await;
        self.busy.store(false, Ordering::SeqCst);
        outcome
    }
}

/// Acknowledges every hundredth commit without writing it.
#[derive(Debug, Default)]
pub(crate) struct LosesEveryHundredthCommit(AtomicUsize);

#[async_trait]
impl Wrong for LosesEveryHundredthCommit {
    async fn commit(&self, right: &Store, original: Batch, durability: Durability) -> Result<Outcome> {
        let lost = self.0.fetch_add(1, Ordering::SeqCst) % 100 == 99;
        let original = if lost {
            batch(original.into_parts().0, [])
        } else {
            original
        };
        right.commit(original, durability).await
    }
}

/// A shared store in which each handle checks conditions by itself.
#[derive(Debug, Default)]
pub(crate) struct SharedWithoutConditions(ChecksOutsideTheCommit);

#[async_trait]
impl Wrong for SharedWithoutConditions {
    fn capabilities(&self) -> Capabilities {
        Shared.capabilities()
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        self.0.commit(right, batch, durability).await
    }
}
