//! The store as its users see it: what it keeps, what it refuses, and how it ends.

mod common;

use std::sync::Arc;

use common::{commit, keys, open, temp_dir, value};
use kv_core::{Batch, Bytes, Durability, Error, KeyValueStore, Outcome, Scan};
use kv_redb::{Options, Store};

#[tokio::test]
async fn reopened_store_has_what_was_committed() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    commit(&store, Batch::new().put("a", "1").put("b", "2")).await;
    commit(&store, Batch::new().delete("a").put("c", "3")).await;
    store.close().await.expect("close");

    let store = open(dir.path()).await;
    assert_eq!(keys(&store, Scan::range("a", "")).await, ["b", "c"]);
    assert_eq!(value(&store, "b").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn commits_after_a_reopening_replace_those_before() {
    let dir = temp_dir();
    for round in 0..5 {
        let store = open(dir.path()).await;
        let previous = (round > 0).then(|| (round - 1).to_string());
        assert_eq!(value(&store, "round").await, previous);
        commit(&store, Batch::new().put("round", round.to_string())).await;
        assert_eq!(value(&store, "round").await, Some(round.to_string()));
        // Closed and dropped in turn.
        if round % 2 == 0 {
            store.close().await.expect("close");
        }
    }
}

#[tokio::test]
async fn copy_taken_while_open_has_every_durable_commit() {
    let (dir, copy) = (temp_dir(), temp_dir());
    let store = open(dir.path()).await;
    for index in 0..50 {
        commit(&store, Batch::new().put(format!("k{index:02}"), "v")).await;
    }
    // What is in the files at this moment is what a killed process leaves.
    common::copy(dir.path(), copy.path());
    assert_eq!(keys(&open(copy.path()).await, Scan::prefix("k")).await.len(), 50);
}

#[tokio::test]
async fn buffered_commits_are_in_the_file_from_the_next_durable_one_on() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    assert_eq!(
        store
            .commit(Batch::new().put("a", "1"), Durability::Buffered)
            .await
            .expect("commit"),
        Outcome::Applied
    );
    let copied = async |store: &Store| {
        let copy = temp_dir();
        common::copy(dir.path(), copy.path());
        assert_eq!(value(store, "a").await.as_deref(), Some("1"));
        value(&open(copy.path()).await, "a").await
    };
    assert_eq!(copied(&store).await, None);
    // A durable answer that rests on it, without a write of its own.
    commit(&store, Batch::new().require_present("a")).await;
    assert_eq!(copied(&store).await.as_deref(), Some("1"));
}

#[tokio::test]
async fn quick_recovery_opens_what_a_killed_process_leaves() {
    let (dir, copy) = (temp_dir(), temp_dir());
    let options = || Options::new().quick_recovery();
    let store = Store::open_with(dir.path(), options()).await.expect("open");
    for index in 0..50 {
        commit(&store, Batch::new().put(format!("k{index:02}"), "v")).await;
    }
    common::copy(dir.path(), copy.path());
    let store = Store::open_with(copy.path(), options()).await.expect("open");
    assert_eq!(keys(&store, Scan::prefix("k")).await.len(), 50);
}

#[tokio::test]
async fn dropped_store_releases_the_directory_and_keeps_its_commits() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    commit(&store, Batch::new().put("a", "1")).await;
    assert_eq!(
        store
            .commit(Batch::new().put("b", "2"), Durability::Buffered)
            .await
            .expect("commit"),
        Outcome::Applied
    );
    drop(store);
    assert_eq!(
        keys(&open(dir.path()).await, Scan::range("a", "")).await,
        ["a", "b"]
    );
}

#[tokio::test]
async fn closed_store_is_closed_for_every_handle_and_can_be_reopened_at_once() {
    let dir = temp_dir();
    let store = Arc::new(open(dir.path()).await);
    let other = Arc::clone(&store);
    commit(&store, Batch::new().put("a", "1")).await;
    store.close().await.expect("close");

    let reopened = open(dir.path()).await;
    assert_eq!(value(&reopened, "a").await.as_deref(), Some("1"));
    assert!(matches!(other.get(b"a").await, Err(Error::Closed)));
    assert!(matches!(other.get_many(&[]).await, Err(Error::Closed)));
    assert!(matches!(other.scan(Scan::prefix("")).await, Err(Error::Closed)));
    assert!(matches!(
        other.commit(Batch::new(), Durability::Durable).await,
        Err(Error::Closed)
    ));
    other.close().await.expect("closing again does nothing");
}

#[tokio::test]
async fn second_opening_is_refused_while_the_first_is_open() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    assert!(matches!(Store::open(dir.path()).await, Err(Error::InUse { .. })));
    commit(&store, Batch::new().put("a", "still writable")).await;
}

#[tokio::test]
async fn directory_of_another_engine_is_refused_and_left_alone() {
    let dir = temp_dir();
    drop(kv_core::directory::Directory::claim(dir.path(), "sled", 1).expect("claim"));
    let before = common::files(dir.path());
    let error = Store::open(dir.path()).await.expect_err("must be refused");
    assert!(matches!(&error, Error::Incompatible { .. }), "{error}");
    assert!(error.to_string().contains("open it with sled"), "{error}");
    assert_eq!(common::files(dir.path()), before);
}

