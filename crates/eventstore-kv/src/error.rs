//! What a failure of the engine means to the caller of the store.

use eventstore_abstractions::{BoxError, Error};
use kv_core::{Error as EngineError, error_chain};

/// The event store's error for an engine that could not be opened, or that failed later.
///
/// ```
/// use eventstore_abstractions::Error;
///
/// let error = kv_core::Error::InUse { location: "./data".to_owned() };
/// assert!(matches!(eventstore_kv::open_error(error), Error::CannotOpen { .. }));
/// ```
#[must_use]
pub fn open_error(error: EngineError) -> Error {
    match error {
        EngineError::Invalid { .. } | EngineError::TooLarge { .. } => Error::invalid(error.to_string()),
        EngineError::InUse { .. } => Error::CannotOpen {
            reason: error.to_string(),
            source: None,
        },
        EngineError::Incompatible { location, reason } => Error::CannotOpen {
            reason: format!("{location}: {reason}"),
            source: None,
        },
        EngineError::Corrupt { reason, source } => Error::Corrupt { reason, source },
        EngineError::Unavailable { reason, source } => Error::Unavailable { reason, source },
        EngineError::OutcomeUnknown { reason, source } => Error::OutcomeUnknown { reason, source },
        EngineError::Closed => Error::ProviderClosed,
        // Engines to come may fail in ways that are not known here; none of them is a success.
        error => Error::Unavailable {
            reason: "the engine failed".to_owned(),
            source: Some(error.into()),
        },
    }
}

/// The error of a commit that carried the writes of several callers, once for each of them.
pub(crate) fn shared_errors(error: EngineError) -> impl Fn() -> Error {
    let error = open_error(error);
    move || repeated(&error)
}

/// The error of the engine for a failure that was found while something was derived from what it has.
pub(crate) fn engine_error(error: Error) -> EngineError {
    match error {
        Error::ProviderClosed => EngineError::Closed,
        Error::Corrupt { reason, source } => EngineError::Corrupt { reason, source },
        Error::Unavailable { reason, source } => EngineError::Unavailable { reason, source },
        other => EngineError::Unavailable {
            reason: error_chain(&other),
            source: None,
        },
    }
}

/// The same failure of the engine once more, for each request that it hits. Its sources become one text.
pub(crate) fn repeated(error: &Error) -> Error {
    match error {
        Error::ProviderClosed => Error::ProviderClosed,
        Error::InvalidInput { reason } => Error::invalid(reason.clone()),
        Error::Corrupt { reason, source } => Error::Corrupt {
            reason: reason.clone(),
            source: repeated_source(source.as_ref()),
        },
        Error::OutcomeUnknown { reason, source } => Error::OutcomeUnknown {
            reason: reason.clone(),
            source: repeated_source(source.as_ref()),
        },
        Error::Unavailable { reason, source } => Error::Unavailable {
            reason: reason.clone(),
            source: repeated_source(source.as_ref()),
        },
        other => Error::Unavailable {
            reason: error_chain(other),
            source: None,
        },
    }
}

fn repeated_source(source: Option<&BoxError>) -> Option<BoxError> {
    source.map(|source| error_chain(&**source).into())
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use super::*;

    #[test]
    fn failure_that_hits_several_callers_keeps_its_kind_and_its_causes() {
        let engine = || std::io::Error::other("disk gone");
        let corrupt = shared_errors(EngineError::corrupt("a table is damaged", engine()));
        let unavailable = shared_errors(EngineError::unavailable("the log cannot be read", engine()));
        let unknown = shared_errors(EngineError::outcome_unknown("the sync failed", engine()));
        for _ in 0..2 {
            let texts = [&corrupt() as &dyn StdError, &unavailable(), &unknown()].map(error_chain);
            assert_eq!(
                texts,
                [
                    "stored data is damaged, restore it from a copy: a table is damaged: disk gone",
                    "storage failed: the log cannot be read: disk gone",
                    "the write may or may not have happened: the sync failed; append again with the same message \
                     ids to find out: disk gone",
                ]
            );
        }
        assert!(unknown().outcome_unknown() && unavailable().is_retryable());
        assert!(matches!(corrupt(), Error::Corrupt { .. }));
        let closed = shared_errors(EngineError::Closed);
        assert!(matches!(closed(), Error::ProviderClosed));
    }
}
