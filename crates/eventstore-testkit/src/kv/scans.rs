//! Which keys a scan gives, and in which order.

use kv_core::{Batch, Bytes, Scan};

use super::KvHarness;
use super::support::{all_keys, apply, assert_same, bytes, everything, keys, numbered, open, page, put_keys};

/// A forward scan gives keys in ascending byte order, whatever the order of the puts.
pub async fn scan_is_in_key_order(harness: &dyn KvHarness) {
    let store = open(harness).await;
    // Written one by one and out of order; 0x7f and 0x80 tell unsigned bytes from signed ones.
    let written = bytes([b"m", b"\xff", b"a", b"\x80", b"mm", b"\0", b"\x7f", b"b", b"m\0"]);
    for key in &written {
        put_keys(&*store, std::slice::from_ref(key)).await;
    }
    let mut sorted = written;
    sorted.sort();
    assert_eq!(all_keys(&*store).await, sorted);
}

/// A reverse scan gives the same keys in descending order.
pub async fn reverse_scan_is_in_descending_order(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let mut expected = numbered("k", 300);
    put_keys(&*store, &expected).await;
    expected.reverse();
    assert_same(
        &keys(&*store, everything().reverse()).await,
        &expected,
        "in reverse",
    );
    assert_eq!(
        page(&*store, everything().reverse().max_items(1)).await.entries[0].key,
        "k0299"
    );
}

/// A scan begins with its start key, when that is there, in either direction.
pub async fn scan_includes_its_start(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"b", b"c", b"d"])).await;
    assert_eq!(keys(&*store, Scan::range("b", "d")).await, ["b", "c"]);
    assert_eq!(keys(&*store, Scan::range("b", "d").reverse()).await, ["c", "b"]);
    assert_eq!(keys(&*store, Scan::range("b", "")).await, ["b", "c", "d"]);
    assert_eq!(keys(&*store, Scan::range("b", "b\0")).await, ["b"]);
    assert_eq!(keys(&*store, Scan::range("aa", "cc").reverse()).await, ["c", "b"]);
}

/// A scan stops before its end key, in either direction.
pub async fn scan_excludes_its_end(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"b", b"c", b"c\0"])).await;
    assert_eq!(keys(&*store, Scan::range("a", "c")).await, ["a", "b"]);
    assert_eq!(keys(&*store, Scan::range("a", "c").reverse()).await, ["b", "a"]);
    assert_eq!(
        keys(&*store, Scan::range("", "c\0").reverse()).await,
        ["c", "b", "a"]
    );
}

/// A scan with an empty end reaches the last key, even one of only 0xff bytes.
pub async fn scan_without_end_reaches_the_last_key(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let written = bytes([b"a", b"\xff", b"\xff\0", b"\xff\xff", b"\xff\xff\xff"]);
    put_keys(&*store, &written).await;
    assert_eq!(all_keys(&*store).await, written);
    assert_eq!(
        page(&*store, everything().reverse().max_items(1)).await.entries[0].key,
        written[4]
    );
    assert_eq!(keys(&*store, Scan::prefix(vec![0xff, 0xff])).await, written[3..]);
}

/// A range that is empty, inverted, or without a key in it gives one empty last page, not an error.
pub async fn empty_and_inverted_ranges_have_no_entries(harness: &dyn KvHarness) {
    let store = open(harness).await;
    assert!(all_keys(&*store).await.is_empty(), "a new store is empty");
    put_keys(&*store, &bytes([b"a", b"b", b"c"])).await;
    for (start, end) in [("b", "b"), ("c", "a"), ("b\0", "c"), ("d", ""), ("", "a")] {
        for scan in [Scan::range(start, end), Scan::range(start, end).reverse()] {
            let page = page(&*store, scan.clone()).await;
            assert!(page.entries.is_empty(), "{scan:?} gave {:?}", page.entries);
            assert_eq!(page.next, None, "{scan:?} is exhausted");
        }
    }
}

/// A prefix scan gives every key with the prefix and no other, next to neighbours with 0x00 and 0xff bytes.
pub async fn prefix_scan_stays_in_its_prefix(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let mut prefixes: Vec<Bytes> = bytes([
        b"a",
        b"a\0",
        b"a\xff",
        b"a\xff\xff",
        b"b",
        b"\0",
        b"\xff",
        b"\xff\xff",
    ]);
    prefixes.extend(bytes([b"`\xff", b"a\x01", b"a\xfe"]));
    let mut written = prefixes.clone();
    for tail in bytes([b"\0", b"x", b"\xff"]) {
        written.extend(
            prefixes
                .iter()
                .map(|prefix| Bytes::from([&prefix[..], &tail[..]].concat())),
        );
    }
    written.sort();
    written.dedup();
    put_keys(&*store, &written).await;
    for prefix in prefixes {
        let mut expected: Vec<Bytes> = written
            .iter()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect();
        assert_eq!(
            keys(&*store, Scan::prefix(prefix.clone())).await,
            expected,
            "prefix {prefix:?}"
        );
        expected.reverse();
        assert_eq!(
            keys(&*store, Scan::prefix(prefix.clone()).reverse()).await,
            expected,
            "prefix {prefix:?}"
        );
    }
}

/// A deleted key is in no scan, and can be put again.
pub async fn deleted_key_is_in_no_scan(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"b", b"c"])).await;
    apply(&*store, Batch::new().delete("b").delete("c")).await;
    assert_eq!(all_keys(&*store).await, ["a"]);
    assert_eq!(keys(&*store, everything().reverse()).await, ["a"]);
    apply(&*store, Batch::new().require_absent("b").put("b", "again")).await;
    assert_eq!(all_keys(&*store).await, ["a", "b"]);
}
