//! Opening the engine: what must be there before it may map its file, and what its failures mean.
//!
//! The engine takes a missing or empty file for a new one. So a file of ours says that the engine was created
//! completely; from then on its file must be there. And it trusts what it maps, so that a file that is too
//! short, or does not begin as it must, is found before.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use kv_core::directory::Directory;
use kv_core::{Error, Result};

use crate::engine::Engine;
use crate::environment::Environment;
use crate::{Options, error, file};

const ENGINE: &str = "lmdb";
/// The number of the stored form: data format 1 of LMDB in the byte order and word size of the machine, all
/// entries in the unnamed table.
const FORMAT: u32 = 1;
/// The engine's file, under the name that it insists on. Its other one, `lock.mdb`, holds no data.
const DATA: &str = "data.mdb";

pub(crate) fn open(path: &Path, options: &Options) -> Result<Engine> {
    let directory = Directory::claim(path, ENGINE, FORMAT)?;
    let folder = directory.engine_path();
    let data = folder.join(DATA);
    let is_new = prepare(&directory, &data)?;
    if !is_new {
        let opened = File::open(&data).map_err(|error| unreadable(folder, error))?;
        file::check(&opened, options.verify)?;
    }
    let environment = Environment::open(folder, options.rounded_map_bytes())
        .map_err(|error| error::of_open(path, error))?;
    if is_new {
        environment.sync().map_err(|error| error::of_open(path, error))?;
        directory.mark_created()?;
    }
    tracing::debug!(path = %path.display(), is_new, "opened");
    Ok(Engine::new(environment, directory))
}

/// Checks the engine's folder before the engine sees it. Returns whether the engine is still to be created.
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

fn missing(part: &Path) -> Error {
    let reason = format!("{} is missing or empty", part.display());
    Error::Corrupt { reason, source: None }
}

fn unreadable(folder: &Path, error: io::Error) -> Error {
    Error::unavailable(format!("cannot prepare {}", folder.display()), error)
}
