//! The store as its users see it: what fits, what comes back, and who may share it.

mod common;

use common::{FreshPrefix, server};
use kv_core::{Batch, Bytes, Condition, Durability, Error, KeyValueStore, Outcome, Scan};
use kv_etcd::Store;

/// A new store, if there is a server.
async fn fresh() -> Option<(FreshPrefix, Store)> {
    server()?;
    let prefix = FreshPrefix::new();
    let store = Store::open(&prefix.url()).await.expect("the store opens");
    Some((prefix, store))
}

async fn outcome(store: &Store, batch: Batch) -> Outcome {
    store
        .commit(batch, Durability::Durable)
        .await
        .expect("it commits")
}

async fn commit(store: &Store, batch: Batch) {
    assert_eq!(outcome(store, batch).await, Outcome::Applied);
}

fn key(number: usize) -> Bytes {
    (number as u64).to_be_bytes().to_vec().into()
}

/// The keys of all pages of a scan, and how many pages there were.
async fn keys(store: &Store, scan: Scan) -> (Vec<Bytes>, usize) {
    let (mut keys, mut pages, mut next) = (Vec::new(), 0, Some(scan));
    while let Some(scan) = next {
        let page = store.scan(scan).await.expect("it reads");
        keys.extend(page.entries.into_iter().map(|it| it.key));
        (next, pages) = (page.next, pages + 1);
    }
    (keys, pages)
}

#[tokio::test]
async fn batch_of_the_most_writes_is_one_moment() {
    let Some((_prefix, store)) = fresh().await else {
        return;
    };
    let most = store.capabilities().max_batch_operations - 1;
    let batch = (0..most).fold(Batch::new(), |batch, it| batch.put(key(it), "1"));
    commit(&store, batch.require_absent(key(0))).await;
    let (found, _) = keys(&store, Scan::prefix("")).await;
    assert_eq!(found, (0..most).map(key).collect::<Vec<_>>());
    // The same writes again, and one condition that does not hold: none of them lands.
    let batch = (0..most).fold(Batch::new(), |batch, it| batch.delete(key(it)));
    let refused = outcome(&store, batch.require_absent(key(7))).await;
    assert_eq!(refused, Outcome::ConditionFailed { condition: 0 });
    assert_eq!(keys(&store, Scan::prefix("")).await.0.len(), most);
}

