//! Random operations, compared with a sorted map.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use kv_core::{Batch, Bytes, Condition, Durability, Entry, KeyValueStore, Outcome, Scan};

use super::KvHarness;
use super::support::{assert_same, close, everything, open};
use crate::seed::Seed;

const OPERATIONS: usize = 3000;
/// Few and short keys of these bytes, so that operations meet the same keys, their neighbours and their prefixes.
const KEY_BYTES: [u8; 4] = [0x00, b'a', b'b', 0xff];
const MAX_KEY_LEN: usize = 3;
/// One operation in so many opens the store again.
const REOPEN_ONE_IN: usize = 150;

type Model = BTreeMap<Bytes, Bytes>;

/// Any sequence of puts, deletes, conditions, reads, scans and reopenings does what it does to a sorted map.
pub async fn random_operations_match_a_sorted_map(harness: &dyn KvHarness) {
    let seed = Seed::from_env();
    let mut rng = seed.rng();
    let mut model = Model::new();
    let mut store = open(harness).await;
    let durable = store.capabilities().durable;
    for operation in 0..OPERATIONS {
        let context = format!("at operation {operation}; {seed}");
        match rng.u8(..10) {
            0..5 => check_commit(&*store, &mut model, &mut rng, &context).await,
            5 => check_get(&*store, &model, &mut rng, &context).await,
            _ => check_scan(&*store, &model, random_scan(&mut rng), &context).await,
        }
        if durable && rng.usize(..REOPEN_ONE_IN) == 0 {
            store = reopen(harness, store, &mut rng).await;
        }
    }
    check_scan(&*store, &model, everything(), &format!("at the end; {seed}")).await;
}

async fn reopen(
    harness: &dyn KvHarness,
    store: Arc<dyn KeyValueStore>,
    rng: &mut Rng,
) -> Arc<dyn KeyValueStore> {
    if rng.bool() {
        close(store).await;
    } else {
        // A drop keeps what is durable; one durable commit makes everything before it durable too.
        let outcome = store
            .commit(Batch::new(), Durability::Durable)
            .await
            .expect("the commit is carried out");
        assert_eq!(outcome, Outcome::Applied);
        drop(store);
    }
    open(harness).await
}

async fn check_commit(store: &dyn KeyValueStore, model: &mut Model, rng: &mut Rng, context: &str) {
    let batch = random_batch(model, rng);
    let durability = if rng.usize(..20) == 0 {
        Durability::Durable
    } else {
        Durability::Buffered
    };
    let failed = batch
        .conditions()
        .position(|it| !it.holds(model.get(it.key()).map(|value| &value[..])));
    let expected = match failed {
        Some(condition) => Outcome::ConditionFailed { condition },
        None => Outcome::Applied,
    };
    let outcome = store
        .commit(batch.clone(), durability)
        .await
        .expect("the commit is carried out");
    assert_eq!(
        outcome,
        expected,
        "outcome of a batch with {} conditions {context}",
        batch.conditions().len()
    );
    if failed.is_none() {
        for (key, value) in batch.into_parts().1 {
            match value {
                Some(value) => drop(model.insert(key, value)),
                None => drop(model.remove(&key)),
            }
        }
    }
}

async fn check_get(store: &dyn KeyValueStore, model: &Model, rng: &mut Rng, context: &str) {
    let keys: Vec<Bytes> = (0..rng.usize(1..6)).map(|_| random_key(rng)).collect();
    let expected: Vec<Option<Bytes>> = keys.iter().map(|key| model.get(key).cloned()).collect();
    let values = store.get_many(&keys).await.expect("the keys are read");
    assert_same(&values, &expected, format!("values of {keys:?} {context}"));
    let value = store.get(&keys[0]).await.expect("the key is read");
    assert_same(
        &[value],
        &expected[..1],
        format!("value of {:?} {context}", keys[0]),
    );
}

/// Follows `scan` to its end; every page must be the next part of what the model has, within the scan's bounds.
async fn check_scan(store: &dyn KeyValueStore, model: &Model, scan: Scan, context: &str) {
    let mut expected: Vec<Entry> = Vec::new();
    if !scan.is_empty() {
        let range = model.range::<[u8], _>(scan.bounds());
        expected.extend(range.map(|(key, value)| Entry {
            key: key.clone(),
            value: value.clone(),
        }));
    }
    if scan.direction == kv_core::Direction::Reverse {
        expected.reverse();
    }
    let mut expected = &expected[..];
    let mut next = Some(scan);
    while let Some(scan) = next {
        let page = store.scan(scan.clone()).await.expect("the page is read");
        let count = page.entries.len();
        let next_part = &expected[..count.min(expected.len())];
        assert_same(&page.entries, next_part, format!("a page of {scan:?} {context}"));
        assert!(count <= scan.max_items, "{count} entries for {scan:?} {context}");
        let bytes: usize = page
            .entries
            .iter()
            .map(|entry| entry.key.len() + entry.value.len())
            .sum();
        assert!(
            count <= 1 || bytes <= scan.max_bytes,
            "{bytes} bytes for {scan:?} {context}"
        );
        assert!(
            count > 0 || expected.is_empty(),
            "an empty page for {scan:?} {context}, though {} entries are left",
            expected.len()
        );
        assert!(
            count > 0 || page.next.is_none(),
            "an empty page of {scan:?} is not the last {context}"
        );
        expected = &expected[count..];
        next = page.next;
    }
    assert!(
        expected.is_empty(),
        "a scan ended {} entries early {context}",
        expected.len()
    );
}

fn random_batch(model: &Model, rng: &mut Rng) -> Batch {
    let mut batch = Batch::new();
    // Half of the batches have no condition; most conditions hold, so that the store fills up.
    for _ in 0..rng.usize(..5).saturating_sub(2) {
        let key = random_key(rng);
        let condition = match (rng.usize(..10), model.get(&key)) {
            (0, _) => Condition::Equals {
                key,
                value: random_value(rng),
            },
            (1, Some(_)) | (2.., None) => Condition::Absent(key),
            (1, None) | (2..6, Some(_)) => Condition::Present(key),
            (_, Some(value)) => Condition::Equals {
                key,
                value: value.clone(),
            },
        };
        batch = batch.require(condition);
    }
    for _ in 0..rng.usize(..6) {
        let key = random_key(rng);
        batch = if rng.usize(..3) == 0 {
            batch.delete(key)
        } else {
            batch.put(key, random_value(rng))
        };
    }
    batch
}

fn random_scan(rng: &mut Rng) -> Scan {
    let scan = match rng.u8(..4) {
        0 => everything(),
        1 => Scan::prefix(random_key(rng)),
        _ => Scan::range(random_key(rng), random_key(rng)),
    };
    let scan = if rng.bool() { scan.reverse() } else { scan };
    let scan = if rng.bool() {
        scan.max_items(rng.usize(..10))
    } else {
        scan
    };
    if rng.bool() {
        scan.max_bytes(rng.usize(..200))
    } else {
        scan
    }
}

fn random_key(rng: &mut Rng) -> Bytes {
    let len = rng.usize(1..=MAX_KEY_LEN);
    (0..len)
        .map(|_| KEY_BYTES[rng.usize(..KEY_BYTES.len())])
        .collect()
}

fn random_value(rng: &mut Rng) -> Bytes {
    // Mostly small, sometimes empty, now and then larger than a page of an engine's file.
    let len = match rng.u8(..20) {
        0 => rng.usize(..9000),
        1..4 => 0,
        _ => rng.usize(..40),
    };
    std::iter::repeat_n(rng.u8(..), len).collect()
}
