//! The engine's failures by what the caller can do about them, and its panics as errors.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use kv_core::{BoxError, Error, Result};

/// How the engine names a lock on its file that another holds; it has no kind of its own for it.
const LOCKED: &str = "could not acquire lock";

/// Some of the engine's panic messages print the whole tree, with all its data.
const MAX_MESSAGE_CHARS: usize = 120;

/// Runs a call of the engine. A panic of it becomes an error: the engine asserts where it meets a damaged file.
///
/// The closure may be left half done by a panic. Reads leave nothing behind; after a failed write the caller
/// stops writing.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, Failure> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Failure::Error),
        Err(panic) => Err(Failure::Panic(message(&*panic))),
    }
}

/// How a call of the engine failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Error(sled::Error),
    Panic(String),
}

impl Failure {
    /// The failure of a read.
    pub(crate) fn of_read(self) -> Error {
        let reason = "the engine cannot read what it stored";
        match self {
            Self::Panic(message) => Error::corrupt(reason, message),
            Self::Error(error) if is_damage(&error) => Error::corrupt(reason, error),
            Self::Error(error) => Error::unavailable("the engine cannot read", error),
        }
    }

    /// The failure of an opening of `path`.
    pub(crate) fn of_open(self, path: &Path) -> Error {
        let place = path.display();
        let reason = format!("the files of {place} cannot be read");
        match self {
            Self::Panic(message) => Error::corrupt(reason, message),
            Self::Error(sled::Error::Io(error)) if error.to_string().contains(LOCKED) => Error::InUse {
                location: place.to_string(),
            },
            Self::Error(error) if is_damage(&error) => Error::corrupt(reason, error),
            // The engine's settings are constants of our format: others in its file are not what was written.
            Self::Error(error @ sled::Error::Unsupported(_)) => Error::corrupt(reason, error),
            Self::Error(error) => Error::unavailable(format!("cannot open {place}"), error),
        }
    }

    /// The failure of a write that had begun.
    pub(crate) fn of_commit(self, reason: &str) -> Error {
        Error::outcome_unknown(reason, self.into_source())
    }

    pub(crate) fn into_source(self) -> BoxError {
        match self {
            Self::Panic(message) => message.into(),
            Self::Error(error) => error.into(),
        }
    }
}

fn is_damage(error: &sled::Error) -> bool {
    match error {
        sled::Error::Corruption { .. } | sled::Error::CollectionNotFound(_) => true,
        // The engine reads what it has written before: an end of the file in between means that the file was cut.
        sled::Error::Io(error) => error.kind() == io::ErrorKind::UnexpectedEof,
        _ => false,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or(panic.downcast_ref::<String>().map(String::as_str));
    let text: String = text
        .unwrap_or("no message")
        .chars()
        .take(MAX_MESSAGE_CHARS)
        .collect();
    format!("the engine panicked: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: io::ErrorKind, text: &str) -> Failure {
        Failure::Error(sled::Error::Io(io::Error::new(kind, text)))
    }

    #[test]
    fn panic_becomes_corrupt_and_keeps_its_message() {
        let failure = guarded::<()>(|| panic!("assertion {}", 7)).expect_err("panics");
        let error = failure.of_read();
        let Error::Corrupt {
            source: Some(source), ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert!(source.to_string().contains("assertion 7"));
    }

    #[test]
    fn failures_are_told_apart_by_meaning() {
        let path = Path::new("data");
        let corruption = || Failure::Error(sled::Error::Corruption { at: None, bt: () });
        assert!(matches!(corruption().of_open(path), Error::Corrupt { .. }));
        assert!(matches!(corruption().of_read(), Error::Corrupt { .. }));
        assert!(matches!(
            corruption().of_commit("x"),
            Error::OutcomeUnknown { .. }
        ));
        assert!(matches!(
            io(io::ErrorKind::UnexpectedEof, "").of_read(),
            Error::Corrupt { .. }
        ));
        assert!(matches!(
            io(io::ErrorKind::StorageFull, "").of_open(path),
            Error::Unavailable { .. }
        ));
        assert!(matches!(
            io(io::ErrorKind::Other, LOCKED).of_open(path),
            Error::InUse { .. }
        ));
    }
}
