//! Who makes the steps of the sequencer: a loop that is woken, or a lone caller.
//!
//! A caller that meets nobody has its request served on its own thread, disk included, and no thread is woken for it: on a
//! fast disk two of those wakes take as long as a sync. As soon as there are several, they share commits, and the loop serves
//! them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

use eventstore_abstractions::{Clock, Error, Result};
use kv_core::blocking;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};

use super::rest::{self, Rest};
use super::worker::{Rests, Worker};
use super::{End, Queued};
use crate::options::Threads;

/// So many groups in a row of one request show that there is one caller.
const GROUPS_OF_ONE: u32 = 16;
/// Every so often a request of a lone caller takes the way of all others, on which it meets those that could share a
/// commit with it: several calls of one task begin one after the other, and would never meet otherwise.
const LONE_REQUESTS: u32 = 32;

/// Wakes the loop when something was queued.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<Notify>);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }

    /// Waits until it rings, or has rung since the last wait.
    pub(super) async fn rung(&self) {
        self.0.notified().await;
    }
}

/// Whether callers come one at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Lone(Arc<AtomicU32>);

impl Lone {
    /// A group of so many requests was answered.
    pub(super) fn answered(&self, requests: usize) {
        // It is written in steps of the sequencer alone, one after the other.
        let before = self.0.load(Ordering::Relaxed);
        let now = if requests == 1 { before.wrapping_add(1) } else { 0 };
        self.0.store(now, Ordering::Relaxed);
    }

    /// Whether the next request may be alone.
    fn is_likely(&self) -> bool {
        let groups = self.0.load(Ordering::Relaxed);
        groups >= GROUPS_OF_ONE && !groups.is_multiple_of(LONE_REQUESTS)
    }
}

/// The sequencer, and what wakes it.
#[derive(Debug)]
pub(super) struct Drive {
    /// Held by whoever makes a step; gone when the loop is: then nobody is served any more, and whoever waits is told.
    worker: Weak<Mutex<Worker>>,
    bell: Bell,
    lone: Lone,
    is_disturbed: Arc<AtomicBool>,
}

impl Drive {
    /// Begins the loop: on a thread of its own, which may block.
    pub(super) fn start(
        worker: Worker,
        bell: Bell,
        lone: Lone,
        clock: Arc<dyn Clock>,
        threads: Threads,
    ) -> Result<Self> {
        let worker = Arc::new(Mutex::new(worker));
        let drive = Self {
            worker: Arc::downgrade(&worker),
            bell: bell.clone(),
            lone,
            is_disturbed: Arc::default(),
        };
        let rest = Rest::new(clock, Arc::clone(&drive.is_disturbed));
        let run = run(worker, bell, rest, Arc::clone(&drive.is_disturbed));
        let runtime = Handle::current();
        if threads == Threads::Runtime {
            runtime.spawn(run);
            return Ok(drive);
        }
        let started = thread::Builder::new()
            .name("event-sequencer".to_owned())
            .spawn(move || {
                blocking::allow_on_this_thread();
                runtime.block_on(run);
            });
        match started {
            Ok(_) => Ok(drive),
            Err(error) => Err(Error::Unavailable {
                reason: "the system has no thread for the sequencer".to_owned(),
                source: Some(error.into()),
            }),
        }
    }

    /// Has a request served on the calling thread, if its caller is alone; gives it back otherwise.
    pub(super) fn serve(&self, request: Queued) -> Option<Queued> {
        if !self.lone.is_likely() || !request.is_append() || !blocking::is_possible_here() {
            return Some(request);
        }
        let worker = self.worker.upgrade().and_then(|it| it.try_lock_owned().ok());
        let Some(mut worker) = worker.filter(|worker| worker.is_free()) else {
            return Some(request);
        };
        self.is_disturbed.store(true, Ordering::Relaxed);
        // Where the runtime ends before the request was served, the loop goes on with it.
        let unfinished = End(Some(self.bell.clone()));
        blocking::begin_here(async move {
            worker.serve(request).await;
            drop(worker);
            unfinished.call_off();
        });
        None
    }
}

/// Makes the steps that are asked for until nothing more will be.
async fn run(worker: Arc<Mutex<Worker>>, bell: Bell, mut rest: Rest, is_disturbed: Arc<AtomicBool>) {
    loop {
        let next = worker.lock().await.work().await;
        let Some(Rests { look, is_unsettled }) = next else {
            return worker.lock().await.finish().await;
        };
        tokio::select! {
            biased;
            () = bell.rung() => is_disturbed.store(true, Ordering::Relaxed),
            () = rest.undisturbed(), if is_unsettled => {
                worker.lock().await.settle_at_rest().await;
            }
            () = rest::until(look) => {}
        }
    }
}
