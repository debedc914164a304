//! Damaged files: an error at open or at the read, never a panic that reaches the caller, never other data.

use std::fs;
use std::path::{Path, PathBuf};

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Result, Scan};
use kv_sled::Store;

const ENTRIES: usize = 2_000;

fn value(i: usize) -> Vec<u8> {
    vec![(i % 251) as u8; 100 + i % 300]
}

/// A store with some history that was closed.
async fn written(path: &Path) {
    for session in 0..2 {
        let store = Store::open(path).await.expect("open");
        for chunk in (0..ENTRIES).collect::<Vec<_>>().chunks(50) {
            let batch = chunk.iter().fold(Batch::new(), |batch, &i| {
                batch.put(format!("{i:05}"), value(if session == 0 { i + 1 } else { i }))
            });
            let outcome = store.commit(batch, Durability::Buffered).await.expect("commit");
            assert_eq!(outcome, Outcome::Applied);
        }
        store.close().await.expect("close");
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files = fs::read_dir(path.join("sled"))
        .expect("list")
        .map(|it| it.expect("entry").path())
        .filter(|it| it.is_file())
        .collect::<Vec<_>>();
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("create");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
        }
    }
}

/// Opens the store and reads everything.
async fn read_all(path: &Path) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let store = Store::open(path).await?;
    let page = store
        .scan(Scan::prefix("").max_items(usize::MAX).max_bytes(usize::MAX))
        .await?;
    Ok(page
        .entries
        .into_iter()
        .map(|it| (it.key.to_vec(), it.value.to_vec()))
        .collect())
}

fn intact() -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..ENTRIES)
        .map(|i| (format!("{i:05}").into_bytes(), value(i)))
        .collect()
}

/// Applies `damage` to each file in turn. Returns how often it was found; where it was not, the data must be whole.
async fn found(damage: impl Fn(&mut Vec<u8>)) -> usize {
    let dir = tempfile::tempdir().expect("temp dir");
    let good = dir.path().join("good");
    written(&good).await;
    let mut found = 0;
    for (i, file) in files(&good).into_iter().enumerate() {
        let bad = dir.path().join(format!("bad{i}"));
        copy(&good, &bad);
        let file = bad.join(file.strip_prefix(&good).expect("inside"));
        let mut bytes = fs::read(&file).expect("read");
        if bytes.is_empty() {
            continue;
        }
        damage(&mut bytes);
        fs::write(&file, bytes).expect("write");
        match read_all(&bad).await {
            Ok(entries) => assert!(entries == intact(), "{file:?}: other data"),
            Err(Error::Corrupt { .. }) => found += 1,
            Err(error) => panic!("{file:?}: {error:?}"),
        }
        fs::remove_dir_all(&bad).expect("remove");
        copy(&good, &bad);
        assert!(
            read_all(&bad).await.expect("restored") == intact(),
            "{file:?}: restored"
        );
    }
    found
}

#[tokio::test]
async fn emptied_file_is_found() {
    // The settings, the log and the snapshot.
    assert_eq!(found(Vec::clear).await, 3);
}

#[tokio::test]
async fn cut_file_is_found() {
    // Of the log, the last segment is filled up to 8 MiB with nothing.
    assert_eq!(found(|bytes| bytes.truncate(bytes.len() / 6)).await, 3);
}

#[tokio::test]
async fn file_of_noise_is_found() {
    let noise = |bytes: &mut Vec<u8>| {
        let mut state = 7_u32;
        for byte in bytes {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
    };
    assert_eq!(found(noise).await, 3);
}

#[tokio::test]
async fn flipped_bit_never_gives_other_data() {
    let mut found_any = 0;
    for part in 0..12 {
        found_any += found(|bytes| {
            let at = bytes.len() * part / 12;
            bytes[at] ^= 0x10;
        })
        .await;
    }
    assert!(found_any > 12, "found {found_any}");
}

#[tokio::test]
async fn unfinished_snapshot_is_no_obstacle() {
    let dir = tempfile::tempdir().expect("temp dir");
    written(dir.path()).await;
    fs::write(dir.path().join("sled/snap.00000000FFFFFFFF.generating"), [0; 99]).expect("write");
    assert!(read_all(dir.path()).await.expect("open") == intact());
}
