//! A process that is killed while it commits, and the one that comes after it.

use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Result, Scan};
use tokio::runtime::Builder;

/// The directory of the process that is killed; it is set for that process alone.
const DIRECTORY: &str = "KILLED_TEST_DIRECTORY";
const ACKNOWLEDGED: &str = "acknowledged ";
/// Commits that are acknowledged before the process is killed.
const ENOUGH: usize = 200;

/// Kills a process that commits to the store that `open` opens, and checks what the next one finds: every commit that
/// was acknowledged, none in part, and a directory that is free. While the first one lives, a second is refused.
///
/// It is called by a test named `test`, which it runs again in the process that is killed:
///
/// ```no_run
/// # mod kv_mine { pub use kv_memory::Store; }
/// #[test]
/// fn killed_process_loses_no_durable_commit() {
///     let name = "killed_process_loses_no_durable_commit";
///     eventstore_testkit::kv::killed::check(name, |path| async move {
///         let store = kv_mine::Store::new(); // open(path).await?
///         Ok(std::sync::Arc::new(store) as std::sync::Arc<dyn kv_core::KeyValueStore>)
///     });
/// }
/// ```
///
/// # Panics
/// When the store has lost something.
pub fn check<F, O>(test: &str, open: F)
where
    F: Fn(PathBuf) -> O,
    O: Future<Output = Result<Arc<dyn KeyValueStore>>>,
{
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    match env::var_os(DIRECTORY) {
        Some(directory) => runtime.block_on(commit_for_ever(open(directory.into()))),
        None => runtime.block_on(kill(test, open)),
    }
}

async fn kill<F, O>(test: &str, open: F)
where
    F: Fn(PathBuf) -> O,
    O: Future<Output = Result<Arc<dyn KeyValueStore>>>,
{
    let directory = Removed(env::temp_dir().join(format!("killed-{}", std::process::id())));
    let mut process = Command::new(env::current_exe().expect("own path"))
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, &directory.0)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test program runs");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let mut acknowledged = lines
        .map_while(|line| line.ok())
        .filter_map(|line| line.strip_prefix(ACKNOWLEDGED)?.parse::<usize>().ok());
    let enough = acknowledged.by_ref().find(|number| *number == ENOUGH);
    assert_eq!(enough, Some(ENOUGH), "the process ended early");

    let second = open(directory.0.clone()).await;
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    process.kill().expect("killed");
    process.wait().expect("ended");
    // It went on until it was killed; what it said is in the pipe.
    let last = acknowledged.last().unwrap_or(ENOUGH);

    let store = open(directory.0.clone()).await.expect("the directory is free");
    let found = numbers(&*store).await;
    let expected: Vec<_> = (0..found.len()).map(key).collect();
    assert_eq!(found, expected, "a commit is missing in the middle");
    // The one in flight may be there, unacknowledged.
    assert!(
        [last + 1, last + 2].contains(&found.len()),
        "{last} was the last one acknowledged, and {} were kept",
        found.len()
    );
    commit(&*store, Batch::new().put("after", "1")).await;
    store.close().await.expect("closed");
}

async fn commit_for_ever(opening: impl Future<Output = Result<Arc<dyn KeyValueStore>>>) {
    let store = opening.await.expect("opened");
    for number in 0.. {
        commit(&*store, Batch::new().put(key(number), vec![7; 100])).await;
        println!("{ACKNOWLEDGED}{number}");
    }
}

fn key(number: usize) -> String {
    format!("k{number:08}")
}

async fn commit(store: &dyn KeyValueStore, batch: Batch) {
    let outcome = store.commit(batch, Durability::Durable).await;
    assert_eq!(outcome.expect("committed"), Outcome::Applied);
}

async fn numbers(store: &dyn KeyValueStore) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = Some(Scan::prefix("k"));
    while let Some(scan) = next {
        let page = store.scan(scan).await.expect("read");
        let keys = page
            .entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.key).into_owned());
        found.extend(keys);
        next = page.next;
    }
    found
}

/// A directory that is removed at the end.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let path: &Path = &self.0;
        let _ = std::fs::remove_dir_all(path);
    }
}
