//! How an event store fails, by what the caller can do about it.

use std::error::Error as StdError;

use crate::{
    ContentType, ExpectedVersion, IdempotencyKey, Position, SessionId, StreamId, Timestamp, TypeName, Version,
};

/// A cause from below, kept as a source without naming its type.
///
/// ```
/// use eventstore_abstractions::BoxError;
///
/// let cause: BoxError = "the disk is gone".into();
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// The result of a call to an event store.
///
/// ```
/// fn parse(text: &str) -> eventstore_abstractions::Result<eventstore_abstractions::Timestamp> {
///     text.parse()
/// }
/// assert!(parse("yesterday").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who holds a stream, and until when.
///
/// ```
/// use eventstore_abstractions::{HeldBy, SessionId, Timestamp};
///
/// let held_by = HeldBy::new(SessionId::generate(), "nightly import", Timestamp::from_micros(0));
/// assert!(held_by.to_string().ends_with("of nightly import until 1970-01-01T00:00:00Z"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldBy {
    /// The session.
    pub session: SessionId,
    /// Who opened it.
    pub owner: String,
    /// When it ends unless it is renewed or closed before.
    pub until: Timestamp,
}

impl HeldBy {
    /// A holder from its parts: for implementations of a store.
    #[must_use]
    pub fn new(session: SessionId, owner: impl Into<String>, until: Timestamp) -> Self {
        Self {
            session,
            owner: owner.into(),
            until,
        }
    }
}

impl std::fmt::Display for HeldBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "session {} of {} until {}",
            self.session, self.owner, self.until
        )
    }
}

/// How an event store fails, by what the caller can do about it. A failed write has written nothing,
/// except where [`outcome_unknown`](Self::outcome_unknown) says otherwise.
///
/// The text names the thing and the remedy. The cause, where there is one, is the
/// [`source`](std::error::Error::source), which the text does not repeat: print the whole chain.
///
/// ```
/// use eventstore_abstractions::{Error, ExpectedVersion, StreamId, Version};
///
/// let error = Error::StoreVersionMismatch {
///     stream: StreamId::new("account", "alice")?,
///     expected: ExpectedVersion::NoStream,
///     actual: Version::new(3),
/// };
/// assert!(error.is_conflict() && !error.is_retryable() && !error.outcome_unknown());
/// assert_eq!(
///     error.to_string(),
///     "stream account/alice: expected no events, but it is at version 3; read it again and decide anew"
/// );
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream is not at the version that the append expects: read it again and decide anew.
    #[error("stream {stream}: expected {expected}, but it {}; read it again and decide anew", state(*actual))]
    StoreVersionMismatch {
        /// The stream.
        stream: StreamId,
        /// What the append expects. For a message's sequence number, the version just before it.
        expected: ExpectedVersion,
        /// The version that the stream has. For a message's sequence number, the version just before
        /// the message.
        actual: Version,
    },
    /// The session was closed: open another.
    #[error("the store of stream {stream} is not open; open it again")]
    StoreNotOpen {
        /// The stream.
        stream: StreamId,
    },
    /// Another session holds the stream now: what this one knows of it may be old. Open another.
    #[error(
        "session {session} no longer holds stream {stream}: it is held by {held_by}; open the store again"
    )]
    InvalidStoreSession {
        /// The stream.
        stream: StreamId,
        /// The session that was used.
        session: SessionId,
        /// The session that holds the stream now.
        held_by: Box<HeldBy>,
    },
    /// The session has lasted longer than its time-out without being renewed: open another.
    #[error("session {session} on stream {stream} expired at {expired_at}; open the store again")]
    StoreSessionExpired {
        /// The stream.
        stream: StreamId,
        /// The session that was used.
        session: SessionId,
        /// When it expired.
        expired_at: Timestamp,
    },
    /// The stream stayed held by another session for the whole open time-out: try later, or wait longer.
    #[error(
        "stream {stream} cannot be opened: it is held by {held_by}; try later or with a longer open time-out"
    )]
    OpenStoreFailed {
        /// The stream.
        stream: StreamId,
        /// Who held it when the time was over.
        held_by: Box<HeldBy>,
    },
    /// A session holds the stream, so that nobody else may write to it: open a session, or try later.
    #[error("stream {stream} is held by {held_by}; open a session to write to it, or try later")]
    StreamHeld {
        /// The stream.
        stream: StreamId,
        /// Who holds it.
        held_by: Box<HeldBy>,
    },
    /// An id was used before in this stream with other content: use a new id for a new event.
    #[error("stream {stream}: {key} was used at version {version} with other content; use a new id")]
    DuplicateIdempotencyId {
        /// The stream.
        stream: StreamId,
        /// The id.
        key: IdempotencyKey,
        /// The version of the (first) event that has it.
        version: Version,
    },
    /// No event of the stream has this id: the append that used it did not happen.
    #[error("stream {stream}: no event has {key}; the append that used it did not happen")]
    IdempotencyIdNotFound {
        /// The stream.
        stream: StreamId,
        /// The id that was looked for.
        key: IdempotencyKey,
    },
    /// The stream has no snapshot at this version: ask for the versions that there are.
    #[error("stream {stream} has no snapshot at version {version}; ask for the versions that there are")]
    SnapshotVersionNotFound {
        /// The stream.
        stream: StreamId,
        /// The version that was asked for.
        version: Version,
    },
    /// The stream has not reached this version: read or snapshot one that it has.
    #[error("stream {stream} has no version {version}: it {}; use one that it has", state(*current))]
    VersionNotFound {
        /// The stream.
        stream: StreamId,
        /// The version that was asked for.
        version: Version,
        /// The version that the stream has.
        current: Version,
    },
    /// An event matches what an append's condition excludes: read again and decide anew.
    #[error(
        "the event at position {position} matches what condition {condition} of the append excludes; read again and decide anew"
    )]
    AppendConditionFailed {
        /// Which condition of the append, from 0.
        condition: usize,
        /// The position of an event that matches.
        position: Position,
    },
    /// The stream was deleted for good: use another.
    #[error("stream {stream} was deleted for good; use another")]
    StreamDeleted {
        /// The stream.
        stream: StreamId,
    },
    /// This event log does not do what was asked of it: use a store that does.
    #[error("this event log does not {what}; use a store that does")]
    Unsupported {
        /// What it does not do.
        what: &'static str,
    },
    /// The call itself is wrong: fix it as the text says.
    #[error("{reason}")]
    InvalidInput {
        /// What is wrong and what is right.
        reason: String,
    },
    /// The event is of a type that the decoder does not know: add the type, or tell the decoder to skip
    /// or keep it.
    #[error(
        "event type {type_name} of schema version {schema_version} is unknown; \
         add it to the event set, or let the decoder skip it or keep it raw"
    )]
    UnknownEventType {
        /// The type's name.
        type_name: TypeName,
        /// The version of its schema.
        schema_version: u32,
    },
    /// A payload cannot be encoded or decoded: fix the type, or use the codec that wrote it.
    #[error("cannot {action} a payload of type {content_type}; use the type and the codec that fit it")]
    PayloadCodec {
        /// `encode` or `decode`.
        action: &'static str,
        /// The payload's content type.
        content_type: ContentType,
        /// The codec's own error.
        source: BoxError,
    },
    /// Code of the application that was called by the library failed: this error is its error, text and
    /// sources.
    #[error(transparent)]
    Application {
        /// Its error.
        source: BoxError,
    },
    /// Stored data is damaged: restore it from a copy. It is never skipped and never returned.
    #[error("stored data is damaged, restore it from a copy: {reason}")]
    Corrupt {
        /// What is damaged: the record's key, and the version if it is an event.
        reason: String,
        /// What the check found.
        #[source]
        source: Option<BoxError>,
    },
    /// The storage could not do it now; a write has written nothing. Try again.
    #[error("storage failed: {reason}")]
    Unavailable {
        /// What could not be done.
        reason: String,
        /// The backend's error.
        #[source]
        source: Option<BoxError>,
    },
    /// A write was begun and its end is not known. Append again with the same message ids: they are
    /// recognised.
    #[error(
        "the write may or may not have happened: {reason}; append again with the same message ids to find out"
    )]
    OutcomeUnknown {
        /// What went wrong after the write had begun.
        reason: String,
        /// The backend's error.
        #[source]
        source: Option<BoxError>,
    },
    /// The location cannot be opened as it is: another process has it, it holds something else, or the
    /// URL is wrong.
    #[error("cannot open the store: {reason}")]
    CannotOpen {
        /// What stands in the way and what to do.
        reason: String,
        /// The backend's error.
        #[source]
        source: Option<BoxError>,
    },
    /// The provider was closed: connect again.
    #[error("the provider is closed; connect again")]
    ProviderClosed,
}

