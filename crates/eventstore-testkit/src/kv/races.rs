//! What many tasks see of each other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kv_core::{Batch, Bytes, Durability, KeyValueStore, Outcome, Scan};
use tokio::sync::Barrier;
use tokio::task::{JoinSet, yield_now};

use super::KvHarness;
use super::support::{all_keys, apply, assert_same, commit, finish, get, number, numbered, open, page};
use crate::seed::Seed;

pub(super) const TASKS: usize = 64;
/// Successful operations per task: `TASKS` of them make more than a thousand.
pub(super) const ROUNDS: usize = 20;

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
    let barrier = Arc::new(Barrier::new(TASKS));
    race(&store, move |store, task| {
        let (winners, barrier) = (Arc::clone(&counted), Arc::clone(&barrier));
        async move {
            for (round, winners) in winners.iter().enumerate() {
                barrier.wait().await;
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
    assert_same(
        &all_keys(&*store).await,
        &numbered("k", TASKS * ROUNDS),
        "after all commits",
    );
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

/// Runs `work` in [`TASKS`] tasks at once and requires that none fails.
pub(super) async fn race<F>(store: &Arc<dyn KeyValueStore>, work: impl Fn(Arc<dyn KeyValueStore>, usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let start = Arc::new(Barrier::new(TASKS));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (start, work) = (Arc::clone(&start), work(Arc::clone(store), task));
        tasks.spawn(async move {
            start.wait().await;
            work.await;
        });
    }
    finish(tasks).await;
}

pub(super) async fn increment(store: &dyn KeyValueStore, durability: Durability) {
    // Each failure means that another task succeeded, so that there are at most as many as there are successes.
    for _ in 0..=TASKS * ROUNDS {
        let current = get(store, "counter").await.expect("the counter is there");
        let next = (number(&current) + 1).to_string();
        // Between reading and committing the others get their chance to be first.
        yield_now().await;
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
        yield_now().await;
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
