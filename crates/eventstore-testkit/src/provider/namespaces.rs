//! State beside the events: ordered, conditional, and out of reach of everything else.

use std::sync::Arc;

use eventstore_abstractions::{
    Bytes, Changes, Committed, Durability, Error, EventLog, MAX_KEY_BYTES, Namespace, NamespaceName,
};
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{Bench, refused, stream_id, unavailable, unknown};
use crate::fault::Moment;

const WRITERS: usize = 8;
const INCREMENTS: usize = 16;
/// More scans than any case needs: one that goes round in circles ends here.
const MAX_SCANS: usize = 10_000;

fn namespace(log: &dyn EventLog, name: &str) -> Arc<dyn Namespace> {
    log.namespace(&NamespaceName::new(name).expect("a valid name"))
}

async fn applied(namespace: &dyn Namespace, changes: Changes) {
    let committed = namespace.commit(changes, Durability::Durable).await;
    assert_eq!(committed.expect("committed"), Committed::Applied);
}

async fn value(namespace: &dyn Namespace, key: &[u8]) -> Option<Bytes> {
    namespace.get(key).await.expect("read")
}

/// All entries with `prefix`, however many scans of `limit` that takes.
async fn scanned(namespace: &dyn Namespace, prefix: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
    let mut all: Vec<(Bytes, Bytes)> = Vec::new();
    for _ in 0..MAX_SCANS {
        let after = all.last().map(|(key, _)| key.clone());
        let page = namespace.scan(prefix, after.as_deref(), limit).await;
        let page = page.expect("scanned");
        assert!(
            page.len() <= limit,
            "{} entries, and {limit} were asked for",
            page.len()
        );
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
    panic!("a scan did not end after {MAX_SCANS} pages");
}

/// What is put is read back, byte for byte, until it is replaced or deleted.
pub async fn namespace_round_trips(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "balances");
    assert_eq!(state.name().as_str(), "balances");
    assert_eq!(value(&*state, b"absent").await, None);
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    for (key, put) in [
        (&b"k"[..], &b"v"[..]),
        (b"\0", b""),
        (&all_bytes[..MAX_KEY_BYTES], &all_bytes),
        (&[0xff; MAX_KEY_BYTES], b"\0\0"),
    ] {
        let (key, put) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(put));
        applied(&*state, Changes::new().put(key.clone(), put.clone())).await;
        assert_eq!(value(&*state, &key).await, Some(put));
        applied(&*state, Changes::new().put(key.clone(), "replaced")).await;
        assert_eq!(value(&*state, &key).await.as_deref(), Some(&b"replaced"[..]));
        applied(&*state, Changes::new().delete(key.clone())).await;
        assert_eq!(value(&*state, &key).await, None);
    }
    // Removing what is absent is no error; of two writes of a key the later one counts.
    let twice = Changes::new().delete("absent").put("k", "1").put("k", "2");
    applied(&*state, twice).await;
    assert_eq!(value(&*state, b"k").await.as_deref(), Some(&b"2"[..]));
}

/// A scan gives the keys with its prefix above where it goes on, in the order of their bytes.
pub async fn namespace_scan_is_in_key_order(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "ordered");
    let keys: [&[u8]; 7] = [b"\0", b"a", b"a\0", b"a\x01", b"a\xff", b"b", b"\xff\xff"];
    let changes = keys.iter().rev().fold(Changes::new(), |changes, key| {
        changes.put(key.to_vec(), [b"v", *key].concat())
    });
    applied(&*state, changes).await;
    let entry = |key: &&[u8]| (key.to_vec().into(), [b"v", *key].concat().into());
    let entries = |keys: &[&[u8]]| keys.iter().map(entry).collect::<Vec<(Bytes, Bytes)>>();
    let scan = async |prefix: &[u8], after: Option<&[u8]>, limit| {
        state.scan(prefix, after, limit).await.expect("scanned")
    };
    assert_eq!(scan(b"", None, 100).await, entries(&keys));
    assert_eq!(scan(b"a", None, 100).await, entries(&keys[1..5]));
    assert_eq!(scan(b"a", Some(b"a"), 100).await, entries(&keys[2..5]));
    assert_eq!(scan(b"a", Some(b"a\0"), 1).await, entries(&keys[3..4]));
    assert_eq!(scan(b"a", Some(b"a\xff"), 100).await, []);
    assert_eq!(scan(b"b", Some(b"a"), 100).await, entries(&keys[5..6]));
    assert_eq!(scan(b"", Some(b"b"), 100).await, entries(&keys[6..]));
    assert_eq!(scan(b"c", None, 100).await, []);
    assert_eq!(scan(b"", None, 0).await, []);
    assert_eq!(scan(b"\xff", None, 100).await, entries(&keys[6..]));
}

