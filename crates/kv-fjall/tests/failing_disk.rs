//! A disk that fails in the middle of a commit: the test runs itself again under a limit on file sizes, which
//! makes a write fail half way without a special file system.
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{commit, keys, open, temp_dir, value};
use kv_core::{Batch, Durability, Error, KeyValueStore, Scan};

const DIRECTORY: &str = "KV_FJALL_TEST_DIRECTORY";
const VALUE_BYTES: usize = 15 << 20;
/// Just above the size to which the engine extends a new journal, in blocks of 512 bytes.
const LIMIT_BLOCKS: usize = (65 << 20) / 512;

#[tokio::test]
async fn commit_that_fails_half_way_is_in_doubt_and_stops_the_writing() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return fail_a_commit(&PathBuf::from(directory)).await;
    }
    let dir = temp_dir();
    let script = format!("ulimit -f {LIMIT_BLOCKS}; trap '' XFSZ; exec \"$0\" --exact \"$1\" --nocapture");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().expect("own path"))
        .arg("commit_that_fails_half_way_is_in_doubt_and_stops_the_writing")
        .env(DIRECTORY, dir.path())
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");

    let store = open(dir.path()).await;
    assert_eq!(value(&store, "before").await.as_deref(), Some("1"));
    // Whole or not at all.
    assert!([0, 4].contains(&keys(&store, Scan::prefix("large")).await.len()));
    commit(&store, Batch::new().put("after", "1")).await;
}

/// One batch of 60 MiB after another of 15 passes the limit, before the journal can be sealed.
async fn fail_a_commit(path: &Path) {
    let store = open(path).await;
    commit(
        &store,
        Batch::new()
            .put("before", "1")
            .put("filler", vec![1; VALUE_BYTES]),
    )
    .await;
    let large = (0..4).fold(Batch::new(), |it, index| {
        it.put(format!("large{index}"), vec![2; VALUE_BYTES])
    });
    let failed = store.commit(large, Durability::Durable).await;
    assert!(matches!(failed, Err(Error::OutcomeUnknown { .. })), "{failed:?}");

    let refused = store
        .commit(Batch::new().put("k", "v"), Durability::Durable)
        .await
        .expect_err("must be refused");
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused:?}");
    assert!(refused.to_string().contains("open it again"), "{refused}");
    assert_eq!(value(&store, "before").await.as_deref(), Some("1"));
    assert!(
        keys(&store, Scan::prefix("large")).await.is_empty(),
        "a failed commit is not seen"
    );
    assert!(matches!(store.close().await, Err(Error::OutcomeUnknown { .. })));
    assert!(matches!(store.get(b"before").await, Err(Error::Closed)));
}
