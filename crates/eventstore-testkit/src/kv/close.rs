//! What closing a store does to the handle and to the calls in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_core::{Batch, Bytes, Durability, Error, KeyValueStore, Outcome};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::KvHarness;
use super::support::{apply, bytes, close, everything, finish, get, open};

/// After a close every call of every handle says that the store is closed.
pub async fn calls_after_close_say_closed(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let other = Arc::clone(&store);
    apply(&*store, Batch::new().put("k", "v")).await;
    close(store).await;
    assert_closed(&*other).await;
}

/// Closing a closed store does nothing and succeeds.
pub async fn closing_again_does_nothing(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("k", "v")).await;
    for _ in 0..3 {
        store.close().await.expect("the store closes, and closes again");
    }
    assert_closed(&*store).await;
}

/// When a close has returned, the location can be opened again, and the old handle stays closed.
pub async fn closed_store_opens_again(harness: &dyn KvHarness) {
    let old = open(harness).await;
    old.close().await.expect("the store closes");
    let new = harness
        .open()
        .await
        .expect("a closed store opens again, though its handle is still there");
    apply(&*new, Batch::new().put("k", "v")).await;
    assert_closed(&*old).await;
    old.close()
        .await
        .expect("closing the old handle again does nothing");
    assert_eq!(
        get(&*new, "k").await.as_deref(),
        Some(&b"v"[..]),
        "the new handle works on"
    );
}

/// Commits that race with a close either succeed, and are kept, or say that the store is closed.
pub async fn acknowledged_commits_survive_a_racing_close(harness: &dyn KvHarness) {
    const TASKS: usize = 16;
    const COMMITS_BEFORE_CLOSE: usize = 4;
    let store = open(harness).await;
    let durable = store.capabilities().durable;
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
    let closed = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (store, acknowledge, closed) = (Arc::clone(&store), acknowledge.clone(), Arc::clone(&closed));
        tasks.spawn(async move {
            for round in 0.. {
                if task == 0 && round == COMMITS_BEFORE_CLOSE {
                    store
                        .close()
                        .await
                        .expect("the store closes while calls are in flight");
                    closed.store(true, Ordering::SeqCst);
                }
                let late = closed.load(Ordering::SeqCst);
                let name = format!("{task:02}/{round:06}");
                match commit_pair(&*store, &name, round).await {
                    Ok(Outcome::Applied) if !late => acknowledge.send(name).expect("the case listens"),
                    // What was begun may have ended either way; only a clean answer is binding.
                    Err(Error::Closed | Error::OutcomeUnknown { .. }) => return,
                    other => {
                        panic!("a commit that races with a close (begun after it: {late}) ended as {other:?}")
                    }
                }
            }
        });
    }
    drop(acknowledge);
    finish(tasks).await;
    assert_closed(&*store).await;
    drop(store);
    if durable {
        let store = open(harness).await;
        while let Some(name) = acknowledged.recv().await {
            for key in [format!("a{name}"), format!("b{name}")] {
                assert!(
                    get(&*store, key).await.is_some(),
                    "{name} was acknowledged and is gone"
                );
            }
        }
    }
}

async fn commit_pair(store: &dyn KeyValueStore, name: &str, round: usize) -> Result<Outcome, Error> {
    let durability = if round.is_multiple_of(2) {
        Durability::Durable
    } else {
        Durability::Buffered
    };
    let batch = Batch::new()
        .put(format!("a{name}"), "")
        .put(format!("b{name}"), "");
    store.commit(batch, durability).await
}

async fn assert_closed(store: &dyn KeyValueStore) {
    fn check<T>(call: &str, result: Result<T, Error>) {
        match result {
            Err(Error::Closed) => {}
            Err(error) => panic!("{call} after close failed otherwise: {error}"),
            Ok(_) => panic!("{call} after close succeeded"),
        }
    }
    check("get", store.get(b"k").await);
    check("get_many", store.get_many(&bytes([b"k", b"l"])).await);
    check("scan", store.scan(everything()).await);
    check(
        "commit",
        store
            .commit(Batch::new().put("k", "late"), Durability::Durable)
            .await,
    );
    check(
        "a buffered commit",
        store
            .commit(Batch::new().put("k", "late"), Durability::Buffered)
            .await,
    );
    check(
        "a check",
        store
            .commit(
                Batch::new().require_present(Bytes::from("k")),
                Durability::Buffered,
            )
            .await,
    );
}
