//! A store that damages, fails or holds what passes through it.
//!
//! See [`FaultStore`] for an example.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kv_core::{
    Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan, Watch,
};
use tokio::sync::{oneshot, watch};

/// A [`KeyValueStore`] over another one that does what it is told to do wrong, and is transparent otherwise.
///
/// Faults of commits wait in a queue: each commit takes one. What was asked for first happens first.
///
/// ```
/// use std::sync::Arc;
///
/// use eventstore_testkit::fault::{FaultStore, Moment};
/// use kv_core::{Batch, Durability, Error, KeyValueStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = FaultStore::new(Arc::new(kv_memory::Store::new()));
/// store.fail_next_commit(Moment::AfterApplying, Error::outcome_unknown("the sync failed", "disk gone"));
///
/// let result = store.commit(Batch::new().put("k", "v"), Durability::Durable).await;
/// assert!(result.unwrap_err().is_outcome_unknown());
/// assert_eq!(store.get(b"k").await.unwrap().unwrap(), "v");
///
/// store.edit(b"k", |value| value[0] ^= 1).await.unwrap();
/// assert_eq!(store.get(b"k").await.unwrap().unwrap(), "w");
/// store.rename(b"k", b"l").await.unwrap();
/// store.remove(b"l").await.unwrap();
///
/// store.fail_next_read(Error::unavailable("the network is down", "no route"));
/// assert!(store.get(b"k").await.is_err());
/// assert_eq!(store.inner().get(b"k").await.unwrap(), None, "beneath there are no faults");
/// assert_eq!(store.commits(), 1);
/// # });
/// ```
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn KeyValueStore>,
    commit_faults: Mutex<VecDeque<CommitFault>>,
    /// Each with the reads that pass before it.
    read_faults: Mutex<VecDeque<(usize, Event)>>,
    commits: AtomicU64,
    unsynced: AtomicBool,
}

/// The moment of a commit at which a fault happens.
///
/// See [`FaultStore`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has been applied, and nothing will be if the commit fails or its future is dropped here.
    BeforeApplying,
    /// The batch has been applied, if its conditions held; the caller does not know yet.
    AfterApplying,
}

/// A place where one commit or read waits. Dropping the gate lets it pass.
///
/// ```
/// use std::sync::Arc;
///
/// use eventstore_testkit::fault::{FaultStore, Moment};
/// use kv_core::{Batch, Durability, KeyValueStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = FaultStore::new(Arc::new(kv_memory::Store::new()));
/// let mut gate = store.hold_next_commit(Moment::AfterApplying);
/// let commit = tokio::spawn({
///     let store = Arc::clone(&store);
///     async move { store.commit(Batch::new().put("k", "v"), Durability::Durable).await }
/// });
/// gate.reached().await;
/// assert!(!commit.is_finished(), "it has happened, and its caller does not know");
/// gate.release();
/// commit.await.unwrap().unwrap();
/// # });
/// ```
#[derive(Debug)]
pub struct Gate {
    reached: watch::Receiver<bool>,
    release: watch::Sender<()>,
}

/// A commit that its caller has given up and that is still on its way, as after a time-out. Dropping it
/// loses it.
///
/// ```
/// use std::sync::Arc;
///
/// use eventstore_testkit::fault::FaultStore;
/// use kv_core::{Batch, Durability, Error, KeyValueStore};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = FaultStore::new(Arc::new(kv_memory::Store::new()));
/// let straggler = store.detach_next_commit(Error::outcome_unknown("no answer", "time-out"));
/// let result = store.commit(Batch::new().put("k", "v"), Durability::Durable).await;
/// assert!(result.unwrap_err().is_outcome_unknown());
/// assert_eq!(store.get(b"k").await.unwrap(), None, "not yet");
/// let _applied = straggler.land().await.unwrap();
/// assert_eq!(store.get(b"k").await.unwrap().unwrap(), "v");
/// # });
/// ```
#[derive(Debug)]
pub struct Straggler {
    commit: oneshot::Receiver<(Batch, Durability)>,
    inner: Arc<dyn KeyValueStore>,
}

#[derive(Debug)]
enum CommitFault {
    Detach(Error, oneshot::Sender<(Batch, Durability)>),
    At(Moment, Event),
}

