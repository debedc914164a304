//! How an engine fails, by what the caller can do about it.

use std::error::Error as StdError;

/// A cause from an engine, kept as a source without naming its type.
///
/// ```
/// use kv_core::BoxError;
///
/// let cause: BoxError = "the disk is gone".into();
/// ```
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// The result of a call to an engine.
///
/// ```
/// fn check(key: &[u8]) -> kv_core::Result<()> {
///     if key.is_empty() { Err(kv_core::Error::invalid("a key is empty")) } else { Ok(()) }
/// }
/// assert!(check(b"").is_err());
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How an engine fails, by what the caller can do about it.
///
/// ```
/// use kv_core::Error;
///
/// /// What a backend makes of its engine's failures.
/// fn of_commit(error: std::io::Error) -> Error {
///     match error.kind() {
///         std::io::ErrorKind::InvalidData => Error::corrupt("the log is damaged; restore a copy", error),
///         std::io::ErrorKind::StorageFull => Error::unavailable("the disk is full; make room", error),
///         _ => Error::outcome_unknown("the sync failed", error),
///     }
/// }
/// assert!(of_commit(std::io::Error::other("disk gone")).is_outcome_unknown());
///
/// // What is wrong with a location, or with a call, and what to do about it.
/// let error = Error::incompatible("./data", "it is a file; give the path of a directory");
/// assert_eq!(error.to_string(), "./data cannot be opened: it is a file; give the path of a directory");
/// let error = Error::invalid("a key is empty; keys have at least one byte");
/// # let _ = error;
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call itself is wrong: fix it. Nothing was applied.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong and what is right.
        reason: String,
    },
    /// A key, a value or a batch is over this engine's limit: split it, or use an engine with a larger one.
    #[error(
        "{what} of {actual} is over the limit of {limit} of this engine; split it, or use an engine with a larger limit"
    )]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        actual: usize,
        /// The largest size this engine accepts.
        limit: usize,
    },
    /// Another process, or another handle of this one, has the store open: close that one first.
    #[error("{location} is in use by another process or handle; close it there first")]
    InUse {
        /// Where the store is.
        location: String,
    },
    /// The location holds something that this backend must not touch: choose another, or another backend.
    #[error("{location} cannot be opened: {reason}")]
    Incompatible {
        /// Where the store is.
        location: String,
        /// What was found there and what to do.
        reason: String,
    },
    /// Stored data is damaged: restore it from a copy.
    #[error("stored data is damaged, restore it from a copy: {reason}")]
    Corrupt {
        /// What was found damaged.
        reason: String,
        /// The engine's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// The engine could not do it now. Nothing was applied; the call may be tried again.
    #[error("storage is unavailable, try again: {reason}")]
    Unavailable {
        /// What could not be done.
        reason: String,
        /// The engine's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// A commit was begun and its end is not known: read what is stored before writing again.
    #[error("the commit may or may not have been applied: {reason}")]
    OutcomeUnknown {
        /// What went wrong after the commit had begun.
        reason: String,
        /// The engine's own error.
        #[source]
        source: Option<BoxError>,
    },
    /// The store was closed: open it again.
    #[error("the store is closed; open it again")]
    Closed,
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid {
            reason: reason.into(),
        }
    }

    /// An [`Error::Incompatible`].
    pub fn incompatible(location: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Incompatible {
            location: location.into(),
            reason: reason.into(),
        }
    }

    /// An [`Error::Corrupt`] with the engine's own error.
    pub fn corrupt(reason: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Corrupt {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }

    /// An [`Error::Unavailable`] with the engine's own error.
    pub fn unavailable(reason: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Unavailable {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }

    /// An [`Error::OutcomeUnknown`] with the engine's own error.
    pub fn outcome_unknown(reason: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::OutcomeUnknown {
            reason: reason.into(),
            source: Some(source.into()),
        }
    }

    /// Whether a commit that failed with this error may have been applied.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. })
    }

    pub(crate) fn check_size(what: &'static str, actual: usize, limit: usize) -> Result<()> {
        if actual > limit {
            Err(Self::TooLarge { what, actual, limit })
        } else {
            Ok(())
        }
    }
}

/// The texts of `error` and of its sources, in one line: for where an error can be told as text only.
///
/// ```
/// let error = kv_core::Error::unavailable("the log cannot be written", "disk gone");
/// assert!(kv_core::error_chain(&error).ends_with("the log cannot be written: disk gone"));
/// ```
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        texts = format!("{texts}: {source}");
        next = source.source();
    }
    texts
}
