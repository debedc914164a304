//! Opening the engine.

use std::fs::OpenOptions;
use std::path::Path;

use kv_core::directory::Directory;
use kv_core::{Error, Result};

use crate::engine::Engine;
use crate::error::{Failure, guarded};
use crate::limits::SEGMENT_BYTES;
use crate::{Options, files};

const ENGINE: &str = "sled";
/// The number of the stored form: sled 0.34, one tree, segments of 8 MiB, no compression, escaped keys.
const FORMAT: u32 = 1;

pub(crate) fn open(path: &Path, options: &Options) -> Result<Engine> {
    let directory = Directory::claim(path, ENGINE, FORMAT)?;
    let folder = directory.engine_path();
    files::prepare(folder)?;
    let db = start(folder, options).map_err(|failure| failure.of_open(path))?;
    // A handle of our own, not a copy of the engine's: the system reports a failed write once to each open file, and
    // the engine's own would swallow it.
    let log = match OpenOptions::new().write(true).open(files::log_path(folder)) {
        Ok(log) => log,
        Err(error) => {
            return Err(Error::unavailable(
                format!("cannot open the log of {}", path.display()),
                error,
            ));
        }
    };
    let engine = Engine::new(db, log, directory, options.clone());
    engine.settle()?;
    tracing::debug!(path = %path.display(), "opened");
    Ok(engine)
}

/// Starts the engine on `folder`. It reads its log from the newest snapshot on, and writes the next snapshot.
pub(crate) fn start(folder: &Path, options: &Options) -> Result<sled::Db, Failure> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(options.cache_bytes)
        .segment_size(SEGMENT_BYTES)
        .use_compression(false)
        // No thread that flushes in the background: it only logs a failed sync, stops without a word at a
        // failed write, and moves data about at moments when nobody syncs it. Commits and `close` flush and
        // sync, and see the errors.
        .flush_every_ms(None);
    guarded(|| config.open())
}