#[tokio::test]
async fn conditions_that_are_too_many_for_a_transaction_are_checked_all_the_same() {
    let Some((_prefix, store)) = fresh().await else {
        return;
    };
    let many = 700;
    let all = |change: usize| {
        (0..many).fold(Batch::new().put("done", "1"), |batch, it| {
            let value = if it == change { "2" } else { "1" };
            batch.require(Condition::Equals {
                key: key(it),
                value: value.into(),
            })
        })
    };
    commit(
        &store,
        (0..many).fold(Batch::new(), |batch, it| batch.put(key(it), "1")),
    )
    .await;
    for wrong in [0, 63, 64, 350, many - 1] {
        assert_eq!(
            outcome(&store, all(wrong)).await,
            Outcome::ConditionFailed { condition: wrong }
        );
    }
    assert_eq!(store.get(b"done").await.expect("it reads"), None);
    commit(&store, all(many)).await;
    assert!(store.get(b"done").await.expect("it reads").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_many_conditions_lose_no_update_to_each_other_and_to_small_ones() {
    const ROUNDS: usize = 10;
    let Some((prefix, store)) = fresh().await else {
        return;
    };
    commit(
        &store,
        (0..100).fold(Batch::new().put("n", "0"), |batch, it| batch.put(key(it), "1")),
    )
    .await;
    let add = async |store: &Store, conditions: usize| {
        loop {
            let current = store.get(b"n").await.expect("it reads").expect("it is there");
            let next = String::from_utf8_lossy(&current)
                .parse::<usize>()
                .expect("a number")
                + 1;
            let batch = Batch::new()
                .require_equals("n", current)
                .put("n", next.to_string());
            let batch = (0..conditions).fold(batch, |batch, it| batch.require_present(key(it)));
            if outcome(store, batch).await == Outcome::Applied {
                return;
            }
        }
    };
    let mut tasks = Vec::new();
    for conditions in [100, 100, 1] {
        let url = prefix.url();
        tasks.push(tokio::spawn(async move {
            let store = Store::open(&url).await.expect("the store opens");
            for _ in 0..ROUNDS {
                add(&store, conditions).await;
            }
        }));
    }
    for task in tasks {
        task.await.expect("it counts");
    }
    let total = store.get(b"n").await.expect("it reads").expect("it is there");
    assert_eq!(total, (3 * ROUNDS).to_string());
}

#[tokio::test]
async fn long_range_is_read_backwards_whole() {
    let Some((_prefix, store)) = fresh().await else {
        return;
    };
    let count = 6000;
    for first in (0..count).step_by(1000) {
        commit(
            &store,
            (first..first + 1000).fold(Batch::new(), |batch, it| batch.put(key(it), "v")),
        )
        .await;
    }
    let newest = store
        .scan(Scan::prefix("").reverse().max_items(1))
        .await
        .expect("it reads");
    assert_eq!(newest.entries[0].key, key(count - 1));
    let (mut found, pages) = keys(&store, Scan::prefix("").reverse().max_items(700)).await;
    found.reverse();
    assert!(pages >= count / 700, "{pages}");
    assert_eq!(found, (0..count).map(key).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_values_come_in_pages_of_the_bytes_asked_for() {
    let Some((_prefix, store)) = fresh().await else {
        return;
    };
    let value = Bytes::from(vec![7; store.capabilities().max_value_bytes]);
    let count = 40;
    for it in 0..count {
        // Small ones first, so that the store expects more of them.
        let value = if it < 20 {
            Bytes::from_static(b"v")
        } else {
            value.clone()
        };
        commit(&store, Batch::new().put(key(it), value)).await;
    }
    for scan in [Scan::prefix(""), Scan::prefix("").reverse()] {
        let scan = scan.max_bytes(3 * value.len());
        let mut next = Some(scan);
        let mut seen = 0;
        while let Some(scan) = next {
            let page = store.scan(scan).await.expect("it reads");
            let bytes = page
                .entries
                .iter()
                .map(|it| it.key.len() + it.value.len())
                .sum::<usize>();
            assert!(bytes <= 3 * value.len(), "{bytes}");
            seen += page.entries.len();
            next = page.next;
        }
        assert_eq!(seen, count);
    }
    let all: Vec<_> = (0..count).map(key).collect();
    let values = store.get_many(&all).await.expect("it reads");
    assert!(values[20..].iter().all(|it| it.as_ref() == Some(&value)));
}

#[tokio::test]
async fn stores_at_other_prefixes_are_apart() {
    let Some((prefix, store)) = fresh().await else {
        return;
    };
    let below = Store::open(&format!("{}/k", prefix.url()))
        .await
        .expect("it opens");
    let beside = Store::open(&format!("{}2", prefix.url()))
        .await
        .expect("it opens");
    for store in [&store, &below, &beside] {
        commit(store, Batch::new().require_absent("k").put("k", "v")).await;
        assert_eq!(keys(store, Scan::prefix("")).await.0, ["k"]);
    }
    commit(&below, Batch::new().delete("k")).await;
    assert_eq!(keys(&store, Scan::prefix("")).await.0, ["k"]);
}

#[tokio::test]
async fn closed_store_says_so_and_the_others_go_on() {
    let Some((prefix, store)) = fresh().await else {
        return;
    };
    let other = Store::open(&prefix.url()).await.expect("it opens");
    commit(&store, Batch::new().put("k", "v")).await;
    store.close().await.expect("it closes");
    assert!(matches!(store.get(b"k").await, Err(Error::Closed)));
    assert!(format!("{store:?}").contains("closed: Some(true)"), "{store:?}");
    assert!(other.get(b"k").await.expect("it reads").is_some());
}
