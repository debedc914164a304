//! The engine's errors, by what the caller can do about them.

use std::io;

use kv_core::{BoxError, Error};

/// What a failed read, or a failed opening, means.
pub(crate) fn of_read(action: &str, error: fjall::Error) -> Error {
    let reason = format!("the engine cannot {action}");
    match io_kind(&error) {
        // Files that are not there, end too early, or end before where their trailer should begin: the disk
        // answered, and the data is gone.
        Some(
            io::ErrorKind::NotFound
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData,
        ) => Error::corrupt(reason, error),
        Some(_) => Error::unavailable(reason, error),
        None => match error {
            fjall::Error::Poisoned | fjall::Error::KeyspaceDeleted | fjall::Error::Locked => {
                Error::unavailable(reason, error)
            }
            _ => Error::corrupt(reason, error),
        },
    }
}

/// What a failed commit means. The engine has begun to write it, unless it says that it had stopped before.
pub(crate) fn of_commit(error: fjall::Error) -> Error {
    match error {
        fjall::Error::Poisoned => stopped(Some(error.into())),
        error => Error::outcome_unknown(
            "the engine could not write or sync it; open the store again and read what is there",
            error,
        ),
    }
}

/// A commit was refused because an earlier one, or the engine's background work, had failed.
pub(crate) fn stopped(source: Option<BoxError>) -> Error {
    let reason = "an earlier write failed, so that no commit is accepted; close the store and open it again";
    Error::Unavailable {
        reason: reason.to_owned(),
        source,
    }
}

fn io_kind(error: &fjall::Error) -> Option<io::ErrorKind> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error.kind()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_disk_is_unavailable_and_missing_data_is_corrupt() {
        let disk = fjall::Error::Io(io::Error::from(io::ErrorKind::StorageFull));
        assert!(matches!(of_read("read", disk), Error::Unavailable { .. }));
        let short = fjall::Error::Storage(fjall::LsmError::Io(io::ErrorKind::UnexpectedEof.into()));
        assert!(matches!(of_read("read", short), Error::Corrupt { .. }));
        let damaged = fjall::Error::Storage(fjall::LsmError::InvalidTrailer);
        assert!(matches!(of_read("read", damaged), Error::Corrupt { .. }));
    }

    #[test]
    fn commit_that_was_begun_is_in_doubt_and_refused_one_is_not() {
        assert!(of_commit(io::Error::other("fsync").into()).is_outcome_unknown());
        assert!(matches!(
            of_commit(fjall::Error::Poisoned),
            Error::Unavailable { .. }
        ));
    }
}
