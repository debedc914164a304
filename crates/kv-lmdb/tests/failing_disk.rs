//! A disk that fails in the middle of a commit: a test runs itself again under a limit on file sizes,
//! which makes a write fail without a special file system.
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{commit, keys, open, temp_dir, value};
use kv_core::{Batch, Durability, Error, KeyValueStore, Scan};
use kv_lmdb::Store;

const DIRECTORY: &str = "KV_LMDB_TEST_DIRECTORY";
const VALUE_BYTES: usize = 1 << 20;
const BLOCK_BYTES: u64 = 512;

/// Runs the test `name` in a process that cannot write behind the first `limit_bytes` of any file.
fn run_limited(name: &str, directory: &Path, limit_bytes: u64) {
    let limit_blocks = limit_bytes / BLOCK_BYTES;
    let script = format!("ulimit -f {limit_blocks}; trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().expect("own path"))
        .arg(name)
        .env(DIRECTORY, directory)
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn limited() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn large(name: &str, values: usize) -> Batch {
    (0..values).fold(Batch::new(), |it, index| {
        it.put(format!("{name}{index}"), vec![2; VALUE_BYTES])
    })
}

async fn assert_commits_are_refused(store: &Store) {
    let refused = store
        .commit(Batch::new().put("refused", "v"), Durability::Durable)
        .await
        .expect_err("must be refused");
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert!(refused.to_string().contains("open it again"), "{refused}");
}

#[tokio::test]
async fn commit_that_fails_half_way_is_in_doubt_and_stops_the_writing() {
    if let Some(path) = limited() {
        return fail_a_commit(&path).await;
    }
    let dir = temp_dir();
    let name = "commit_that_fails_half_way_is_in_doubt_and_stops_the_writing";
    run_limited(name, dir.path(), 4 * VALUE_BYTES as u64);

    let store = open(dir.path()).await;
    assert_eq!(value(&store, "before").await.as_deref(), Some("1"));
    // Whole or not at all.
    assert!([0, 8].contains(&keys(&store, Scan::prefix("large")).await.len()));
    assert_eq!(value(&store, "refused").await, None);
    commit(&store, Batch::new().put("after", "1")).await;
}

async fn fail_a_commit(path: &Path) {
    let store = open(path).await;
    commit(&store, Batch::new().put("before", "1")).await;
    let failed = store.commit(large("large", 8), Durability::Durable).await;
    assert!(matches!(failed, Err(Error::OutcomeUnknown { .. })), "{failed:?}");
    assert_commits_are_refused(&store).await;
    assert_eq!(value(&store, "before").await.as_deref(), Some("1"));
    assert_eq!(store.get(b"large0").await.expect("get"), None);
    assert!(matches!(store.close().await, Err(Error::OutcomeUnknown { .. })));
    assert!(matches!(store.get(b"before").await, Err(Error::Closed)));
}

#[tokio::test]
async fn creation_without_room_is_unavailable_and_is_done_again() {
    if let Some(path) = limited() {
        let refused = Store::open(&path).await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
        return;
    }
    let dir = temp_dir();
    let name = "creation_without_room_is_unavailable_and_is_done_again";
    // Room for the marker, and for none of the engine's pages.
    run_limited(name, dir.path(), BLOCK_BYTES);

    let store = open(dir.path()).await;
    assert!(keys(&store, Scan::prefix("")).await.is_empty());
    commit(&store, Batch::new().put("after", "1")).await;
}
