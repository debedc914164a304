//! Damaged directories. What is looked for at every opening, and what with [`Options::verify`], ends in an
//! error and never in the end of the process; the engine alone would run into it.

mod common;

use std::fs;
use std::path::Path;

use common::{commit, open, temp_dir};
use kv_core::{Batch, Entry, Error, KeyValueStore, Result, Scan};
use kv_lmdb::{Options, Store};

const ENTRIES: usize = 2_000;
const DATA: &str = "lmdb/data.mdb";
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

/// Entries, large values, and free pages of several commits.
async fn worn_store() -> tempfile::TempDir {
    let dir = closed_store().await;
    let store = open(dir.path()).await;
    for round in 0..3 {
        let batch = (0..10).fold(Batch::new(), |batch, index| {
            batch.put(format!("large{index}"), vec![round; 3_000 * (index + 1)])
        });
        commit(&store, batch).await;
    }
    // Every other page of what is free is in use again, and the list of free pages is a long one.
    let batch = (0..5).fold(Batch::new(), |batch, index| batch.delete(format!("large{index}")));
    commit(&store, batch).await;
    store.close().await.expect("close");
    dir
}

/// Damages one place after another of a whole store, and reads and writes all of it.
async fn damage_each(
    places: impl Fn(usize) -> Vec<usize>,
    damage: impl Fn(&mut [u8]),
) -> Vec<(usize, Result<usize>)> {
    let dir = worn_store().await;
    let data = dir.path().join(DATA);
    let whole = fs::read(&data).expect("read");
    let mut results = Vec::new();
    for at in places(whole.len()) {
        let mut bytes = whole.clone();
        damage(&mut bytes[at..]);
        fs::write(&data, bytes).expect("write");
        let read = read_all(dir.path(), Options::new().verify()).await;
        if read.is_ok() {
            rewrite_all(dir.path()).await;
        }
        results.push((at, read));
    }
    results
}

/// Whatever passed for a whole store works as one.
async fn rewrite_all(path: &Path) {
    let store = open(path).await;
    let found = store
        .scan(Scan::range("", "").max_items(2 * ENTRIES).max_bytes(usize::MAX))
        .await
        .expect("scan");
    let half = |it: usize| found.entries.iter().skip(it).step_by(2);
    commit(
        &store,
        half(0).fold(Batch::new(), |it, entry| it.delete(entry.key.clone())),
    )
    .await;
    let put = |it: Batch, entry: &Entry| it.put(entry.key.clone(), vec![8; 9_000]);
    commit(&store, half(1).take(50).fold(Batch::new(), put)).await;
    store.close().await.expect("close");
    let store = Store::open_with(path, Options::new().verify()).await;
    store.expect("what was written is whole");
}

#[tokio::test]
async fn verified_store_has_no_damage_that_the_engine_stumbles_over() {
    // An odd stride, so that every part of a page has its turn.
    let places = |bytes: usize| (0..bytes).step_by((bytes / 150) | 1).collect();
    let results = damage_each(places, |it| it[0] ^= 0x10).await;
    for (at, result) in &results {
        let good = matches!(
            result,
            // A value or a key may have changed.
            Ok(_) | Err(Error::Corrupt { .. } | Error::Incompatible { .. })
        );
        assert!(good, "byte {at}: {result:?}");
    }
}

#[tokio::test]
async fn page_of_garbage_is_an_error_or_harmless_in_a_verified_store() {
    let places = |bytes: usize| (0..bytes / PAGE_BYTES).map(|page| page * PAGE_BYTES).collect();
    let overwrite = |it: &mut [u8]| it[..PAGE_BYTES].copy_from_slice(&garbage(PAGE_BYTES));
    let results = damage_each(places, overwrite).await;
    for (at, result) in &results {
        // A page that is free, or is inside a large value.
        let good = matches!(result, Ok(ENTRIES) | Err(Error::Corrupt { .. }));
        assert!(good, "page at {at}: {result:?}");
    }
    // About 70 pages hold entries, and the entries of a page take 100 bytes each.
    let found = results.iter().filter(|(_, result)| result.is_err()).count();
    assert!(
        found >= ENTRIES * 100 / PAGE_BYTES,
        "only {found} of {}",
        results.len()
    );
}

#[tokio::test]
async fn file_may_end_before_its_free_pages_and_not_before_others() {
    let dir = worn_store().await;
    let store = open(dir.path()).await;
    let small = (0..ENTRIES).map(|index| format!("k{index:04}"));
    let large = (0..10).map(|index| format!("large{index}"));
    commit(
        &store,
        small.chain(large).fold(Batch::new(), |it, key| it.delete(key)),
    )
    .await;
    store.close().await.expect("close");
    let data = dir.path().join(DATA);
    let file = fs::File::options().write(true).open(&data).expect("open");
    let whole = file.metadata().expect("metadata").len();
    let mut opened = 0;
    for bytes in (0..whole).rev().step_by(PAGE_BYTES) {
        file.set_len(bytes).expect("cut");
        match read_all(dir.path(), Options::new()).await {
            Ok(found) => assert_eq!(found, 0),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
                break;
            }
        }
        opened += 1;
    }
    assert!(opened > 10, "only {opened} pages were free at the end");
}

#[tokio::test]
async fn creation_that_was_cut_short_is_done_again() {
    let dir = closed_store().await;
    // As a process leaves it that is killed before the store is open.
    fs::remove_file(dir.path().join("lmdb/CREATED")).expect("remove");
    fs::write(dir.path().join(DATA), "redb").expect("write");
    assert_eq!(read_all(dir.path(), Options::new()).await.expect("open"), 0);
    assert!(dir.path().join("lmdb/CREATED").exists());
}
