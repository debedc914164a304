//! Short forms of what a log does.

use async_trait::async_trait;

use crate::{
    AppendOptions, Appended, EventLog, EventMessage, ExpectedVersion, ReadOptions, Replay, Result, StreamId,
};

/// Short forms of what an [`EventLog`] does.
///
/// See [`EventLog`] for an example.
#[async_trait]
pub trait EventLogExt: EventLog {
    /// Appends `events` to `stream` durably if the stream is as `expected`.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// log.append(&alice, ExpectedVersion::NoStream, [EventMessage::json("Opened", &())?]).await?;
    /// // Somebody else, who does not know of it: they read again and decide anew.
    /// let again = log.append(&alice, ExpectedVersion::NoStream, [EventMessage::json("Opened", &())?]).await;
    /// assert!(again.unwrap_err().is_conflict());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`append_with`](EventLog::append_with).
    async fn append<I>(&self, stream: &StreamId, expected: ExpectedVersion, events: I) -> Result<Appended>
    where
        I: IntoIterator<Item = EventMessage> + Send,
    {
        let events = events.into_iter().collect();
        self.append_with(stream, events, AppendOptions::expecting(expected))
            .await
    }

    /// Reads `stream`: its newest snapshot, if any, and the events after it.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let alice = StreamId::new("account", "alice")?;
    /// # log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
    /// let history = log.read(&alice).await?.collect().await?;
    /// assert_eq!(history.version(), Version::FIRST);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_stream`](EventLog::read_stream).
    async fn read(&self, stream: &StreamId) -> Result<Replay> {
        self.read_stream(stream, ReadOptions::replay()).await
    }
}

impl<T: EventLog + ?Sized> EventLogExt for T {}
