//! Being told that something was committed, so that a reader that waits for news need not ask for it.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::Result;

/// Wakes one reader when anything may have been committed, by whichever handle or process.
///
/// A reader that follows the store asks for a watch first, reads what there is, and reads again after each wake-up:
/// what is committed while it reads wakes it, too.
///
/// ```
/// use kv_core::{KeyValueStore, Result};
///
/// /// The value of `key`, as soon as there is one.
/// async fn first_value(store: &dyn KeyValueStore, key: &[u8]) -> Result<kv_core::Bytes> {
///     let mut watch = store.watch().await?;
///     loop {
///         if let Some(value) = store.get(key).await? {
///             return Ok(value);
///         }
///         match &mut watch {
///             Some(watch) => watch.changed().await?,
///             // The engine cannot wake anybody: look again after a while.
///             None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// # let store = kv_memory::Store::new();
/// # let batch = kv_core::Batch::new().put("k", "v");
/// # let _applied = store.commit(batch, kv_core::Durability::Durable).await?;
/// assert_eq!(first_value(&store, b"k").await?, "v");
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// - `watch_never_wakes_too_early`: who reads after the wake-up sees what it is about.
#[async_trait]
pub trait Watch: Debug + Send + 'static {
    /// Returns when anything may have been committed since it last returned, or, the first time, since the watch was
    /// made.
    ///
    /// Several commits may wake once, and it may wake for nothing. Where the engine was out of reach for a while it
    /// wakes when it is back, or fails.
    ///
    /// See [`Watch`] for an example.
    ///
    /// **Contract**
    /// - `watch_wakes_for_a_commit_between_calls`: at the next call.
    /// - `dropped_wait_loses_no_wake_up`: the next call returns in its place.
    /// - `watch_of_a_closed_store_says_closed`: and does not wait for ever.
    ///
    /// # Errors
    /// - [`Error::Closed`](crate::Error::Closed): this handle of the store was closed.
    /// - [`Error::Unavailable`](crate::Error::Unavailable): the connection is lost, and wake-ups with it; ask the
    ///   store for another watch, and read.
    async fn changed(&mut self) -> Result<()>;
}
