//! What the conformance suite cannot see: the journal after a crash, and after damage.

use std::fs;
use std::path::Path;

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Result, Scan};
use kv_journal::Store;

/// A journal of three commits of two keys each.
async fn filled(directory: &Path) -> Vec<u8> {
    let store = Store::open(directory).await.expect("open");
    for number in 0..3 {
        let batch = Batch::new()
            .put(format!("a{number}"), "1")
            .put(format!("b{number}"), "2");
        let outcome = store.commit(batch, Durability::Durable).await.expect("commit");
        assert_eq!(outcome, Outcome::Applied);
    }
    store.close().await.expect("close");
    fs::read(directory.join("journal/commits")).expect("read")
}

/// How many keys a store has that is opened on `journal`.
async fn keys(directory: &Path, journal: &[u8]) -> Result<usize> {
    fs::write(directory.join("journal/commits"), journal).expect("write");
    let store = Store::open(directory).await?;
    let page = store.scan(Scan::prefix("")).await?;
    store.close().await?;
    Ok(page.entries.len())
}

#[tokio::test]
async fn journal_that_was_cut_short_has_whole_commits_alone() {
    let dir = tempfile::tempdir().expect("temp dir");
    let whole = filled(dir.path()).await;
    let record = whole.len() / 3;
    for length in 0..=whole.len() {
        let keys = keys(dir.path(), &whole[..length]).await.expect("it opens");
        assert_eq!(keys, length / record * 2, "cut to {length} bytes");
    }
}

#[tokio::test]
async fn damaged_commit_before_the_last_is_an_error() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut journal = filled(dir.path()).await;
    journal[8] ^= 1;
    let opened = keys(dir.path(), &journal).await;
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
}
