//! What many tasks see of each other.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;

use kv_core::{Batch, Bytes, Durability, Entry, KeyValueStore, Outcome, Scan};
use tokio::task::{JoinSet, yield_now};

use super::KvHarness;
use super::support::{
    all_keys, apply, apply_durably, bytes, close, commit, entries, everything, get, number, numbered, open,
    page,
};
use crate::seed::Seed;

const TASKS: usize = 64;
/// Successful operations per task: `TASKS` of them make more than a thousand.
const ROUNDS: usize = 20;

/// Of many tasks that read a counter and commit its successor if it is unchanged, none overwrites another's.
pub async fn racing_increments_lose_no_update(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("counter", "0")).await;
    race(&store, |store, _| async move {
        for round in 0..ROUNDS {
            let durability = if round == 0 {
                Durability::Durable
            } else {
                Durability::Buffered
            };
            increment(&*store, durability).await;
        }
    })
    .await;
    assert_eq!(
        number(&get(&*store, "counter").await.expect("it is there")),
        (TASKS * ROUNDS) as u64
    );
}

/// Of many tasks that create one key, one wins, the others are told so, and the winner's value stays.
pub async fn one_of_racing_creates_wins(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let winners: Arc<[AtomicUsize]> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let counted = Arc::clone(&winners);
    race(&store, move |store, task| {
        let winners = Arc::clone(&counted);
        async move {
            for (round, winners) in winners.iter().enumerate() {
                let key = format!("k{round:02}");
                let batch = Batch::new()
                    .require_absent(key.clone())
                    .put(key.clone(), task.to_string());
                if commit(&*store, batch, Durability::Buffered).await == Outcome::Applied {
                    winners.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(
                        get(&*store, key).await,
                        Some(task.to_string().into()),
                        "the winner's value stays"
                    );
                }
            }
        }
    })
    .await;
    for (round, winners) in winners.iter().enumerate() {
        assert_eq!(winners.load(Ordering::SeqCst), 1, "winners of round {round}");
    }
}

/// Commits of different keys at one moment all land.
pub async fn racing_commits_of_different_keys_all_land(harness: &dyn KvHarness) {
    let store = open(harness).await;
    race(&store, |store, task| async move {
        for round in 0..ROUNDS {
            let key = format!("k{:04}", task * ROUNDS + round);
            apply(
                &*store,
                Batch::new().require_absent(key.clone()).put(key.clone(), key),
            )
            .await;
        }
    })
    .await;
    assert_eq!(all_keys(&*store).await, numbered("k", TASKS * ROUNDS));
}

/// Money moved between accounts, under a condition on each of the two, is neither made nor lost; every page on the way
/// shows the same total.
pub async fn racing_transfers_keep_the_total(harness: &dyn KvHarness) {
    const ACCOUNTS: usize = 4;
    const TOTAL: u64 = 1000 * ACCOUNTS as u64;
    let store = open(harness).await;
    let accounts = numbered("account", ACCOUNTS);
    apply(
        &*store,
        accounts
            .iter()
            .fold(Batch::new(), |batch, key| batch.put(key.clone(), "1000")),
    )
    .await;
    let seed = Seed::from_env();
    race(&store, move |store, task| {
        let accounts = accounts.clone();
        async move {
            let mut rng = Seed::rng(seed);
            // A stream of choices of its own for each task.
            (0..task).for_each(|_| rng = rng.fork());
            for _ in 0..ROUNDS {
                let from = rng.usize(..ACCOUNTS);
                let to = (from + rng.usize(1..ACCOUNTS)) % ACCOUNTS;
                transfer(&*store, &accounts[from], &accounts[to]).await;
                let found = page(&*store, Scan::prefix("account")).await.entries;
                let total: u64 = found.iter().map(|entry| number(&entry.value)).sum();
                assert_eq!(total, TOTAL, "a page shows half a transfer; {seed}");
            }
        }
    })
    .await;
}

/// A page is one view: while batches are committed, no page shows some writes of a batch without the others.
pub async fn page_never_shows_part_of_a_batch(harness: &dyn KvHarness) {
    const BATCHES: usize = 300;
    const READERS: usize = 4;
    let store = open(harness).await;
    let keys = Arc::new(numbered("k", 8));
    apply(&*store, uniform_batch(&keys, 0).put("moved0000", "0")).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        let scan = if reader % 2 == 0 {
            everything()
        } else {
            everything().reverse()
        };
        readers.spawn(async move {
            let mut newest = 0;
            while !done.load(Ordering::SeqCst) {
                let page = page(&*store, scan.clone()).await;
                let shown = uniform_value(&page.entries);
                assert!(shown >= newest, "a page shows {shown} after one showed {newest}");
                newest = shown;
                let whole = page.next.is_some() || page.entries.len() == 9;
                assert!(
                    whole,
                    "of 8 keys and one that moves a page shows {}",
                    page.entries.len()
                );
                yield_now().await;
            }
        });
    }
    for round in 1..=BATCHES {
        // A key that moves shows as two or as none where the writes of a batch can be seen one by one.
        let batch = uniform_batch(&keys, round as u64)
            .delete(format!("moved{:04}", round - 1))
            .put(format!("moved{round:04}"), round.to_string());
        apply(&*store, batch).await;
    }
    done.store(true, Ordering::SeqCst);
    while let Some(result) = readers.join_next().await {
        result.expect("every page is one view");
    }
}

