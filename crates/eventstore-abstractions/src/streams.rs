//! Events read as a stream, in bounded memory.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{History, RecordedEvent, Result, Snapshot};

/// Events in order, read page by page: it holds a bounded amount of memory however many there are.
///
/// It is a [`futures_core::Stream`]; [`next`](Self::next) and [`collect`](Self::collect) need no further crate. It
/// reads what was there when the read began, and ends. After an error it yields nothing more.
pub struct EventStream {
    inner: Pin<Box<dyn Stream<Item = Result<RecordedEvent>> + Send>>,
}

impl EventStream {
    /// Wraps a stream: for implementations of a store.
    #[must_use]
    pub fn new(inner: impl Stream<Item = Result<RecordedEvent>> + Send + 'static) -> Self {
        Self {
            inner: Box::pin(inner),
        }
    }

    /// The next event, an error, or `None` at the end.
    ///
    /// ```
    /// use eventstore_abstractions::{EventStream, Result};
    ///
    /// async fn count(mut events: EventStream) -> Result<u64> {
    ///     let mut count = 0;
    ///     while let Some(event) = events.next().await {
    ///         event?;
    ///         count += 1;
    ///     }
    ///     Ok(count)
    /// }
    /// ```
    pub async fn next(&mut self) -> Option<Result<RecordedEvent>> {
        poll_fn(|context| self.inner.as_mut().poll_next(context)).await
    }

    /// All events that are left, in memory: for streams known to be short.
    ///
    /// # Errors
    /// The first error that the stream yields.
    pub async fn collect(mut self) -> Result<Vec<RecordedEvent>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event?);
        }
        Ok(events)
    }
}

impl Stream for EventStream {
    type Item = Result<RecordedEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(context)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

/// What is needed to rebuild a state: a snapshot, if one was used, and the events after it as a stream.
#[derive(Debug)]
pub struct Replay {
    /// The snapshot to start from; without one, start from nothing.
    pub snapshot: Option<Snapshot>,
    /// The events to apply, in order.
    pub events: EventStream,
}

impl Replay {
    /// The whole replay in memory.
    ///
    /// # Errors
    /// The first error that the stream of events yields.
    pub async fn collect(self) -> Result<History> {
        Ok(History {
            snapshot: self.snapshot,
            events: self.events.collect().await?,
        })
    }
}
