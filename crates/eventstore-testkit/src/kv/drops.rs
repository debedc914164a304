//! What becomes of a commit whose future is dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use kv_core::{Batch, Durability, Scan};
use tokio::task::{JoinSet, yield_now};

use super::KvHarness;
use super::support::{apply, apply_durably, close, entries, get, numbered, open, page};
use super::views::{uniform_batch, uniform_value};
use crate::seed::Seed;

/// A commit whose caller goes away, after any number of polls, happens whole or not at all, and the store works on.
pub async fn dropped_commit_is_whole_or_nothing(harness: &dyn KvHarness) {
    const DROPPERS: usize = 8;
    let store = open(harness).await;
    let keys = Arc::new(numbered("k", 8));
    let seed = Seed::from_env();
    apply(&*store, uniform_batch(&keys, 0)).await;
    let mut rng = seed.rng();
    let mut tasks = JoinSet::new();
    for task in 0..DROPPERS {
        let (store, keys, mut rng) = (Arc::clone(&store), Arc::clone(&keys), rng.fork());
        tasks.spawn(async move {
            for round in 0..50 {
                let durability = if rng.bool() {
                    Durability::Durable
                } else {
                    Durability::Buffered
                };
                let batch = uniform_batch(&keys, (round * DROPPERS + task) as u64);
                poll_then_drop(store.commit(batch, durability), rng.usize(..5)).await;
                uniform_value(&page(&*store, Scan::prefix("k")).await.entries);
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap_or_else(|error| panic!("a dropped commit landed in part; {seed}: {error}"));
    }
    apply_durably(&*store, Batch::new().put("last", "v")).await;
    assert!(get(&*store, "last").await.is_some(), "the store works on; {seed}");
    let durable = store.capabilities().durable;
    close(store).await;
    if durable {
        let store = open(harness).await;
        uniform_value(&entries(&*store, Scan::prefix("k")).await);
        assert!(get(&*store, "last").await.is_some(), "the store works on; {seed}");
    }
}

async fn poll_then_drop<F: Future>(future: F, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await {
            return;
        }
        yield_now().await;
    }
}
