//! How a scan is cut into pages.

use kv_core::{Batch, Bytes, Entry, Scan};

use super::KvHarness;
use super::support::{all_keys, apply, assert_same, entries, everything, numbered, open, page, put_keys};

/// Pages of any size, in either direction, over any part of the keys, add up to the range: no entry twice, none lost.
pub async fn pages_add_up_to_the_range(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let written = numbered("k", 101);
    put_keys(&*store, &written).await;
    for (first, last) in [(0, 101), (0, 100), (1, 101), (37, 64), (100, 101)] {
        let end = written.get(last).cloned().unwrap_or_default();
        let scan = Scan::range(written[first].clone(), end);
        for max_items in [1, 2, 3, 7, 10, 50, 100, 101, 102, 1000] {
            let mut expected = written[first..last].to_vec();
            let forward = entries(&*store, scan.clone().max_items(max_items)).await;
            assert_same(
                &keys_of(&forward),
                &expected,
                format!("forward in pages of {max_items}"),
            );
            expected.reverse();
            let reverse = entries(&*store, scan.clone().reverse().max_items(max_items)).await;
            assert_same(
                &keys_of(&reverse),
                &expected,
                format!("in reverse in pages of {max_items}"),
            );
        }
        for max_bytes in [0, 1, 9, 10, 11, 20, 99, 100, 101, 1 << 20] {
            let found = entries(&*store, scan.clone().max_bytes(max_bytes)).await;
            assert_same(
                &keys_of(&found),
                &written[first..last],
                format!("in pages of {max_bytes} bytes"),
            );
        }
    }
}

/// A page goes on after its last key even when keys were put or deleted around that key in the meantime.
pub async fn paging_goes_on_where_it_stopped(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &numbered("k", 10)).await;
    let forward = page(&*store, everything().max_items(5)).await;
    let reverse = page(&*store, everything().reverse().max_items(4)).await;
    assert_eq!(
        (&forward.entries[4].key[..], &reverse.entries[3].key[..]),
        (&b"k0004"[..], &b"k0006"[..])
    );
    // The last keys of both pages go, keys behind and before them come.
    apply(
        &*store,
        Batch::new()
            .delete("k0004")
            .delete("k0006")
            .put("k0003x", "")
            .put("k0004\0", "")
            .put("k0006x", ""),
    )
    .await;
    let forward = entries(&*store, forward.next.expect("more keys follow").max_items(1)).await;
    assert_eq!(
        keys_of(&forward),
        ["k0004\0", "k0005", "k0006x", "k0007", "k0008", "k0009"]
    );
    let reverse = entries(&*store, reverse.next.expect("more keys follow").max_items(1)).await;
    assert_eq!(
        keys_of(&reverse),
        ["k0005", "k0004\0", "k0003x", "k0003", "k0002", "k0001", "k0000"]
    );
}

/// A page has no more entries than asked for.
pub async fn page_holds_at_most_max_items(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &numbered("k", 300)).await;
    for max_items in [1, 2, 10, 255, 256] {
        for scan in [
            everything().max_items(max_items),
            everything().reverse().max_items(max_items),
        ] {
            let page = page(&*store, scan).await;
            assert!(
                page.entries.len() <= max_items,
                "{} entries, at most {max_items}",
                page.entries.len()
            );
            assert!(
                page.next.is_some(),
                "300 keys do not fit into {max_items} entries"
            );
        }
    }
}

/// A page of more than one entry has no more bytes than asked for, keys and values together.
pub async fn page_holds_at_most_max_bytes(harness: &dyn KvHarness) {
    let store = open(harness).await;
    // Sizes of 5 + 0, 5 + 10, 5 + 20 … bytes.
    for (index, key) in numbered("k", 30).into_iter().enumerate() {
        apply(&*store, Batch::new().put(key, vec![b'v'; index * 10])).await;
    }
    for max_bytes in [5, 19, 20, 21, 45, 100, 305, 1000] {
        for scan in [
            everything().max_bytes(max_bytes),
            everything().reverse().max_bytes(max_bytes),
        ] {
            let entries = page(&*store, scan).await.entries;
            let bytes = size(&entries);
            assert!(
                entries.len() == 1 || bytes <= max_bytes,
                "{bytes} bytes, at most {max_bytes}"
            );
            assert!(!entries.is_empty());
        }
    }
}

/// The first entry of a page is returned even when it alone is over the byte bound: paging always gets on.
pub async fn first_entry_is_returned_whatever_its_size(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let large = store.capabilities().max_value_bytes.min(5000);
    for key in ["a", "b", "c"] {
        apply(&*store, Batch::new().put(key, vec![b'v'; large])).await;
    }
    for scan in [everything().max_bytes(1), everything().reverse().max_bytes(0)] {
        let page = page(&*store, scan.clone()).await;
        assert_eq!(page.entries.len(), 1, "one entry is over the bound already");
        assert_eq!(page.entries[0].value.len(), large);
        assert_eq!(entries(&*store, scan).await.len(), 3);
    }
    assert_eq!(all_keys(&*store).await.len(), 3);
}

fn keys_of(entries: &[Entry]) -> Vec<Bytes> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

fn size(entries: &[Entry]) -> usize {
    entries
        .iter()
        .map(|entry| entry.key.len() + entry.value.len())
        .sum()
}
