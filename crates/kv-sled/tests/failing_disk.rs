//! A disk that fails in a commit: a test runs itself again under a limit on file sizes, which makes a write fail without a
//! special file system.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::Command;

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Scan};
use kv_sled::Store;

const DIRECTORY: &str = "KV_SLED_TEST_DIRECTORY";
const VALUE_BYTES: usize = 64 << 10;
/// Above the engine's first segment of 8 MiB and inside its second, in blocks of 512 bytes.
const LIMIT_BLOCKS: usize = (10 << 20) / 512;

/// Runs the test `name` in a process whose files cannot grow over the limit.
fn run_limited(name: &str, directory: &Path) {
    let script = format!("ulimit -f {LIMIT_BLOCKS}; trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture");
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

async fn commit(store: &Store, batch: Batch) -> kv_core::Result<Outcome> {
    store.commit(batch, Durability::Durable).await
}

async fn assert_commits_are_refused(store: &Store) {
    let refused = commit(store, Batch::new().put("refused", "v")).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn small_commit_that_fails_is_in_doubt_and_stops_the_writing() {
    if let Some(path) = limited() {
        return fail_small_commits(&path).await;
    }
    let dir = tempfile::tempdir().expect("temp dir");
    run_limited(
        "small_commit_that_fails_is_in_doubt_and_stops_the_writing",
        dir.path(),
    );

    let store = Store::open(dir.path()).await.expect("open");
    let acknowledged = std::fs::read_to_string(dir.path().with_extension("count")).expect("read");
    let stored = store
        .scan(Scan::prefix("k").max_items(10_000).max_bytes(usize::MAX))
        .await
        .expect("scan");
    let more = stored.entries.len() - acknowledged.parse::<usize>().expect("number");
    assert!(more <= 1, "{more} commits that were not acknowledged");
    assert_eq!(store.get(b"refused").await.expect("get"), None);
    assert_eq!(
        commit(&store, Batch::new().put("after", "1"))
            .await
            .expect("commit"),
        Outcome::Applied
    );
    std::fs::remove_file(dir.path().with_extension("count")).expect("remove");
}

async fn fail_small_commits(path: &Path) {
    let store = Store::open(path).await.expect("open");
    let mut acknowledged = 0;
    let failed = loop {
        match commit(
            &store,
            Batch::new().put(format!("k{acknowledged:05}"), vec![1; VALUE_BYTES]),
        )
        .await
        {
            Ok(outcome) => assert_eq!(outcome, Outcome::Applied),
            Err(error) => break error,
        }
        acknowledged += 1;
    };
    assert!(failed.is_outcome_unknown(), "{failed:?}");
    assert_commits_are_refused(&store).await;
    assert_eq!(
        store
            .get(b"k00000")
            .await
            .expect("reads go on")
            .map(|it| it.len()),
        Some(VALUE_BYTES)
    );
    assert!(store.close().await.is_err());
    assert!(matches!(store.get(b"k00000").await, Err(Error::Closed)));
    std::fs::write(path.with_extension("count"), acknowledged.to_string()).expect("write");
}

#[tokio::test]
async fn batch_that_fails_half_way_is_whole_or_not_there() {
    if let Some(path) = limited() {
        return fail_large_batch(&path).await;
    }
    let dir = tempfile::tempdir().expect("temp dir");
    run_limited("batch_that_fails_half_way_is_whole_or_not_there", dir.path());

    let store = Store::open(dir.path()).await.expect("open");
    assert_eq!(
        store.get(b"before").await.expect("get").as_deref(),
        Some(&b"1"[..])
    );
    let large = store
        .scan(Scan::prefix("large").max_bytes(usize::MAX))
        .await
        .expect("scan")
        .entries
        .len();
    assert!([0, 200].contains(&large), "{large} of 200");
    assert_eq!(
        commit(&store, Batch::new().put("after", "1"))
            .await
            .expect("commit"),
        Outcome::Applied
    );
}

async fn fail_large_batch(path: &Path) {
    let store = Store::open(path).await.expect("open");
    assert_eq!(
        commit(&store, Batch::new().put("before", "1"))
            .await
            .expect("commit"),
        Outcome::Applied
    );
    let large = (0..200).fold(Batch::new(), |it, i| {
        it.put(format!("large{i}"), vec![2; VALUE_BYTES])
    });
    let failed = commit(&store, large).await;
    assert!(matches!(failed, Err(Error::OutcomeUnknown { .. })), "{failed:?}");
    assert_commits_are_refused(&store).await;
    // Readers see all of the batch, or none, or are refused.
    if let Ok(page) = store.scan(Scan::prefix("large").max_bytes(usize::MAX)).await {
        assert!([0, 200].contains(&page.entries.len()));
    }
    assert!(store.close().await.is_err());
}
