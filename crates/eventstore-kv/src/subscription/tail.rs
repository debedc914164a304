//! The newest part of one database's log, read once for all who follow it.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use eventstore_abstractions::{Clock, Database, Error, LogReadOptions, Position, RecordedEvent, Result};
use kv_core::Watch;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{AbortHandle, yield_now};

use super::tails::{Signal, Tails};
use crate::error::repeated;
use crate::log::Core;
use crate::{keys, log_reader, record};

/// About how many bytes of events a tail keeps. Who falls behind by more reads the log again.
const RING_BYTES: usize = 4 << 20;
/// About how many bytes of events a page has: what a slow follower holds on to.
const PAGE_BYTES: usize = 256 << 10;
/// Most events of a page.
const PAGE_EVENTS: usize = 1_000;
/// What an event takes beside its payload, about.
const BYTES_PER_EVENT: usize = 400;
/// How often the log is looked at where other processes write, too.
const SHARED_POLL: Duration = Duration::from_millis(50);

/// The newest part of a log, as long as somebody follows it.
pub(super) struct Tail {
    tails: Arc<Tails>,
    database: Database,
    signal: Arc<Signal>,
    ring: Mutex<Ring>,
    /// Told whenever the ring has changed.
    grown: watch::Sender<()>,
    task: Mutex<Option<AbortHandle>>,
}

struct Ring {
    pages: VecDeque<Page>,
    bytes: usize,
    /// The position before the first event that is kept.
    start: Position,
    /// The position of the newest event.
    end: Position,
    /// Why nothing more comes.
    failure: Option<Error>,
}

#[derive(Default)]
struct NewPage {
    events: Vec<RecordedEvent>,
    bytes: usize,
}

struct Page {
    events: Arc<[RecordedEvent]>,
    last: Position,
    bytes: usize,
}

/// What a tail has for a follower.
pub(super) enum Next {
    /// Events, and which of them is the first that it has not seen.
    Page(Arc<[RecordedEvent]>, usize),
    /// Nothing yet.
    Nothing,
    /// What it wants is not kept any more.
    Behind,
}

impl Tail {
    /// The tail of `database`; if nobody follows it yet, it begins after `at`.
    pub(super) fn join(core: &Arc<Core>, database: &Database, at: Position) -> Arc<Self> {
        let tails = &core.tails;
        let begin = |signal: Arc<Signal>| {
            let tail = Arc::new(Self {
                tails: Arc::clone(tails),
                database: database.clone(),
                signal: Arc::clone(&signal),
                ring: Mutex::new(Ring::new(at)),
                grown: watch::Sender::new(()),
                task: Mutex::new(None),
            });
            let run = run(Arc::downgrade(core), Ended(Arc::downgrade(&tail)), signal);
            let task = tails.runtime.spawn(run);
            *tail.task.lock() = Some(task.abort_handle());
            tail
        };
        tails.tail(database, begin, at)
    }

    pub(super) fn grown(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    pub(super) fn is_running(&self) -> bool {
        self.ring.lock().failure.is_none()
    }

    /// Makes sure that the log is read up to `position`, which exists.
    pub(super) fn reach(&self, position: Position) {
        if position.get() > self.signal.end.load(Ordering::SeqCst) {
            self.signal.wake.notify_one();
        }
    }

    /// What comes after `last`.
    pub(super) fn after(&self, last: Position) -> Result<Next> {
        self.ring.lock().after(last)
    }

    /// Reads what the log has more than is known.
    async fn read(&self, core: &Core) -> Result<()> {
        let mut end = self.ring.lock().end;
        let options = LogReadOptions::forward_from(end.next()).page_size(PAGE_EVENTS);
        let mut events = log_reader::read(core.reader.clone(), self.database.clone(), options);
        let mut page = NewPage::default();
        while let Some(event) = events.next().await {
            let event = event?;
            if event.position != end.next() {
                let key = keys::log_block(&self.database, end.next());
                let what = format!("the event after position {end} has position {}", event.position);
                return Err(record::contradiction(&key, what));
            }
            end = event.position;
            page.bytes += BYTES_PER_EVENT + event.message.payload.bytes.len();
            page.events.push(event);
            if page.bytes >= PAGE_BYTES || page.events.len() == PAGE_EVENTS {
                self.push(mem::take(&mut page));
                // A log that is in memory is read without waiting: those who follow have to get their turn.
                yield_now().await;
            }
        }
        if !page.events.is_empty() {
            self.push(page);
        }
        Ok(())
    }

    fn push(&self, page: NewPage) {
        let end = self.ring.lock().push(page);
        self.signal.end.store(end.get(), Ordering::SeqCst);
        self.grown.send_replace(());
    }

    fn fail(&self, error: Error) {
        self.ring.lock().failure.get_or_insert(error);
        self.grown.send_replace(());
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.tails.forget(&self.database, &self.signal);
    }
}

impl Ring {
    fn new(at: Position) -> Self {
        Self {
            pages: VecDeque::new(),
            bytes: 0,
            start: at,
            end: at,
            failure: None,
        }
    }

