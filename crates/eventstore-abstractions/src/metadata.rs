//! What is said about an event, beside the event itself.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use crate::{
    CausationId, CorrelationId, Database, IdempotencyId, MessageId, Scope, StreamId, Tag, Timestamp,
    TypeName, UserId, UserSessionId, Version,
};

/// What is said about an event: what the message is, and in which context it arose.
///
/// ```
/// use eventstore_abstractions::{EventMessage, Scope};
///
/// let mut event = EventMessage::json("Deposited", &500)?;
/// event.metadata.message.schema_version = 2;
/// event.metadata.context.scopes = vec![Scope::new("audit")?];
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// What the message is.
    pub message: MessageMetadata,
    /// In which context it arose.
    #[serde(default)]
    pub context: ContextMetadata,
}

/// What a message is.
///
/// See [`Metadata`] for an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MessageMetadata {
    /// Unique id of the message; a UUIDv7 unless set. It is recognised when it is appended to its
    /// stream again.
    pub id: MessageId,
    /// Name of the event's type.
    pub type_name: TypeName,
    /// Version of the schema of the event's type.
    pub schema_version: u32,
    /// The aggregate that the event belongs to. If set, the message can only be appended to that stream.
    pub domain: Option<StreamId>,
    /// When the event was created.
    pub created_at: Timestamp,
}

/// In which context a message arose: its [`ContextFields`], which it derefs to.
///
/// Most messages of a plain application have none. It takes no more room in a message than a pointer, and memory of its
/// own once a field is set.
///
/// ```
/// use eventstore_abstractions::{ContextMetadata, CorrelationId};
///
/// let mut context = ContextMetadata::default();
/// assert!(context.is_empty());
/// context.correlation_id = Some(CorrelationId::new("request-7")?);
/// assert!(!context.is_empty());
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "ContextFields", into = "ContextFields")]
pub struct ContextMetadata(Option<Box<ContextFields>>);

/// What can be said about the context of a message.
///
/// See [`ContextMetadata`] for an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ContextFields {
    /// Ties together everything that came of one request.
    pub correlation_id: Option<CorrelationId>,
    /// The message that directly caused this one.
    pub causation_id: Option<CausationId>,
    /// The user on whose behalf it happened.
    pub user_id: Option<UserId>,
    /// The database that the event belongs to. If set, the message can only be appended there.
    pub partition_id: Option<Database>,
    /// When the request that led to the event was received.
    pub received_at: Option<Timestamp>,
    /// The user's session in the application.
    pub session_id: Option<UserSessionId>,
    /// The version that the event must get in its stream; an append that would give it another is refused.
    pub sequence_number: Option<Version>,
    /// Marks the append as one that may be tried again.
    pub idempotency_id: Option<IdempotencyId>,
    /// Labels for who may see or handle the event; at most [`MAX_SCOPES`](ContextMetadata::MAX_SCOPES).
    pub scopes: Vec<Scope>,
    /// What the event is about, for queries and conditions across streams; at most
    /// [`MAX_TAGS`](ContextMetadata::MAX_TAGS).
    pub tags: Vec<Tag>,
}

impl ContextMetadata {
    /// Most scopes of a message: they are stored with every event.
    pub const MAX_SCOPES: usize = 64;
    /// Most tags of a message: each is an entry of an index.
    pub const MAX_TAGS: usize = 64;

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|fields| **fields == ContextFields::NONE)
    }
}

impl ContextFields {
    const NONE: Self = Self {
        correlation_id: None,
        causation_id: None,
        user_id: None,
        partition_id: None,
        received_at: None,
        session_id: None,
        sequence_number: None,
        idempotency_id: None,
        scopes: Vec::new(),
        tags: Vec::new(),
    };
}

impl Default for ContextFields {
    fn default() -> Self {
        Self::NONE
    }
}

impl Deref for ContextMetadata {
    type Target = ContextFields;

    #[inline]
    fn deref(&self) -> &ContextFields {
        static NONE: ContextFields = ContextFields::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for ContextMetadata {
    fn deref_mut(&mut self) -> &mut ContextFields {
        self.0.get_or_insert_default()
    }
}

impl From<ContextFields> for ContextMetadata {
    fn from(fields: ContextFields) -> Self {
        Self((fields != ContextFields::NONE).then(|| Box::new(fields)))
    }
}

impl From<ContextMetadata> for ContextFields {
    fn from(context: ContextMetadata) -> Self {
        context.0.map_or(Self::NONE, |fields| *fields)
    }
}

/// What is said counts, not how it is kept.
impl PartialEq for ContextMetadata {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ContextMetadata {}

impl fmt::Debug for ContextMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Metadata {
    /// Metadata for a new event of the given type: a generated id, schema version 1, created now, no context.
    ///
    /// ```
    /// use eventstore_abstractions::{Metadata, TypeName};
    ///
    /// let metadata = Metadata::new(TypeName::new("AccountOpened")?);
    /// assert_eq!(metadata.message.schema_version, 1);
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    #[must_use]
    pub fn new(type_name: TypeName) -> Self {
        Self::new_at(MessageId::generate(), type_name, Timestamp::now())
    }

    /// Metadata with a given id and time of creation, schema version 1 and no context: for imports and
    /// for stores that decode records.
    ///
    /// ```
    /// use eventstore_abstractions::{MessageId, Metadata, Timestamp, TypeName};
    ///
    /// // An event of an older system keeps the time at which it happened.
    /// let happened_at: Timestamp = "2019-05-01T12:00:00Z".parse()?;
    /// let metadata = Metadata::new_at(MessageId::generate(), TypeName::new("AccountOpened")?, happened_at);
    /// assert_eq!(metadata.message.created_at, happened_at);
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn new_at(id: MessageId, type_name: TypeName, created_at: Timestamp) -> Self {
        let message = MessageMetadata {
            id,
            type_name,
            schema_version: 1,
            domain: None,
            created_at,
        };
        Self {
            message,
            context: ContextMetadata::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CausationId;

    #[test]
    fn context_is_equal_by_what_it_says() {
        let mut touched = ContextMetadata::default();
        touched.scopes.clear();
        assert!(touched.is_empty());
        assert_eq!(touched, ContextMetadata::default());
        touched.causation_id = Some(CausationId::new("command-17").expect("valid"));
        assert!(!touched.is_empty());
        assert_ne!(touched, ContextMetadata::default());
        assert_eq!(
            ContextMetadata::from(ContextFields::from(touched.clone())),
            touched
        );
    }

    #[test]
    fn context_takes_the_room_of_a_pointer() {
        assert_eq!(size_of::<ContextMetadata>(), size_of::<usize>());
    }
}
