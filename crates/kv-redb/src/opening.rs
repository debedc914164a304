//! Opening the engine: what must be there before it may touch its file, and what its failures mean.
//!
//! The engine takes a missing or empty file for a new one. So a file of ours says that the engine was
//! created completely; from then on its file must be there.

use std::fs;
use std::io;
use std::path::Path;

use kv_core::directory::Directory;
use kv_core::{Error, Result};
use redb::{Database, ReadableDatabase};

use crate::Options;
use crate::engine::{Engine, TABLE};
use crate::error::guarded;

const ENGINE: &str = "redb";
/// The number of the stored form: file format 3 of redb, one table of bytes by bytes.
const FORMAT: u32 = 1;
/// The engine's one file.
const DATA: &str = "data.redb";

pub(crate) fn open(path: &Path, options: &Options) -> Result<Engine> {
    let directory = Directory::claim(path, ENGINE, FORMAT)?;
    let data = directory.engine_path().join(DATA);
    let is_new = prepare(&directory, &data)?;
    // Where the engine does not expect a damaged file it panics.
    let opened = guarded(|| {
        if is_new {
            create(&data, options)
        } else {
            reopen(&data, options)
        }
    });
    let database = opened.map_err(|failure| failure.of_open(path))?;
    if is_new {
        directory.mark_created()?;
    }
    tracing::debug!(path = %path.display(), is_new, "opened");
    Ok(Engine::new(database, directory, options.quick_recovery))
}

/// Checks the engine's folder before the engine sees it. Returns whether the engine is still to be
/// created.
fn prepare(directory: &Directory, data: &Path) -> Result<bool> {
    let folder = directory.engine_path();
    if directory.is_created() {
        return match fs::metadata(data) {
            Ok(found) if found.len() > 0 => Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(folder, error)),
            _ => Err(missing(data)),
        };
    }
    if !folder.is_dir() {
        return Err(missing(folder));
    }
    match fs::remove_file(data) {
        // The creation was cut short: nobody was told that the store is open.
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(unreadable(folder, error)),
    }
}

fn create(data: &Path, options: &Options) -> Result<Database, redb::Error> {
    let database = Database::builder()
        .set_cache_size(options.cache_bytes)
        .create(data)?;
    let transaction = database.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    Ok(database)
}

fn reopen(data: &Path, options: &Options) -> Result<Database, redb::Error> {
    let database = Database::builder()
        .set_cache_size(options.cache_bytes)
        .set_check_integrity_on_open(options.verify)
        .set_repair_callback(|repair| {
            tracing::info!(progress = repair.progress(), "reading the whole file");
        })
        .open(data)?;
    database.begin_read()?.open_table(TABLE)?;
    Ok(database)
}

fn missing(part: &Path) -> Error {
    let reason = format!("{} is missing or empty", part.display());
    Error::Corrupt { reason, source: None }
}

fn unreadable(folder: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot prepare {}", folder.display()), error)
}
