//! Where the sequencer tells those who follow that something was committed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use eventstore_abstractions::{Database, Position};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::tail::Tail;

/// The tails of an engine's databases that somebody follows.
pub(crate) struct Tails {
    pub(super) runtime: Handle,
    /// How many there are to be told: when nobody follows, a commit costs a look at this and no more.
    listeners: AtomicUsize,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    tails: HashMap<Database, (Weak<Tail>, Arc<Signal>)>,
    /// Those who begin at the end of a log, and have not begun yet.
    marks: Vec<(Database, Weak<AtomicU64>)>,
}

/// How a tail is told to look at the log.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) wake: Notify,
    /// The position up to which the tail has read the log.
    pub(super) end: AtomicU64,
}

/// A database, where its log ended before a plan, and where it ends with it.
pub(crate) type Reach<'a> = (&'a Database, u64, u64);

impl Tails {
    /// Tails that are read by tasks of the current runtime.
    pub(crate) fn new() -> Self {
        Self {
            runtime: Handle::current(),
            listeners: AtomicUsize::new(0),
            registry: Mutex::default(),
        }
    }

    /// Called before a plan is committed. Who has subscribed to the end of a log before an event was asked to be
    /// appended must get that event, however late it begins to read.
    pub(crate) fn begins<'a>(&self, plan: impl Iterator<Item = Reach<'a>>) {
        if !self.has_listeners() {
            return;
        }
        let mut registry = self.registry.lock();
        for (database, before, _) in plan {
            registry.marks.retain(|(marked, mark)| {
                let mark = mark.upgrade();
                if let Some(mark) = mark.as_ref().filter(|_| marked == database) {
                    mark.fetch_min(before, Ordering::SeqCst);
                }
                mark.is_some()
            });
        }
        self.count(&registry);
    }

    /// Called when a plan was committed.
    pub(crate) fn has_grown<'a>(&self, plan: impl Iterator<Item = Reach<'a>>) {
        self.wake(plan, |signal, head| head > signal.end.load(Ordering::SeqCst));
    }

    /// Called when it is not known whether a plan was committed.
    pub(crate) fn may_have_grown<'a>(&self, plan: impl Iterator<Item = Reach<'a>>) {
        self.wake(plan, |_, _| true);
    }

    fn wake<'a>(&self, plan: impl Iterator<Item = Reach<'a>>, is_news: impl Fn(&Signal, u64) -> bool) {
        if !self.has_listeners() {
            return;
        }
        let registry = self.registry.lock();
        for (database, _, head) in plan {
            if let Some((_, signal)) = registry.tails.get(database)
                && is_news(signal, head)
            {
                signal.wake.notify_one();
            }
        }
    }

    /// Called when the engine was closed, or is used by nobody any more: the tails find out when they look.
    pub(crate) fn close(&self) {
        for (_, signal) in self.registry.lock().tails.values() {
            signal.wake.notify_one();
        }
    }

    /// What becomes the position that the first commit to `database` from now on begins after.
    pub(super) fn mark(&self, database: &Database) -> Arc<AtomicU64> {
        let mark = Arc::new(AtomicU64::new(Position::MAX.get()));
        let mut registry = self.registry.lock();
        if registry.marks.len() == registry.marks.capacity() {
            registry.marks.retain(|(_, mark)| mark.strong_count() > 0);
        }
        registry.marks.push((database.clone(), Arc::downgrade(&mark)));
        self.count(&registry);
        mark
    }

    /// The tail of `database` that is followed already, or a new one.
    pub(super) fn tail(
        &self,
        database: &Database,
        begin: impl FnOnce(Arc<Signal>) -> Arc<Tail>,
        at: Position,
    ) -> Arc<Tail> {
        let mut registry = self.registry.lock();
        let followed = registry.tails.get(database).and_then(|(tail, _)| tail.upgrade());
        // One that has failed is not of use to anybody who comes.
        let (tail, failed) = match followed {
            Some(tail) if tail.is_running() => (tail, None),
            failed => {
                let signal = Arc::new(Signal {
                    wake: Notify::new(),
                    end: AtomicU64::new(at.get()),
                });
                let tail = begin(Arc::clone(&signal));
                let entry = (Arc::downgrade(&tail), signal);
                registry.tails.insert(database.clone(), entry);
                (tail, failed)
            }
        };
        self.count(&registry);
        drop(registry);
        // It may be the last to hold it, and takes the registry again then.
        drop(failed);
        tail
    }

    /// Forgets the tail with this signal, which nobody follows any more.
    pub(super) fn forget(&self, database: &Database, signal: &Arc<Signal>) {
        let mut registry = self.registry.lock();
        let is_own = |(_, own): &(_, Arc<Signal>)| Arc::ptr_eq(own, signal);
        if registry.tails.get(database).is_some_and(is_own) {
            registry.tails.remove(database);
        }
        self.count(&registry);
    }

    fn has_listeners(&self) -> bool {
        self.listeners.load(Ordering::SeqCst) > 0
    }

    fn count(&self, registry: &Registry) {
        let listeners = registry.tails.len() + registry.marks.len();
        self.listeners.store(listeners, Ordering::SeqCst);
    }
}

impl fmt::Debug for Tails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tails")
            .field("listeners", &self.listeners)
            .finish_non_exhaustive()
    }
}
