//! What the cases share: opening, writing and reading in one line each.

use std::fmt::Display;
use std::panic;
use std::sync::Arc;

use kv_core::{Batch, Bytes, Durability, Entry, KeyValueStore, Outcome, Page, Scan};
use tokio::task::{JoinError, JoinSet};

use super::KvHarness;

/// Writes per batch of set-up: every engine takes as many in one commit.
const SETUP_BATCH_WRITES: usize = 64;
/// Bytes of a key or value that a failure message shows.
const SHOWN_BYTES: usize = 24;
/// Pages after which a scan of a few hundred keys is taken for endless.
const MAX_PAGES: usize = 10_000;

pub(super) async fn open(harness: &dyn KvHarness) -> Arc<dyn KeyValueStore> {
    harness.open().await.expect("the harness opens a store")
}

pub(super) async fn close(store: Arc<dyn KeyValueStore>) {
    store.close().await.expect("the store closes");
}

pub(super) async fn commit(store: &dyn KeyValueStore, batch: Batch, durability: Durability) -> Outcome {
    store
        .commit(batch, durability)
        .await
        .expect("the commit is carried out")
}

pub(super) async fn apply(store: &dyn KeyValueStore, batch: Batch) {
    assert_eq!(commit(store, batch, Durability::Buffered).await, Outcome::Applied);
}

pub(super) async fn apply_durably(store: &dyn KeyValueStore, batch: Batch) {
    assert_eq!(commit(store, batch, Durability::Durable).await, Outcome::Applied);
}

/// Puts each of `keys`, with the key itself as its value.
pub(super) async fn put_keys(store: &dyn KeyValueStore, keys: &[Bytes]) {
    for keys in keys.chunks(SETUP_BATCH_WRITES) {
        let batch = keys
            .iter()
            .fold(Batch::new(), |batch, key| batch.put(key.clone(), key.clone()));
        apply(store, batch).await;
    }
}

pub(super) async fn get(store: &dyn KeyValueStore, key: impl Into<Bytes>) -> Option<Bytes> {
    let key = key.into();
    store.get(&key).await.expect("the key is read")
}

pub(super) async fn page(store: &dyn KeyValueStore, scan: Scan) -> Page {
    store.scan(scan).await.expect("the page is read")
}

/// Every entry of the range of `scan`, over as many pages as it takes.
pub(super) async fn entries(store: &dyn KeyValueStore, scan: Scan) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut next = Some(scan);
    for _ in 0..MAX_PAGES {
        let Some(scan) = next else { return entries };
        let page = page(store, scan).await;
        entries.extend(page.entries);
        next = page.next;
    }
    panic!("a scan did not end within {MAX_PAGES} pages");
}

pub(super) async fn keys(store: &dyn KeyValueStore, scan: Scan) -> Vec<Bytes> {
    entries(store, scan)
        .await
        .into_iter()
        .map(|entry| entry.key)
        .collect()
}

/// Every key of the store, in order.
pub(super) async fn all_keys(store: &dyn KeyValueStore) -> Vec<Bytes> {
    keys(store, everything()).await
}

pub(super) fn everything() -> Scan {
    Scan::range(Bytes::new(), Bytes::new())
}

pub(super) fn bytes<const N: usize>(keys: [&'static [u8]; N]) -> Vec<Bytes> {
    keys.into_iter().map(Bytes::from_static).collect()
}

/// `count` keys `PREFIX0000`, `PREFIX0001` … in order.
pub(super) fn numbered(prefix: &str, count: usize) -> Vec<Bytes> {
    (0..count)
        .map(|number| Bytes::from(format!("{prefix}{number:04}")))
        .collect()
}

pub(super) fn number(value: &[u8]) -> u64 {
    let text = std::str::from_utf8(value).expect("the value is text");
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is not a number that the case wrote"))
}

/// Waits for all tasks; the failure of a task is the failure of the case.
pub(super) async fn finish(mut tasks: JoinSet<()>) {
    while let Some(result) = tasks.join_next().await {
        rethrow(result);
    }
}

/// Goes on with the panic of a task, so that its message is the message of the case.
pub(super) fn rethrow(result: Result<(), JoinError>) {
    if let Err(error) = result {
        panic::resume_unwind(error.into_panic());
    }
}

/// Asserts that two lists are the same and names their first difference: in hundreds of entries it would not be seen.
#[track_caller]
pub(super) fn assert_same<T: PartialEq + Brief>(found: &[T], expected: &[T], context: impl Display) {
    let same = found
        .iter()
        .zip(expected)
        .take_while(|(found, expected)| found == expected)
        .count();
    if same == found.len() && same == expected.len() {
        return;
    }
    let show = |list: &[T]| list.get(same).map_or_else(|| "nothing".to_owned(), Brief::brief);
    let (shown, wanted) = (show(found), show(expected));
    let (count, total) = (found.len(), expected.len());
    panic!("{context}: found {shown} in place {same} of {count}, expected {wanted} of {total}");
}

/// A short text for failure messages, however large the value is.
pub(super) trait Brief {
    fn brief(&self) -> String;
}

impl Brief for Bytes {
    fn brief(&self) -> String {
        let shown = self.slice(..self.len().min(SHOWN_BYTES));
        let rest = self.len() - shown.len();
        if rest == 0 {
            format!("{shown:?}")
        } else {
            format!("{shown:?} and {rest} bytes")
        }
    }
}

impl Brief for Option<Bytes> {
    fn brief(&self) -> String {
        self.as_ref().map_or_else(|| "no value".to_owned(), Brief::brief)
    }
}

impl Brief for Entry {
    fn brief(&self) -> String {
        format!("{} = {}", self.key.brief(), self.value.brief())
    }
}
