//! The one seam of EventStores: an ordered key-value engine with an atomic conditional commit.
//!
//! A backend implements [`KeyValueStore`] and nothing else. The trait knows nothing of events; it asks for what
//! every ordered engine can do, from a `BTreeMap` to a distributed database: read a key, read a bounded page of
//! a key range, and apply a [`Batch`] of writes when its conditions hold. Nothing borrows from the engine, so
//! that an engine behind a network fits as well as one in the process.
//!
//! ```
//! use kv_core::{Batch, Scan};
//!
//! // Move a counter from 7 to 8, and only from 7 to 8.
//! let batch = Batch::new().require_equals("counter", "7").put("counter", "8").put("log/8", "incremented");
//! assert_eq!(batch.writes().count(), 2);
//!
//! // The newest entry of the log.
//! let newest = Scan::prefix("log/").reverse().max_items(1);
//! # let _ = newest;
//! ```
#![forbid(unsafe_code)]

mod batch;
#[cfg(feature = "blocking")]
pub mod blocking;
mod capabilities;
pub mod directory;
mod error;
mod scan;

use std::fmt::Debug;

use async_trait::async_trait;
pub use bytes::Bytes;

pub use batch::{Batch, Condition, Durability, Outcome};
pub use capabilities::Capabilities;
pub use error::{BoxError, Error, Result};
pub use scan::{Direction, Entry, Page, PageBuilder, Scan};

/// An ordered key-value engine with an atomic conditional commit: what a backend implements.
///
/// Keys are non-empty byte strings in lexicographic order; values are byte strings. A store is used as
/// `Arc<dyn KeyValueStore>` by many tasks at once.
///
/// # Contract
/// Every line below is a case of the testkit's key-value suite.
/// - A commit is atomic: every write lands or none does, whatever happens to the caller, the process or the
///   machine, and no read sees a part of it.
/// - Conditions are checked inside the commit, against everything committed before it; commits are linearizable.
/// - A commit with [`Durability::Durable`] returns only when it would survive a power cut.
/// - A read that starts after a commit returned sees that commit.
/// - A page is one consistent view, in key order, within its bounds, and holds at least one entry if there is one.
/// - Dropping a returned future leaves the store consistent: its commit happens whole or not at all.
/// - A failed call says whether anything can have happened: only [`Error::OutcomeUnknown`] leaves that open.
/// - No call blocks the async runtime.
#[async_trait]
pub trait KeyValueStore: Debug + Send + Sync + 'static {
    /// What this engine promises and the sizes it accepts. Constant for the life of the store.
    fn capabilities(&self) -> Capabilities;

    /// The value of `key`, or `None` when the key is absent.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close); otherwise as the engine fails.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The values of `keys`, in their order.
    ///
    /// The keys are read in the order given, or all at one moment: a value is never older than the value of a
    /// key before it. Engines override this to answer in one thread hop or one round trip.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.get(key).await?);
        }
        Ok(values)
    }

    /// One page of a key range; [`Page::next`] is the scan that continues it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn scan(&self, scan: Scan) -> Result<Page>;

    /// Applies every write of `batch` if every condition of it holds, and says which condition failed if not.
    ///
    /// # Errors
    /// - [`Error::Invalid`] and [`Error::TooLarge`]: the batch breaks a limit; nothing was applied.
    /// - [`Error::Unavailable`]: nothing was applied; the same batch may be tried again.
    /// - [`Error::OutcomeUnknown`]: the batch may have been applied; read before writing again.
    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome>;

    /// Makes all commits durable, releases the engine and whatever it holds (files, locks, connections).
    ///
    /// Later calls fail with [`Error::Closed`]; closing again does nothing. When this returns, the same location
    /// can be opened again.
    ///
    /// # Errors
    /// As the engine fails to flush; the store is closed all the same.
    async fn close(&self) -> Result<()>;
}