impl Error {
    /// An [`Error::InvalidInput`]: say what is wrong and what is right.
    ///
    /// ```
    /// use eventstore_abstractions::Error;
    ///
    /// let error = Error::invalid("an amount of 0 is not possible; use 1 or more");
    /// assert_eq!(error.to_string(), "an amount of 0 is not possible; use 1 or more");
    /// ```
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidInput {
            reason: reason.into(),
        }
    }

    /// An [`Error::Application`].
    ///
    /// ```
    /// use eventstore_abstractions::{Error, RecordedEvent, Result};
    ///
    /// fn apply(balance: i64, event: &RecordedEvent) -> Result<i64> {
    ///     balance.checked_add(1).ok_or_else(|| Error::application("the balance is too large"))
    /// }
    /// ```
    pub fn application(source: impl Into<BoxError>) -> Self {
        Self::Application {
            source: source.into(),
        }
    }

    /// Whether another writer was first: reading again and deciding anew may succeed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::StoreVersionMismatch { .. } | Self::AppendConditionFailed { .. }
        )
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::OpenStoreFailed { .. }
                | Self::StreamHeld { .. }
                | Self::Unavailable { .. }
                | Self::OutcomeUnknown { .. }
        )
    }

    /// Whether a write that failed with this error may have happened all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }
}

fn state(version: Version) -> String {
    if version == Version::ZERO {
        "has no events".to_owned()
    } else {
        format!("is at version {version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of an error and of its sources.
    fn chain(error: &Error) -> Vec<String> {
        let mut texts = vec![error.to_string()];
        let mut next = error.source();
        while let Some(error) = next {
            texts.push(error.to_string());
            next = error.source();
        }
        texts
    }

    #[test]
    fn no_text_repeats_its_source() {
        let reason = || "the log cannot be written".to_owned();
        let source = || Some(BoxError::from("disk gone"));
        for error in [
            Error::Corrupt {
                reason: reason(),
                source: source(),
            },
            Error::Unavailable {
                reason: reason(),
                source: source(),
            },
            Error::OutcomeUnknown {
                reason: reason(),
                source: source(),
            },
            Error::CannotOpen {
                reason: reason(),
                source: source(),
            },
            Error::PayloadCodec {
                action: "decode",
                content_type: ContentType::JSON,
                source: "disk gone".into(),
            },
        ] {
            let texts = chain(&error);
            assert_eq!(texts.len(), 2, "{texts:?}");
            assert!(!texts[0].contains("disk gone"), "{texts:?}");
            assert_eq!(texts[1], "disk gone");
        }
    }

    #[test]
    fn error_of_the_application_is_itself() {
        assert_eq!(chain(&Error::application("no money")), ["no money"]);
    }
}
