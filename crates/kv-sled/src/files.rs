//! The engine's files, and what is done to them beside the engine: syncs above all.
//!
//! ```text
//! db          the log that holds everything
//! conf        the engine's settings; always the same, written when the folder is created
//! snap.N      where the log was when the store was opened or closed last; N is a position in the log
//! blobs/      values over a limit that we keep below: empty
//! CREATED     ours: the engine was created completely and is durable
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use kv_core::directory::sync_directory;
use kv_core::{Error, Result};

const CREATED: &str = "CREATED";
const DRAFT: &str = ".generating";
/// The engine's threads let go of its file moments after the engine was dropped: ten seconds are far more
/// than they need.
const RELEASE_ATTEMPTS: usize = 10_000;
const RELEASE_PAUSE: Duration = Duration::from_millis(1);

/// The engine's log.
pub(crate) fn log_path(folder: &Path) -> PathBuf {
    folder.join("db")
}

/// Brings the folder into a state in which the engine may be opened, before the engine sees it.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    if folder.join(CREATED).exists() {
        // The engine takes a missing or empty log for a new store and would begin anew.
        for part in [log_path(folder), folder.join("conf")] {
            if fs::metadata(&part).map_or(0, |it| it.len()) == 0 {
                let reason = format!("{} is missing or empty", part.display());
                return Err(Error::Corrupt { reason, source: None });
            }
        }
    }
    let prepared = fs::create_dir_all(folder)
        .and_then(|()| remove_drafts(folder))
        // What a killed process left in the memory of the system alone must be on the disk before the engine writes a
        // snapshot that counts on it: after a power cut the engine could not open otherwise.
        .and_then(|()| sync_all(folder));
    prepared.map_err(|error| Error::unavailable(format!("cannot prepare {}", folder.display()), error))
}

/// Makes the engine's files durable, and says so in a file of ours. Called when the engine has created its files.
pub(crate) fn settle(folder: &Path) -> io::Result<()> {
    let created = folder.join(CREATED);
    if !created.exists() {
        sync_all(folder)?;
        File::create(created)?;
    }
    sync_all(folder)
}

/// Syncs every file of the folder, and the folder, and the one above it.
///
/// This is more than the log: `conf` is never synced by the engine, and the entries of its folder are not
/// either, although it creates and renames files there. Without the entry of the log everything is lost.
pub(crate) fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directory(&entry.path())?;
        } else {
            OpenOptions::new().write(true).open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(folder)?;
    folder.parent().map_or(Ok(()), sync_directory)
}

/// Syncs the files of values that were too large for the log. Our limit on values lets none come into being;
/// this makes durability independent of the proof of that (see `limits`), for the price of listing an empty
/// folder.
pub(crate) fn sync_blobs(folder: &Path) -> io::Result<()> {
    let blobs = folder.join("blobs");
    let mut found = false;
    for entry in fs::read_dir(&blobs)? {
        found = true;
        match OpenOptions::new().write(true).open(entry?.path()) {
            Ok(blob) => blob.sync_all()?,
            // Replaced meanwhile; a later value has its own file or is in the log.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if found { sync_directory(&blobs) } else { Ok(()) }
}

/// Waits until the engine has let go of `log`, whose lock it holds. The caller has dropped the engine.
pub(crate) fn wait_for_release(log: &File) -> io::Result<()> {
    for _ in 0..RELEASE_ATTEMPTS {
        match log.try_lock() {
            Ok(()) => return log.unlock(),
            Err(TryLockError::WouldBlock) => thread::sleep(RELEASE_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "the engine did not stop; restart the process",
    ))
}

/// Removes unfinished snapshots, which a process that was killed in an opening leaves. The engine takes one
/// for its newest snapshot, finds it damaged and does not open; the snapshot before it is still there, and
/// the log in any case.
fn remove_drafts(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(DRAFT) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_snapshots_are_removed_and_finished_ones_kept() {
        let dir = tempfile::tempdir().expect("temp dir");
        for name in ["snap.0000000000000020", "snap.0000000000000030.generating", "db"] {
            fs::write(dir.path().join(name), "x").expect("write");
        }
        prepare(dir.path()).expect("prepare");
        let mut names = fs::read_dir(dir.path())
            .expect("list")
            .map(|it| it.expect("entry").file_name())
            .collect::<Vec<_>>();
        names.sort();
        assert_eq!(names, ["db", "snap.0000000000000020"]);
    }

    #[test]
    fn missing_or_empty_parts_of_a_created_engine_are_named() {
        let dir = tempfile::tempdir().expect("temp dir");
        for name in ["db", "conf", CREATED] {
            fs::write(dir.path().join(name), "x").expect("write");
        }
        prepare(dir.path()).expect("prepare");
        fs::write(dir.path().join("db"), "").expect("write");
        let error = prepare(dir.path()).expect_err("must be refused").to_string();
        assert!(error.contains("db is missing or empty"), "{error}");
    }

    #[test]
    fn lock_that_is_held_is_waited_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("db");
        let engine = File::create(&path).expect("create");
        engine.lock().expect("lock");
        let ours = OpenOptions::new().write(true).open(&path).expect("open");
        let waiting = thread::spawn(move || wait_for_release(&ours));
        drop(engine);
        waiting.join().expect("join").expect("released");
    }
}