#[derive(Debug)]
enum Event {
    Fail(Error),
    Hold {
        reached: watch::Sender<bool>,
        release: watch::Receiver<()>,
    },
}

impl FaultStore {
    /// A store that passes everything on to `inner` until it is told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn KeyValueStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            commit_faults: Mutex::default(),
            read_faults: Mutex::default(),
            commits: AtomicU64::new(0),
            unsynced: AtomicBool::new(false),
        })
    }

    /// The store beneath, without faults and uncounted.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn KeyValueStore> {
        &self.inner
    }

    /// The commits that were begun through this store so far, whatever became of them.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Whether a power cut could lose something: what was applied since the last durable commit that
    /// succeeded. What is done through [`inner`](Self::inner), or by a straggler, is left out.
    pub fn has_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::SeqCst)
    }

    /// Makes the next commit without a fault end with `error` at `moment`.
    pub fn fail_next_commit(&self, moment: Moment, error: Error) {
        locked(&self.commit_faults).push_back(CommitFault::At(moment, Event::Fail(error)));
    }

    /// Makes the next commit without a fault wait at `moment` until the gate is released or dropped.
    pub fn hold_next_commit(&self, moment: Moment) -> Gate {
        let (hold, gate) = Event::hold();
        locked(&self.commit_faults).push_back(CommitFault::At(moment, hold));
        gate
    }

    /// Makes the next commit without a fault end with `error` at once, and land later, or never.
    pub fn detach_next_commit(&self, error: Error) -> Straggler {
        let (sender, commit) = oneshot::channel();
        locked(&self.commit_faults).push_back(CommitFault::Detach(error, sender));
        Straggler {
            commit,
            inner: Arc::clone(&self.inner),
        }
    }

    /// Makes the next read (`get`, `get_many` or `scan`) without a fault end with `error`.
    pub fn fail_next_read(&self, error: Error) {
        self.fail_read_after(0, error);
    }

    /// Lets `reads` reads pass, counted from the fault before it, and makes the one after them end with
    /// `error`.
    pub fn fail_read_after(&self, reads: usize, error: Error) {
        locked(&self.read_faults).push_back((reads, Event::Fail(error)));
    }

    /// Lets `reads` reads pass, counted from the fault before it, and makes the one after them wait, before
    /// it reads, until the gate is released or dropped.
    pub fn hold_read_after(&self, reads: usize) -> Gate {
        let (hold, gate) = Event::hold();
        locked(&self.read_faults).push_back((reads, hold));
        gate
    }

    /// Forgets the faults that have not happened yet, and says how many there were.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use eventstore_testkit::fault::FaultStore;
    /// use kv_core::{Error, KeyValueStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kv_core::Result<()> {
    /// let store = FaultStore::new(Arc::new(kv_memory::Store::new()));
    /// store.fail_read_after(1, Error::Closed); // the second read
    /// assert!(store.get(b"k").await.is_ok() && store.get(b"k").await.is_err());
    /// store.fail_next_read(Error::Closed);
    /// assert_eq!((store.forget_faults(), store.has_unsynced()), (1, false));
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget_faults(&self) -> usize {
        locked(&self.commit_faults).drain(..).count() + locked(&self.read_faults).drain(..).count()
    }

    /// Changes the stored value of `key` in place, as a damaged disk would.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `key` is absent: there is nothing to damage; otherwise as the store
    /// beneath fails.
    pub async fn edit(&self, key: &[u8], change: impl FnOnce(&mut Vec<u8>) + Send) -> Result<()> {
        let mut value = self.stored(key).await?.to_vec();
        change(&mut value);
        self.write(Batch::new().put(Bytes::copy_from_slice(key), value))
            .await
    }

    /// Removes `key`, as a torn file would.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub async fn remove(&self, key: &[u8]) -> Result<()> {
        self.stored(key).await?;
        self.write(Batch::new().delete(Bytes::copy_from_slice(key))).await
    }

    /// Moves the value of `from` to the key `to`, as a misdirected write would.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub async fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let value = self.stored(from).await?;
        let batch = Batch::new()
            .delete(Bytes::copy_from_slice(from))
            .put(Bytes::copy_from_slice(to), value);
        self.write(batch).await
    }

    async fn stored(&self, key: &[u8]) -> Result<Bytes> {
        let value = self.inner.get(key).await?;
        value.ok_or_else(|| {
            Error::invalid(format!(
                "key {} is absent; damage one that is stored",
                key.escape_ascii()
            ))
        })
    }

    async fn write(&self, batch: Batch) -> Result<()> {
        match self.inner.commit(batch, Durability::Durable).await? {
            Outcome::Applied => Ok(()),
            Outcome::ConditionFailed { .. } => unreachable!("the batch has no condition"),
        }
    }

    fn take_read_fault(&self) -> Option<Event> {
        let mut faults = locked(&self.read_faults);
        match faults.front_mut()? {
            (0, _) => faults.pop_front().map(|(_, event)| event),
            (passing, _) => {
                *passing -= 1;
                None
            }
        }
    }

    async fn apply(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        let outcome = self.inner.commit(batch, durability).await?;
        self.settle(outcome, durability);
        Ok(outcome)
    }

    /// Notes whether all that is applied is synced, after a commit that ended so.
    fn settle(&self, outcome: Outcome, durability: Durability) {
        if outcome == Outcome::Applied {
            let buffered = durability == Durability::Buffered;
            self.unsynced.store(buffered, Ordering::SeqCst);
        }
    }

    async fn before_read(&self) -> Result<()> {
        match self.take_read_fault() {
            Some(event) => event.happen().await.map(drop),
            None => Ok(()),
        }
    }
}

