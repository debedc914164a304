//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::{Path, PathBuf};

use kv_core::{Batch, Durability, KeyValueStore, Outcome, Scan};
use kv_lmdb::Store;

pub(crate) fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("temp dir")
}

pub(crate) async fn open(path: &Path) -> Store {
    Store::open(path).await.expect("open")
}

pub(crate) async fn commit(store: &Store, batch: Batch) {
    assert_eq!(
        store.commit(batch, Durability::Durable).await.expect("commit"),
        Outcome::Applied
    );
}

pub(crate) async fn value(store: &Store, key: &str) -> Option<String> {
    let value = store.get(key.as_bytes()).await.expect("get");
    value.map(|value| String::from_utf8(value.to_vec()).expect("test values are text"))
}

pub(crate) async fn keys(store: &Store, scan: Scan) -> Vec<String> {
    let page = store.scan(scan).await.expect("scan");
    page.entries
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.key).into_owned())
        .collect()
}

/// Every file below `path`, in a fixed order.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(path)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .collect();
    entries.sort();
    entries
        .into_iter()
        .flat_map(|it| if it.is_dir() { files(&it) } else { vec![it] })
        .collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("files are below the folder"));
        std::fs::create_dir_all(target.parent().expect("files have a folder")).expect("create");
        std::fs::copy(&file, &target).expect("copy");
    }
}
