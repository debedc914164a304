//! Running the calls of a blocking engine without blocking the async runtime.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use kv_core::{Result, blocking};
//!
//! /// A handle on an engine whose calls wait for the disk.
//! #[derive(Clone)]
//! struct Engine(Arc<Mutex<u64>>);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let engine = Engine(Arc::new(Mutex::new(7)));
//! let handle = engine.clone();
//! blocking::commit(move || Ok(*handle.0.lock().unwrap() += 1)).await?;
//! let handle = engine.clone();
//! assert_eq!(blocking::read(move || Ok(*handle.0.lock().unwrap())).await?, 8);
//!
//! // The engine panics: nobody knows whether the commit happened.
//! let result = blocking::commit(|| -> Result<()> { panic!("a damaged page") }).await;
//! assert!(result.unwrap_err().is_outcome_unknown());
//! # Ok(())
//! # }
//! ```

use crate::{Error, Result};

/// Runs a read of a blocking engine on tokio's blocking pool.
///
/// See the [module](self) for an example.
///
/// # Errors
/// Those of `read`; a panic of the engine becomes [`Error::Unavailable`].
pub async fn read<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) => Err(Error::unavailable("the engine stopped in a read", error)),
    }
}

/// Runs a commit of a blocking engine on tokio's blocking pool. It runs to its end when the caller goes
/// away.
///
/// See the [module](self) for an example.
///
/// # Errors
/// Those of `commit`; a panic of the engine becomes [`Error::OutcomeUnknown`].
pub async fn commit<T: Send + 'static>(commit: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(commit).await {
        Ok(result) => result,
        Err(error) => Err(Error::outcome_unknown("the engine stopped in a commit", error)),
    }
}
