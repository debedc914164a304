//! What handles the events of a consumer.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{BoxError, RecordedEvent};

/// Handles the events of a [`Consumer`](super::Consumer): what it does with them is up to it.
///
/// The events of one stream come one after the other, in order; those of different streams may come at the same time.
/// An event comes **at least once**: again after a failure, and again when a worker ended before its checkpoint was
/// stored. What must happen once is made so by the handler: an id that the other side recognises
/// ([`MessageId`](eventstore_abstractions::MessageId) of the event), or a key that is written only if it is absent.
///
/// ```
/// use async_trait::async_trait;
/// use eventstore_abstractions::{BoxError, RecordedEvent};
/// use eventstore_domain::consumer::Handler;
///
/// struct Mailer;
///
/// #[async_trait]
/// impl Handler for Mailer {
///     async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError> {
///         let mail_id = event.message.id(); // The mail server sends a mail of one id once.
///         println!("{mail_id}: {} in {}", event.message.type_name(), event.stream);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles `event`. It may take longer than the lease of its worker, which is renewed meanwhile.
    ///
    /// # Errors
    /// Any: the event is tried again, and parked in the end. A panic is a failure like an error.
    async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError>;
}

#[async_trait]
impl<H: Handler + ?Sized> Handler for Arc<H> {
    async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError> {
        (**self).handle(event).await
    }
}

/// A [`Handler`] from a closure.
///
/// ```
/// use eventstore_domain::consumer::handler_fn;
///
/// let print = handler_fn(|event| async move {
///     println!("{} {}", event.position, event.message.type_name());
///     Ok(())
/// });
/// # let _ = print;
/// ```
pub fn handler_fn<F, Fut>(handle: F) -> impl Handler
where
    F: Fn(RecordedEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    HandlerFn(handle)
}

struct HandlerFn<F>(F);

#[async_trait]
impl<F, Fut> Handler for HandlerFn<F>
where
    F: Fn(RecordedEvent) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError> {
        // Payload and texts are shared: the copy is cheap.
        (self.0)(event.clone()).await
    }
}

/// Handles `event`, with a panic taken for an error: one event must not stop all the others for ever.
pub(super) async fn handle_guarded(handler: &dyn Handler, event: &RecordedEvent) -> Result<(), BoxError> {
    let mut handling = pin!(handler.handle(event));
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "without a text".to_owned());
            std::task::Poll::Ready(Err(format!("the handler panicked: {text}").into()))
        })
    })
    .await
}

/// The texts of an error and of its sources, cut to what is kept of a failure.
pub(super) fn error_text(error: &BoxError) -> String {
    /// Bytes that are kept: enough for a chain of causes, and little beside an event.
    const MAX_BYTES: usize = 2_048;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.truncate(text.floor_char_boundary(MAX_BYTES));
    text
}
