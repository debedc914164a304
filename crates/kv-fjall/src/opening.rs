//! Opening the engine: what must be there before it may touch its files, and what its failures mean.
//!
//! The engine takes a missing file for a sign that there was nothing, and tidies up: without its list of
//! keyspaces it deletes the keyspaces, without its version file it begins anew over what is there, without a
//! journal it counts from zero again. So a file of ours says that the engine was created completely; from
//! then on its parts must be there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::thread;

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions};
use kv_core::directory::{Directory, sync_directory};
use kv_core::{Error, Result};

use crate::engine::Engine;
use crate::{Options, error};

const ENGINE: &str = "fjall";
/// The number of the stored form: fjall 3, one keyspace, no compression.
const FORMAT: u32 = 1;
const KEYSPACE: &str = "kv";
/// A journal begins with a record, or nothing was written to it yet. The engine would take anything else for
/// a torn write and empty the journal.
const JOURNAL_HEADS: [&[u8]; 3] = [&[1], &[0], &[]];
/// The engine's folder of keyspaces.
const KEYSPACES: &str = "keyspaces";
/// Data in memory above which the engine begins a table: its own default, written down so that it stays. Less
/// would mean less to replay after a crash, and more, smaller tables to write and to merge.
const MEMTABLE_BYTES: u64 = 64 << 20;

/// While all its other threads merge tables, the engine's first one does nothing but look whether they still do. With
/// three, two seldom merge at once.
const MIN_WORKERS: usize = 3;
/// The engine's own default, on machines of so many cores.
const MAX_WORKERS: usize = 4;

pub(crate) fn open(path: &Path, options: &Options) -> Result<Engine> {
    let directory = Directory::claim(path, ENGINE, FORMAT)?;
    let folder = directory.engine_path();
    let is_new = prepare(&directory)?;
    let mut opened = open_guarded(path, folder, options)?;
    if is_new && !has_data_in_place(folder) {
        // The creation was cut short between the folder of the keyspace and the record of it. The engine removes a folder
        // that it does not know, and gives the keyspace the next number: a place where the next opening does not look.
        // There is nothing in it yet.
        drop(opened);
        remove_contents(folder).map_err(|error| unreadable(folder, error))?;
        opened = open_guarded(path, folder, options)?;
    }
    let (database, keyspace) = opened;
    if is_new {
        // The engine does not sync the folder that has the new keyspace's name in it.
        sync_directory(&folder.join(KEYSPACES))
            .map_err(|error| Error::unavailable(cannot_open(path), error))?;
        directory.mark_created()?;
    }
    tracing::debug!(path = %path.display(), is_new, "opened");
    Ok(Engine::new(database, keyspace, directory))
}

fn open_guarded(path: &Path, folder: &Path, options: &Options) -> Result<(Database, Keyspace)> {
    // Where the engine does not expect a damaged file it panics.
    let opened = panic::catch_unwind(AssertUnwindSafe(|| open_engine(folder, options)));
    match opened {
        Ok(opened) => opened.map_err(|error| of_open(path, error)),
        Err(panic) => Err(Error::corrupt(cannot_open(path), panic_message(&*panic))),
    }
}

fn has_data_in_place(folder: &Path) -> bool {
    folder.join(KEYSPACES).join("1/current").exists()
}

fn open_engine(folder: &Path, options: &Options) -> fjall::Result<(Database, Keyspace)> {
    // Compression is set, not left to its default: that one depends on a feature of the engine that any crate
    // of the build can turn on, and a build without it would not read the data.
    let database = Database::builder(folder)
        .worker_threads(workers())
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes)
        .journal_compression(CompressionType::None)
        .open()?;
    let keyspace = database.keyspace(KEYSPACE, || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            .data_block_compression_policy(CompressionPolicy::disabled())
            .index_block_compression_policy(CompressionPolicy::disabled())
    })?;
    Ok((database, keyspace))
}

fn workers() -> usize {
    let cores = thread::available_parallelism().map_or(MIN_WORKERS, usize::from);
    cores.clamp(MIN_WORKERS, MAX_WORKERS)
}

/// Checks the engine's folder before the engine sees it. Returns whether the engine is still to be created.
fn prepare(directory: &Directory) -> Result<bool> {
    let folder = directory.engine_path();
    let keyspaces = folder.join(KEYSPACES);
    let first = keyspaces.join("1");
    if directory.is_created() {
        for part in [
            folder.join("version"),
            keyspaces.join("0/current"),
            first.join("current"),
        ] {
            if !part.is_file() {
                return Err(missing(&part));
            }
        }
        check_contents(folder, &keyspaces).map_err(|error| unreadable(folder, error))??;
        // A copy made by a tool that leaves out locks is whole; the engine opens its lock and does not create
        // it.
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("lock"));
        lock.map_err(|error| unreadable(folder, error))?;
        return Ok(false);
    }
    if !folder.is_dir() {
        return Err(missing(folder));
    }
    if !has_data_in_place(folder) {
        // The creation was cut short before there was a place for data. The engine could neither open nor
        // repeat it. The folder stays: without it the store would be one that has lost its data, for ever, if this
        // process were killed before the folder is back.
        remove_contents(folder).map_err(|error| unreadable(folder, error))?;
    }
    Ok(true)
}

fn remove_contents(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What the engine would empty, and names that it would panic on while it holds locks that it needs to
/// unwind: the process would be aborted.
fn check_contents(folder: &Path, keyspaces: &Path) -> io::Result<Result<()>> {
    let journals = journals(folder)?;
    if journals.is_empty() {
        return Ok(Err(missing(&folder.join("*.jnl"))));
    }
    for journal in &journals {
        let mut head = Vec::new();
        File::open(journal)?.take(1).read_to_end(&mut head)?;
        if !JOURNAL_HEADS.contains(&&head[..]) {
            let reason = format!("{} is not a journal", journal.display());
            return Ok(Err(Error::Corrupt { reason, source: None }));
        }
    }
    for entry in fs::read_dir(keyspaces)? {
        let entry = entry?;
        let is_number = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.parse::<u64>().is_ok());
        if entry.file_type()?.is_dir() && !is_number {
            let path = entry.path().display().to_string();
            return Ok(Err(Error::incompatible(
                path,
                "the engine has no such folder; move it elsewhere",
            )));
        }
    }
    Ok(Ok(()))
}

/// The engine's journals: the one in use and those sealed.
pub(crate) fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "jnl") {
            journals.push(path);
        }
    }
    Ok(journals)
}

fn of_open(path: &Path, error: fjall::Error) -> Error {
    match error {
        fjall::Error::Locked => Error::InUse {
            location: path.display().to_string(),
        },
        fjall::Error::InvalidVersion(Some(version)) => Error::incompatible(
            path.display().to_string(),
            format!(
                "its files are of version {version:?} of fjall, this is version 3; open it with that version"
            ),
        ),
        error => error::of_read(&format!("open {}", path.display()), error),
    }
}

fn cannot_open(path: &Path) -> String {
    format!("the engine cannot open {}", path.display())
}

fn missing(part: &Path) -> Error {
    let reason = format!("{} is missing", part.display());
    Error::Corrupt { reason, source: None }
}

fn unreadable(folder: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot prepare {}", folder.display()), error)
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the engine panicked")
        .to_owned()
}
