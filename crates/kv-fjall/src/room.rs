//! Room in the journal, written before it is needed.
//!
//! A sync of bytes where a file had none has their place to make durable as well, and takes up to twice as long as a sync
//! of bytes that replace others. The engine creates a journal as one long hole and fills it from its beginning. So, a
//! piece at a time, zeros are written to what is still a hole: a reader finds there what it found before, and the
//! commits that follow replace bytes. A journal that an opening goes on with has no hole: it grows until the next one.

use std::path::Path;

/// A journal gets no room before so much was written to it: most stores are small and have no use for it.
const BEGINS_AFTER: u64 = 128 << 10;
/// With less room than this more is wanted.
const LEAST: u64 = 64 << 10;
/// A larger commit gains nothing: writing its bytes takes longer than finding a place for them.
const LARGE_COMMIT: u64 = 64 << 10;
/// So much is written before a journal without a hole is looked at again.
const NEXT_LOOK: u64 = 4 << 20;

/// What is known of the room in the journal that is in use.
#[derive(Debug)]
pub(crate) struct Room {
    /// About as many bytes can be written before there is no more.
    left: u64,
    /// `false` once it turned out that it cannot be had here, or is of no use.
    is_wanted: bool,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            left: BEGINS_AFTER,
            is_wanted: true,
        }
    }

    /// `bytes` were written to the journal in `folder`, and are synced if they are `durable`. Nothing else may be written to it
    /// before this returns.
    pub(crate) fn used(&mut self, bytes: u64, durable: bool, folder: &Path) {
        self.left = self.left.saturating_sub(bytes);
        if !self.is_wanted || !durable || bytes > LARGE_COMMIT || self.left >= LEAST {
            return;
        }
        match filling::more(folder) {
            Ok(filling::More::Room(bytes)) => self.left = bytes,
            Ok(filling::More::NoHole) => self.left = NEXT_LOOK,
            Ok(filling::More::NoUse) => self.is_wanted = false,
            Err(error) => {
                // Commits need none: they find a place for themselves, or tell why not.
                tracing::debug!(%error, folder = %folder.display(), "the journal gets no more room ahead");
                self.is_wanted = false;
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod filling {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use rustix::fs::{SeekFrom, fstatfs, seek};
    use rustix::io::Errno;

    use crate::opening;

    /// How much is filled at a time. The next sync has it to write.
    pub(super) const PIECE: u64 = 512 << 10;
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    /// Of ext4, and of ext2 and ext3.
    const EXT: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;

    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum More {
        Room(u64),
        /// The journal grows with each commit.
        NoHole,
        /// The file system writes replaced bytes to another place, or it is not known what it does.
        NoUse,
    }

    /// Fills a piece of the newest journal.
    pub(super) fn more(folder: &Path) -> io::Result<More> {
        let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let journals = opening::journals(folder)?;
        let Some(newest) = journals.iter().max_by_key(|path| number(path)) else {
            return Ok(More::NoHole);
        };
        let journal = OpenOptions::new().write(true).open(newest)?;
        let file_system = u64::try_from(fstatfs(&journal)?.f_type);
        if !matches!(file_system, Ok(EXT | XFS)) {
            return Ok(More::NoUse);
        }
        Ok(match fill(&journal)? {
            0 => More::NoHole,
            bytes => More::Room(bytes),
        })
    }

    /// Writes zeros to the beginning of the first hole of `file`, and says to how many bytes.
    pub(super) fn fill(file: &File) -> io::Result<u64> {
        let begin = seek(file, SeekFrom::Hole(0))?;
        let end = match seek(file, SeekFrom::Data(begin)) {
            Ok(end) => end,
            // No data behind it.
            Err(Errno::NXIO) => file.metadata()?.len(),
            Err(error) => return Err(error.into()),
        };
        let bytes = PIECE.min(end.saturating_sub(begin));
        let mut at = begin;
        while at < begin + bytes {
            let length =
                usize::try_from(begin + bytes - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            file.write_all_at(&ZEROS[..length], at)?;
            at += length as u64;
        }
        Ok(bytes)
    }
}

#[cfg(not(target_os = "linux"))]
mod filling {
    use std::io;
    use std::path::Path;

    pub(super) enum More {
        NoUse,
    }

    pub(super) fn more(_: &Path) -> io::Result<More> {
        Ok(More::NoUse)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::Write;
    use std::os::unix::fs::{FileExt, MetadataExt};

    use rustix::fs::{SeekFrom, seek};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// A file with `begin` and then nothing up to `length`; `None` where the file system has no holes to look for.
    fn with_hole(directory: &Path, begin: &[u8], length: u64) -> Option<File> {
        let path = directory.join("7.jnl");
        let mut file = OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .open(path)
            .expect("a file");
        file.write_all(begin).expect("its begin");
        file.set_len(length).expect("its length");
        (seek(&file, SeekFrom::Hole(0)).expect("a hole") < length).then_some(file)
    }

    /// Small commits until more room is wanted.
    fn use_up(room: &mut Room, folder: &Path) {
        room.used(LARGE_COMMIT, true, folder);
        room.used(BEGINS_AFTER - LARGE_COMMIT - LEAST + 1, true, folder);
    }

    #[test]
    fn filling_changes_nothing_that_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let Some(file) = with_hole(directory.path(), b"records", 3 * MIB + 5) else {
            return;
        };
        let behind = 2 * MIB;
        file.write_all_at(b"data behind the hole", behind).expect("data");
        let before = fs::read(directory.path().join("7.jnl")).expect("read");
        let blocks = file.metadata().expect("metadata").blocks();
        let mut filled = 0;
        loop {
            let bytes = filling::fill(&file).expect("filled");
            assert_eq!(fs::read(directory.path().join("7.jnl")).expect("read"), before);
            if bytes == 0 {
                break;
            }
            filled += bytes;
        }
        assert!(filled > 2 * MIB, "all that was not data: {filled}");
        assert!(file.metadata().expect("metadata").blocks() * 512 > blocks * 512 + 2 * MIB);
    }

    #[test]
    fn small_commits_get_room_and_large_or_buffered_ones_do_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let Some(file) = with_hole(directory.path(), b"records", 4 * MIB) else {
            return;
        };
        let allocated = || file.metadata().expect("metadata").blocks() * 512;
        let before = allocated();
        let mut room = Room::new();
        room.left = LEAST;
        room.used(0, true, directory.path());
        assert_eq!(allocated(), before, "not yet");
        room.used(1, false, directory.path());
        room.used(LARGE_COMMIT + 1, true, directory.path());
        assert_eq!(allocated(), before, "for whom it is of no use");
        room.used(1, true, directory.path());
        if room.is_wanted {
            assert!(allocated() >= before + filling::PIECE);
            assert_eq!(room.left, filling::PIECE);
        } else {
            assert_eq!(allocated(), before, "not on this file system");
        }
    }

    #[test]
    fn journal_without_a_hole_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("7.jnl"), b"records").expect("a journal");
        let mut room = Room::new();
        use_up(&mut room, directory.path());
        assert_eq!(
            fs::read(directory.path().join("7.jnl")).expect("read"),
            b"records"
        );
        assert!(!room.is_wanted || room.left == NEXT_LOOK);
    }

    #[test]
    fn journal_that_is_gone_ends_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut room = Room::new();
        use_up(&mut room, &directory.path().join("gone"));
        assert!(!room.is_wanted);
    }
}
