//! Reading single keys.

use kv_core::{Batch, Bytes, Entry};

use super::KvHarness;
use super::support::{
    all_keys, apply, apply_durably, assert_same, bytes, entries, everything, get, open, put_keys,
};

/// A key that was never put has no value.
pub async fn get_of_absent_key_is_none(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("k", "v")).await;
    for absent in ["a", "k\0", "kk", "z"] {
        assert_eq!(get(&*store, absent).await, None, "{absent:?} was never put");
    }
}

/// A key that was put has its value.
pub async fn get_returns_what_was_put(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("k", "v").put("l", "w")).await;
    assert_eq!(get(&*store, "k").await.as_deref(), Some(&b"v"[..]));
    assert_eq!(get(&*store, "l").await.as_deref(), Some(&b"w"[..]));
}

/// A second put of a key replaces the value.
pub async fn put_replaces_the_value(harness: &dyn KvHarness) {
    let store = open(harness).await;
    for value in ["first", "second and longer", "3"] {
        apply(&*store, Batch::new().put("k", value)).await;
        assert_eq!(get(&*store, "k").await, Some(Bytes::from(value)));
    }
    assert_eq!(all_keys(&*store).await.len(), 1, "one key was put");
}

/// An empty value is a value: the key is present, in reads, scans and conditions.
pub async fn empty_value_is_a_value(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("k", "")).await;
    assert_eq!(get(&*store, "k").await, Some(Bytes::new()));
    assert_eq!(all_keys(&*store).await, ["k"]);
    apply(&*store, Batch::new().require_present("k").require_equals("k", "")).await;
}

/// Keys and values are bytes: any of them, in any place, comes back as it was.
pub async fn any_bytes_round_trip(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let mut keys: Vec<Bytes> = (0..=u8::MAX).map(|byte| Bytes::from(vec![byte])).collect();
    keys.extend((0..=u8::MAX).map(|byte| Bytes::from(vec![b'k', byte, b'k'])));
    keys.push((0..=u8::MAX).collect());
    keys.sort();
    put_keys(&*store, &keys).await;
    for key in &keys {
        assert_eq!(get(&*store, key.clone()).await.as_ref(), Some(key));
    }
    let found = entries(&*store, everything()).await;
    let expected: Vec<_> = keys
        .into_iter()
        .map(|key| Entry {
            value: key.clone(),
            key,
        })
        .collect();
    assert_same(&found, &expected, "all keys and values");
}

/// Keys that differ only in trailing zero bytes are different keys.
pub async fn trailing_zeros_tell_keys_apart(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let keys = bytes([b"\0", b"\0\0", b"k", b"k\0", b"k\0\0"]);
    put_keys(&*store, &keys).await;
    apply(&*store, Batch::new().delete("k\0")).await;
    assert_eq!(all_keys(&*store).await, bytes([b"\0", b"\0\0", b"k", b"k\0\0"]));
    assert_eq!(get(&*store, "k\0\0").await.as_deref(), Some(&b"k\0\0"[..]));
}

/// `get_many` answers each key in its place, whatever the order, with absent and repeated keys among them.
pub async fn get_many_answers_in_the_order_asked(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"b", b"c"])).await;
    let asked = bytes([b"c", b"absent", b"a", b"c", b"b"]);
    let values = store.get_many(&asked).await.expect("the keys are read");
    let expected = [Some("c"), None, Some("a"), Some("c"), Some("b")];
    assert_eq!(values, expected.map(|value| value.map(Bytes::from)));
    assert!(store.get_many(&[]).await.expect("no key is read").is_empty());
}

/// A read that starts after a commit returned sees that commit, by whichever call it reads.
pub async fn read_after_commit_sees_it(harness: &dyn KvHarness) {
    let store = open(harness).await;
    for round in 0..50 {
        let value = Bytes::from(round.to_string());
        apply_durably(
            &*store,
            Batch::new()
                .put("k", value.clone())
                .put(format!("n{round:02}"), ""),
        )
        .await;
        assert_eq!(
            get(&*store, "k").await.as_ref(),
            Some(&value),
            "get of round {round}"
        );
        let many = store.get_many(&bytes([b"k"])).await.expect("the key is read");
        assert_eq!(many, [Some(value.clone())], "get_many of round {round}");
        let found = entries(&*store, everything()).await;
        assert_eq!(found[0].value, value, "scan of round {round}");
        assert_eq!(found.len(), round + 2, "scan of round {round}");
    }
}

/// A buffered commit is visible as soon as it returns, though it is not durable yet.
pub async fn buffered_commit_is_visible_at_once(harness: &dyn KvHarness) {
    let store = open(harness).await;
    for round in 0..50 {
        let key = format!("k{round:02}");
        apply(&*store, Batch::new().put(key.clone(), "v")).await;
        assert_eq!(get(&*store, key.clone()).await.as_deref(), Some(&b"v"[..]));
        assert_eq!(all_keys(&*store).await.len(), round + 1);
        apply(&*store, Batch::new().require_present(key)).await;
    }
}
