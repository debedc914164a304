//! An event on its way into a store, and out of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::text::text_type;
use crate::typed::{EventSet, Json, PayloadCodec};
use crate::{
    CausationId, CorrelationId, IdempotencyId, MessageId, Metadata, RecordedEvent, Result, StreamId, Tag,
    TypeName, UserId, Version,
};

text_type! {
    /// How the bytes of a payload are to be read, as a media type such as `application/json`.
    ///
    /// ```
    /// use eventstore_abstractions::ContentType;
    ///
    /// let id = ContentType::new("image/png")?;
    /// assert_eq!(id.as_str(), "image/png");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ContentType, "content type", max 127
}

impl ContentType {
    /// `application/json`: what [`Json`] writes.
    pub const JSON: Self = Self(bytestring::ByteString::from_static("application/json"));
    /// `application/octet-stream`: bytes that only the application understands.
    pub const OCTET_STREAM: Self = Self(bytestring::ByteString::from_static("application/octet-stream"));
}

/// The content of an event: bytes that the store never looks into, and how to read them.
///
/// ```
/// use eventstore_abstractions::{ContentType, Payload, typed::Json};
///
/// let payload = Payload::encode(&Json, &["a", "b"])?;
/// assert_eq!(payload, Payload::new(ContentType::JSON, r#"["a","b"]"#));
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    /// How the bytes are to be read.
    pub content_type: ContentType,
    /// The content.
    pub bytes: Bytes,
}

impl Payload {
    /// A payload of any content type.
    ///
    /// ```
    /// use eventstore_abstractions::{ContentType, Payload};
    ///
    /// let payload = Payload::new(ContentType::OCTET_STREAM, vec![1, 2, 3]);
    /// assert_eq!(payload.bytes.len(), 3);
    /// ```
    #[inline]
    #[must_use]
    pub fn new(content_type: ContentType, bytes: impl Into<Bytes>) -> Self {
        Self {
            content_type,
            bytes: bytes.into(),
        }
    }

    /// A payload encoded by `codec`, with that codec's content type.
    ///
    /// # Errors
    /// [`Error::PayloadCodec`](crate::Error::PayloadCodec) when the value cannot be encoded.
    pub fn encode<T: Serialize + ?Sized, C: PayloadCodec>(codec: &C, value: &T) -> Result<Self> {
        Ok(Self {
            content_type: codec.content_type(),
            bytes: codec.encode(value)?,
        })
    }
}

/// An event with its metadata: what an application appends and what it reads back.
///
/// ```
/// use eventstore_abstractions::{
///     ContentType, CorrelationId, EventMessage, IdempotencyId, MessageId, Payload, StreamId, UserId,
///     Version,
/// };
///
/// let event = EventMessage::new("PhotoTaken", Payload::new(ContentType::new("image/png")?, vec![0; 16]))?
///     .with_idempotency_id(IdempotencyId::new("upload-17")?);
/// assert_eq!(event.type_name(), "PhotoTaken");
///
/// // The rest of the metadata is optional. What was not set is left to the application, and kept as it is.
/// let event = EventMessage::json("PhotoShown", &())?
///     .with_message_id(MessageId::generate())
///     .with_sequence_number(Version::new(8))
///     .with_domain(StreamId::new("album", "summer")?)
///     .with_correlation_id(CorrelationId::new("request-7")?)
///     .with_causation_id(event.id().into())
///     .with_user_id(UserId::new("alice")?);
/// # let _ = event;
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMessage {
    /// The content.
    pub payload: Payload,
    /// What is said about it.
    pub metadata: Metadata,
}

impl EventMessage {
    /// An event of the named type, created now, with a generated message id.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when the type name is not a valid [`TypeName`].
    pub fn new(type_name: impl Into<String>, payload: Payload) -> Result<Self> {
        Ok(Self {
            payload,
            metadata: Metadata::new(TypeName::new(type_name)?),
        })
    }

    /// An event of the named type whose payload is `value` in JSON.
    ///
    /// ```
    /// use eventstore_abstractions::EventMessage;
    ///
    /// let event = EventMessage::json("Renamed", &serde_json::json!({ "to": "Bob" }))?;
    /// assert_eq!(event.payload.bytes.as_ref(), br#"{"to":"Bob"}"#);
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(type_name: impl Into<String>, value: &T) -> Result<Self> {
        Self::new(type_name, Payload::encode(&Json, value)?)
    }

