//! The engine's failures by what the caller can do about them, and its panics as errors.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use kv_core::Error;

/// Runs a call of the engine that only reads. A panic of it becomes an error: the engine trusts its
/// file, and asserts where it meets damage.
///
/// A panic may leave a lock of the engine poisoned; the calls after it then fail, too.
pub(crate) fn guarded<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Failure::Error),
        Err(panic) => Err(Failure::Panic(message(&*panic))),
    }
}

/// How a call of the engine failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Error(redb::Error),
    Panic(String),
}

impl Failure {
    /// The failure of a read.
    pub(crate) fn of_read(self, action: &str) -> Error {
        let reason = format!("the engine cannot {action}");
        match self {
            Self::Panic(message) => Error::corrupt(reason, message),
            Self::Error(error) if is_damage(&error) => Error::corrupt(reason, error),
            Self::Error(error) => Error::unavailable(reason, error),
        }
    }

    /// The failure of an opening of `path`.
    pub(crate) fn of_open(self, path: &Path) -> Error {
        match self {
            Self::Error(redb::Error::DatabaseAlreadyOpen) => Error::InUse {
                location: path.display().to_string(),
            },
            Self::Error(redb::Error::UpgradeRequired(version)) => Error::incompatible(
                path.display().to_string(),
                format!("its file is of format {version} of redb; open it with the version that wrote it"),
            ),
            failure => failure.of_read(&format!("open {}", path.display())),
        }
    }
}

/// What a failed commit means. The engine has begun to write it.
pub(crate) fn of_commit(error: redb::Error) -> Error {
    Error::outcome_unknown(
        "the engine could not write or sync it; open the store again and read what is there",
        error,
    )
}

/// A commit was refused because an earlier one had failed.
pub(crate) fn stopped() -> Error {
    let reason = "an earlier write failed, so that no commit is accepted; close the store and open it again";
    Error::Unavailable {
        reason: reason.to_owned(),
        source: None,
    }
}

fn is_damage(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_)
        // We make the only table, and make it when the file is created.
        | redb::Error::TableDoesNotExist(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::RepairAborted => true,
        // A file that is not there, ends too early, or does not begin as it must: the disk answered, and
        // the data is gone.
        redb::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData
        ),
        _ => false,
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the engine panicked")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: io::ErrorKind) -> Failure {
        Failure::Error(redb::Error::Io(kind.into()))
    }

    #[test]
    fn panic_becomes_corrupt_and_keeps_its_message() {
        let failure = guarded::<()>(|| panic!("assertion {}", 7)).expect_err("panics");
        let error = failure.of_read("read");
        let Error::Corrupt {
            source: Some(source), ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert!(source.to_string().contains("assertion 7"));
    }

    #[test]
    fn failing_disk_is_unavailable_and_missing_data_is_corrupt() {
        assert!(matches!(
            io(io::ErrorKind::StorageFull).of_read("read"),
            Error::Unavailable { .. }
        ));
        assert!(matches!(
            Failure::Error(redb::Error::PreviousIo).of_read("read"),
            Error::Unavailable { .. }
        ));
        assert!(matches!(
            io(io::ErrorKind::UnexpectedEof).of_read("read"),
            Error::Corrupt { .. }
        ));
        let missing = redb::Error::TableDoesNotExist("kv".to_owned());
        assert!(matches!(
            Failure::Error(missing).of_read("read"),
            Error::Corrupt { .. }
        ));
    }

    #[test]
    fn other_owner_and_other_version_are_told_apart() {
        let path = Path::new("data");
        let open = |error| Failure::Error(error).of_open(path);
        assert!(matches!(
            open(redb::Error::DatabaseAlreadyOpen),
            Error::InUse { .. }
        ));
        assert!(matches!(
            open(redb::Error::UpgradeRequired(1)),
            Error::Incompatible { .. }
        ));
        assert!(matches!(
            io(io::ErrorKind::PermissionDenied).of_open(path),
            Error::Unavailable { .. }
        ));
    }
}
