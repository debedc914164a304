//! A read as a stream of events: it decodes an event when it is asked for, and holds a page. From the third page on,
//! when it is clear that the read is a long one, the next pages are read while the events of this one are taken.

mod ahead;

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{mem, vec};

use eventstore_abstractions::{Direction, EventStream, RecordedEvent, Result, Version};
use futures_util::Stream;
use kv_core::Scan;

use self::ahead::{Ahead, Page};
use crate::record::{Run, Segment};
use crate::stream_cache::FirstEvents;

/// Bytes that one event of a page may have on average: what is above is left to the next page.
const BYTES_PER_EVENT: usize = 1 << 10;
/// Most bytes of a page.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// A read of fewer pages may be over soon, and what was read ahead would be for nobody.
const PAGES_BEFORE_READING_AHEAD: u64 = 2;

/// What is left of a read.
pub(crate) trait Pages: Send + Sized + 'static {
    /// The next page, or `None` at the end. It has at least one event.
    fn next_page(&mut self) -> impl Future<Output = Result<Option<VecDeque<Piece>>>> + Send;

    /// Whether a page may be read on a thread beside the runtime's own.
    fn may_read_ahead(&self) -> bool;

    fn into_events(self) -> EventStream {
        EventStream::new(Events {
            pieces: VecDeque::new(),
            state: State::Between(self),
            pages: 0,
        })
    }
}

/// Events of a page, in the direction of the read.
pub(crate) enum Piece {
    /// Of one run.
    Forward(Run),
    Decoded(vec::IntoIter<RecordedEvent>),
    /// Of the first events of a stream, those in `left`.
    Shared {
        events: FirstEvents,
        left: Range<usize>,
    },
}

impl Piece {
    pub(crate) fn new(run: Run, direction: Direction) -> Result<Self> {
        Ok(match direction {
            Direction::Forward => Self::Forward(run),
            Direction::Backward => Self::Decoded(run.reversed()?.into_iter()),
        })
    }

    /// Those of `events` that have the versions `first` to `last`.
    pub(crate) fn shared(events: FirstEvents, first: Version, last: Version) -> Self {
        let left = first.get() as usize - 1..last.get() as usize;
        Self::Shared { events, left }
    }

    /// What stands in the log for the events of `segment` that have the versions `first` to `last`.
    pub(crate) fn removed(
        segment: &Segment,
        (first, last): (Version, Version),
        direction: Direction,
    ) -> Self {
        let removed = |version| {
            let position = segment.position_of(Version::new(version));
            RecordedEvent::removed(segment.stream.clone(), Version::new(version), position)
        };
        let mut events = (first.get()..=last.get()).map(removed).collect::<Vec<_>>();
        if direction == Direction::Backward {
            events.reverse();
        }
        Self::Decoded(events.into_iter())
    }

    pub(crate) fn next(&mut self) -> Option<Result<RecordedEvent>> {
        match self {
            Self::Forward(run) => run.next(),
            Self::Decoded(events) => events.next().map(Ok),
            Self::Shared { events, left } => left.next().map(|at| Ok(events[at].clone())),
        }
    }
}

/// The part of `scan` that holds a page of `events` events, where each entry has one or more.
pub(crate) fn page_of(scan: Scan, events: u64) -> Scan {
    let events = usize::try_from(events).unwrap_or(usize::MAX);
    scan.max_items(events)
        .max_bytes(events.saturating_mul(BYTES_PER_EVENT).min(MAX_PAGE_BYTES))
}

struct Events<P> {
    pieces: VecDeque<Piece>,
    state: State<P>,
    /// Pages read so far.
    pages: u64,
}

/// What is left of a read after its next page, and that page.
type Turned<P> = (P, Page);

type Reading<P> = Pin<Box<dyn Future<Output = Turned<P>> + Send>>;

enum State<P> {
    Between(P),
    Reading(Reading<P>),
    /// The next pages are read on another thread.
    ReadingAhead(Ahead<P>),
    /// At the end, or after an error.
    Done,
}

/// Nothing in it is pinned in place.
impl<P> Unpin for Events<P> {}

impl<P: Pages> Stream for Events<P> {
    type Item = Result<RecordedEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            while let Some(piece) = this.pieces.front_mut() {
                match piece.next() {
                    Some(Err(error)) => {
                        this.pieces.clear();
                        this.state = State::Done;
                        return Poll::Ready(Some(Err(error)));
                    }
                    // As it is: an event is large.
                    Some(event) => return Poll::Ready(Some(event)),
                    None => this.pieces.pop_front(),
                };
            }
            let turned = match &mut this.state {
                State::Between(_) => {
                    if let State::Between(pages) = mem::replace(&mut this.state, State::Done) {
                        this.state = this.state_to_read(pages);
                    }
                    continue;
                }
                State::Reading(reading) => {
                    let (pages, page) = ready!(reading.as_mut().poll(context));
                    this.state = State::Between(pages);
                    page
                }
                State::ReadingAhead(ahead) => ready!(ahead.poll(context)),
                State::Done => return Poll::Ready(None),
            };
            match turned {
                Ok(Some(page)) => {
                    this.pieces = page;
                    this.pages += 1;
                }
                Ok(None) => {
                    this.state = State::Done;
                    return Poll::Ready(None);
                }
                Err(error) => {
                    this.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<P: Pages> Events<P> {
    /// Reads the next page, on another thread if the read is a long one and there is another.
    fn state_to_read(&self, pages: P) -> State<P> {
        let here = |pages| State::Reading(Box::pin(turn(pages)));
        if self.pages < PAGES_BEFORE_READING_AHEAD || !pages.may_read_ahead() {
            return here(pages);
        }
        Ahead::begin(pages).map_or_else(here, State::ReadingAhead)
    }
}

async fn turn<P: Pages>(mut pages: P) -> Turned<P> {
    let page = pages.next_page().await;
    (pages, page)
}