    fn after(&self, last: Position) -> Result<Next> {
        if last < self.start {
            return Ok(Next::Behind);
        }
        let at = self.pages.partition_point(|page| page.last <= last);
        let Some(page) = self.pages.get(at) else {
            return match &self.failure {
                Some(error) => Err(repeated(error)),
                None => Ok(Next::Nothing),
            };
        };
        let at = page.events.partition_point(|event| event.position <= last);
        Ok(Next::Page(Arc::clone(&page.events), at))
    }

    /// Adds a page that continues the ring, and lets go of the oldest ones. Where the ring ends now.
    fn push(&mut self, page: NewPage) -> Position {
        self.bytes += page.bytes;
        self.end = page.events.last().map_or(self.end, |event| event.position);
        self.pages.push_back(Page {
            last: self.end,
            bytes: page.bytes,
            events: page.events.into(),
        });
        while self.bytes > RING_BYTES && self.pages.len() > 1 {
            if let Some(oldest) = self.pages.pop_front() {
                self.bytes -= oldest.bytes;
                self.start = oldest.last;
            }
        }
        self.end
    }
}

/// Tells those who follow when the task of their tail has ended, however it does.
struct Ended(Weak<Tail>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(tail) = self.0.upgrade() {
            tail.fail(Error::Unavailable {
                reason: "the task that reads the end of the log has stopped".to_owned(),
                source: None,
            });
        }
    }
}

/// Reads the log whenever it has grown. It holds neither the store nor the tail while it waits.
async fn run(core: Weak<Core>, tail: Ended, signal: Arc<Signal>) {
    let mut watch = None;
    loop {
        // What is committed from now on is told, so that the read that follows misses nothing.
        if watch.is_none() {
            watch = listen(&core).await;
        }
        let Some(poll) = read(&core, &tail.0).await else {
            return;
        };
        let Some(clock) = poll else {
            signal.wake.notified().await;
            continue;
        };
        if let Some(listening) = &mut watch {
            let is_lost = tokio::select! {
                biased;
                () = signal.wake.notified() => false,
                changed = listening.changed() => changed.is_err(),
            };
            if !is_lost {
                continue;
            }
            // Where listening fails again and again it must not cost more than looking.
            watch = None;
        }
        tokio::select! {
            biased;
            () = signal.wake.notified() => {}
            () = clock.sleep_until(clock.now().saturating_add(SHARED_POLL)) => {}
        }
    }
}

/// What tells of the commits of other processes; `None` where the engine cannot, or cannot now, and is looked at again and
/// again.
async fn listen(core: &Weak<Core>) -> Option<Box<dyn Watch>> {
    let core = core.upgrade().filter(|core| core.capabilities.shared)?;
    core.engine.watch().await.ok().flatten()
}

/// Reads what is new. `None` when it is over; otherwise the clock by which to look again, if nobody else tells.
async fn read(core: &Weak<Core>, tail: &Weak<Tail>) -> Option<Option<Arc<dyn Clock>>> {
    let tail = tail.upgrade()?;
    let Some(core) = core.upgrade() else {
        tail.fail(Error::ProviderClosed);
        return None;
    };
    if let Err(error) = tail.read(&core).await {
        tail.fail(error);
        return None;
    }
    Some(core.capabilities.shared.then(|| Arc::clone(&core.clock)))
}
