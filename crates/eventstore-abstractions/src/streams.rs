//! Events read as a stream, in bounded memory.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{History, RecordedEvent, Result, Snapshot};

/// Events in order, read page by page: it holds a bounded amount of memory however many there are.
///
/// It is a [`futures_core::Stream`]; [`next`](Self::next) and [`collect`](Self::collect) need no
/// further crate. It reads what was there when the read began, and ends: a read of a stream begins
/// with its call, a read of the log when the first event is asked for. After an error it yields
/// nothing more.
///
/// ```
/// use eventstore_abstractions::{EventLog, LogReadOptions, Result};
///
/// async fn print(log: &dyn EventLog) -> Result<()> {
///     let mut events = log.read_all(LogReadOptions::forward());
///     while let Some(event) = events.next().await {
///         let event = event?;
///         println!("{} {} {}", event.position, event.stream, event.message.type_name());
///     }
///     Ok(())
/// }
/// ```
pub struct EventStream {
    inner: Pin<Box<dyn Stream<Item = Result<RecordedEvent>> + Send>>,
}

impl EventStream {
    /// Wraps a stream: for implementations of a store.
    ///
    /// ```
    /// use std::future::ready;
    ///
    /// use eventstore_abstractions::{EventStream, RecordedEvent, Result};
    /// use futures_util::StreamExt;
    ///
    /// /// The events of one category of a log.
    /// fn of_accounts(events: EventStream) -> EventStream {
    ///     EventStream::new(events.filter(|event: &Result<RecordedEvent>| {
    ///         // An error is passed on.
    ///         ready(!matches!(event, Ok(event) if event.stream.category() != "account"))
    ///     }))
    /// }
    /// ```
    #[must_use]
    pub fn new(inner: impl Stream<Item = Result<RecordedEvent>> + Send + 'static) -> Self {
        Self {
            inner: Box::pin(inner),
        }
    }

    /// The given events without a store: for an [`EventLog`](crate::EventLog) made up for a test. An
    /// error comes last, as in the streams of a store.
    ///
    /// ```
    /// use eventstore_abstractions::{Error, EventStream, Replay};
    ///
    /// let empty = EventStream::from_events([]);
    /// let failing = EventStream::from_events([Err(Error::ProviderClosed)]);
    /// let replay = Replay { snapshot: None, events: empty };
    /// # let _ = (failing, replay);
    /// ```
    #[must_use]
    pub fn from_events<I>(events: I) -> Self
    where
        I: IntoIterator<Item = Result<RecordedEvent>, IntoIter: Send + 'static>,
    {
        Self::new(Given(events.into_iter()))
    }

    /// The next event, an error, or `None` at the end.
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

/// A stream that is always ready.
struct Given<I>(I);

/// The iterator is never pinned.
impl<I> Unpin for Given<I> {}

impl<I: Iterator<Item = Result<RecordedEvent>>> Stream for Given<I> {
    type Item = Result<RecordedEvent>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// What is needed to rebuild a state: a snapshot, if one was used, and the events after it as a stream.
///
/// ```
/// use eventstore_abstractions::typed::{Json, PayloadCodec};
/// use eventstore_abstractions::{EventLog, EventLogExt, Result, StreamId};
///
/// /// Adds up numbers, event by event: a long history needs no more memory than a short one.
/// async fn sum(log: &dyn EventLog, stream: &StreamId) -> Result<u64> {
///     let mut replay = log.read(stream).await?;
///     let mut sum = match &replay.snapshot {
///         Some(snapshot) => Json.decode(&snapshot.message.payload)?,
///         None => 0,
///     };
///     while let Some(event) = replay.events.next().await {
///         sum += Json.decode::<u64>(&event?.message.payload)?;
///     }
///     Ok(sum)
/// }
/// ```
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
    /// See [`History`] for an example.
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;
    use crate::{Error, EventMessage, Position, StreamId, Timestamp, Version};

    /// The output of a future that never waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("given events are there at once"),
        }
    }

    fn event(version: u64) -> RecordedEvent {
        RecordedEvent::new(
            StreamId::new("account", "alice").expect("a valid name"),
            Version::new(version),
            Position::new(version),
            Timestamp::from_micros(0),
            EventMessage::json("Noted", &version).expect("can be written"),
        )
    }

    #[test]
    fn given_events_come_in_their_order() {
        let events = [event(1), event(2)];
        let stream = EventStream::from_events(events.clone().map(Ok));
        assert_eq!(now(stream.collect()).expect("no error"), events);
        assert_eq!(now(EventStream::from_events([]).collect()).expect("no error"), []);
    }

    #[test]
    fn given_error_comes_in_its_place() {
        let mut stream = EventStream::from_events([Ok(event(1)), Err(Error::ProviderClosed)]);
        assert!(matches!(now(stream.next()), Some(Ok(_))));
        assert!(matches!(now(stream.next()), Some(Err(Error::ProviderClosed))));
        assert!(now(stream.next()).is_none());
    }
}
