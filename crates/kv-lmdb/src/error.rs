//! The engine's failures by what the caller can do about them.

use std::io;
use std::path::Path;

use heed::MdbError;
use kv_core::Error;

/// The failure of a read, or of what comes before a commit. Nothing was applied.
pub(crate) fn of_read(action: &str, error: heed::Error) -> Error {
    let reason = format!("the engine cannot {action}");
    match error {
        heed::Error::Mdb(MdbError::MapFull) => Error::unavailable(
            format!(
                "{reason}: the file has reached option map_bytes; open the store again with a larger one"
            ),
            error,
        ),
        heed::Error::Mdb(MdbError::ReadersFull) => {
            Error::unavailable(format!("{reason}: too many reads at once; try again"), error)
        }
        heed::Error::Mdb(MdbError::Panic) => Error::unavailable(
            format!("{reason}: an earlier write failed; close the store and open it again"),
            error,
        ),
        error if is_damage(&error) => Error::corrupt(reason, error),
        error => Error::unavailable(reason, error),
    }
}

/// The failure of an opening of `path`.
pub(crate) fn of_open(path: &Path, error: heed::Error) -> Error {
    let location = path.display().to_string();
    match error {
        heed::Error::EnvAlreadyOpened => Error::InUse { location },
        heed::Error::Mdb(MdbError::VersionMismatch) => Error::incompatible(
            location,
            "its file is of another format of LMDB; open it with the version that wrote it",
        ),
        heed::Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => Error::unavailable(
            format!("the process has no addresses for the map of {location}; lower option map_bytes"),
            error,
        ),
        error => of_read(&format!("open {location}"), error),
    }
}

/// The failure of a commit.
pub(crate) fn of_commit(error: heed::Error) -> Error {
    match error {
        // The engine says these of its own pages, which it has to find and to change before it writes any.
        heed::Error::Mdb(mdb) if mdb != MdbError::Panic => of_read("commit a batch", error),
        error => in_doubt(error),
    }
}

/// A write or sync failed. The engine has begun to write the commit.
pub(crate) fn in_doubt(error: heed::Error) -> Error {
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

fn is_damage(error: &heed::Error) -> bool {
    match error {
        heed::Error::Mdb(error) => matches!(
            error,
            MdbError::PageNotFound
                | MdbError::Corrupted
                | MdbError::Invalid
                | MdbError::Incompatible
                | MdbError::PageFull
                | MdbError::CursorFull
                | MdbError::Problem
                // Sizes are checked before the engine sees them, so that this is one that it has read.
                | MdbError::BadValSize
        ),
        // The disk answered, and the data is gone.
        heed::Error::Io(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: io::ErrorKind) -> heed::Error {
        heed::Error::Io(kind.into())
    }

    #[test]
    fn failing_disk_is_unavailable_and_damage_is_corrupt() {
        for error in [io(io::ErrorKind::StorageFull), heed::Error::Mdb(MdbError::Panic)] {
            assert!(matches!(of_read("read", error), Error::Unavailable { .. }));
        }
        for error in [
            io(io::ErrorKind::NotFound),
            heed::Error::Mdb(MdbError::Corrupted),
            heed::Error::Mdb(MdbError::PageNotFound),
        ] {
            assert!(matches!(of_read("read", error), Error::Corrupt { .. }));
        }
    }

    #[test]
    fn failed_write_of_a_commit_is_in_doubt_and_full_map_is_not() {
        assert!(of_commit(io(io::ErrorKind::Other)).is_outcome_unknown());
        let full = of_commit(heed::Error::Mdb(MdbError::MapFull));
        assert!(matches!(full, Error::Unavailable { .. }));
        assert!(full.to_string().contains("map_bytes"), "{full}");
    }

    #[test]
    fn other_owner_and_other_version_are_told_apart() {
        let open = |error| of_open(Path::new("data"), error);
        assert!(matches!(open(heed::Error::EnvAlreadyOpened), Error::InUse { .. }));
        let other_version = heed::Error::Mdb(MdbError::VersionMismatch);
        assert!(matches!(open(other_version), Error::Incompatible { .. }));
        assert!(
            open(io(io::ErrorKind::OutOfMemory))
                .to_string()
                .contains("map_bytes")
        );
    }
}
