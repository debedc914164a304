//! A process that is killed while it commits, and the one that comes after it.

mod common;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{commit, keys, open, temp_dir};
use kv_core::{Batch, Error, Scan};
use kv_lmdb::Store;

const DIRECTORY: &str = "KV_LMDB_TEST_DIRECTORY";
const ACKNOWLEDGED: &str = "acknowledged ";
const ENOUGH: usize = 200;

#[tokio::test]
async fn killed_process_loses_no_durable_commit_and_frees_its_directory() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return commit_for_ever(PathBuf::from(directory)).await;
    }
    let dir = temp_dir();
    let mut process = Command::new(std::env::current_exe().expect("own path"))
        .args([
            "--exact",
            "killed_process_loses_no_durable_commit_and_frees_its_directory",
            "--nocapture",
        ])
        .env(DIRECTORY, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let mut acknowledged = lines
        .map_while(|line| line.ok())
        .filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse::<usize>().ok());
    let enough = acknowledged.by_ref().find(|it| *it == ENOUGH);
    assert_eq!(enough, Some(ENOUGH), "the process ended early");

    let second = Store::open(dir.path()).await;
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    process.kill().expect("kill");
    process.wait().expect("wait");
    // It went on until it was killed; what it said is in the pipe.
    let last = acknowledged.last().unwrap_or(ENOUGH);

    let store = open(dir.path()).await;
    let found = keys(
        &store,
        Scan::prefix("k").max_items(usize::MAX).max_bytes(usize::MAX),
    )
    .await;
    let expected: Vec<_> = (0..found.len()).map(|number| format!("k{number:08}")).collect();
    assert_eq!(found, expected, "a commit is missing in the middle");
    // The one in flight may be there, unacknowledged.
    assert!(
        [last + 1, last + 2].contains(&found.len()),
        "{last} and {}",
        found.len()
    );
    commit(&store, Batch::new().put("after", "1")).await;
}

async fn commit_for_ever(path: PathBuf) {
    let store = open(&path).await;
    for number in 0.. {
        commit(&store, Batch::new().put(format!("k{number:08}"), vec![7; 100])).await;
        println!("{ACKNOWLEDGED}{number}");
    }
}
