//! What many tasks see of each other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kv_core::{Batch, Bytes, Durability, KeyValueStore, Outcome, Scan};
use tokio::sync::Barrier;
use tokio::task::yield_now;

use super::KvHarness;
use super::support::{all_keys, apply, assert_same, commit, finish, get, number, numbered, open, page};
use crate::seed::Seed;

const TASKS: usize = 64;
/// Successful operations per task: `TASKS` of them make more than a thousand.
const ROUNDS: usize = 20;
/// A commit that fails means that another one succeeded: it can fail as often as there are successes, and no more.
const MAX_ATTEMPTS: usize = TASKS * ROUNDS + 1;

/// Of many tasks that read a counter and commit its successor if it is unchanged, none overwrites another's.
pub async fn racing_increments_lose_no_update(harness: &dyn KvHarness) {
    let store = open(harness).await;
    assert_increments_add_up(&[store]).await;
}

/// Lets all tasks increment one counter, through `handles` in turn, and requires that no increment is lost.
pub(super) async fn assert_increments_add_up(handles: &[Arc<dyn KeyValueStore>]) {
    apply(&*handles[0], Batch::new().put("counter", "0")).await;
    race(handles, |racer| async move {
        for round in 0..ROUNDS {
            let durability = if round == 0 {
                Durability::Durable
            } else {
                Durability::Buffered
            };
            racer.increment(durability).await;
        }
    })
    .await;
    for store in handles {
        let value = get(&**store, "counter").await.expect("the counter is there");
        assert_eq!(number(&value), (TASKS * ROUNDS) as u64, "increments were lost");
    }
}

/// Of many tasks that create one key, one wins, the others are told so, and the winner's value stays.
pub async fn one_of_racing_creates_wins(harness: &dyn KvHarness) {
    let store = open(harness).await;
    let winners: Arc<[AtomicUsize]> = (0..ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    let counted = Arc::clone(&winners);
    race(&[store], move |racer| {
        let winners = Arc::clone(&counted);
        async move {
            for (round, winners) in winners.iter().enumerate() {
                racer.line_up().await;
                let (store, task) = (&racer.store, racer.task);
                let key = format!("k{round:02}");
                let batch = Batch::new()
                    .require_absent(key.clone())
                    .put(key.clone(), task.to_string());
                if commit(&**store, batch, Durability::Buffered).await == Outcome::Applied {
                    winners.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(
                        get(&**store, key).await,
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
    race(&[Arc::clone(&store)], |racer| async move {
        for round in 0..ROUNDS {
            let key = format!("k{:04}", racer.task * ROUNDS + round);
            racer.line_up().await;
            let batch = Batch::new().require_absent(key.clone()).put(key.clone(), key);
            apply(&*racer.store, batch).await;
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
    const TOTAL: u64 = 2000 * ACCOUNTS as u64;
    let store = open(harness).await;
    let accounts = numbered("account", ACCOUNTS);
    apply(
        &*store,
        accounts
            .iter()
            .fold(Batch::new(), |batch, key| batch.put(key.clone(), "2000")),
    )
    .await;
    let seed = Seed::from_env();
    race(&[store], move |racer| {
        let accounts = accounts.clone();
        async move {
            let mut rng = Seed::rng(seed);
            // A stream of choices of its own for each task.
            (0..racer.task).for_each(|_| rng = rng.fork());
            for _ in 0..ROUNDS {
                let from = rng.usize(..ACCOUNTS);
                let to = (from + rng.usize(1..ACCOUNTS)) % ACCOUNTS;
                racer.transfer(&accounts[from], &accounts[to]).await;
                let found = page(&*racer.store, Scan::prefix("account")).await.entries;
                let total: u64 = found.iter().map(|entry| number(&entry.value)).sum();
                assert_eq!(total, TOTAL, "a page shows half a transfer; {seed}");
            }
        }
    })
    .await;
}

/// One of the tasks of a race.
struct Racer {
    task: usize,
    store: Arc<dyn KeyValueStore>,
    line: Arc<Barrier>,
}

/// Runs `work` in [`TASKS`] tasks at once, on `handles` in turn, and requires that none fails.
async fn race<F>(handles: &[Arc<dyn KeyValueStore>], work: impl Fn(Racer) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let line = Arc::new(Barrier::new(TASKS));
    let racer = |task| Racer {
        task,
        store: Arc::clone(&handles[task % handles.len()]),
        line: Arc::clone(&line),
    };
    finish((0..TASKS).map(|task| work(racer(task))).collect()).await;
}

impl Racer {
    /// Waits until every task of the race is here. Without it one task can be done before the next one starts, and
    /// there is no race.
    async fn line_up(&self) {
        self.line.wait().await;
    }

    /// Adds 1 to the counter. In the first attempt all tasks have read before the first of them commits.
    async fn increment(&self, durability: Durability) {
        for attempt in 0..MAX_ATTEMPTS {
            let current = get(&*self.store, "counter").await.expect("the counter is there");
            if attempt == 0 {
                self.line_up().await;
            }
            let next = (number(&current) + 1).to_string();
            let batch = Batch::new()
                .require_equals("counter", current)
                .put("counter", next);
            if commit(&*self.store, batch, durability).await == Outcome::Applied {
                return;
            }
            yield_now().await;
        }
        panic!("commits fail though no other commit succeeds");
    }

    /// Moves 1 from an account to another. In the first attempt all tasks have read before the first of them commits.
    async fn transfer(&self, from: &Bytes, to: &Bytes) {
        for attempt in 0..MAX_ATTEMPTS {
            let source = get(&*self.store, from.clone())
                .await
                .expect("the account is there");
            let target = get(&*self.store, to.clone()).await.expect("the account is there");
            if attempt == 0 {
                self.line_up().await;
            }
            let batch = Batch::new()
                .require_equals(from.clone(), source.clone())
                .require_equals(to.clone(), target.clone())
                .put(from.clone(), (number(&source) - 1).to_string())
                .put(to.clone(), (number(&target) + 1).to_string());
            if commit(&*self.store, batch, Durability::Buffered).await == Outcome::Applied {
                return;
            }
            yield_now().await;
        }
        panic!("commits fail though no other commit succeeds");
    }
}
