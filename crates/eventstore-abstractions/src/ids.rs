//! Ids of messages, sessions and of what caused an event.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::text::text_type;

/// Identifies a message. A message that is appended to its stream again, with the same id, is recognised.
///
/// ```
/// use eventstore_abstractions::MessageId;
///
/// let id = MessageId::generate();
/// assert_eq!(id.to_string().parse::<MessageId>()?, id);
/// assert_eq!(MessageId::from_uuid(id.as_uuid()), id);
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

/// Identifies a session: an exclusive, expiring hold on one stream.
///
/// ```
/// use eventstore_abstractions::SessionId;
///
/// let id = SessionId::generate();
/// assert_eq!(SessionId::from_uuid(id.as_uuid()), id);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

macro_rules! uuid_type {
    ($name:ident, $what:literal) => {
        impl $name {
            /// A new id, a UUID of version 7: ordered by time, unique without coordination.
            #[must_use]
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place where ids of this type are made"
            )]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// An id from elsewhere, of any UUID version.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The id as a UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;

            fn from_str(text: &str) -> crate::Result<Self> {
                let uuid = text.parse().map_err(|error| {
                    crate::Error::invalid(format!(
                        concat!("{:?} is no ", $what, " ({}); write a UUID"),
                        text, error
                    ))
                })?;
                Ok(Self(uuid))
            }
        }
    };
}

uuid_type!(MessageId, "message id");
uuid_type!(SessionId, "session id");

text_type! {
    /// Ties together everything that came of one request.
    ///
    /// ```
    /// use eventstore_abstractions::CorrelationId;
    ///
    /// let id = CorrelationId::new("request-7")?;
    /// assert_eq!(id.as_str(), "request-7");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    CorrelationId, "correlation id", max 255
}

text_type! {
    /// Names the message that directly caused an event.
    ///
    /// ```
    /// use eventstore_abstractions::CausationId;
    ///
    /// let id = CausationId::new("command-17")?;
    /// assert_eq!(id.as_str(), "command-17");
    /// // Usually it is the id of a message of this store.
    /// let id = CausationId::from(eventstore_abstractions::MessageId::generate());
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    CausationId, "causation id", max 255
}

text_type! {
    /// Names the user on whose behalf an event happened.
    ///
    /// ```
    /// use eventstore_abstractions::UserId;
    ///
    /// let id = UserId::new("alice")?;
    /// assert_eq!(id.as_str(), "alice");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    UserId, "user id", max 255
}

text_type! {
    /// Names the user's session in the application; unrelated to a [`SessionId`] of a store.
    ///
    /// ```
    /// use eventstore_abstractions::UserSessionId;
    ///
    /// let id = UserSessionId::new("browser-3")?;
    /// assert_eq!(id.as_str(), "browser-3");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    UserSessionId, "user session id", max 255
}

text_type! {
    /// Marks an append that may be tried again: a second append with the same id and content is not applied.
    ///
    /// All events of one command usually carry the id of the command.
    ///
    /// ```
    /// use eventstore_abstractions::IdempotencyId;
    ///
    /// let id = IdempotencyId::new("command-17")?;
    /// assert_eq!(id.as_str(), "command-17");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    IdempotencyId, "idempotency id", max 128
}

text_type! {
    /// A label for who may see or handle an event.
    ///
    /// ```
    /// use eventstore_abstractions::Scope;
    ///
    /// let id = Scope::new("audit")?;
    /// assert_eq!(id.as_str(), "audit");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    Scope, "scope", max 255
}

impl From<MessageId> for CausationId {
    fn from(id: MessageId) -> Self {
        Self(id.to_string().into())
    }
}

impl From<MessageId> for CorrelationId {
    fn from(id: MessageId) -> Self {
        Self(id.to_string().into())
    }
}

/// What an earlier append to a stream is recognised by.
///
/// ```
/// use eventstore_abstractions::{IdempotencyId, IdempotencyKey, MessageId};
///
/// let command = IdempotencyKey::from(IdempotencyId::new("command-17")?);
/// let message = IdempotencyKey::from(MessageId::generate());
/// assert_eq!(command.to_string(), "idempotency id command-17");
/// # let _ = message;
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdempotencyKey {
    /// The id of one of its messages.
    Message(MessageId),
    /// The idempotency id that its messages carry.
    Idempotency(IdempotencyId),
}

impl From<MessageId> for IdempotencyKey {
    fn from(id: MessageId) -> Self {
        Self::Message(id)
    }
}

impl From<IdempotencyId> for IdempotencyKey {
    fn from(id: IdempotencyId) -> Self {
        Self::Idempotency(id)
    }
}

impl std::fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(id) => write!(f, "message id {id}"),
            Self::Idempotency(id) => write!(f, "idempotency id {id}"),
        }
    }
}