/// Scans that go on after the last key that was seen give every entry once, and one reads a bounded part of them.
pub async fn namespace_scans_add_up(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "many");
    let entries: Vec<(Bytes, Bytes)> = (0..2_500)
        .map(|number| (format!("k{number:05}").into(), vec![b'v'; 1_000].into()))
        .collect();
    for part in entries.chunks(250) {
        let changes = part.iter().fold(Changes::new(), |changes, (key, value)| {
            changes.put(key.clone(), value.clone())
        });
        applied(&*state, changes).await;
    }
    for limit in [7, 1_000, usize::MAX] {
        assert!(scanned(&*state, b"k", limit).await == entries, "limit {limit}");
    }
    bench.meter.take();
    let page = state.scan(b"", None, usize::MAX).await.expect("scanned");
    let read = bench.meter.take().bytes;
    assert!(page.len() < entries.len(), "everything was read at once");
    assert!(read <= 2 << 20, "{read} bytes were read for one page");
}

/// Changes are made all together when everything that they require holds, and not at all otherwise.
pub async fn namespace_commit_is_all_or_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "conditional");
    applied(&*state, Changes::new().put("there", "1").put("other", "x")).await;
    let write = |changes: Changes| changes.put("there", "2").put("new", "2").delete("other");
    for requires in [
        Changes::new().require_absent("there"),
        Changes::new().require_equals("there", "2"),
        Changes::new().require_equals("there", ""),
        Changes::new().require_equals("absent", "1"),
        Changes::new().require("absent", Some("1".into())),
        Changes::new().require("there", None),
        Changes::new()
            .require_equals("there", "1")
            .require_absent("absent")
            .require_absent("other"),
    ] {
        let said = format!("{requires:?}");
        let committed = state.commit(write(requires), Durability::Durable).await;
        assert_eq!(committed.expect("decided"), Committed::Conflict, "{said}");
        let now = scanned(&*state, b"", 100).await;
        assert_eq!(
            now,
            [("other".into(), "x".into()), ("there".into(), "1".into())],
            "{said}"
        );
    }
    let requires = Changes::new().require_equals("there", "1").require_absent("new");
    let commits = bench.engine.commits();
    applied(&*state, write(requires)).await;
    assert_eq!(bench.engine.commits(), commits + 1, "it was not one commit");
    let now = scanned(&*state, b"", 100).await;
    assert_eq!(now, [("new".into(), "2".into()), ("there".into(), "2".into())]);
    // Requirements alone are checked, too.
    let alone = state
        .commit(Changes::new().require_absent("new"), Durability::Durable)
        .await;
    assert_eq!(alone.expect("decided"), Committed::Conflict);
    applied(&*state, Changes::new()).await;
}

