//! What a commit without conditions does.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use kv_core::{Batch, Durability, Entry};

use super::support::{
    all_keys, apply, assert_same, bytes, entries, everything, get, numbered, open, put_keys,
};
use super::{KvHarness, skip};

/// Every write of a batch lands, the first and the last too.
pub async fn every_write_of_a_batch_lands(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let keys = numbered("k", 100);
    let batch = keys
        .iter()
        .fold(Batch::new(), |batch, key| batch.put(key.clone(), key.clone()));
    apply(&*store, batch).await;
    let expected: Vec<_> = keys
        .into_iter()
        .map(|key| Entry {
            value: key.clone(),
            key,
        })
        .collect();
    assert_same(
        &entries(&*store, everything()).await,
        &expected,
        "after one batch",
    );
}

/// One batch can put some keys and delete others.
pub async fn puts_and_deletes_of_one_batch_all_apply(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"b", b"c"])).await;
    apply(
        &*store,
        Batch::new().delete("a").put("b", "new").delete("c").put("d", "d"),
    )
    .await;
    let found: Vec<_> = entries(&*store, everything())
        .await
        .into_iter()
        .map(|e| (e.key, e.value))
        .collect();
    assert_eq!(found, [("b".into(), "new".into()), ("d".into(), "d".into())]);
    assert_eq!(get(&*store, "a").await, None);
    assert_eq!(get(&*store, "c").await, None);
}

/// To delete a key that is not there is no error, and the rest of the batch applies.
pub async fn delete_of_absent_key_is_applied(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().delete("absent")).await;
    apply(&*store, Batch::new().delete("absent").put("k", "v")).await;
    assert_eq!(all_keys(&*store).await, ["k"]);
}

/// A commit changes the keys that it names and no other.
pub async fn commit_leaves_other_keys_alone(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"k", b"k\0", b"kk", b"z"])).await;
    apply(&*store, Batch::new().put("k", "new").delete("kkk")).await;
    apply(&*store, Batch::new().delete("k")).await;
    let found = entries(&*store, everything()).await;
    assert!(
        found
            .iter()
            .map(|entry| &entry.key)
            .eq(&bytes([b"a", b"k\0", b"kk", b"z"])),
        "found {found:?}"
    );
    assert!(
        found.iter().all(|entry| entry.key == entry.value),
        "found {found:?}"
    );
}

/// A batch without conditions and writes is applied: nothing stands against it.
pub async fn empty_batch_is_applied(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("k", "v")).await;
    apply(&*store, Batch::new()).await;
    assert_eq!(all_keys(&*store).await, ["k"]);
}

/// A durable commit waits for the disk or the network outside the runtime's threads.
///
/// Only a durable engine is sure to wait, so only there can the waiting be seen: the first poll must give the thread
/// back. One of many suffices, since another thread may finish within the first poll.
pub async fn durable_commit_does_not_block_the_runtime(harness: &dyn KvHarness) {
    const COMMITS: usize = 32;
    let store = open(harness).await;
    if !store.capabilities().durable {
        return skip(
            "durable_commit_does_not_block_the_runtime",
            "the engine is not durable",
        );
    }
    let mut waited = 0;
    for round in 0..COMMITS {
        let batch = Batch::new().put("k", round.to_string());
        // The runtime's own budget makes ready futures pending now and then; that is no waiting.
        let mut commit = pin!(tokio::task::unconstrained(
            store.commit(batch, Durability::Durable)
        ));
        let pending = poll_fn(|context| {
            Poll::Ready(match commit.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(result) => {
                    let _ = result.expect("the commit is carried out");
                    false
                }
            })
        })
        .await;
        if pending {
            waited += 1;
            let _ = commit.await.expect("the commit is carried out");
        }
    }
    assert!(
        waited > 0,
        "{COMMITS} durable commits all ended in their first poll: each held its thread"
    );
}
