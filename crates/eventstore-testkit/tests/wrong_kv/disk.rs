//! A durable store for tests: what `kv_memory` keeps outlives its handles here. Any one thing about it can be wrong.

use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{
    Batch, Bytes, Capabilities, Condition, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan,
    Watch,
};
use tokio::sync::watch;
use tokio::task::yield_now;

/// What the right store accepts: little, so that the cases about limits are quick.
pub(crate) const RIGHT: Capabilities = Capabilities {
    durable: true,
    shared: false,
    max_key_bytes: 300,
    max_value_bytes: 10_000,
    max_batch_bytes: 64_000,
    max_batch_operations: 200,
};

pub(crate) type Store = Arc<dyn KeyValueStore>;

/// How a store is wrong: each method is right unless it is replaced.
#[async_trait]
pub(crate) trait Wrong: Debug + Send + Sync + 'static {
    fn capabilities(&self) -> Capabilities {
        RIGHT
    }

    fn flaw(&self) -> Option<Flaw> {
        None
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        batch.check(&self.capabilities())
    }

    async fn open(&self, _right: &Store) {}

    async fn get(&self, right: &Store, key: &[u8]) -> Result<Option<Bytes>> {
        right.get(key).await
    }

    async fn get_many(&self, right: &Store, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        right.get_many(keys).await
    }

    async fn scan(&self, right: &Store, scan: Scan) -> Result<Page> {
        right.scan(scan).await
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        right.commit(batch, durability).await
    }

    async fn close(&self, _right: &Store) {}
}

/// What can be wrong about a handle, whatever it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    BlocksInCommit,
    WorksAfterClose,
    SecondCloseFails,
    StaysLockedAfterClose,
    OpensTwice,
    WakesOnce,
    ForgetsWakeUpsBetweenCalls,
    WakesForItsOwnCommitsAlone,
    WakesBeforeTheCommit,
    LosesTheWakeUpOfADroppedWait,
    WatchOutlivesTheStore,
}

impl Wrong for Flaw {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared: *self == Self::WakesForItsOwnCommitsAlone,
            ..RIGHT
        }
    }

    fn flaw(&self) -> Option<Flaw> {
        Some(*self)
    }
}

#[derive(Debug)]
pub(crate) struct NothingWrong;

impl Wrong for NothingWrong {}

/// The right store as a shared one.
#[derive(Debug)]
pub(crate) struct Shared;

impl Wrong for Shared {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared: true,
            ..RIGHT
        }
    }
}

/// The location: it keeps the data and knows whether a handle is open.
#[derive(Debug)]
pub(crate) struct Disk {
    store: Store,
    in_use: Arc<AtomicBool>,
    commits: watch::Sender<u64>,
    wrong: Arc<dyn Wrong>,
}

#[derive(Debug)]
struct Handle {
    store: Store,
    in_use: Arc<AtomicBool>,
    /// Counts the commits of all handles, and wakes for each.
    commits: watch::Sender<u64>,
    wrong: Arc<dyn Wrong>,
    closed: Arc<AtomicBool>,
}

/// The watch of one handle.
#[derive(Debug)]
struct Wakes {
    commits: watch::Receiver<u64>,
    closed: Arc<AtomicBool>,
    flaw: Option<Flaw>,
}

impl Disk {
    pub(crate) fn new(wrong: Arc<dyn Wrong>) -> Self {
        Self {
            store: Arc::new(kv_memory::Store::new()),
            in_use: Arc::default(),
            commits: watch::Sender::new(0),
            wrong,
        }
    }
}

#[async_trait]
impl KvHarness for Disk {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        let several = self.wrong.capabilities().shared || self.wrong.flaw() == Some(Flaw::OpensTwice);
        if self.in_use.swap(true, Ordering::SeqCst) && !several {
            return Err(Error::InUse {
                location: "the disk".to_owned(),
            });
        }
        self.wrong.open(&self.store).await;
        Ok(Arc::new(Handle {
            store: Arc::clone(&self.store),
            in_use: Arc::clone(&self.in_use),
            commits: if self.wrong.flaw() == Some(Flaw::WakesForItsOwnCommitsAlone) {
                watch::Sender::new(0)
            } else {
                self.commits.clone()
            },
            wrong: Arc::clone(&self.wrong),
            closed: Arc::default(),
        }))
    }
}