impl Event {
    fn hold() -> (Self, Gate) {
        let (reached, gate_reached) = watch::channel(false);
        let (gate_release, release) = watch::channel(());
        let gate = Gate {
            reached: gate_reached,
            release: gate_release,
        };
        (Self::Hold { reached, release }, gate)
    }

    /// What is returned is dropped when the call has ended, which [`Gate::passed`] waits for.
    async fn happen(self) -> Result<watch::Receiver<()>> {
        match self {
            Self::Fail(error) => Err(error),
            Self::Hold { reached, mut release } => {
                reached.send_replace(true);
                // A dropped gate is an open one.
                let _ = release.changed().await;
                Ok(release)
            }
        }
    }
}

impl Gate {
    /// Waits until a commit or read has come to the gate.
    ///
    /// # Panics
    /// When the store is dropped, or forgets its faults, before any came.
    pub async fn reached(&mut self) {
        // A call that came and was dropped there has come all the same: the value outlives its sender.
        if self.reached.wait_for(|reached| *reached).await.is_err() {
            panic!("the store was dropped before a call came to the gate");
        }
    }

    /// Lets the call pass, now or when it comes.
    pub fn release(self) {
        self.release.send_replace(());
    }

    /// Lets the call pass, and waits until the store beneath has answered a commit, or the call was dropped.
    pub async fn passed(self) {
        self.release.send_replace(());
        self.release.closed().await;
    }
}

impl Straggler {
    /// Carries out the commit, which must have been begun.
    ///
    /// # Errors
    /// As the store beneath fails.
    ///
    /// # Panics
    /// When no commit has been begun since.
    pub async fn land(self) -> Result<Outcome> {
        let begun = self.commit.await;
        let (batch, durability) = begun.expect("a commit was begun before it can land");
        self.inner.commit(batch, durability).await
    }
}

#[async_trait]
impl KeyValueStore for FaultStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.before_read().await?;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.before_read().await?;
        self.inner.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.before_read().await?;
        self.inner.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let fault = locked(&self.commit_faults).pop_front();
        match fault {
            None => self.apply(batch, durability).await,
            Some(CommitFault::Detach(error, straggler)) => {
                // A straggler that nobody holds any more is lost.
                let _ = straggler.send((batch, durability));
                Err(error)
            }
            Some(CommitFault::At(Moment::BeforeApplying, event)) => {
                let _passing = event.happen().await?;
                self.apply(batch, durability).await
            }
            Some(CommitFault::At(Moment::AfterApplying, event)) => {
                let outcome = self.inner.commit(batch, durability).await?;
                // Whether it was synced is not known before it ends well.
                self.unsynced.store(true, Ordering::SeqCst);
                let _passing = event.happen().await?;
                self.settle(outcome, durability);
                Ok(outcome)
            }
        }
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        self.inner.watch().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A test that panicked while it held the lock has failed already; the others go on.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
