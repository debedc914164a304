//! A directory of an embedded engine: marked with the engine that owns it, and locked to one handle.
//!
//! ```text
//! DIR/STORE     which engine and format the directory holds, one line of text
//! DIR/LOCK      locked while a handle is open
//! DIR/ENGINE/   the engine's own files
//! DIR/ENGINE/CREATED   the engine was created completely, where its backend says so
//! ```
//!
//! See [`Directory::claim`] for an example.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

const MARKER: &str = "STORE";
const MARKER_DRAFT: &str = "STORE.draft";
const LOCK: &str = "LOCK";
const CREATED: &str = "CREATED";
/// First word of every marker, so that a file of the same name from elsewhere is told apart.
const MAGIC: &str = "kv-store";

/// A directory that this handle alone may use, until it is dropped.
///
/// See [`claim`](Self::claim) for an example.
#[derive(Debug)]
pub struct Directory {
    engine_path: PathBuf,
    /// Holds the operating system's lock; the lock ends with the file handle, also when the process is
    /// killed.
    lock: File,
}

impl Directory {
    /// Opens or creates the directory `path` for `engine`, whose files have the given `format` number.
    ///
    /// Nothing is written to a directory that is refused.
    ///
    /// # Errors
    /// - [`Error::Incompatible`]: the path is a file, or holds other files, another engine or another format.
    /// - [`Error::InUse`]: another process or handle has it open.
    /// - [`Error::Unavailable`]: the file system refuses.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use kv_core::{Error, directory::Directory};
    ///
    /// let held = Directory::claim(dir.path(), "fjall", 1).unwrap();
    /// assert_eq!(held.engine_path(), dir.path().join("fjall"));
    /// assert!(matches!(Directory::claim(dir.path(), "fjall", 1), Err(Error::InUse { .. })));
    /// drop(held);
    /// assert!(matches!(Directory::claim(dir.path(), "sled", 1), Err(Error::Incompatible { .. })));
    /// ```
    pub fn claim(path: &Path, engine: &str, format: u32) -> Result<Self> {
        let marker = check_marker(path, engine, format)?;
        fs::create_dir_all(path).map_err(|error| io_error("create the directory", path, error))?;
        let lock = lock(path)?;
        let engine_path = path.join(engine);
        if marker == Marker::Missing {
            // The engine's folder comes before the marker: a marker says that the folder is there to be
            // opened.
            fs::create_dir_all(&engine_path)
                .map_err(|error| io_error("create the directory", &engine_path, error))?;
            write_marker(path, engine, format).map_err(|error| io_error("mark", path, error))?;
        }
        Ok(Self { engine_path, lock })
    }

    /// Fails when the directory was removed. Open files outlive their names: an engine does not notice, and what it
    /// syncs is gone as soon as it closes them. Called when a commit is durable, before it is acknowledged.
    ///
    /// It looks at the lock alone, by its open file, which costs less than a microsecond. Where files that are open cannot
    /// be removed it finds nothing, ever.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use kv_core::directory::Directory;
    ///
    /// let directory = Directory::claim(dir.path(), "fjall", 1)?;
    /// assert!(directory.check_exists().is_ok());
    /// # #[cfg(unix)] {
    /// std::fs::remove_dir_all(dir.path()).unwrap();
    /// assert!(directory.check_exists().unwrap_err().is_outcome_unknown());
    /// # }
    /// # Ok::<(), kv_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`]: it was removed, or the file system does not say.
    pub fn check_exists(&self) -> Result<()> {
        let links = links(&self.lock).map_err(|error| {
            Error::outcome_unknown("cannot tell whether the directory is still there", error)
        })?;
        if links == 0 {
            let path = self.engine_path.display();
            let reason =
                format!("the directory of {path} was removed while it was open; restore it from a copy");
            return Err(Error::OutcomeUnknown { reason, source: None });
        }
        Ok(())
    }

    /// The folder for the engine's own files.
    #[must_use]
    pub fn engine_path(&self) -> &Path {
        &self.engine_path
    }

    /// Whether [`mark_created`](Self::mark_created) was called, at this opening or before.
    #[must_use]
    pub fn is_created(&self) -> bool {
        self.engine_path.join(CREATED).exists()
    }

    /// Says, durably, that the engine was created completely: from then on its files must be there.
    ///
    /// Most engines take a missing file for a sign that there was nothing, and begin anew. A backend that
    /// looks at [`is_created`](Self::is_created) first tells an engine that was never created, where it may
    /// clear away the remains and create it, from one that has lost its files, which is
    /// [`Error::Corrupt`]. Call it when the new engine is synced and before its first commit.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use kv_core::directory::Directory;
    ///
    /// let directory = Directory::claim(dir.path(), "redb", 1)?;
    /// assert!(!directory.is_created());
    /// std::fs::write(directory.engine_path().join("data"), "all that a new engine has").unwrap();
    /// directory.mark_created()?;
    /// assert!(directory.is_created());
    /// # Ok::<(), kv_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unavailable`]: the file system refuses.
    pub fn mark_created(&self) -> Result<()> {
        let marked = File::create(self.engine_path.join(CREATED))
            .and_then(|file| file.sync_all())
            // The names of the engine's own files are made durable by this, too.
            .and_then(|()| sync_directory(&self.engine_path));
        marked.map_err(|error| io_error("mark", &self.engine_path, error))
    }
}

/// Whether the directory `path` is marked as that of an engine, whichever it is. Nothing is made or locked.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use kv_core::directory::{Directory, is_marked};
///
/// assert!(!is_marked(dir.path()));
/// drop(Directory::claim(dir.path(), "fjall", 1)?);
/// assert!(is_marked(dir.path()));
/// # Ok::<(), kv_core::Error>(())
/// ```
#[must_use]
pub fn is_marked(path: &Path) -> bool {
    path.join(MARKER).exists()
}