    /// The message of a typed event, or of any event of a set, in JSON.
    ///
    /// ```
    /// use eventstore_abstractions::{EventMessage, typed::DomainEvent};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Deposited { cents: u64 }
    /// impl DomainEvent for Deposited {
    ///     const TYPE_NAME: &'static str = "Deposited";
    /// }
    ///
    /// let message = EventMessage::of(&Deposited { cents: 500 })?;
    /// assert_eq!(message.type_name(), "Deposited");
    /// assert_eq!(message.payload.bytes, r#"{"cents":500}"#);
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::PayloadCodec`](crate::Error::PayloadCodec) when the event cannot be written as JSON.
    pub fn of<E: EventSet>(event: &E) -> Result<Self> {
        event.encode(&Json)
    }

    /// The same in the form of `codec`.
    ///
    /// See [`PayloadCodec`] for an example of one.
    ///
    /// # Errors
    /// [`Error::PayloadCodec`](crate::Error::PayloadCodec) when the event cannot be encoded.
    pub fn encoded_by<E: EventSet, C: PayloadCodec>(codec: &C, event: &E) -> Result<Self> {
        event.encode(codec)
    }

    /// The id of the message.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.metadata.message.id
    }

    /// The name of the event's type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.metadata.message.type_name.as_str()
    }

    /// Sets the message id.
    #[must_use]
    pub fn with_message_id(mut self, id: MessageId) -> Self {
        self.metadata.message.id = id;
        self
    }

    /// Sets the idempotency id.
    #[must_use]
    pub fn with_idempotency_id(mut self, id: IdempotencyId) -> Self {
        self.metadata.context.idempotency_id = Some(id);
        self
    }

    /// Sets the version that the event must get.
    #[must_use]
    pub fn with_sequence_number(mut self, version: Version) -> Self {
        self.metadata.context.sequence_number = Some(version);
        self
    }

    /// Sets the stream that the event belongs to.
    #[must_use]
    pub fn with_domain(mut self, stream: StreamId) -> Self {
        self.metadata.message.domain = Some(stream);
        self
    }

    /// Sets the correlation id.
    #[must_use]
    pub fn with_correlation_id(mut self, id: CorrelationId) -> Self {
        self.metadata.context.correlation_id = Some(id);
        self
    }

    /// Sets the causation id.
    #[must_use]
    pub fn with_causation_id(mut self, id: CausationId) -> Self {
        self.metadata.context.causation_id = Some(id);
        self
    }

    /// Sets the user.
    #[must_use]
    pub fn with_user_id(mut self, id: UserId) -> Self {
        self.metadata.context.user_id = Some(id);
        self
    }

    /// Sets what the event is about, for queries and conditions across streams.
    ///
    /// ```
    /// use eventstore_abstractions::{EventMessage, Tag};
    ///
    /// let event = EventMessage::json("StudentSubscribed", &())?
    ///     .with_tags([Tag::new("course:c1")?, Tag::new("student:s1")?]);
    /// assert_eq!(event.metadata.context.tags.len(), 2);
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    #[must_use]
    pub fn with_tags(mut self, tags: impl IntoIterator<Item = Tag>) -> Self {
        self.metadata.context.tags = tags.into_iter().collect();
        self
    }

    /// Records that `cause` led to this event: its message becomes the causation id, and its
    /// correlation id (or its message, if it has none) the correlation id.
    ///
    /// ```
    /// use eventstore_abstractions::{EventMessage, RecordedEvent};
    ///
    /// /// A policy: whoever opens an account gets a letter.
    /// fn react(opened: &RecordedEvent) -> eventstore_abstractions::Result<EventMessage> {
    ///     Ok(EventMessage::json("LetterRequested", &())?.caused_by(opened))
    /// }
    /// ```
    #[must_use]
    pub fn caused_by(self, cause: &RecordedEvent) -> Self {
        let correlation = cause.message.metadata.context.correlation_id.clone();
        let id = cause.message.id();
        self.with_causation_id(id.into())
            .with_correlation_id(correlation.unwrap_or_else(|| id.into()))
    }

    /// Whether `other` says the same: type, schema version, content type and payload are equal.
    ///
    /// This is what "the same content" means when an append is tried again. Ids, times and context are
    /// left out, because a command that runs again makes new ones.
    ///
    /// ```
    /// use eventstore_abstractions::EventMessage;
    ///
    /// let deposit = |cents| EventMessage::json("Deposited", &cents);
    /// assert!(deposit(500)?.same_content(&deposit(500)?));
    /// assert!(!deposit(500)?.same_content(&deposit(501)?));
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.metadata.message, &other.metadata.message);
        mine.type_name == theirs.type_name
            && mine.schema_version == theirs.schema_version
            && self.payload == other.payload
    }
}
