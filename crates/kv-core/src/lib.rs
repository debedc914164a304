//! The one seam of EventStores: an ordered key-value engine with an atomic conditional commit.
//!
//! A backend implements [`KeyValueStore`] and nothing else. The trait knows nothing of events; it asks
//! for what every ordered engine can do, from a `BTreeMap` to a distributed database: read a key, read
//! a bounded page of a key range, and apply a [`Batch`] of writes when its conditions hold. Nothing
//! borrows from the engine, so that an engine behind a network fits as well as one in the process.
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
#[cfg(feature = "waits")]
pub mod waits;
mod watch;

use std::fmt::Debug;

use async_trait::async_trait;
pub use bytes::Bytes;

pub use batch::{Batch, Condition, Durability, Outcome};
pub use capabilities::Capabilities;
pub use error::{BoxError, Error, Result, error_chain};
pub use scan::{Direction, Entry, Page, PageBuilder, Scan};
pub use watch::Watch;

/// An ordered key-value engine with an atomic conditional commit: what a backend implements.
///
/// Keys are non-empty byte strings in lexicographic order; values are byte strings. A store is used as
/// `Arc<dyn KeyValueStore>` by many tasks at once.
///
/// ```
/// use kv_core::{Batch, Durability, KeyValueStore, Outcome};
///
/// /// Counts up; `false` when somebody else did so meanwhile.
/// async fn increment(store: &dyn KeyValueStore) -> kv_core::Result<bool> {
///     let batch = match store.get(b"counter").await? {
///         None => Batch::new().require_absent("counter").put("counter", vec![1]),
///         Some(value) => {
///             let next = vec![value[0] + 1];
///             Batch::new().require_equals("counter", value).put("counter", next)
///         }
///     };
///     Ok(store.commit(batch, Durability::Durable).await? == Outcome::Applied)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv_core::Result<()> {
/// let store = kv_memory::Store::new();
/// assert!(increment(&store).await? && increment(&store).await?);
/// assert_eq!(store.get(b"counter").await?.as_deref(), Some(&[2][..]));
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// Every line, here and at the methods, is the case of that name in the testkit's key-value suite.
/// Beyond what a suite can see, a failed call says whether anything can have happened: only
/// [`Error::OutcomeUnknown`] leaves that open.
/// - `reads_never_go_back_in_time`: commits are linearizable, and so are reads of one key.
/// - `read_after_commit_sees_it`: by whichever call it reads.
/// - `any_bytes_round_trip`: in keys and values.
/// - `random_operations_match_a_sorted_map`: any sequence of calls does what it does to a `BTreeMap`.
/// - `handles_of_a_shared_store_see_one_truth`: where the engine is shared.
/// - `second_open_is_refused_while_open`: where it is not.
#[async_trait]
pub trait KeyValueStore: Debug + Send + Sync + 'static {
    /// What this engine promises and the sizes it accepts. Constant for the life of the store.
    ///
    /// ```
    /// # use kv_core::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = kv_memory::Store::new();
    /// assert!(!store.capabilities().durable);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `longest_key_is_a_key`: as long as is promised.
    /// - `largest_value_is_kept`: as large as is promised.
    /// - `batch_of_most_bytes_is_applied`: likewise.
    /// - `batch_of_most_operations_is_applied`: likewise.
    fn capabilities(&self) -> Capabilities;

    /// The value of `key`, or `None` when the key is absent.
    ///
    /// ```
    /// # use kv_core::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = kv_memory::Store::new();
    /// assert_eq!(store.get(b"absent").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `get_returns_what_was_put`: the last of it.
    /// - `get_of_absent_key_is_none`: of one that was never put or was deleted.
    /// - `empty_value_is_a_value`: and its key is present.
    ///
    /// # Errors
    /// [`Error::Closed`] after [`close`](Self::close); otherwise as the engine fails.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The values of `keys`, in their order.
    ///
    /// The keys are read in the order given, or all at one moment: a value is never older than the value of a
    /// key before it. Engines override this to answer in one thread hop or one round trip.
    ///
    /// ```
    /// # use kv_core::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = kv_memory::Store::new();
    /// let _applied = store.commit(Batch::new().put("b", "2"), Durability::Durable).await?;
    /// assert_eq!(store.get_many(&["a".into(), "b".into()]).await?, [None, Some("2".into())]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `get_many_answers_in_the_order_asked`: absent and repeated keys, too.
    /// - `get_many_never_goes_back_in_time`: from one key to the next.
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
    /// ```
    /// # use kv_core::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = kv_memory::Store::new();
    /// let mut next = Some(Scan::prefix("log/"));
    /// while let Some(scan) = next {
    ///     let page = store.scan(scan).await?;
    ///     for entry in page.entries {
    ///         println!("{:?}", entry.key);
    ///     }
    ///     next = page.next;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `page_never_shows_part_of_a_batch`: a page is one consistent view.
    /// - `scan_is_in_key_order`: ascending.
    /// - `reverse_scan_is_in_descending_order`: the same keys.
    /// - `scan_includes_its_start`: where that is a key.
    /// - `scan_excludes_its_end`: where that is a key.
    /// - `scan_without_end_reaches_the_last_key`: whatever its bytes.
    /// - `pages_add_up_to_the_range`: no entry is lost or comes twice.
    /// - `page_holds_at_most_max_items`: as many as the scan asks for.
    /// - `page_holds_at_most_max_bytes`: of keys and values.
    /// - `first_entry_is_returned_whatever_its_size`: so that paging gets on.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn scan(&self, scan: Scan) -> Result<Page>;

    /// Applies every write of `batch` if every condition of it holds, and says which condition failed if not.
    ///
    /// ```
    /// # use kv_core::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = kv_memory::Store::new();
    /// let create = || Batch::new().require_absent("alice").put("alice", "1").put("log/1", "created alice");
    /// assert_eq!(store.commit(create(), Durability::Durable).await?, Outcome::Applied);
    /// let again = store.commit(create(), Durability::Durable).await?;
    /// assert_eq!(again, Outcome::ConditionFailed { condition: 0 });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `every_write_of_a_batch_lands`: or none does.
    /// - `failed_condition_writes_nothing`: of its batch.
    /// - `first_failed_condition_is_named`: in the order in which they were added.
    /// - `conditions_look_at_what_was_before`: the batch, not at its writes.
    /// - `racing_increments_lose_no_update`: conditions are checked inside the commit.
    /// - `racing_transfers_keep_the_total`: all of them at one moment.
    /// - `dropped_commit_is_whole_or_nothing`: when its future is dropped.
    /// - `durable_commit_survives_drop`: of the store; a power cut, as the backend's own tests show.
    /// - `durable_commit_keeps_buffered_ones_before_it`: what it was decided on.
    /// - `buffered_commit_is_visible_at_once`: though it is not durable yet.
    /// - `durable_commit_does_not_block_the_runtime`: nor does any other call.
    /// - `value_over_the_limit_is_refused`: before anything is applied, like keys and batches over theirs.
    ///
    /// # Errors
    /// - [`Error::Invalid`] and [`Error::TooLarge`]: the batch breaks a limit; nothing was applied.
    /// - [`Error::Unavailable`]: nothing was applied; the same batch may be tried again.
    /// - [`Error::OutcomeUnknown`]: the batch may have been applied; read before writing again.
    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome>;

    /// What wakes a reader when something is committed, or `None` where the engine has nothing of the kind and readers
    /// look again after a while.
    ///
    /// It is `None` always or never, for the life of the store. An engine in the process needs none: whoever commits
    /// through the one handle knows.
    ///
    /// See [`Watch`] for an example.
    ///
    /// **Contract**
    /// - `watch_wakes_for_every_commit`: that is begun after this has returned.
    /// - `watch_wakes_for_commits_of_another_handle`: where the engine is shared.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }

    /// Makes all commits durable, releases the engine and whatever it holds (files, locks, connections).
    ///
    /// Later calls fail with [`Error::Closed`]; closing again does nothing. When this returns, the same
    /// location can be opened again.
    ///
    /// ```
    /// # use kv_core::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let store = kv_memory::Store::new();
    /// store.close().await?;
    /// assert!(matches!(store.get(b"key").await, Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `buffered_commit_survives_close`: a close makes it durable.
    /// - `calls_after_close_say_closed`: of every handle.
    /// - `closing_again_does_nothing`: and succeeds.
    /// - `closed_store_opens_again`: as soon as the close returns.
    /// - `acknowledged_commits_survive_a_racing_close`: the others say that the store is closed.
    ///
    /// # Errors
    /// As the engine fails to flush; the store is closed all the same.
    async fn close(&self) -> Result<()>;
}
