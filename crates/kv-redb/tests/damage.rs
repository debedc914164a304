//! Damaged directories: every one ends in an error or in the whole data, never in a panic.

mod common;

use std::fs;
use std::path::Path;

use common::{commit, open, temp_dir};
use kv_core::{Batch, Error, KeyValueStore, Result, Scan};
use kv_redb::{Options, Store};

const ENTRIES: usize = 2_000;
const DATA: &str = "redb/data.redb";
const PAGE_BYTES: usize = 4096;

async fn closed_store() -> tempfile::TempDir {
    let dir = temp_dir();
    let store = open(dir.path()).await;
    let batch = (0..ENTRIES).fold(Batch::new(), |batch, index| {
        batch.put(format!("k{index:04}"), vec![7; 100])
    });
    commit(&store, batch).await;
    store.close().await.expect("close");
    dir
}

async fn read_all(path: &Path, options: Options) -> Result<usize> {
    let store = Store::open_with(path, options).await?;
    let page = store
        .scan(Scan::prefix("k").max_items(ENTRIES + 1).max_bytes(usize::MAX))
        .await?;
    let whole = page.entries.iter().filter(|it| it.value[..] == [7; 100]);
    Ok(whole.count())
}

fn garbage(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

async fn assert_corrupt(damage: impl FnOnce(&Path)) {
    let dir = closed_store().await;
    damage(&dir.path().join(DATA));
    let result = read_all(dir.path(), Options::new()).await;
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
}

#[tokio::test]
async fn missing_file_is_not_taken_for_a_new_store() {
    assert_corrupt(|data| fs::remove_file(data).expect("remove")).await;
    assert_corrupt(|data| fs::remove_dir_all(data.parent().expect("a folder")).expect("remove")).await;
}

#[tokio::test]
async fn emptied_file_is_not_taken_for_a_new_store() {
    assert_corrupt(|data| fs::write(data, "").expect("write")).await;
}

#[tokio::test]
async fn file_of_something_else_is_an_error() {
    assert_corrupt(|data| {
        let bytes = fs::metadata(data).expect("metadata").len();
        fs::write(data, garbage(bytes as usize)).expect("write");
    })
    .await;
    assert_corrupt(|data| fs::write(data, "SQLite format 3\0").expect("write")).await;
}

#[tokio::test]
async fn cut_file_is_an_error() {
    for part in 1..8 {
        assert_corrupt(|data| {
            let file = fs::File::options().write(true).open(data).expect("open");
            let bytes = file.metadata().expect("metadata").len();
            file.set_len(bytes * part / 8).expect("cut");
        })
        .await;
    }
}

/// Damages one place after another of a whole store and reads everything.
async fn damage_each(
    options: impl Fn() -> Options,
    places: impl Fn(usize) -> Vec<usize>,
    damage: impl Fn(&mut [u8]),
) -> Vec<(usize, Result<usize>)> {
    let dir = closed_store().await;
    let data = dir.path().join(DATA);
    let whole = fs::read(&data).expect("read");
    let mut results = Vec::new();
    for at in places(whole.len()) {
        let mut bytes = whole.clone();
        damage(&mut bytes[at..]);
        // The engine closes with a commit, which would build on the damage.
        fs::write(&data, bytes).expect("write");
        results.push((at, read_all(dir.path(), options()).await));
    }
    results
}

#[tokio::test]
async fn verified_store_has_no_damage() {
    // An odd stride, so that every part of a page has its turn.
    let places = |bytes: usize| (0..bytes).step_by((bytes / 150) | 1).collect();
    let results = damage_each(|| Options::new().verify(), places, |it| it[0] ^= 0x10).await;
    for (at, result) in &results {
        let good = matches!(
            result,
            Ok(ENTRIES) | Err(Error::Corrupt { .. } | Error::Incompatible { .. })
        );
        assert!(good, "byte {at}: {result:?}");
    }
    let found = results.iter().filter(|(_, result)| result.is_err()).count();
    assert!(found > results.len() / 2, "only {found} of {}", results.len());
}

#[tokio::test]
async fn page_of_garbage_is_an_error_or_harmless() {
    let places = |bytes: usize| (0..bytes / PAGE_BYTES).map(|page| page * PAGE_BYTES).collect();
    let overwrite = |it: &mut [u8]| it[..PAGE_BYTES].copy_from_slice(&garbage(PAGE_BYTES));
    let results = damage_each(Options::new, places, overwrite).await;
    for (at, result) in &results {
        let good = matches!(result, Ok(ENTRIES) | Err(Error::Corrupt { .. }));
        assert!(good, "page at {at}: {result:?}");
    }
    let found = results.iter().filter(|(_, result)| result.is_err()).count();
    assert!(found > results.len() / 2, "only {found} of {}", results.len());
}

#[tokio::test]
async fn creation_that_was_cut_short_is_done_again() {
    let dir = closed_store().await;
    // As a process leaves it that is killed before the store is open.
    fs::remove_file(dir.path().join("redb/CREATED")).expect("remove");
    fs::write(dir.path().join(DATA), "redb").expect("write");
    assert_eq!(read_all(dir.path(), Options::new()).await.expect("open"), 0);
    assert!(dir.path().join("redb/CREATED").exists());
}
