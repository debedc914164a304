//! Following a log or a stream: reading what is there, then taking what comes from the tail that all followers share.
//!
//! A follower reads up to the head of the log, joins the [tail](Tail) of its database, and takes events from there. When
//! it takes them so slowly that the tail has let go of what it wants next, it reads again. So it holds a page, and what
//! it does is its own business: a commit does not wait for anybody who follows.

mod catch_up;
mod tail;
mod tails;

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use eventstore_abstractions::{
    Database, Error, EventStream, Notice, Position, Query, RecordedEvent, Result, StreamId, SubscribeFrom,
    SubscribeOptions, Subscription, Version,
};
use futures_util::stream;
use tokio::sync::watch;

use self::tail::{Next, Tail};
pub(crate) use self::tails::{Reach, Tails};
use crate::log::Core;

/// Follows as `options` say. Nothing is read before the first event is asked for; but where the log ends is what it is
/// now.
pub(crate) fn subscribe(core: &Arc<Core>, database: &Database, options: SubscribeOptions) -> Subscription {
    let begin = match options.from {
        SubscribeFrom::After(position) => Begin::After(position),
        SubscribeFrom::End => Begin::End(core.tails.mark(database)),
    };
    let follower = Follower {
        core: Arc::downgrade(core),
        database: database.clone(),
        query: options.query,
        stream: options.stream,
        last: Position::ZERO,
        version: None,
        seen: Position::ZERO,
        state: State::Begin(begin),
    };
    Subscription::new(stream::unfold(follower, |mut follower| async move {
        let notice = follower.next().await?;
        Some((notice, follower))
    }))
}

struct Follower {
    /// Who follows does not keep the store open: it is told when that has ended.
    core: Weak<Core>,
    database: Database,
    query: Query,
    stream: Option<StreamId>,
    /// All up to here was yielded, or is not wanted.
    last: Position,
    /// The newest version of the stream that is followed, as far as it was seen.
    version: Option<Version>,
    /// The greatest position that is known to exist: `last` may be ahead of it.
    seen: Position,
    state: State,
}

enum State {
    Begin(Begin),
    Reading { events: EventStream, until: Position },
    Live(Live),
    Done,
}

enum Begin {
    After(Position),
    /// With what is committed next: not below the least position that any commit since then began after.
    End(Arc<AtomicU64>),
}

/// A place at the tail.
struct Live {
    tail: Arc<Tail>,
    grown: watch::Receiver<()>,
    page: Arc<[RecordedEvent]>,
    /// Where in the page it goes on.
    at: usize,
    /// Where the log ended when the tail was joined, until that is reached and told.
    target: Option<Position>,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Notice>> {
        loop {
            let step = match mem::replace(&mut self.state, State::Done) {
                State::Begin(begin) => self.begin(begin).await,
                State::Reading { events, until } => self.read(events, until).await,
                State::Live(live) => self.take(live).await,
                State::Done => return None,
            };
            match step {
                Ok((state, notice)) => {
                    self.state = state;
                    if let Some(notice) = notice {
                        return Some(Ok(notice));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn core(&self) -> Result<Arc<Core>> {
        self.core.upgrade().ok_or(Error::ProviderClosed)
    }

    async fn begin(&mut self, begin: Begin) -> Result<(State, Option<Notice>)> {
        self.last = match begin {
            Begin::After(position) => position,
            Begin::End(mark) => {
                let head = head(&*self.core()?, &self.database).await?;
                head.min(Position::new(mark.load(Ordering::SeqCst)))
            }
        };
        self.catch_up().await
    }

    async fn catch_up(&mut self) -> Result<(State, Option<Notice>)> {
        let core = self.core()?;
        let until = head(&core, &self.database).await?;
        self.seen = self.seen.max(until);
        let events = match &self.stream {
            None => catch_up::log(&core.reader, &self.database, self.last, &self.query),
            Some(stream) => {
                catch_up::stream(&core.reader, &self.database, stream, self.last, self.version).await?
            }
        };
        Ok((State::Reading { events, until }, None))
    }

    /// Takes what comes next of a read; at its end the tail is joined.
    async fn read(&mut self, mut events: EventStream, until: Position) -> Result<(State, Option<Notice>)> {
        while let Some(event) = events.next().await {
            let event = event?;
            if self.passes(&event) {
                let notice = Notice::Event(Box::new(event));
                return Ok((State::Reading { events, until }, Some(notice)));
            }
        }
        self.last = self.last.max(until);
        // The tail must not begin ahead of the log, where a follower may.
        let core = self.core()?;
        let tail = Tail::join(&core, &self.database, self.last.min(self.seen));
        let grown = tail.grown();
        let target = head(&core, &self.database).await?;
        tail.reach(target);
        self.seen = self.seen.max(target);
        let live = Live {
            tail,
            grown,
            page: Arc::new([]),
            at: 0,
            target: Some(target),
        };
        Ok((State::Live(live), None))
    }

    /// Takes what comes next from the tail.
    async fn take(&mut self, mut live: Live) -> Result<(State, Option<Notice>)> {
        loop {
            if live.target.take_if(|target| self.last >= *target).is_some() {
                let notice = Notice::CaughtUp(self.last.min(self.seen));
                return Ok((State::Live(live), Some(notice)));
            }
            if let Some(event) = live.page.get(live.at) {
                live.at += 1;
                if self.passes(event) {
                    let notice = Notice::Event(Box::new(event.clone()));
                    return Ok((State::Live(live), Some(notice)));
                }
                continue;
            }
            // What comes from now on is not missed, whatever is found.
            live.grown.borrow_and_update();
            match live.tail.after(self.last)? {
                Next::Page(page, at) => (live.page, live.at) = (page, at),
                Next::Behind => return self.catch_up().await,
                Next::Nothing => {
                    live.page = Arc::new([]);
                    // The sender is in the tail, which is held here.
                    let _ = live.grown.changed().await;
                }
            }
        }
    }

    /// Moves past `event`; whether it is wanted. Nothing is yielded twice, wherever it comes from.
    fn passes(&mut self, event: &RecordedEvent) -> bool {
        if self.stream.as_ref() == Some(&event.stream) {
            self.version = self.version.max(Some(event.version));
        }
        if event.position <= self.last {
            return false;
        }
        self.last = event.position;
        self.seen = self.seen.max(event.position);
        // In a stream nothing stands for an event that was removed.
        let of_stream = |stream: &StreamId| *stream == event.stream && !event.is_removed();
        self.stream.as_ref().is_none_or(of_stream) && self.query.matches(event)
    }
}

/// Where the log of `database` ends.
async fn head(core: &Core, database: &Database) -> Result<Position> {
    let head = core.reader.database_head(database).await?;
    Ok(Position::new(head.position))
}
