//! What a failure of the engine means to the caller of the store.

use std::sync::Arc;

use eventstore_abstractions::Error;
use kv_core::Error as EngineError;

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
        EngineError::InUse { .. } | EngineError::Incompatible { .. } => {
            Error::CannotOpen { source: error.into() }
        }
        EngineError::Corrupt { reason, source } => Error::Corrupt { reason, source },
        EngineError::OutcomeUnknown { .. } => Error::OutcomeUnknown { source: error.into() },
        EngineError::Closed => Error::ProviderClosed,
        // Engines to come may fail in ways that are not known here; none of them is a success.
        _ => Error::Unavailable { source: error.into() },
    }
}

/// One failure of the engine that several callers are told of.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Shared(#[source] Arc<EngineError>);

/// The error of a commit that carried the writes of several callers, once for each of them.
pub(crate) fn shared_errors(error: EngineError) -> impl Fn() -> Error {
    let shared = Shared(Arc::new(error));
    move || match &*shared.0 {
        EngineError::Invalid { .. } | EngineError::TooLarge { .. } => Error::invalid(shared.to_string()),
        EngineError::OutcomeUnknown { .. } => Error::OutcomeUnknown {
            source: Box::new(shared.clone()),
        },
        EngineError::Corrupt { reason, .. } => Error::Corrupt {
            reason: reason.clone(),
            source: Some(Box::new(shared.clone())),
        },
        EngineError::Closed => Error::ProviderClosed,
        _ => Error::Unavailable {
            source: Box::new(shared.clone()),
        },
    }
}
