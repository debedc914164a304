//! A cluster whose leader dies, again and again, under load.

mod common;
#[path = "common/private.rs"]
mod private;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Scan};
use kv_etcd::Store;
use private::Cluster;
use tokio::sync::mpsc;

const WRITERS: usize = 8;
/// Commits between two events.
const PHASE: usize = 200;

/// What the writers have to do with each other.
#[derive(Default)]
struct Load {
    acknowledged: AtomicUsize,
    unknown: AtomicUsize,
    is_over: AtomicBool,
}

/// Counts up, one commit a step, until the load is over. The number that it got to, which is the number of keys that it
/// must have put.
async fn write(store: Arc<Store>, writer: usize, load: Arc<Load>, done: mpsc::UnboundedSender<()>) -> usize {
    let counter = format!("counter/{writer}");
    for number in 0.. {
        if load.is_over.load(Ordering::Relaxed) {
            return number;
        }
        let step = || {
            let batch = Batch::new().put(counter.clone(), number.to_string());
            let batch = batch.put(format!("key/{writer}/{number:06}"), "v");
            match number {
                0 => batch.require_absent(counter.clone()),
                _ => batch.require_equals(counter.clone(), (number - 1).to_string()),
            }
        };
        let mut may_be_there = false;
        loop {
            match store.commit(step(), Durability::Durable).await {
                Ok(Outcome::Applied) => break,
                // Nobody else counts here: it was this very step, whose end was not known.
                Ok(Outcome::ConditionFailed { .. }) if may_be_there => break,
                Ok(failed) => panic!("writer {writer} lost a step: {failed:?} at {number}"),
                Err(error) if error.is_outcome_unknown() => {
                    may_be_there = true;
                    load.unknown.fetch_add(1, Ordering::Relaxed);
                }
                Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("writer {writer}: {error}"),
            }
        }
        load.acknowledged.fetch_add(1, Ordering::Relaxed);
        done.send(()).expect("the test listens");
    }
    unreachable!("it returns when the load is over")
}

/// Wakes up for commits, and reads, until it has seen the `last` key.
async fn follow(store: Arc<Store>) -> usize {
    let mut watch = store.watch().await.expect("it is watched").expect("etcd wakes");
    let mut wake_ups = 0;
    while store.get(b"last").await.expect("it reads").is_none() {
        // Where it is cut off it says so, and another one is asked for.
        match watch.changed().await {
            Ok(()) => wake_ups += 1,
            Err(_) => watch = store.watch().await.expect("it is watched").expect("etcd wakes"),
        }
    }
    wake_ups
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_leaders_lose_and_double_nothing() {
    let Some(mut cluster) = Cluster::start(3, &[]) else {
        return;
    };
    let store = Arc::new(
        Store::open(&format!("{}?timeout_ms=1000", cluster.url()))
            .await
            .expect("it opens"),
    );
    let follower = tokio::spawn(follow(Arc::clone(&store)));
    let load = Arc::new(Load::default());
    let (done, mut steps) = mpsc::unbounded_channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(Arc::clone(&store), writer, Arc::clone(&load), done.clone())))
        .collect();
    drop(done);
    let mut phase = async || {
        for _ in 0..PHASE {
            steps.recv().await.expect("the writers go on");
        }
    };
    for _ in 0..2 {
        phase().await;
        let leader = tokio::task::block_in_place(|| cluster.leader());
        cluster.kill(leader);
        phase().await;
        tokio::task::block_in_place(|| cluster.restart(leader));
    }
    phase().await;
    load.is_over.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for writer in writers {
        counts.push(writer.await.expect("it ends"));
    }
    commit(&store, Batch::new().put("last", "1")).await;
    assert!(follower.await.expect("it ends") > 0, "nobody was woken");

    assert_eq!(
        counts.iter().sum::<usize>(),
        load.acknowledged.load(Ordering::Relaxed)
    );
    let mut found = BTreeMap::new();
    let mut next = Some(Scan::prefix("key/"));
    while let Some(scan) = next {
        let page = store.scan(scan).await.expect("it reads");
        for entry in page.entries {
            *found.entry(entry.key).or_insert(0) += 1;
        }
        next = page.next;
    }
    let expected = counts.iter().enumerate().flat_map(|(writer, count)| {
        (0..*count).map(move |number| (format!("key/{writer}/{number:06}").into(), 1))
    });
    assert_eq!(
        found,
        expected.collect::<BTreeMap<_, _>>(),
        "lost, doubled or made up"
    );
    println!(
        "{} acknowledged, {} unknown",
        found.len(),
        load.unknown.load(Ordering::Relaxed)
    );
}

async fn commit(store: &Store, batch: Batch) {
    loop {
        match store.commit(batch.clone(), Durability::Durable).await {
            Ok(outcome) => return assert_eq!(outcome, Outcome::Applied),
            Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn cluster_without_a_majority_takes_no_commit_and_says_so() {
    let Some(mut cluster) = Cluster::start(3, &[]) else {
        return;
    };
    let store = Store::open(&format!("{}?timeout_ms=300", cluster.url()))
        .await
        .expect("it opens");
    commit(&store, Batch::new().put("k", "1")).await;
    cluster.kill(0);
    cluster.kill(1);
    let refused = store
        .commit(Batch::new().put("k", "2"), Durability::Durable)
        .await;
    assert!(
        matches!(
            refused,
            Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. })
        ),
        "{refused:?}"
    );
    let unread = store.get(b"k").await;
    assert!(matches!(unread, Err(Error::Unavailable { .. })), "{unread:?}");
    tokio::task::spawn_blocking(move || {
        cluster.restart(0);
        cluster.restart(1);
        cluster.leader();
        cluster
    })
    .await
    .expect("it starts again");
}

#[tokio::test]
async fn one_member_that_is_there_is_enough_to_open() {
    let Some(cluster) = Cluster::start(1, &[]) else {
        return;
    };
    let url = format!(
        "etcd://127.0.0.1:1,127.0.0.1:{},127.0.0.1:2/app",
        cluster.members[0].port
    );
    let store = Store::open(&url).await.expect("it opens");
    commit(&store, Batch::new().put("k", "1")).await;
    assert!(store.get(b"k").await.expect("it reads").is_some());
}
