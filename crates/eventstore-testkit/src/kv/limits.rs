//! What is accepted up to its limit and refused above it.

use kv_core::{Batch, Bytes, Durability, Error, KeyValueStore, Outcome};

use super::KvHarness;
use super::support::{apply, apply_durably, commit, entries, everything, get, open, page};

/// Asserts that `batch` is refused by `is_expected` and leaves everything as it was.
async fn assert_refused(store: &dyn KeyValueStore, batch: Batch, is_expected: fn(&Error) -> bool) {
    let before = entries(store, everything()).await;
    for durability in [Durability::Durable, Durability::Buffered] {
        match store.commit(batch.clone(), durability).await {
            Ok(outcome) => panic!("a batch over a limit ended as {outcome:?}"),
            Err(error) => assert!(is_expected(&error), "refused by the wrong error: {error}"),
        }
    }
    assert!(
        entries(store, everything()).await == before,
        "a refused batch wrote something"
    );
}

fn is_invalid(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. })
}

fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::TooLarge { .. })
}

/// A batch that names an empty key, in a write or in a condition, is invalid and writes nothing.
pub async fn empty_key_is_invalid(harness: &dyn KvHarness) {
    let store = open(harness).await;
    for batch in [
        Batch::new().put("", "v"),
        Batch::new().put("k", "v").delete(""),
        Batch::new().require_absent("").put("k", "v"),
        Batch::new().require_present("").put("k", "v"),
        Batch::new().require_equals("", "").put("k", "v"),
    ] {
        assert_refused(&*store, batch, is_invalid).await;
    }
}

/// A key of the longest length is put, read, scanned, required and deleted like any other.
pub async fn longest_key_is_a_key(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let key = Bytes::from(vec![0xff; store.capabilities().max_key_bytes]);
    apply_durably(
        &*store,
        Batch::new().require_absent(key.clone()).put(key.clone(), "v"),
    )
    .await;
    assert_eq!(get(&*store, key.clone()).await.as_deref(), Some(&b"v"[..]));
    // The page after the longest key starts above it, at a key that is longer than any.
    let first = page(&*store, everything().max_items(1)).await;
    assert_eq!(first.entries[0].key, key);
    if let Some(next) = first.next {
        assert!(entries(&*store, next).await.is_empty());
    }
    apply(
        &*store,
        Batch::new().require_equals(key.clone(), "v").delete(key.clone()),
    )
    .await;
    assert_eq!(get(&*store, key).await, None);
}

/// A key over the limit is refused, in a write and in a condition, and nothing of its batch is written.
pub async fn key_over_the_limit_is_refused(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let long = Bytes::from(vec![b'k'; store.capabilities().max_key_bytes + 1]);
    for batch in [
        Batch::new().put("a", "v").put(long.clone(), "v"),
        Batch::new().put("a", "v").delete(long.clone()),
        Batch::new().put("a", "v").require_absent(long),
    ] {
        assert_refused(&*store, batch, is_too_large).await;
    }
}

/// A value of the largest size is kept byte for byte.
pub async fn largest_value_is_kept(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let value = patterned(store.capabilities().max_value_bytes);
    apply_durably(&*store, Batch::new().put("k", value.clone())).await;
    assert!(
        get(&*store, "k").await.as_ref() == Some(&value),
        "the largest value changed"
    );
    apply(
        &*store,
        Batch::new().require_equals("k", value.clone()).put("l", ""),
    )
    .await;
    let found = entries(&*store, everything()).await;
    assert!(
        found.len() == 2 && found[0].value == value,
        "the largest value changed in a scan"
    );
}

/// A value over the limit is refused, and nothing of its batch is written.
pub async fn value_over_the_limit_is_refused(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let large = patterned(store.capabilities().max_value_bytes + 1);
    assert_refused(&*store, Batch::new().put("a", "v").put("k", large), is_too_large).await;
}

/// A batch with the most bytes that the engine promises to take is applied whole.
pub async fn batch_of_most_bytes_is_applied(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let batch = batch_of_bytes(&*store, store.capabilities().max_batch_bytes);
    let sizes: Vec<_> = batch
        .writes()
        .map(|(key, value)| (key.clone(), value.map_or(0, Bytes::len)))
        .collect();
    apply(&*store, batch).await;
    let found = entries(&*store, everything()).await;
    assert!(
        found
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.len()))
            .eq(sizes),
        "a write of a large batch is missing"
    );
}

/// A batch over the byte limit is refused whole, though each of its keys and values is within its own.
pub async fn batch_over_the_byte_limit_is_refused(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let batch = batch_of_bytes(&*store, store.capabilities().max_batch_bytes + 1);
    assert_refused(&*store, batch, is_too_large).await;
}

/// A batch with the most operations that the engine promises to take is applied.
pub async fn batch_of_most_operations_is_applied(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let batch = batch_of_operations(store.capabilities().max_batch_operations);
    assert_eq!(
        commit(&*store, batch, Durability::Buffered).await,
        Outcome::Applied
    );
    assert_eq!(get(&*store, "k").await.as_deref(), Some(&b"v"[..]));
}

/// A batch over the limit of operations is refused whole; conditions and writes count alike.
pub async fn batch_over_the_operation_limit_is_refused(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let batch = batch_of_operations(store.capabilities().max_batch_operations + 1);
    assert_refused(&*store, batch, is_too_large).await;
}

/// A batch of puts with `total` bytes of keys and values, each value within its limit.
fn batch_of_bytes(store: &dyn KeyValueStore, total: usize) -> Batch {
    let limits = store.capabilities();
    let largest = patterned(limits.max_value_bytes.min(total));
    let mut batch = Batch::new();
    let mut left = total;
    for number in 0.. {
        let key = format!("{number:04}");
        let Some(room) = left.checked_sub(key.len()) else {
            break;
        };
        let value = largest.slice(..room.min(largest.len()));
        left = room - value.len();
        batch = batch.put(key, value);
    }
    // What is left is shorter than a key: a condition on a short key takes it up.
    if left > 0 {
        batch.require_absent(vec![b'k'; left])
    } else {
        batch
    }
}

/// One put and `total - 1` conditions: conditions on one key are the cheapest operations to have in millions.
fn batch_of_operations(total: usize) -> Batch {
    (1..total).fold(Batch::new().put("k", "v"), |batch, _| {
        batch.require_absent(Bytes::from_static(b"a"))
    })
}

fn patterned(len: usize) -> Bytes {
    // A period of 251 is no divisor of any block size, so that a block in the wrong place shows.
    let period: Vec<u8> = (0..251).collect();
    period.iter().copied().cycle().take(len).collect()
}
