//! A [`KeyValueStore`] in the memory of the process: a `BTreeMap` behind a lock.
//!
//! Use it for tests, for prototypes, and for data that may be lost. It keeps every promise of the trait but
//! one: **nothing outlives the store.** All data is gone when [`close`](KeyValueStore::close) returns, when
//! the last handle is dropped, and when the process ends in whatever way. [`Durability::Durable`] and
//! [`Durability::Buffered`] therefore mean the same here, and `capabilities().durable` is `false`: a caller
//! that needs its data again must look at it, or choose another backend.
//!
//! Data is limited by the memory of the process alone. A key or value keeps the buffer that it was cut from
//! alive, as [`Bytes`] does everywhere.
//!
//! ```
//! use kv_core::{Batch, Durability, KeyValueStore, Outcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kv_core::Result<()> {
//! let store = kv_memory::Store::new();
//! let batch = Batch::new().require_absent("greeting").put("greeting", "hello");
//!
//! assert_eq!(store.commit(batch.clone(), Durability::Buffered).await?, Outcome::Applied);
//! assert_eq!(
//!     store.commit(batch, Durability::Buffered).await?,
//!     Outcome::ConditionFailed { condition: 0 }
//! );
//! assert_eq!(store.get(b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan};
use parking_lot::RwLock;

/// A key-value store in memory.
///
/// See the [crate documentation](crate) for what it promises and what it loses, and for an example.
///
/// No call waits for anything but the lock, which is held for the time of one page or one commit; none leaves
/// its thread.
pub struct Store {
    /// `None` once the store is closed.
    entries: RwLock<Option<Entries>>,
}

type Entries = BTreeMap<Bytes, Bytes>;

impl Store {
    /// An empty store.
    ///
    /// ```
    /// let store = std::sync::Arc::new(kv_memory::Store::new());
    /// # let _ = store;
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: RwLock::new(Some(Entries::new())),
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Entries) -> T) -> Result<T> {
        self.entries.read().as_ref().map(read).ok_or(Error::Closed)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Store {
    /// Says how much is stored, never what, and never waits for the lock.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Store");
        match self.entries.try_read().as_deref() {
            Some(Some(entries)) => out.field("entries", &entries.len()),
            Some(None) => out.field("closed", &true),
            None => &mut out,
        };
        out.finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValueStore for Store {
    fn capabilities(&self) -> Capabilities {
        Capabilities::IN_PROCESS
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read(|entries| entries.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.read(|entries| keys.iter().map(|key| entries.get(key).cloned()).collect())
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.read(|entries| Page::of_map(entries, scan))
    }

    async fn commit(&self, batch: Batch, _durability: Durability) -> Result<Outcome> {
        let mut guard = self.entries.write();
        let entries = guard.as_mut().ok_or(Error::Closed)?;
        batch.check(&Capabilities::IN_PROCESS)?;
        Ok(apply(entries, batch))
    }

    async fn close(&self) -> Result<()> {
        let entries = self.entries.write().take();
        // Freeing a large map takes long: not under the lock.
        drop(entries);
        Ok(())
    }
}

fn apply(entries: &mut Entries, batch: Batch) -> Outcome {
    let lost = batch
        .conditions()
        .position(|it| !it.holds(entries.get(it.key()).map(Bytes::as_ref)));
    if let Some(condition) = lost {
        return Outcome::ConditionFailed { condition };
    }
    let (_, writes) = batch.into_parts();
    for (key, value) in writes {
        match value {
            Some(value) => entries.insert(key, value),
            None => entries.remove(&key),
        };
    }
    Outcome::Applied
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn filled() -> Store {
        let store = Store::new();
        put(&store, Batch::new().put("a", "1").put("b", "2").put("c", "3")).await;
        store
    }

    async fn put(store: &Store, batch: Batch) {
        let outcome = store.commit(batch, Durability::Durable).await.expect("commit");
        assert_eq!(outcome, Outcome::Applied);
    }

    async fn keys(store: &Store, scan: Scan) -> Vec<Bytes> {
        store
            .scan(scan)
            .await
            .expect("scan")
            .entries
            .into_iter()
            .map(|entry| entry.key)
            .collect()
    }

    #[tokio::test]
    async fn commit_applies_puts_and_deletes() {
        let store = filled().await;
        put(
            &store,
            Batch::new()
                .require_equals("a", "1")
                .put("a", "4")
                .delete("b")
                .delete("absent"),
        )
        .await;
        let values = store
            .get_many(&["c".into(), "b".into(), "a".into()])
            .await
            .expect("read");
        assert_eq!(values, [Some("3".into()), None, Some("4".into())]);
    }

    #[tokio::test]
    async fn failed_condition_is_named_and_nothing_is_applied() {
        let store = filled().await;
        let batch = Batch::new()
            .require_present("a")
            .require_absent("b")
            .put("a", "9")
            .put("d", "9");
        let outcome = store.commit(batch, Durability::Durable).await.expect("commit");
        assert_eq!(outcome, Outcome::ConditionFailed { condition: 1 });
        assert_eq!(store.get(b"a").await.expect("read").as_deref(), Some(&b"1"[..]));
        assert_eq!(store.get(b"d").await.expect("read"), None);
    }

    #[tokio::test]
    async fn batch_over_a_limit_writes_nothing() {
        let store = Store::new();
        let large = vec![0; Capabilities::IN_PROCESS.max_value_bytes + 1];
        let result = store
            .commit(Batch::new().put("a", "1").put("b", large), Durability::Durable)
            .await;
        assert!(
            matches!(result, Err(Error::TooLarge { what: "value", .. })),
            "{result:?}"
        );
        assert_eq!(store.get(b"a").await.expect("read"), None);
    }

    #[tokio::test]
    async fn scan_goes_both_ways_and_page_by_page() {
        let store = filled().await;
        assert_eq!(keys(&store, Scan::range("a", "c")).await, ["a", "b"]);
        assert_eq!(
            keys(&store, Scan::range("a", "").reverse()).await,
            ["c", "b", "a"]
        );
        let first = store
            .scan(Scan::range("a", "").reverse().max_items(2))
            .await
            .expect("scan");
        assert_eq!(keys(&store, first.next.expect("more follows")).await, ["a"]);
    }

    #[tokio::test]
    async fn scan_of_an_inverted_range_is_empty() {
        let store = filled().await;
        assert!(keys(&store, Scan::range("c", "a")).await.is_empty());
        assert!(keys(&store, Scan::range("b", "b").reverse()).await.is_empty());
    }

    #[tokio::test]
    async fn closed_store_refuses_every_call_through_every_handle() {
        let store = Arc::new(filled().await);
        let other = Arc::clone(&store);
        store.close().await.expect("close");
        assert!(matches!(other.get(b"a").await, Err(Error::Closed)));
        assert!(matches!(other.get_many(&[]).await, Err(Error::Closed)));
        assert!(matches!(other.scan(Scan::prefix("")).await, Err(Error::Closed)));
        assert!(matches!(
            other.commit(Batch::new(), Durability::Durable).await,
            Err(Error::Closed)
        ));
        other.close().await.expect("closing again does nothing");
    }

    #[tokio::test]
    async fn debug_says_how_much_is_stored_and_never_what() {
        let store = Store::default();
        put(&store, Batch::new().put("secret", "value")).await;
        assert_eq!(format!("{store:?}"), "Store { entries: 1, .. }");
        let locked = store.entries.write();
        assert_eq!(format!("{store:?}"), "Store { .. }");
        drop(locked);
        store.close().await.expect("it closes");
        assert_eq!(format!("{store:?}"), "Store { closed: true, .. }");
    }
}
