//! What wakes readers of an engine that can wake them.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Watch};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::support::{apply_durably, commit, get, number, open};
use super::{KvHarness, skip};

const ROUNDS: u64 = 20;
/// A wake-up that so many reads overtake, with a pause before each, is lost. Ten seconds, far above what an engine needs
/// on a machine that is busy with other tests; a right one never waits for them.
const OVERTAKING_READS: usize = 1000;
const PAUSE: Duration = Duration::from_millis(10);

/// A watch wakes for each commit, durable or buffered, that begins after it was made.
pub async fn watch_wakes_for_every_commit(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let Some(mut watch) = watch(&*store, "watch_wakes_for_every_commit").await else {
        return;
    };
    assert_wakes_for_every_commit(&*store, &mut *watch).await;
}

/// A watch wakes for what is committed through another handle, as another process would.
pub async fn watch_wakes_for_commits_of_another_handle(harness: &dyn KvHarness) {
    const CASE: &str = "watch_wakes_for_commits_of_another_handle";
    let store = open(harness).await;
    let Some(mut watch) = watch(&*store, CASE).await else {
        return;
    };
    if !store.capabilities().shared {
        return skip(CASE, "the engine is not shared");
    }
    let other = open(harness).await;
    assert_wakes_for_every_commit(&*other, &mut *watch).await;
}

async fn assert_wakes_for_every_commit(store: &dyn KeyValueStore, watch: &mut dyn Watch) {
    for round in 0..ROUNDS {
        quiet(store, watch).await;
        let durability = if round % 2 == 0 {
            Durability::Durable
        } else {
            Durability::Buffered
        };
        let batch = Batch::new().put("k", round.to_string());
        assert_eq!(commit(store, batch, durability).await, Outcome::Applied);
        assert!(wakes(store, watch).await, "commit {round} woke nobody");
    }
}

/// What is committed while nobody waits is told to whoever waits next.
pub async fn watch_wakes_for_a_commit_between_calls(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let Some(mut watch) = watch(&*store, "watch_wakes_for_a_commit_between_calls").await else {
        return;
    };
    for round in 0..ROUNDS {
        quiet(&*store, &mut *watch).await;
        apply_durably(&*store, Batch::new().put("k", round.to_string())).await;
        // A reader that is busy for a while.
        for _ in 0..round {
            get(&*store, "k").await;
        }
        assert!(
            wakes(&*store, &mut *watch).await,
            "the wake-up of commit {round} was forgotten"
        );
    }
}

/// A wait whose future is dropped, before or after the commit and after any number of polls, takes no wake-up with it.
pub async fn dropped_wait_loses_no_wake_up(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let Some(mut watch) = watch(&*store, "dropped_wait_loses_no_wake_up").await else {
        return;
    };
    for round in 0..ROUNDS {
        quiet(&*store, &mut *watch).await;
        let mut told = polled(&mut *watch, round % 3).await;
        apply_durably(&*store, Batch::new().put("k", round.to_string())).await;
        // It may be told in these polls already; it must be told then or later.
        told |= polled(&mut *watch, 1 + round % 2).await;
        assert!(
            told || wakes(&*store, &mut *watch).await,
            "a dropped wait took the wake-up of commit {round}"
        );
    }
}

/// Whoever reads after a wake-up sees the commit that it is about: waiting for a value ends.
pub async fn watch_never_wakes_too_early(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let Some(mut watch) = watch(&*store, "watch_never_wakes_too_early").await else {
        return;
    };
    apply_durably(&*store, Batch::new().put("k", "0")).await;
    let (saw, mut seen) = mpsc::unbounded_channel();
    let mut reader = pin!(async {
        for round in 1.. {
            while number(&get(&*store, "k").await.expect("the key is there")) < round {
                watch.changed().await.expect("the watch lives");
            }
            saw.send(round).expect("the case listens");
        }
    });
    // In one task with the commits: it is polled as often as they are, however busy the machine is.
    for round in 1..=ROUNDS {
        tokio::select! {
            biased;
            () = &mut reader => unreachable!("it reads for ever"),
            () = apply_durably(&*store, Batch::new().put("k", round.to_string())) => {}
        }
        let next = async {
            tokio::select! {
                biased;
                () = &mut reader => unreachable!("it reads for ever"),
                round = seen.recv() => round,
            }
        };
        let seen = before_reads(&*store, next).await;
        assert_eq!(
            seen,
            Some(Some(round)),
            "commit {round} woke its reader before it was to be seen"
        );
    }
}

