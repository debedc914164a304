//! Following a log: what is there, and then what comes.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{Error, Position, Query, RecordedEvent, Result, StreamId};

/// Where a subscription begins.
///
/// See [`SubscribeOptions`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeFrom {
    /// After this position: [`Position::ZERO`] for the first event.
    After(Position),
    /// With the next event that is appended. Of what the same provider appends, that is every event whose append begins
    /// after the call of `subscribe` has returned, however late the subscription is asked for it, and none that was
    /// acknowledged before the call. Of what other processes append to a shared engine, it is what comes after the
    /// subscription is first asked for an event.
    End,
}

/// What a subscription follows, and from where.
///
/// ```
/// use eventstore_abstractions::{Position, Query, StreamId, SubscribeOptions};
///
/// let everything = SubscribeOptions::from_start();
/// let after_checkpoint = SubscribeOptions::after(Position::new(41)).query(Query::category("account"));
/// let what_comes = SubscribeOptions::from_end().stream(StreamId::new("account", "alice")?);
/// # let _ = (everything, after_checkpoint, what_comes);
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Where it begins.
    pub from: SubscribeFrom,
    /// Which events it yields.
    pub query: Query,
    /// The one stream that it follows; the whole log if `None`.
    pub stream: Option<StreamId>,
}

impl SubscribeOptions {
    /// From the first event on.
    #[must_use]
    pub fn from_start() -> Self {
        Self::after(Position::ZERO)
    }

    /// From the event after `position` on.
    #[must_use]
    pub fn after(position: Position) -> Self {
        Self {
            from: SubscribeFrom::After(position),
            query: Query::all(),
            stream: None,
        }
    }

    /// From the next event that is appended on.
    #[must_use]
    pub fn from_end() -> Self {
        Self {
            from: SubscribeFrom::End,
            ..Self::from_start()
        }
    }

    /// Only events that match `query`.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    /// Only events of `stream`: they are read from the stream itself, whatever else is in the log.
    #[must_use]
    pub fn stream(self, stream: StreamId) -> Self {
        Self {
            stream: Some(stream),
            ..self
        }
    }
}

/// What a subscription yields.
///
/// See [`Subscription`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// An event that it follows: each once, in the order of their positions.
    Event(Box<RecordedEvent>),
    /// Everything up to this position was yielded, and the log ended there, or before it, a moment ago. It comes when
    /// the subscription has caught up, and again after each time it had fallen behind; also when nothing matched. Of a
    /// subscription that begins ahead of the log it tells where the log ends.
    CaughtUp(Position),
}

/// A log or stream that is followed: what is there, and then what comes. It does not end by itself.
///
/// It is a [`futures_core::Stream`]; [`next`](Self::next) needs no further crate. After an error it yields nothing
/// more: subscribe again after the last position that was handled. A subscriber that is slow holds a page in memory
/// and keeps nobody from writing; one that is dropped costs nothing any more.
///
/// It does not keep the store open. When the provider is closed, or the last of the provider, its logs and its sessions
/// is dropped, it ends with [`Error::ProviderClosed`]: an end that nobody is told of would look like one that was meant.
///
/// ```
/// use eventstore_abstractions::{EventLog, Notice, Result, SubscribeOptions};
///
/// async fn follow(log: &dyn EventLog) -> Result<()> {
///     let mut subscription = log.subscribe(SubscribeOptions::from_start());
///     while let Some(notice) = subscription.next().await {
///         match notice? {
///             Notice::Event(event) => println!("{} {}", event.position, event.message.type_name()),
///             Notice::CaughtUp(position) => println!("all up to {position}"),
///             _ => {}
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct Subscription {
    inner: Pin<Box<dyn Stream<Item = Result<Notice>> + Send>>,
}

impl Subscription {
    /// Wraps a stream: for implementations of a store.
    #[must_use]
    pub fn new(inner: impl Stream<Item = Result<Notice>> + Send + 'static) -> Self {
        Self {
            inner: Box::pin(inner),
        }
    }

    /// A subscription that fails with `error`.
    ///
    /// ```
    /// use eventstore_abstractions::{Error, Subscription};
    ///
    /// let subscription = Subscription::failed(Error::ProviderClosed);
    /// # let _ = subscription;
    /// ```
    #[must_use]
    pub fn failed(error: Error) -> Self {
        Self::new(Failed(Some(error)))
    }

    /// What comes next, or an error. `None` after an error. Nothing is lost when the call is dropped before it has ended.
    pub async fn next(&mut self) -> Option<Result<Notice>> {
        poll_fn(|context| self.inner.as_mut().poll_next(context)).await
    }

    /// The next event, past notices of having caught up.
    pub async fn next_event(&mut self) -> Option<Result<RecordedEvent>> {
        loop {
            match self.next().await? {
                Ok(Notice::Event(event)) => return Some(Ok(*event)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Notice>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.inner.as_mut().poll_next(context)
    }
}

/// A stream of one error.
struct Failed(Option<Error>);

impl Stream for Failed {
    type Item = Result<Notice>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
