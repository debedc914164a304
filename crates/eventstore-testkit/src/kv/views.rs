//! What readers see while others write.

use std::future::Future;
use std::sync::Arc;

use kv_core::{Batch, Bytes, Entry};
use tokio::task::{JoinSet, yield_now};

use super::KvHarness;
use super::support::{apply, bytes, everything, get, number, numbered, open, page, rethrow};

const READERS: usize = 4;
/// Each reader goes on until it has seen as many different states: then its reads and the writes surely overlapped.
const STATES: usize = 100;

/// A page is one view: while batches are committed, no page shows some writes of a batch without the others.
pub async fn page_never_shows_part_of_a_batch(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let keys = numbered("k", 8);
    apply(&*store, uniform_batch(&keys, 0).put("moved0", "0")).await;
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let store = Arc::clone(&store);
        let scan = if reader % 2 == 0 {
            everything()
        } else {
            everything().reverse()
        };
        readers.spawn(async move {
            let (mut newest, mut states) = (0, 0);
            while states < STATES {
                let page = page(&*store, scan.clone()).await;
                let shown = uniform_value(&page.entries);
                assert!(shown >= newest, "a page shows {shown} after one showed {newest}");
                states += usize::from(shown > newest);
                newest = shown;
                let whole = page.next.is_some() || page.entries.len() == 9;
                assert!(
                    whole,
                    "of 8 keys and one that moves a page shows {}",
                    page.entries.len()
                );
                yield_now().await;
            }
        });
    }
    write_while_read(readers, |round| {
        // A key that moves shows as two or as none where the writes of a batch can be seen one by one.
        let batch = uniform_batch(&keys, round).delete(format!("moved{}", round - 1));
        let batch = batch.put(format!("moved{round}"), round.to_string());
        let store = Arc::clone(&store);
        async move { apply(&*store, batch).await }
    })
    .await;
}

/// In `get_many` a value is never older than the value of a key before it.
pub async fn get_many_never_goes_back_in_time(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let keys = bytes([b"c", b"a", b"b"]);
    apply(&*store, uniform_batch(&keys, 0)).await;
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (store, keys) = (Arc::clone(&store), keys.clone());
        readers.spawn(async move {
            let (mut newest, mut states) = (0, 0);
            while states < STATES {
                let values = store.get_many(&keys).await.expect("the keys are read");
                let values = values
                    .iter()
                    .map(|value| number(value.as_ref().expect("the key is there")));
                let numbers: Vec<u64> = values.collect();
                assert!(numbers.is_sorted(), "values go back in time: {numbers:?}");
                states += usize::from(numbers[0] > newest);
                newest = numbers[0];
                yield_now().await;
            }
        });
    }
    write_while_read(readers, |round| {
        let (store, batch) = (Arc::clone(&store), uniform_batch(&keys, round));
        async move { apply(&*store, batch).await }
    })
    .await;
}

/// Whoever reads a growing counter again and again never sees it shrink.
pub async fn reads_never_go_back_in_time(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("counter", "0")).await;
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let store = Arc::clone(&store);
        readers.spawn(async move {
            let (mut newest, mut states) = (0, 0);
            while states < STATES {
                let shown = number(&get(&*store, "counter").await.expect("it is there"));
                assert!(shown >= newest, "read {shown} after {newest}");
                states += usize::from(shown > newest);
                newest = shown;
                yield_now().await;
            }
        });
    }
    write_while_read(readers, |round| {
        let (store, batch) = (Arc::clone(&store), Batch::new().put("counter", round.to_string()));
        async move { apply(&*store, batch).await }
    })
    .await;
}

/// Calls `write` with 1, 2, 3 … until all readers have seen enough, and requires that none fails.
async fn write_while_read<F: Future<Output = ()>>(mut readers: JoinSet<()>, write: impl Fn(u64) -> F) {
    for round in 1.. {
        write(round).await;
        yield_now().await;
        while let Some(result) = readers.try_join_next() {
            rethrow(result);
        }
        if readers.is_empty() {
            return;
        }
    }
}

pub(super) fn uniform_batch(keys: &[Bytes], value: u64) -> Batch {
    keys.iter().fold(Batch::new(), |batch, key| {
        batch.put(key.clone(), value.to_string())
    })
}

/// The one value that all entries have.
pub(super) fn uniform_value(entries: &[Entry]) -> u64 {
    let values: Vec<u64> = entries.iter().map(|entry| number(&entry.value)).collect();
    assert!(
        values.windows(2).all(|pair| pair[0] == pair[1]),
        "a batch shows in part: {values:?}"
    );
    *values.first().expect("the entries are never gone")
}
