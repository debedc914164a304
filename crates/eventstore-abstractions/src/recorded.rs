//! What a store gives back: recorded events, snapshots, outcomes.

use bytes::Bytes;
use uuid::Uuid;

use crate::typed::{DomainEvent, PayloadCodec};
use crate::{
    ContentType, EventMessage, MessageId, Metadata, Payload, Position, Result, StreamId, Timestamp, TypeName,
    Version,
};

/// An event as it is stored: the message, plus what the store added.
///
/// ```
/// use eventstore_abstractions::{EventMessage, Position, RecordedEvent, StreamId, Timestamp, Version};
///
/// // A store makes it; a test that needs no store does so, too.
/// let event = RecordedEvent::new(
///     StreamId::new("account", "alice")?,
///     Version::FIRST,
///     Position::FIRST,
///     Timestamp::now(),
///     EventMessage::json("Deposited", &500)?,
/// );
/// assert_eq!(event.message.type_name(), "Deposited");
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// The stream that the event is in.
    pub stream: StreamId,
    /// Its number in the stream.
    pub version: Version,
    /// Its number in the database's log.
    pub position: Position,
    /// When the store accepted it, by the store's clock.
    pub recorded_at: Timestamp,
    /// The message that was appended.
    pub message: EventMessage,
}

impl RecordedEvent {
    /// A recorded event from its parts: for implementations of a store.
    #[must_use]
    #[inline]
    pub fn new(
        stream: StreamId,
        version: Version,
        position: Position,
        recorded_at: Timestamp,
        message: EventMessage,
    ) -> Self {
        Self {
            stream,
            version,
            position,
            recorded_at,
            message,
        }
    }

    /// What stands in the log for an event that was removed: its stream, version and position, so that nothing is
    /// skipped, and no content.
    ///
    /// ```
    /// use eventstore_abstractions::{Position, RecordedEvent, StreamId, Version};
    ///
    /// let alice = StreamId::new("account", "alice")?;
    /// let removed = RecordedEvent::removed(alice, Version::new(2), Position::new(7));
    /// assert!(removed.is_removed() && removed.message.payload.bytes.is_empty());
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    #[must_use]
    pub fn removed(stream: StreamId, version: Version, position: Position) -> Self {
        let (never, nothing) = (Timestamp::from_micros(0), MessageId::from_uuid(Uuid::nil()));
        let message = EventMessage {
            payload: Payload::new(ContentType::OCTET_STREAM, Bytes::new()),
            metadata: Metadata::new_at(nothing, TypeName::REMOVED, never),
        };
        Self::new(stream, version, position, never, message)
    }

    /// Whether the event was removed: see [`removed`](Self::removed).
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.message.metadata.message.type_name == TypeName::REMOVED
    }
}

/// The state of a stream at a version, kept beside the events, never instead of them.
///
/// See [`decode`](Self::decode) for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The version whose state this is.
    pub version: Version,
    /// When it was taken, by the store's clock.
    pub taken_at: Timestamp,
    /// The state, as a message: its type name, schema version and payload say what it is.
    pub message: EventMessage,
}

impl Snapshot {
    /// A snapshot from its parts: for implementations of a store.
    #[must_use]
    pub fn new(version: Version, taken_at: Timestamp, message: EventMessage) -> Self {
        Self {
            version,
            taken_at,
            message,
        }
    }

    /// The state, which `codec` wrote. `None` when it is of another type or schema version than `S`, be
    /// it older or newer: read the events without snapshots then, which always leads to the same state.
    ///
    /// ```
    /// use eventstore_abstractions::typed::{DomainEvent, Json};
    /// use eventstore_abstractions::{EventMessage, Snapshot, Timestamp, Version};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct Balance { cents: u64 }
    /// impl DomainEvent for Balance {
    ///     const TYPE_NAME: &'static str = "Balance";
    /// }
    ///
    /// let state = EventMessage::of(&Balance { cents: 500 })?;
    /// let snapshot = Snapshot::new(Version::new(2), Timestamp::now(), state);
    /// assert_eq!(snapshot.decode::<Balance>(&Json)?, Some(Balance { cents: 500 }));
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PayloadCodec`](crate::Error::PayloadCodec) when the payload cannot be read.
    pub fn decode<S: DomainEvent>(&self, codec: &impl PayloadCodec) -> Result<Option<S>> {
        let said = &self.message.metadata.message;
        if said.type_name.as_str() != S::TYPE_NAME || said.schema_version != S::SCHEMA_VERSION {
            return Ok(None);
        }
        codec.decode(&self.message.payload).map(Some)
    }
}

/// What an append did.
///
/// ```
/// use eventstore_abstractions::{Appended, Position, Version};
///
/// let appended = Appended::new(Version::new(3), Position::new(41), 2);
/// assert_eq!(appended.version.get() - appended.events, 1, "the version before");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The stream's version after it: that of the last event appended, or the current one if there was none.
    pub version: Version,
    /// A reader of the log that has read up to here has seen the append: the position of the last event
    /// appended, or the end of the log if there was none.
    pub position: Position,
    /// How many events were appended.
    pub events: u64,
}

impl Appended {
    /// An outcome from its parts: for implementations of a store.
    #[must_use]
    pub fn new(version: Version, position: Position, events: u64) -> Self {
        Self {
            version,
            position,
            events,
        }
    }
}

/// What is needed to rebuild a state: a snapshot, if one was used, and the events after it.
///
/// ```
/// use eventstore_abstractions::{EventLog, EventLogExt, History, Result, StreamId};
///
/// async fn describe(log: &dyn EventLog, stream: &StreamId) -> Result<String> {
///     let history: History = log.read(stream).await?.collect().await?;
///     let (version, events) = (history.version(), history.events.len());
///     Ok(match history.snapshot {
///         Some(snapshot) => format!("version {version}: from {}, {events} events on", snapshot.version),
///         None => format!("version {version}: {events} events"),
///     })
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// The snapshot to start from; without one, start from nothing.
    pub snapshot: Option<Snapshot>,
    /// The events to apply, in order.
    pub events: Vec<RecordedEvent>,
}

impl History {
    /// The version that the history leads to; 0 when it is empty.
    #[must_use]
    pub fn version(&self) -> Version {
        let snapshot = self.snapshot.as_ref().map(|snapshot| snapshot.version);
        self.events
            .last()
            .map(|event| event.version)
            .or(snapshot)
            .unwrap_or_default()
    }
}
