//! A log whose namespaces fail when they are told to.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use eventstore_abstractions::*;
use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How a commit of a namespace fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing was done, and that is said.
    Before,
    /// Nothing was done, and that is not known.
    UnknownBefore,
    /// It was done, and that is not known.
    UnknownAfter,
}

type Plan = dyn Fn(&Changes) -> Option<Fault> + Send + Sync;

/// A log whose namespaces fail as `plan` says for each commit.
pub(crate) struct Faulty {
    log: Arc<dyn EventLog>,
    plan: Arc<Plan>,
    removed: Vec<u64>,
    slow: Option<Arc<Mutex<fastrand::Rng>>>,
    held: Option<Arc<Held>>,
}

/// A commit that waits until it is let go: the first that is one of those that are meant.
pub(crate) struct Held {
    means: fn(&Changes) -> bool,
    has_come: AtomicBool,
    came: Notify,
    goes_on: Notify,
}

impl Held {
    /// Waits until the commit has come.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }

    pub(crate) fn let_go(&self) {
        self.goes_on.notify_one();
    }

    async fn pass(&self, changes: &Changes) {
        if (self.means)(changes) && !self.has_come.swap(true, Ordering::SeqCst) {
            self.came.notify_one();
            self.goes_on.notified().await;
        }
    }
}

impl Faulty {
    /// A log one of whose commits, the first that `means` is true of, is held until it is let go.
    pub(crate) fn holding(
        log: &Arc<dyn EventLog>,
        means: fn(&Changes) -> bool,
    ) -> (Arc<dyn EventLog>, Arc<Held>) {
        let held = Arc::new(Held {
            means,
            has_come: AtomicBool::new(false),
            came: Notify::new(),
            goes_on: Notify::new(),
        });
        let log = Arc::new(Self {
            held: Some(Arc::clone(&held)),
            ..Self::right(log)
        });
        (log, held)
    }

    /// One without a fault.
    fn right(log: &Arc<dyn EventLog>) -> Self {
        Self {
            log: Arc::clone(log),
            plan: Arc::new(|_| None),
            removed: Vec::new(),
            slow: None,
            held: None,
        }
    }

    /// A log whose namespaces take their time for a commit, now more and now less.
    pub(crate) fn slow(log: &Arc<dyn EventLog>, seed: u64) -> Arc<dyn EventLog> {
        Arc::new(Self {
            slow: Some(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)))),
            ..Self::right(log)
        })
    }

    /// A log whose subscriptions report the events at `positions` as removed.
    pub(crate) fn removing(
        log: &Arc<dyn EventLog>,
        positions: impl IntoIterator<Item = u64>,
    ) -> Arc<dyn EventLog> {
        Arc::new(Self {
            removed: positions.into_iter().collect(),
            ..Self::right(log)
        })
    }

    pub(crate) fn over(
        log: &Arc<dyn EventLog>,
        plan: impl Fn(&Changes) -> Option<Fault> + Send + Sync + 'static,
    ) -> Arc<dyn EventLog> {
        Arc::new(Self {
            plan: Arc::new(plan),
            ..Self::right(log)
        })
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

#[async_trait]
impl EventLog for Faulty {
    fn database(&self) -> &Database {
        self.log.database()
    }

    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        self.log.append_with(stream, events, options).await
    }

    async fn read_stream(&self, stream: &StreamId, options: ReadOptions) -> Result<Replay> {
        self.log.read_stream(stream, options).await
    }

    fn read_all(&self, options: LogReadOptions) -> EventStream {
        self.log.read_all(options)
    }

    async fn version(&self, stream: &StreamId) -> Result<Version> {
        self.log.version(stream).await
    }

    async fn head(&self) -> Result<Position> {
        self.log.head().await
    }

    async fn find_append(&self, stream: &StreamId, key: &IdempotencyKey) -> Result<Appended> {
        self.log.find_append(stream, key).await
    }

    async fn snapshot(&self, stream: &StreamId, version: Version, snapshot: EventMessage) -> Result<()> {
        self.log.snapshot(stream, version, snapshot).await
    }

    async fn read_snapshot(&self, stream: &StreamId, version: Version) -> Result<Option<Snapshot>> {
        self.log.read_snapshot(stream, version).await
    }

    async fn snapshot_versions(&self, stream: &StreamId) -> Result<Vec<Version>> {
        self.log.snapshot_versions(stream).await
    }

    async fn clear_snapshot(&self, stream: &StreamId, version: Version) -> Result<()> {
        self.log.clear_snapshot(stream, version).await
    }

    async fn clear_snapshots(&self, stream: &StreamId) -> Result<()> {
        self.log.clear_snapshots(stream).await
    }

    fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        Subscription::new(Removing {
            subscription: self.log.subscribe(options),
            removed: self.removed.clone(),
        })
    }

    fn namespace(&self, name: &NamespaceName) -> Arc<dyn Namespace> {
        Arc::new(FaultyNamespace {
            namespace: self.log.namespace(name),
            plan: Arc::clone(&self.plan),
            slow: self.slow.clone(),
            held: self.held.clone(),
        })
    }
}

struct Removing {
    subscription: Subscription,
    removed: Vec<u64>,
}

impl Stream for Removing {
    type Item = Result<Notice>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.subscription).poll_next(context);
        polled.map_ok(|notice| match notice {
            Notice::Event(event) if self.removed.contains(&event.position.get()) => {
                let removed = RecordedEvent::removed(event.stream, event.version, event.position);
                Notice::Event(Box::new(removed))
            }
            other => other,
        })
    }
}

struct FaultyNamespace {
    namespace: Arc<dyn Namespace>,
    plan: Arc<Plan>,
    slow: Option<Arc<Mutex<fastrand::Rng>>>,
    held: Option<Arc<Held>>,
}

impl fmt::Debug for FaultyNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyNamespace").finish_non_exhaustive()
    }
}

fn unknown() -> Error {
    Error::OutcomeUnknown {
        reason: "the answer was lost".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Namespace for FaultyNamespace {
    fn name(&self) -> &NamespaceName {
        self.namespace.name()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.namespace.get(key).await
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        self.namespace.scan(prefix, after, limit).await
    }

    async fn commit(&self, changes: Changes, durability: Durability) -> Result<Committed> {
        let yields = self.slow.as_ref().map_or(0, |random| random.lock().u32(..20));
        for _ in 0..yields {
            tokio::task::yield_now().await;
        }
        if let Some(held) = &self.held {
            held.pass(&changes).await;
        }
        match (self.plan)(&changes) {
            None => self.namespace.commit(changes, durability).await,
            Some(Fault::Before) => Err(Error::Unavailable {
                reason: "the disk is busy".to_owned(),
                source: None,
            }),
            Some(Fault::UnknownBefore) => Err(unknown()),
            Some(Fault::UnknownAfter) => {
                // A conflict is not known either.
                let _ = self.namespace.commit(changes, durability).await?;
                Err(unknown())
            }
        }
    }
}
