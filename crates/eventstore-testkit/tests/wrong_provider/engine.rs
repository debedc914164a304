//! Engines and clocks that are wrong beneath the right provider.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Timestamp};
use kv_core::{Batch, Bytes, Capabilities, Condition, Durability, Error, Outcome, Scan};

use crate::wrong::{Store, Wrong, wrong};

wrong! {
    CommitsInTwoSteps: commit |right, batch, durability| {
        let (conditions, writes) = batch.into_parts();
        let half = writes.len() / 2;
        let mut writes = writes.into_iter();
        let first = of_parts(conditions, writes.by_ref().take(half));
        match right.commit(first, durability).await? {
            Outcome::Applied => right.commit(of_parts([], writes), durability).await,
            failed => Ok(failed),
        }
    };
    NeverSyncs: commit |right, batch, _durability| right.commit(batch, Durability::Buffered).await;
    IgnoresConditions: commit |right, batch, durability| {
        let (_, writes) = batch.into_parts();
        right.commit(of_parts([], writes), durability).await
    };
    FailsAfterWriting: commit |right, batch, durability| {
        match right.commit(batch.clone(), durability).await {
            Err(error @ Error::Unavailable { .. }) => right.commit(batch, durability).await.and(Err(error)),
            ended => ended,
        }
    };
    TellsUnknownForApplied: commit |right, batch, durability| match right.commit(batch, durability).await {
        Err(error) if error.is_outcome_unknown() => Ok(Outcome::Applied),
        ended => ended,
    };
}

fn of_parts(
    conditions: impl IntoIterator<Item = Condition>,
    writes: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
) -> Batch {
    let batch = conditions.into_iter().fold(Batch::new(), Batch::require);
    writes.into_iter().fold(batch, |batch, (key, value)| match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    })
}

/// Says that no other process writes, where others do.
#[derive(Debug)]
pub(crate) struct SaysThatItIsNotShared;

impl Wrong for SaysThatItIsNotShared {
    fn capabilities(&self, right: Capabilities) -> Capabilities {
        Capabilities {
            shared: false,
            ..right
        }
    }
}

/// Says that other processes write, where none can.
#[derive(Debug)]
pub(crate) struct SaysThatItIsShared;

impl Wrong for SaysThatItIsShared {
    fn capabilities(&self, right: Capabilities) -> Capabilities {
        Capabilities {
            shared: true,
            ..right
        }
    }
}

/// Begins empty at each open.
#[derive(Debug)]
pub(crate) struct LosesEverythingOnReopen;

#[async_trait]
impl Wrong for LosesEverythingOnReopen {
    async fn reopens(&self, disk: &Store) {
        let everything = Scan::range("", "").max_items(usize::MAX).max_bytes(usize::MAX);
        let page = disk.scan(everything).await.expect("memory is read");
        let batch = of_parts([], page.entries.into_iter().map(|entry| (entry.key, None)));
        let outcome = disk.commit(batch, Durability::Durable).await;
        assert_eq!(outcome.expect("memory is written"), Outcome::Applied);
    }
}

/// Never looks at the clock again.
#[derive(Debug)]
pub(crate) struct LooksAtTheClockOnce;

impl Wrong for LooksAtTheClockOnce {
    fn clock(&self, right: Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(StandsStill(right.now()))
    }
}

#[derive(Debug)]
struct StandsStill(Timestamp);

#[async_trait]
impl Clock for StandsStill {
    fn now(&self) -> Timestamp {
        self.0
    }

    async fn sleep_until(&self, _deadline: Timestamp) {
        std::future::pending().await
    }
}
