//! What a durable store has when it is opened again, and who may open it.

use kv_core::{Batch, Error};

use super::races::assert_increments_add_up;
use super::support::{
    all_keys, apply, apply_durably, assert_same, bytes, close, entries, everything, get, numbered, open,
    put_keys,
};
use super::{KvHarness, skip};

const NOT_DURABLE: &str = "the engine is not durable";

/// A durable commit is there after close and open.
pub async fn durable_commit_survives_close(harness: &dyn KvHarness) {
    let store = open(harness).await;
    if !store.capabilities().durable {
        return skip("durable_commit_survives_close", NOT_DURABLE);
    }
    apply_durably(&*store, Batch::new().put("k", "v").put("l", "")).await;
    close(store).await;
    let store = open(harness).await;
    assert_eq!(get(&*store, "k").await.as_deref(), Some(&b"v"[..]));
    assert_eq!(all_keys(&*store).await, ["k", "l"]);
}

/// A durable commit is there when the store was dropped without a close.
pub async fn durable_commit_survives_drop(harness: &dyn KvHarness) {
    let store = open(harness).await;
    if !store.capabilities().durable {
        return skip("durable_commit_survives_drop", NOT_DURABLE);
    }
    drop(store);
    for round in 0..5 {
        let store = open(harness).await;
        assert_eq!(all_keys(&*store).await, numbered("k", round), "at open {round}");
        apply_durably(&*store, Batch::new().put(format!("k{round:04}"), "v")).await;
        drop(store);
    }
}

/// A close makes buffered commits durable too.
pub async fn buffered_commit_survives_close(harness: &dyn KvHarness) {
    let store = open(harness).await;
    if !store.capabilities().durable {
        return skip("buffered_commit_survives_close", NOT_DURABLE);
    }
    let keys = numbered("k", 300);
    put_keys(&*store, &keys).await;
    close(store).await;
    let store = open(harness).await;
    assert_same(&all_keys(&*store).await, &keys, "after close and open");
}

/// A durable commit keeps the buffered commits before it: what it was decided on is not lost from under it.
pub async fn durable_commit_keeps_buffered_ones_before_it(harness: &dyn KvHarness) {
    let store = open(harness).await;
    if !store.capabilities().durable {
        return skip("durable_commit_keeps_buffered_ones_before_it", NOT_DURABLE);
    }
    apply(&*store, Batch::new().put("a", "1")).await;
    apply_durably(&*store, Batch::new().require_equals("a", "1").put("b", "2")).await;
    drop(store);
    let store = open(harness).await;
    assert_eq!(all_keys(&*store).await, ["a", "b"]);
}

/// Deleted and replaced values do not come back when the store is opened again.
pub async fn deleted_keys_stay_deleted(harness: &dyn KvHarness) {
    let store = open(harness).await;
    if !store.capabilities().durable {
        return skip("deleted_keys_stay_deleted", NOT_DURABLE);
    }
    put_keys(&*store, &bytes([b"a", b"b", b"c"])).await;
    close(store).await;
    let store = open(harness).await;
    apply_durably(&*store, Batch::new().delete("a").put("b", "new")).await;
    close(store).await;
    let store = open(harness).await;
    let found: Vec<_> = entries(&*store, everything())
        .await
        .into_iter()
        .map(|e| (e.key, e.value))
        .collect();
    assert_eq!(found, [("b".into(), "new".into()), ("c".into(), "c".into())]);
    apply(&*store, Batch::new().require_absent("a")).await;
}

/// A second open of an engine that is not shared is refused while the first is open, and does not disturb it.
pub async fn second_open_is_refused_while_open(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let capabilities = store.capabilities();
    if !capabilities.durable || capabilities.shared {
        return skip(
            "second_open_is_refused_while_open",
            "the engine is not durable, or is shared",
        );
    }
    apply_durably(&*store, Batch::new().put("k", "1")).await;
    match harness.open().await {
        Err(Error::InUse { .. }) => {}
        Err(error) => panic!("a second open was refused by the wrong error: {error}"),
        Ok(_) => panic!("a second open succeeded while the first handle is open"),
    }
    apply_durably(&*store, Batch::new().require_equals("k", "1").put("k", "2")).await;
    drop(store);
    let store = open(harness).await;
    assert_eq!(get(&*store, "k").await.as_deref(), Some(&b"2"[..]));
}

/// Two handles of a shared engine read and write one truth: neither loses the other's update.
pub async fn handles_of_a_shared_store_see_one_truth(harness: &dyn KvHarness) {
    let store = open(harness).await;
    if !store.capabilities().shared {
        return skip(
            "handles_of_a_shared_store_see_one_truth",
            "the engine is not shared",
        );
    }
    let handles = [
        store,
        harness.open().await.expect("a shared engine opens a second time"),
    ];
    apply(&*handles[0], Batch::new().put("k", "v")).await;
    assert_eq!(get(&*handles[1], "k").await.as_deref(), Some(&b"v"[..]));
    assert_increments_add_up(&handles).await;
}