impl Handle {
    fn check_open(&self) -> Result<()> {
        let refuses = self.wrong.flaw() != Some(Flaw::WorksAfterClose);
        if self.closed.load(Ordering::SeqCst) && refuses {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }
}

impl Handle {
    fn wake(&self) {
        self.commits.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Watch for Wakes {
    async fn changed(&mut self) -> Result<()> {
        match self.flaw {
            Some(Flaw::WakesOnce) if *self.commits.borrow() > 1 => return pending().await,
            Some(Flaw::ForgetsWakeUpsBetweenCalls) => self.commits.mark_unchanged(),
            Some(Flaw::WatchOutlivesTheStore) => return pending().await,
            _ => {}
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        // Every handle has a sender, and the disk has one.
        self.commits.changed().await.expect("the disk is there");
        if self.flaw == Some(Flaw::LosesTheWakeUpOfADroppedWait) {
            yield_now().await;
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::Closed);
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::SeqCst) {
            self.in_use.store(false, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl KeyValueStore for Handle {
    fn capabilities(&self) -> Capabilities {
        self.wrong.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.check_open()?;
        self.wrong.get(&self.store, key).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.check_open()?;
        self.wrong.get_many(&self.store, keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.check_open()?;
        self.wrong.scan(&self.store, scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        if durability == Durability::Durable && self.wrong.flaw() != Some(Flaw::BlocksInCommit) {
            // A disk takes its time.
            yield_now().await;
        }
        self.check_open()?;
        self.wrong.check(&batch)?;
        if self.wrong.flaw() == Some(Flaw::WakesBeforeTheCommit) {
            self.wake();
            wait_for_rival(|| false).await;
            return self.wrong.commit(&self.store, batch, durability).await;
        }
        let outcome = self.wrong.commit(&self.store, batch, durability).await?;
        self.wake();
        Ok(outcome)
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        self.check_open()?;
        Ok(Some(Box::new(Wakes {
            commits: self.commits.subscribe(),
            closed: Arc::clone(&self.closed),
            flaw: self.wrong.flaw(),
        })))
    }

    async fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::SeqCst) {
            let fails = self.wrong.flaw() == Some(Flaw::SecondCloseFails);
            return if fails { Err(Error::Closed) } else { Ok(()) };
        }
        self.wake();
        self.wrong.close(&self.store).await;
        if self.wrong.flaw() != Some(Flaw::StaysLockedAfterClose) {
            self.in_use.store(false, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Waits between two steps that should have been one until `met` says that a rival fell into the gap.
///
/// A yield or two would be too short: a task can be through with both steps while another thread is still waking its
/// rivals. When no rival comes the wait ends all the same.
pub(crate) async fn wait_for_rival(met: impl Fn() -> bool + Send) {
    for _ in 0..10_000 {
        if met() {
            return;
        }
        yield_now().await;
    }
}

/// A batch of the given parts.
pub(crate) fn batch(
    conditions: impl IntoIterator<Item = Condition>,
    writes: impl IntoIterator<Item = (Bytes, Option<Bytes>)>,
) -> Batch {
    let batch = conditions.into_iter().fold(Batch::new(), Batch::require);
    writes.into_iter().fold(batch, |batch, (key, value)| match value {
        Some(value) => batch.put(key, value),
        None => batch.delete(key),
    })
}

/// The batch with each of its writes changed or left out.
pub(crate) fn map_writes(
    original: Batch,
    change: impl FnMut((Bytes, Option<Bytes>)) -> Option<(Bytes, Option<Bytes>)>,
) -> Batch {
    let (conditions, writes) = original.into_parts();
    batch(conditions, writes.into_iter().filter_map(change))
}

/// The batch without the conditions that are not to be checked.
pub(crate) fn keep_conditions(original: Batch, keep: impl Fn(&Condition) -> bool) -> Batch {
    let (conditions, writes) = original.into_parts();
    batch(conditions.into_iter().filter(keep), writes)
}

/// Every key of the store.
pub(crate) async fn all_keys(right: &Store) -> Vec<Bytes> {
    let scan = Scan::range("", "").max_items(usize::MAX).max_bytes(usize::MAX);
    let page = right.scan(scan).await.expect("memory is read");
    page.entries.into_iter().map(|entry| entry.key).collect()
}

/// Deletes `keys` behind the handle's back.
pub(crate) async fn delete(right: &Store, keys: Vec<Bytes>) {
    let outcome = right
        .commit(
            batch([], keys.into_iter().map(|key| (key, None))),
            Durability::Durable,
        )
        .await;
    assert_eq!(outcome.expect("memory is written"), Outcome::Applied);
}
