//! What this backend promises beyond the suite that all backends share.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kv_core::directory::Directory;
use kv_core::{Batch, Bytes, Durability, Error, KeyValueStore, Outcome, Scan};
use kv_sled::{Options, Store};

async fn open(path: &Path) -> Store {
    Store::open(path).await.expect("open")
}

async fn put(store: &Store, batch: Batch, durability: Durability) {
    assert_eq!(
        store.commit(batch, durability).await.expect("commit"),
        Outcome::Applied
    );
}

async fn get(store: &Store, key: &str) -> Option<Bytes> {
    store.get(key.as_bytes()).await.expect("get")
}

fn blobs(path: &Path) -> usize {
    fs::read_dir(path.join("sled/blobs")).expect("list").count()
}

#[tokio::test]
async fn closed_store_keeps_buffered_commits() {
    let dir = tempfile::tempdir().expect("temp dir");
    for round in 0..5 {
        let store = open(dir.path()).await;
        for earlier in 0..round {
            assert_eq!(
                get(&store, &format!("k{earlier}")).await.as_deref(),
                Some(&b"v"[..])
            );
        }
        put(
            &store,
            Batch::new().put(format!("k{round}"), "v"),
            Durability::Buffered,
        )
        .await;
        store.close().await.expect("close");
    }
}

#[tokio::test]
async fn dropped_store_keeps_durable_commits_and_frees_the_directory() {
    let dir = tempfile::tempdir().expect("temp dir");
    for round in 0..20 {
        let store = open(dir.path()).await;
        assert_eq!(get(&store, "k").await.is_some(), round > 0);
        put(
            &store,
            Batch::new().put("k", format!("{round}")),
            Durability::Durable,
        )
        .await;
    }
    assert_eq!(
        get(&open(dir.path()).await, "k").await.as_deref(),
        Some(&b"19"[..])
    );
}

#[tokio::test]
async fn close_frees_the_directory_while_other_handles_live() {
    let dir = tempfile::tempdir().expect("temp dir");
    let first = Arc::new(open(dir.path()).await);
    let other = Arc::clone(&first);
    put(&first, Batch::new().put("k", "v"), Durability::Durable).await;
    first.close().await.expect("close");

    let second = open(dir.path()).await;
    assert_eq!(get(&second, "k").await.as_deref(), Some(&b"v"[..]));
    assert!(matches!(other.get(b"k").await, Err(Error::Closed)));
    assert!(matches!(other.get_many(&[]).await, Err(Error::Closed)));
    assert!(matches!(other.scan(Scan::prefix("")).await, Err(Error::Closed)));
    assert!(matches!(
        other.commit(Batch::new(), Durability::Durable).await,
        Err(Error::Closed)
    ));
    other.close().await.expect("closing again does nothing");
}

#[tokio::test]
async fn second_open_is_in_use() {
    let dir = tempfile::tempdir().expect("temp dir");
    let _store = open(dir.path()).await;
    assert!(matches!(Store::open(dir.path()).await, Err(Error::InUse { .. })));
}

#[tokio::test]
async fn directory_of_another_engine_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    drop(Directory::claim(dir.path(), "fjall", 1).expect("claim"));
    let error = Store::open(dir.path()).await.expect_err("must be refused");
    assert!(matches!(error, Error::Incompatible { .. }), "{error}");
    assert!(!dir.path().join("sled").exists());
}

#[tokio::test]
async fn option_out_of_range_writes_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    let result = Store::open_with(dir.path(), Options::new().cache_bytes(0)).await;
    assert!(matches!(result, Err(Error::Invalid { .. })));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0);
}

#[tokio::test]
async fn lost_condition_is_named_and_nothing_is_applied() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = open(dir.path()).await;
    put(
        &store,
        Batch::new().put("a", "1").put("b", "2"),
        Durability::Buffered,
    )
    .await;
    let batch = Batch::new()
        .require_present("a")
        .require_equals("b", "3")
        .put("a", "9")
        .delete("b");
    let outcome = store.commit(batch, Durability::Durable).await.expect("commit");
    assert_eq!(outcome, Outcome::ConditionFailed { condition: 1 });
    assert_eq!(get(&store, "a").await.as_deref(), Some(&b"1"[..]));

    let batch = Batch::new()
        .require_absent("c")
        .require_equals("b", "2")
        .delete("b")
        .put("c", "3");
    put(&store, batch, Durability::Durable).await;
    let values = store.get_many(&["c".into(), "b".into()]).await.expect("get");
    assert_eq!(values, [Some("3".into()), None]);
}

/// Values at the limit in every leaf, inserted, rewritten, and thinned out so that leaves merge.
#[tokio::test]
async fn values_at_the_limit_make_no_blob() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = open(dir.path()).await;
    let limit = store.capabilities().max_value_bytes;
    let key = |i: usize| {
        let mut key = format!("{:04}", i * 7 % 300).into_bytes();
        key.resize(store.capabilities().max_key_bytes, 0xff);
        key
    };
    for round in 0..2_u8 {
        for i in 0..300 {
            put(
                &store,
                Batch::new().put(key(i), vec![round; limit]),
                Durability::Buffered,
            )
            .await;
        }
    }
    for i in (0..300).filter(|i| i % 5 != 0) {
        put(&store, Batch::new().delete(key(i)), Durability::Buffered).await;
    }
    let all = store
        .scan(Scan::prefix("").reverse().max_bytes(usize::MAX))
        .await
        .expect("scan");
    assert_eq!(all.entries.len(), 60);
    assert!(all.entries.iter().all(|it| it.value.len() == limit));
    assert_eq!(blobs(dir.path()), 0);
    store.close().await.expect("close");
    assert_eq!(blobs(dir.path()), 0);
}

#[tokio::test]
async fn value_over_the_limit_is_refused_and_nothing_is_applied() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = open(dir.path()).await;
    let large = vec![0; store.capabilities().max_value_bytes + 1];
    let result = store
        .commit(Batch::new().put("a", "1").put("b", large), Durability::Durable)
        .await;
    assert!(
        matches!(result, Err(Error::TooLarge { what: "value", .. })),
        "{result:?}"
    );
    assert_eq!(get(&store, "a").await, None);
}

/// The engine's own reverse scan panics at such keys.
#[tokio::test]
async fn keys_of_highest_bytes_are_scanned_both_ways() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = open(dir.path()).await;
    let mut keys = Vec::new();
    for i in 0..2_000_u16 {
        let mut key = vec![0xfe - (i % 3) as u8; usize::from(i % 2)];
        key.extend([0xff; 6]);
        key.extend(i.to_be_bytes());
        keys.push(key);
    }
    let batch = keys
        .iter()
        .fold(Batch::new(), |batch, key| batch.put(key.clone(), "v"));
    put(&store, batch, Durability::Buffered).await;
    keys.sort();
    let all = |scan: Scan| async {
        let page = store.scan(scan.max_items(10_000)).await.expect("scan");
        page.entries
            .into_iter()
            .map(|it| it.key.to_vec())
            .collect::<Vec<_>>()
    };
    assert!(all(Scan::prefix("")).await == keys);
    keys.reverse();
    assert!(all(Scan::prefix("").reverse()).await == keys);
}

#[cfg(unix)]
#[tokio::test]
async fn commit_into_a_removed_directory_is_not_acknowledged() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = Store::open(dir.path()).await.expect("open");
    eventstore_testkit::kv::removed::check(&store, dir.path()).await;
}
