//! Damaged directories: every one ends in an error or in the whole data, never in a panic.

mod common;

use std::fs;
use std::path::Path;

use common::{commit, open, temp_dir};
use kv_core::{Batch, Error, KeyValueStore, Result, Scan};
use kv_fjall::Store;

const ENTRIES: usize = 200;

/// A closed store with its data in tables.
async fn closed_store() -> tempfile::TempDir {
    let dir = temp_dir();
    let store = filled(dir.path()).await;
    store.close().await.expect("close");
    dir
}

async fn filled(path: &Path) -> Store {
    let store = open(path).await;
    let batch = (0..ENTRIES).fold(Batch::new(), |batch, index| {
        batch.put(format!("k{index:04}"), vec![7; 200])
    });
    commit(&store, batch).await;
    store
}

async fn count(path: &Path) -> Result<usize> {
    let store = Store::open(path).await?;
    let page = store.scan(Scan::prefix("k").max_items(ENTRIES + 1)).await?;
    store.close().await?;
    Ok(page.entries.len())
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

/// Damages each file in turn and opens the store.
async fn damage_each(damage: impl Fn(&Path)) -> Vec<(String, Result<usize>)> {
    let original = closed_store().await;
    let mut results = Vec::new();
    for file in common::files(&original.path().join("fjall")) {
        let relative = file
            .strip_prefix(original.path())
            .expect("files are below the folder");
        let copy = temp_dir();
        common::copy(original.path(), copy.path());
        damage(&copy.path().join(relative));
        results.push((relative.display().to_string(), count(copy.path()).await));
    }
    assert!(results.len() > 5, "the store has files to damage");
    results
}

fn assert_error_or_whole(results: &[(String, Result<usize>)]) {
    for (file, result) in results {
        let good = matches!(result, Ok(ENTRIES) | Err(Error::Corrupt { .. }));
        assert!(good, "{file}: {result:?}");
    }
    let refused = |part: &str| {
        results
            .iter()
            .any(|(file, result)| file.contains(part) && result.is_err())
    };
    assert!(refused("keyspaces/1/tables") && refused("keyspaces/0/tables") && refused("version"));
}

#[tokio::test]
async fn garbage_in_any_file_is_an_error_or_harmless() {
    let overwrite = |file: &Path| {
        let bytes = fs::metadata(file).expect("metadata").len().max(64);
        fs::write(file, garbage(bytes as usize)).expect("write");
    };
    assert_error_or_whole(&damage_each(overwrite).await);
}

#[tokio::test]
async fn missing_file_is_an_error_or_harmless() {
    assert_error_or_whole(&damage_each(|file| fs::remove_file(file).expect("remove")).await);
}

#[tokio::test]
async fn emptied_file_is_an_error_or_harmless() {
    assert_error_or_whole(&damage_each(|file| fs::write(file, "").expect("write")).await);
}

#[tokio::test]
async fn garbage_at_the_head_of_a_journal_in_use_is_an_error() {
    let (dir, copy) = (temp_dir(), temp_dir());
    let store = filled(dir.path()).await;
    common::copy(dir.path(), copy.path());
    drop(store);
    fs::write(copy.path().join("fjall/0.jnl"), garbage(4096)).expect("write");
    let result = count(copy.path()).await;
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
}

#[tokio::test]
async fn flipped_byte_in_a_record_of_the_journal_is_an_error() {
    let (dir, copy) = (temp_dir(), temp_dir());
    let store = filled(dir.path()).await;
    common::copy(dir.path(), copy.path());
    drop(store);
    let journal = copy.path().join("fjall/0.jnl");
    let mut bytes = fs::read(&journal).expect("read");
    let value = bytes.windows(50).position(|it| it == [7; 50]).expect("a value");
    bytes[value] ^= 1;
    fs::write(&journal, bytes).expect("write");
    let result = count(copy.path()).await;
    assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
}

#[tokio::test]
async fn foreign_folder_among_the_engines_own_is_refused_and_left_alone() {
    let dir = closed_store().await;
    let foreign = dir.path().join("fjall/keyspaces/backup");
    fs::create_dir(&foreign).expect("create");
    let result = count(dir.path()).await;
    assert!(matches!(&result, Err(Error::Incompatible { .. })), "{result:?}");
    fs::remove_dir(&foreign).expect("it is still there");
    assert_eq!(count(dir.path()).await.expect("open"), ENTRIES);
}

#[tokio::test]
async fn deleted_engine_folder_is_not_taken_for_a_new_store() {
    let dir = closed_store().await;
    fs::remove_dir_all(dir.path().join("fjall")).expect("remove");
    let result = count(dir.path()).await;
    assert!(matches!(&result, Err(Error::Corrupt { .. })), "{result:?}");
}

#[tokio::test]
async fn creation_that_was_cut_short_is_done_again() {
    let dir = closed_store().await;
    let engine = dir.path().join("fjall");
    // As the engine leaves it when it is killed before it has written its version.
    for part in ["CREATED", "version"] {
        fs::remove_file(engine.join(part)).expect("remove");
    }
    fs::remove_dir_all(engine.join("keyspaces")).expect("remove");
    assert_eq!(count(dir.path()).await.expect("open"), 0);
    drop(filled(dir.path()).await);
    assert_eq!(count(dir.path()).await.expect("open"), ENTRIES);
}

/// Whoever is killed while it repeats a creation must leave a folder: a marked directory without one has lost its data.
#[cfg(unix)]
#[tokio::test]
async fn creation_is_done_again_in_the_same_folder() {
    use std::os::unix::fs::MetadataExt;

    let dir = temp_dir();
    open(dir.path()).await.close().await.expect("closed");
    let engine = dir.path().join("fjall");
    fs::remove_file(engine.join("CREATED")).expect("remove");
    fs::remove_dir_all(engine.join("keyspaces")).expect("remove");

    let held = fs::File::open(&engine).expect("a folder can be opened");
    open(dir.path()).await.close().await.expect("closed");
    let links = held.metadata().expect("of an open folder").nlink();
    assert!(links > 0, "the folder was removed");
}

/// The engine would remove the folder that it finds, and use another from then on: one that we do not look for.
#[tokio::test]
async fn creation_that_was_cut_short_between_two_parts_is_done_again() {
    for is_filled in [false, true] {
        let dir = temp_dir();
        let directory = kv_core::directory::Directory::claim(dir.path(), "fjall", 1).expect("claimed");
        let engine = directory.engine_path().to_owned();
        drop(
            fjall::Database::builder(&engine)
                .open()
                .expect("the engine opens"),
        );
        fs::create_dir(engine.join("keyspaces/1")).expect("made");
        if is_filled {
            fs::write(engine.join("keyspaces/1/current"), [0; 8]).expect("written");
        }
        drop(directory);

        drop(filled(dir.path()).await);
        assert_eq!(count(dir.path()).await.expect("open"), ENTRIES);
    }
}