/// What is required is checked inside the commit: of writers who increment at once none loses an increment.
pub async fn racing_increments_of_a_namespace_lose_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let writers = (0..WRITERS).map(|_| {
        let state = namespace(&*bench.log, "counters");
        async move {
            for _ in 0..INCREMENTS {
                while !increment(&*state).await {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    writers.collect::<JoinSet<_>>().join_all().await;
    let state = namespace(&*bench.log, "counters");
    assert_eq!(
        count(&value(&*state, b"count").await),
        (WRITERS * INCREMENTS) as u64
    );
}

fn count(value: &Option<Bytes>) -> u64 {
    let bytes = value.as_deref().map(|value| value.try_into().expect("8 bytes"));
    bytes.map_or(0, u64::from_be_bytes)
}

async fn increment(state: &dyn Namespace) -> bool {
    let read = value(state, b"count").await;
    let next = (count(&read) + 1).to_be_bytes().to_vec();
    let changes = Changes::new().require("count", read).put("count", next);
    let committed = state.commit(changes, Durability::Buffered).await;
    committed.expect("decided") == Committed::Applied
}

/// No namespace reaches another's keys, in its database or in another, whatever their names and keys are.
pub async fn namespaces_stay_apart(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let parts = ["a", "aa", "a/a", "A", "ÿ", "\u{10ffff}"];
    let keys: [&[u8]; 6] = [b"\0", b"a", b"\0a\0", b"a\0a", b"\xff", b"aa\0a"];
    let mut places = Vec::new();
    for database in parts {
        let log = bench.database(database);
        places.extend(parts.map(|name| (format!("{database} {name}"), namespace(&*log, name))));
    }
    for (said, state) in &places {
        let changes = keys.iter().fold(Changes::new(), |changes, key| {
            let said = [said.as_bytes(), *key].concat();
            changes.require_absent(key.to_vec()).put(key.to_vec(), said)
        });
        applied(&**state, changes).await;
    }
    let mut sorted = keys;
    sorted.sort_unstable();
    let (_, removed) = &places[0];
    let changes = keys
        .iter()
        .fold(Changes::new(), |changes, key| changes.delete(key.to_vec()));
    applied(&**removed, changes).await;
    assert_eq!(scanned(&**removed, b"", 100).await, []);
    for (said, state) in &places[1..] {
        let expected = sorted.map(|key| (key.to_vec().into(), [said.as_bytes(), key].concat().into()));
        assert_eq!(scanned(&**state, b"", 4).await, expected, "{said}");
    }
}

/// State is no event: what is written beside the log changes neither it nor its streams, and the other way round.
pub async fn namespace_leaves_the_log_alone(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    bench.append(&stream_id("a"), 3).await;
    let (all, stream) = (bench.all().await, bench.events(&stream_id("a")).await);
    let session = bench.session(&stream_id("a")).await;
    let state = namespace(&*bench.log, "beside");
    applied(&*state, Changes::new().put("k", "v").put("l", "w")).await;
    applied(&*state, Changes::new().delete("l")).await;
    assert!(bench.all().await == all && bench.events(&stream_id("a")).await == stream);
    assert_eq!(bench.log.head().await.expect("read"), all[2].position);
    session.close().await.expect("the session was not disturbed");
    bench.append(&stream_id("b"), 3).await;
    assert_eq!(scanned(&*state, b"", 10).await, [("k".into(), "v".into())]);
}

/// A damaged value is an error that names it, by whichever call it is read; its neighbours are read as before.
pub async fn namespace_corruption_is_reported(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let before = bench.dump().await;
    let state = namespace(&*bench.log, "damaged");
    applied(&*state, Changes::new().put("alice", "500")).await;
    let entry = bench
        .dump()
        .await
        .into_iter()
        .find(|entry| !before.contains(entry));
    let entry = entry.expect("the value is in the engine");
    applied(&*state, Changes::new().put("bob", "7")).await;
    for at in 0..entry.value.len() {
        let flip = |value: &mut Vec<u8>| value[at] ^= 1 << (at % 8);
        bench.engine.edit(&entry.key, flip).await.expect("edited");
        let error = refused!(state.get(b"alice").await, Error::Corrupt { .. }).to_string();
        assert!(error.contains("damaged") && error.contains("alice"), "{error}");
        refused!(state.scan(b"a", None, 10).await, Error::Corrupt { .. });
        assert_eq!(value(&*state, b"bob").await.as_deref(), Some(&b"7"[..]));
        bench.engine.edit(&entry.key, flip).await.expect("edited back");
    }
    // A value that turns up under another key is no value of that key.
    let renamed = [&entry.key[..], b"x"].concat();
    bench.engine.rename(&entry.key, &renamed).await.expect("renamed");
    refused!(state.get(b"alicex").await, Error::Corrupt { .. });
}

/// Durable state is there after the store was closed and opened again.
pub async fn namespace_survives_reopen(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "kept");
    applied(&*state, Changes::new().put("k", "v").put("gone", "v")).await;
    applied(&*state, Changes::new().require_equals("k", "v").delete("gone")).await;
    drop(state);
    let bench = bench.restart().await;
    let state = namespace(&*bench.log, "kept");
    assert_eq!(scanned(&*state, b"", 10).await, [("k".into(), "v".into())]);
}

/// What breaks a limit is refused with an error that says what is possible, and nothing is changed.
pub async fn namespace_limits_are_clear_errors(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "limited");
    let long = vec![b'k'; MAX_KEY_BYTES + 1];
    let largest = bench.max_value_bytes();
    for bad in [
        Changes::new().put("", "v"),
        Changes::new().delete(""),
        Changes::new().require_absent(""),
        Changes::new().put(long.clone(), "v"),
        Changes::new().delete(long.clone()),
        Changes::new().require_equals(long.clone(), "v"),
        Changes::new().put("k", vec![b'v'; largest + 1]),
    ] {
        let refused = state.commit(bad.put("good", "v"), Durability::Durable).await;
        refused!(refused, Error::InvalidInput { .. });
    }
    refused!(state.get(b"").await, Error::InvalidInput { .. });
    refused!(state.get(&long).await, Error::InvalidInput { .. });
    refused!(state.scan(&long, None, 1).await, Error::InvalidInput { .. });
    refused!(state.scan(b"", Some(&long), 1).await, Error::InvalidInput { .. });
    let value = Bytes::from(vec![b'v'; largest / 2]);
    let too_much = bench.engine.inner();
    let times = kv_core::KeyValueStore::capabilities(&**too_much).max_batch_bytes / value.len() + 1;
    let changes = (0..times).fold(Changes::new().put("good", "v"), |changes, number| {
        changes.put(format!("k{number}"), value.clone())
    });
    let error = refused!(
        state.commit(changes, Durability::Durable).await,
        Error::InvalidInput { .. }
    );
    assert!(error.to_string().contains("make several"), "{error}");
    assert_eq!(scanned(&*state, b"", 10).await, []);
    // What an event may have, a value may have: less the few bytes that are stored with it.
    let most = vec![b'v'; largest - 16];
    applied(&*state, Changes::new().put("k", most.clone())).await;
    assert!(state.get(b"k").await.expect("read").as_deref() == Some(&most[..]));
}

/// A commit says whether it may have happened, and a failed read is an error.
pub async fn namespace_failures_are_told_apart(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "failing");
    let put = || state.commit(Changes::new().put("k", "v"), Durability::Durable);
    bench
        .engine
        .fail_next_commit(Moment::BeforeApplying, unavailable());
    refused!(put().await, Error::Unavailable { .. });
    assert_eq!(value(&*state, b"k").await, None);
    bench.engine.fail_next_commit(Moment::AfterApplying, unknown());
    refused!(put().await, Error::OutcomeUnknown { .. });
    assert_eq!(value(&*state, b"k").await.as_deref(), Some(&b"v"[..]));
    bench.engine.fail_next_read(unavailable());
    refused!(state.get(b"k").await, Error::Unavailable { .. });
    bench.engine.fail_next_read(unavailable());
    refused!(state.scan(b"", None, 1).await, Error::Unavailable { .. });
}

/// After the provider is closed its namespaces say so.
pub async fn closed_provider_refuses_its_namespaces(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let state = namespace(&*bench.log, "closed");
    applied(&*state, Changes::new().put("k", "v")).await;
    bench.provider.close().await.expect("closed");
    refused!(state.get(b"k").await, Error::ProviderClosed);
    refused!(state.scan(b"", None, 1).await, Error::ProviderClosed);
    let changes = Changes::new().put("k", "w");
    refused!(
        state.commit(changes, Durability::Durable).await,
        Error::ProviderClosed
    );
}

/// Two providers over one engine see the same state, and what one requires is checked against what the other wrote.
pub async fn namespace_is_one_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let (one, two) = (namespace(&*one.log, "shared"), namespace(&*two.log, "shared"));
    assert_eq!((value(&*one, b"k").await, value(&*two, b"k").await), (None, None));
    applied(&*one, Changes::new().require_absent("k").put("k", "1")).await;
    let late = two
        .commit(
            Changes::new().require_absent("k").put("k", "2"),
            Durability::Durable,
        )
        .await;
    assert_eq!(late.expect("decided"), Committed::Conflict);
    applied(&*two, Changes::new().require_equals("k", "1").put("k", "2")).await;
    assert_eq!(value(&*one, b"k").await.as_deref(), Some(&b"2"[..]));
}