/// A watch does not wait for ever on a store that is closed, whether the close comes before the wait or in it.
pub async fn watch_of_a_closed_store_says_closed(harness: &dyn KvHarness) {
    const CASE: &str = "watch_of_a_closed_store_says_closed";
    let store = open(harness).await;
    let (Some(mut waiting), Some(mut later)) = (watch(&*store, CASE).await, watch(&*store, CASE).await)
    else {
        return;
    };
    let (in_time, before) = {
        let mut wait = pin!(ended(&mut *waiting));
        let first = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await;
        assert!(first.is_pending(), "a watch ended before its store: {first:?}");
        store.close().await.expect("the store closes");
        (wait.await, ended(&mut *later).await)
    };
    for (when, error) in [("in", in_time), ("before", before)] {
        assert!(
            matches!(error, Error::Closed),
            "a close {when} the wait: {error:?}"
        );
    }
    let refused = store.watch().await;
    assert!(
        matches!(refused, Err(Error::Closed)),
        "a watch after the close: {refused:?}"
    );
}

/// How a watch ends, which it must do in the time of the overtaking reads: a closed store can be asked for nothing else.
async fn ended(watch: &mut dyn Watch) -> Error {
    let end = async {
        loop {
            if let Err(error) = watch.changed().await {
                return error;
            }
        }
    };
    tokio::select! {
        biased;
        error = end => error,
        () = sleep(PAUSE * OVERTAKING_READS as u32) => panic!("a watch goes on when its store is closed"),
    }
}

/// A watch of `store`, or a word that the engine has none.
async fn watch(store: &dyn KeyValueStore, case: &str) -> Option<Box<dyn Watch>> {
    let watch = store.watch().await.expect("an open store is watched");
    if watch.is_none() {
        skip(case, "the engine wakes nobody");
    }
    watch
}

/// Takes what `watch` has to tell of before, so that it can be said of the next wake-up what it is about. Engines may
/// wake for nothing: a bound, not a fact.
async fn quiet(store: &dyn KeyValueStore, watch: &mut dyn Watch) {
    for _ in 0..8 {
        get(store, "k").await;
        polled(watch, 1).await;
    }
}

async fn wakes(store: &dyn KeyValueStore, watch: &mut dyn Watch) -> bool {
    let woken = before_reads(store, watch.changed()).await;
    woken.is_some_and(|result| {
        result.expect("the watch lives");
        true
    })
}

/// What `wait` ends with, or `None` when [`OVERTAKING_READS`] end before it.
async fn before_reads<T>(store: &dyn KeyValueStore, wait: impl Future<Output = T>) -> Option<T> {
    let reads = async {
        for _ in 0..OVERTAKING_READS {
            sleep(PAUSE).await;
            get(store, "k").await;
        }
    };
    tokio::select! {
        biased;
        result = wait => Some(result),
        () = reads => None,
    }
}

/// Polls a wait `polls` times, or until it ends, and drops it. Whether it ended.
async fn polled(watch: &mut dyn Watch, polls: u64) -> bool {
    let mut wait = pin!(watch.changed());
    for _ in 0..polls {
        let poll = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await;
        if let Poll::Ready(result) = poll {
            result.expect("the watch lives");
            return true;
        }
        yield_now().await;
    }
    false
}
