//! Who makes the steps of the sequencer: a loop that is woken, or a lone caller.
//!
//! A caller that meets nobody has its request served on its own thread, disk included, and no thread is woken for it: on a
//! fast disk two of those wakes take as long as a sync. As soon as there are several, they share commits, and the loop serves
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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

/// The worker, and whether the loop has ended that calls it.
#[derive(Clone, Debug)]
struct Shared {
    /// Held by whoever makes a step.
    worker: Arc<Mutex<Worker>>,
    has_ended: Arc<AtomicBool>,
}

impl Shared {
    /// Turns those away who wait for a loop that has ended. Whoever makes a step meanwhile does so after it.
    fn turn_away(&self) {
        if self.has_ended.load(Ordering::SeqCst)
            && let Ok(mut worker) = self.worker.try_lock()
        {
            worker.turn_away();
        }
    }
}

/// Dropped after a step, or with the future that makes it.
#[derive(Debug)]
struct Step(Shared);

impl Drop for Step {
    fn drop(&mut self) {
        self.0.turn_away();
    }
}

/// Dropped with the loop: at its end, with the runtime that it runs on, or when it panics.
#[derive(Debug)]
struct Loop<'a>(&'a Shared);

impl Drop for Loop<'_> {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::SeqCst);
        self.0.turn_away();
    }
}

/// The sequencer, and what wakes it.
#[derive(Debug)]
pub(super) struct Drive {
    shared: Shared,
    bell: Bell,
    lone: Lone,
    is_disturbed: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
}

impl Drive {
    pub(super) fn new(worker: Worker, bell: Bell, lone: Lone, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Shared {
                worker: Arc::new(Mutex::new(worker)),
                has_ended: Arc::default(),
            },
            bell,
            lone,
            is_disturbed: Arc::default(),
            clock,
        }
    }

    /// Begins the loop: on a thread of its own, which may block.
    pub(super) fn start(self: Arc<Self>, threads: Threads) -> Result<()> {
        let runtime = Handle::current();
        if threads == Threads::Runtime {
            runtime.spawn(async move { self.run().await });
            return Ok(());
        }
        let started = thread::Builder::new()
            .name("event-sequencer".to_owned())
            .spawn(move || {
                blocking::allow_on_this_thread();
                runtime.block_on(self.run());
            });
        match started {
            Ok(_) => Ok(()),
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
        let Ok(mut worker) = Arc::clone(&self.shared.worker).try_lock_owned() else {
            return Some(request);
        };
        if !worker.is_free() {
            return Some(request);
        }
        self.is_disturbed.store(true, Ordering::Relaxed);
        // Where the runtime ends before the request was served, the loop goes on with it.
        let unfinished = End(Some(self.bell.clone()));
        let step = Step(self.shared.clone());
        blocking::begin_here(async move {
            worker.serve(request).await;
            drop(worker);
            drop(step);
            unfinished.call_off();
        });
        None
    }

    /// Something was queued.
    pub(super) fn ring(&self) {
        self.bell.ring();
        self.shared.turn_away();
    }

    async fn run(&self) {
        let Shared { worker, .. } = &self.shared;
        let _loop = Loop(&self.shared);
        let mut rest = Rest::new(Arc::clone(&self.clock), Arc::clone(&self.is_disturbed));
        loop {
            let next = worker.lock().await.work().await;
            let Some(Rests { look, is_unsettled }) = next else {
                return worker.lock().await.finish().await;
            };
            tokio::select! {
                biased;
                () = self.bell.rung() => self.is_disturbed.store(true, Ordering::Relaxed),
                () = rest.undisturbed(), if is_unsettled => {
                    worker.lock().await.settle_at_rest().await;
                }
                () = rest::until(look) => {}
            }
        }
    }
}