/// Makes the entries of the directory `path` durable: on Unix a new file survives a power cut only then.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use std::fs::File;
///
/// use kv_core::directory::sync_directory;
///
/// File::create(dir.path().join("new"))?.sync_all()?;
/// sync_directory(dir.path())?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of the file system.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(path)?.sync_all()
    } else {
        Ok(())
    }
}

/// How many names an open file has.
#[cfg(unix)]
fn links(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;

    Ok(file.metadata()?.nlink())
}

#[cfg(not(unix))]
fn links(_: &File) -> io::Result<u64> {
    Ok(1)
}

#[derive(PartialEq, Eq)]
enum Marker {
    Missing,
    Matches,
}

fn check_marker(path: &Path, engine: &str, format: u32) -> Result<Marker> {
    let refuse = |reason: String| Err(Error::incompatible(path.display().to_string(), reason));
    if path.as_os_str().is_empty() {
        return refuse("the path is empty; give the path of a directory".to_owned());
    }
    if path.exists() && !path.is_dir() {
        return refuse("it is a file; give the path of a directory".to_owned());
    }
    let text = match fs::read_to_string(path.join(MARKER)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match first_foreign_entry(path) {
                Ok(None) => Ok(Marker::Missing),
                Ok(Some(name)) => refuse(format!(
                    "it holds files of something else ({name}) and no {MARKER} file; choose an empty directory"
                )),
                Err(error) => Err(io_error("list", path, error)),
            };
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(io_error("read the marker of", path, error)),
    };
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [MAGIC, found, _] if found != engine => refuse(format!(
            "it holds a store of engine {found}, not {engine}; open it with {found}"
        )),
        [MAGIC, _, found] if found == format.to_string() => Ok(Marker::Matches),
        [MAGIC, _, found] => refuse(format!(
            "its format is {found} and this version reads format {format}; open it with the version that wrote it"
        )),
        _ => refuse(format!(
            "its {MARKER} file is not readable; restore the directory from a copy"
        )),
    }
}

/// A first use that was cut short leaves at most a lock, a draft and an empty engine folder: those are
/// no obstacle.
fn first_foreign_entry(path: &Path) -> io::Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let empty_folder = entry.file_type()?.is_dir() && fs::read_dir(entry.path())?.next().is_none();
        if name != LOCK && name != MARKER_DRAFT && !empty_folder {
            return Ok(Some(name.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join(LOCK))
        .map_err(|error| io_error("open the lock of", path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            location: path.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(io_error("lock", path, error)),
    }
}

/// Writes the marker so that it is there whole and durable, or not at all.
fn write_marker(path: &Path, engine: &str, format: u32) -> io::Result<()> {
    let draft = path.join(MARKER_DRAFT);
    let mut file = File::create(&draft)?;
    writeln!(file, "{MAGIC} {engine} {format}")?;
    file.sync_all()?;
    drop(file);
    fs::rename(&draft, path.join(MARKER))?;
    sync_directory(path)?;
    // The directory itself may be new: its own entry, and those of created parents, must survive too.
    let mut parent = path.canonicalize()?;
    while parent.pop() {
        if sync_directory(&parent).is_err() {
            // Above the first directory that we may not open there is none that we created.
            break;
        }
    }
    Ok(())
}

fn io_error(action: &str, path: &Path, error: io::Error) -> Error {
    Error::unavailable(
        format!(
            "cannot {action} {}; check the path and its permissions",
            path.display()
        ),
        error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim_error(path: &Path) -> String {
        Directory::claim(path, "fjall", 1)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn claimed_directory_can_be_claimed_again_after_drop() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("a/b");
        for _ in 0..2 {
            let claimed = Directory::claim(&path, "fjall", 1).expect("claim");
            assert!(claimed.engine_path().is_dir());
        }
    }

    #[test]
    fn marker_is_one_line_of_text() {
        let dir = tempfile::tempdir().expect("temp dir");
        drop(Directory::claim(dir.path(), "fjall", 1).expect("claim"));
        let marker = fs::read_to_string(dir.path().join(MARKER)).expect("read");
        // As it was written ever since: `docs/storage-format.md` says so.
        assert_eq!(marker, "kv-store fjall 1\n");
    }

    #[test]
    fn foreign_files_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("thesis.doc"), "mine").expect("write");
        assert!(claim_error(dir.path()).contains("thesis.doc"));
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn file_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        assert!(claim_error(file.path()).contains("is a file"));
    }

    #[test]
    fn other_format_and_engine_are_named() {
        let dir = tempfile::tempdir().expect("temp dir");
        drop(Directory::claim(dir.path(), "fjall", 2).expect("claim"));
        assert!(claim_error(dir.path()).contains("format is 2"));
        let other = Directory::claim(dir.path(), "sled", 2)
            .expect_err("must be refused")
            .to_string();
        assert!(other.contains("open it with fjall"), "{other}");
    }

    #[test]
    fn damaged_marker_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        for damage in [&b""[..], b"\xff\xfe", b"kv-store", b"other fjall 1"] {
            fs::write(dir.path().join(MARKER), damage).expect("write");
            assert!(claim_error(dir.path()).contains("not readable"));
        }
    }

    #[test]
    fn first_use_that_was_cut_short_is_no_obstacle() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join(LOCK), "").expect("write");
        fs::write(dir.path().join(MARKER_DRAFT), "kv-").expect("write");
        fs::create_dir(dir.path().join("fjall")).expect("create");
        assert!(Directory::claim(dir.path(), "fjall", 1).is_ok());
    }
}