/// In `get_many` a value is never older than the value of a key before it.
pub async fn get_many_never_goes_back_in_time(harness: &dyn KvHarness) {
    const BATCHES: usize = 500;
    let store = open(harness).await;
    let keys = Arc::new(bytes([b"c", b"a", b"b"]));
    apply(&*store, uniform_batch(&keys, 0)).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (store, keys, done) = (Arc::clone(&store), Arc::clone(&keys), Arc::clone(&done));
        readers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let values = store.get_many(&keys).await.expect("the keys are read");
                let numbers: Vec<u64> = values
                    .iter()
                    .map(|value| number(value.as_ref().expect("the key is there")))
                    .collect();
                assert!(numbers.is_sorted(), "values go back in time: {numbers:?}");
                yield_now().await;
            }
        });
    }
    for round in 1..=BATCHES {
        apply(&*store, uniform_batch(&keys, round as u64)).await;
        yield_now().await;
    }
    done.store(true, Ordering::SeqCst);
    while let Some(result) = readers.join_next().await {
        result.expect("no read goes back in time");
    }
}

/// Whoever reads a growing counter again and again never sees it shrink.
pub async fn reads_never_go_back_in_time(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("counter", "0")).await;
    race(&store, |store, task| async move {
        let mut newest = 0;
        for _ in 0..ROUNDS {
            if task % 8 == 0 {
                increment(&*store, Durability::Buffered).await;
            }
            let shown = number(&get(&*store, "counter").await.expect("it is there"));
            assert!(shown >= newest, "read {shown} after {newest}");
            newest = shown;
        }
    })
    .await;
}

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

/// Runs `work` in [`TASKS`] tasks at once and requires that none fails.
async fn race<F>(store: &Arc<dyn KeyValueStore>, work: impl Fn(Arc<dyn KeyValueStore>, usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tasks: JoinSet<()> = (0..TASKS).map(|task| work(Arc::clone(store), task)).collect();
    while let Some(result) = tasks.join_next().await {
        result.expect("no task fails");
    }
}

async fn increment(store: &dyn KeyValueStore, durability: Durability) {
    // Each failure means that another task succeeded, so that there are at most as many as there are successes.
    for _ in 0..=TASKS * ROUNDS {
        let current = get(store, "counter").await.expect("the counter is there");
        let next = (number(&current) + 1).to_string();
        let batch = Batch::new()
            .require_equals("counter", current)
            .put("counter", next);
        if commit(store, batch, durability).await == Outcome::Applied {
            return;
        }
        yield_now().await;
    }
    panic!("commits fail though no other commit succeeds");
}

async fn transfer(store: &dyn KeyValueStore, from: &Bytes, to: &Bytes) {
    for _ in 0..=TASKS * ROUNDS {
        let source = get(store, from.clone()).await.expect("the account is there");
        let target = get(store, to.clone()).await.expect("the account is there");
        let Some(rest) = number(&source).checked_sub(1) else {
            return;
        };
        let batch = Batch::new()
            .require_equals(from.clone(), source)
            .require_equals(to.clone(), target.clone())
            .put(from.clone(), rest.to_string())
            .put(to.clone(), (number(&target) + 1).to_string());
        if commit(store, batch, Durability::Buffered).await == Outcome::Applied {
            return;
        }
        yield_now().await;
    }
    panic!("commits fail though no other commit succeeds");
}

fn uniform_batch(keys: &[Bytes], value: u64) -> Batch {
    keys.iter().fold(Batch::new(), |batch, key| {
        batch.put(key.clone(), value.to_string())
    })
}

/// The one value that all entries have.
fn uniform_value(entries: &[Entry]) -> u64 {
    let values: Vec<u64> = entries.iter().map(|entry| number(&entry.value)).collect();
    assert!(
        values.windows(2).all(|pair| pair[0] == pair[1]),
        "a batch shows in part: {entries:?}"
    );
    *values.first().expect("the entries are never gone")
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