#[tokio::test]
async fn option_out_of_range_creates_nothing() {
    let dir = temp_dir();
    let path = dir.path().join("data");
    let opened = Store::open_with(&path, Options::new().cache_bytes(1)).await;
    assert!(matches!(opened, Err(Error::Invalid { .. })), "{opened:?}");
    assert!(!path.exists());
}

#[tokio::test]
async fn conditions_are_checked_and_the_first_lost_one_is_named() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    commit(&store, Batch::new().require_absent("a").put("a", "1")).await;
    commit(
        &store,
        Batch::new()
            .require_present("a")
            .require_equals("a", "1")
            .put("a", "2"),
    )
    .await;
    for (batch, condition) in [
        (
            Batch::new()
                .require_equals("a", "2")
                .require_equals("a", "1")
                .put("b", "no"),
            1,
        ),
        (Batch::new().require_absent("a").put("b", "no"), 0),
        (
            Batch::new()
                .require_equals("a", "2")
                .require_absent("b")
                .require_present("b")
                .put("b", "no"),
            2,
        ),
    ] {
        let outcome = store.commit(batch, Durability::Durable).await.expect("commit");
        assert_eq!(outcome, Outcome::ConditionFailed { condition });
    }
    assert_eq!(keys(&store, Scan::range("a", "")).await, ["a"]);
}

#[tokio::test]
async fn largest_key_value_and_batch_are_kept() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    let limits = store.capabilities();
    let key = |last: u8| Bytes::from([vec![0xff; limits.max_key_bytes - 1], vec![last]].concat());
    let full = limits.max_batch_bytes / limits.max_value_bytes;
    let value = |index: usize| {
        let bytes = if index + 1 < full {
            limits.max_value_bytes
        } else {
            limits.max_value_bytes - full * limits.max_key_bytes
        };
        Bytes::from(vec![index as u8; bytes])
    };
    let batch = (0..full).fold(Batch::new(), |batch, index| {
        batch.put(key(index as u8), value(index))
    });
    assert_eq!(batch.bytes(), limits.max_batch_bytes);
    commit(&store, batch.clone()).await;
    let larger = store.commit(batch.put("k", "v"), Durability::Durable).await;
    assert!(
        matches!(larger, Err(Error::TooLarge { what: "batch", .. })),
        "{larger:?}"
    );

    store.close().await.expect("close");
    let store = open(dir.path()).await;
    for index in 0..full {
        assert_eq!(
            store.get(&key(index as u8)).await.expect("get"),
            Some(value(index))
        );
    }
    assert_eq!(store.get(b"k").await.expect("get"), None);
}

#[tokio::test]
async fn batch_of_the_most_operations_is_kept() {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    let operations = store.capabilities().max_batch_operations as u32;
    let batch = (0..operations).fold(Batch::new(), |batch, index| {
        batch.put(index.to_be_bytes().to_vec(), "")
    });
    commit(&store, batch).await;
    store.close().await.expect("close");
    let store = open(dir.path()).await;
    let last = store
        .scan(Scan::range("", "").reverse().max_items(1))
        .await
        .expect("scan");
    assert_eq!(last.entries[0].key, (operations - 1).to_be_bytes()[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_commits_lose_no_update_and_readers_see_whole_batches() {
    const TASKS: usize = 8;
    const ROUNDS: usize = 100;
    let dir = temp_dir();
    let store = Arc::new(open(dir.path()).await);
    commit(&store, Batch::new().put("x", "0").put("y", "0")).await;
    let writers: Vec<_> = (0..TASKS)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    increment(&store).await;
                }
            })
        })
        .collect();
    while !writers.iter().all(|writer| writer.is_finished()) {
        let both = store.get_many(&["x".into(), "y".into()]).await.expect("read");
        assert_eq!(both[0], both[1], "a reader saw a part of a batch");
        let page = store.scan(Scan::range("x", "z")).await.expect("scan");
        assert_eq!(
            page.entries[0].value, page.entries[1].value,
            "a page saw a part of a batch"
        );
    }
    for writer in writers {
        writer.await.expect("writer");
    }
    assert_eq!(value(&store, "x").await, Some((TASKS * ROUNDS).to_string()));
}

/// Adds one to `x` and `y`, as often as it takes to win.
async fn increment(store: &Store) {
    loop {
        let current = value(store, "x").await.expect("present");
        let next = (current.parse::<usize>().expect("a number") + 1).to_string();
        let batch = Batch::new()
            .require_equals("x", current)
            .put("x", next.clone())
            .put("y", next);
        if store.commit(batch, Durability::Buffered).await.expect("commit") == Outcome::Applied {
            return;
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn commit_into_a_removed_directory_is_not_acknowledged() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = Store::open(dir.path()).await.expect("open");
    eventstore_testkit::kv::removed::check(&store, dir.path()).await;
}
