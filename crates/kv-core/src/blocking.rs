//! Running the calls of a blocking engine without blocking the async runtime.

use crate::{Error, Result};

/// Runs a read of a blocking engine on tokio's blocking pool.
///
/// # Errors
/// Those of `read`; a panic of the engine becomes [`Error::Unavailable`].
pub async fn read<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) => Err(Error::unavailable("the engine stopped in a read", error)),
    }
}

/// Runs a commit of a blocking engine on tokio's blocking pool. It runs to its end when the caller goes away.
///
/// # Errors
/// Those of `commit`; a panic of the engine becomes [`Error::OutcomeUnknown`].
pub async fn commit<T: Send + 'static>(commit: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(commit).await {
        Ok(result) => result,
        Err(error) => Err(Error::outcome_unknown("the engine stopped in a commit", error)),
    }
}
