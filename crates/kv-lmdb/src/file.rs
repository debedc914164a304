//! What the engine's file says of itself, read without the map: a damaged file is found here, where a read
//! can fail, and not in the engine, which trusts its pages and may end the process.
//!
//! The layout is data format 1 of LMDB (`mdb.c`: `MDB_page`, `MDB_meta`, `MDB_db`), in the byte order and
//! word size of the machine.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use kv_core::{BoxError, Error, Result};

use crate::tree::{self, Root};

/// A number of the engine's `size_t`.
pub(crate) const WORD: usize = size_of::<usize>();
/// Of a page: its number, two bytes of padding, flags, and two bounds of its free space.
pub(crate) const PAGE_HEADER: usize = WORD + 8;
/// Pages that begin the file, each with the state after one of the last two commits.
pub(crate) const METAS: usize = 2;
const P_META: u16 = 0x08;
const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
/// Of a table in a meta page: padding, flags, depth, and five words.
const TABLE_BYTES: usize = 8 + 5 * WORD;
const META_BYTES: usize = 8 + 2 * WORD + 2 * TABLE_BYTES + 2 * WORD;
/// What the engine takes; it makes pages of the operating system's size.
const PAGE_BYTES: std::ops::RangeInclusive<usize> = 256..=0x8000;
/// The engine may leave pages unwritten at the end that it took and gave back in one commit: far fewer than
/// this. More is a damaged number, for which no memory must be set aside.
const MAX_UNWRITTEN_BYTES: u64 = 1 << 30;
/// The flag of a table whose keys are numbers, as those of the free pages are.
const INTEGER_KEYS: u16 = 0x08;
/// The root of an empty table.
const NO_ROOT: usize = usize::MAX;

/// The state after the last commit.
pub(crate) struct Snapshot {
    pub(crate) page_bytes: usize,
    /// Pages that belong to the state, with those at the front and those that are free.
    pub(crate) pages: usize,
    /// The number of the commit.
    pub(crate) transaction: usize,
    /// The table of free pages: the number of a commit, and the pages that it freed.
    pub(crate) free: Option<Root>,
    /// The table of entries.
    pub(crate) entries: Option<Root>,
}

/// A file of pages.
pub(crate) struct Pages<'a> {
    file: &'a File,
    page_bytes: usize,
}

/// Checks the beginning of the file and its length. Reads the whole structure where the length leaves a
/// doubt, and where it `is_verified`.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Incompatible`] for another format, [`Error::Unavailable`] when reading fails.
pub(crate) fn check(file: &File, is_verified: bool) -> Result<()> {
    let bytes = file.metadata().map_err(unreadable)?.len();
    let snapshot = newest(file)?;
    let wanted = snapshot.pages as u64 * snapshot.page_bytes as u64;
    if wanted.saturating_sub(bytes) > MAX_UNWRITTEN_BYTES {
        return Err(corrupt(format!("it has {bytes} bytes of {wanted}")));
    }
    // A file that is too short was cut, or ends in free pages that were never written.
    if is_verified || bytes < wanted {
        let pages = Pages {
            file,
            page_bytes: snapshot.page_bytes,
        };
        tree::check(&pages, &snapshot)?;
    }
    Ok(())
}

/// The newer of the two states at the front, as the engine chooses it. Both must be whole: the older is
/// what a power cut falls back to.
fn newest(file: &File) -> Result<Snapshot> {
    let first = meta(file, 0)?;
    let second = meta(file, first.page_bytes)?;
    if first.page_bytes != second.page_bytes {
        return Err(corrupt("its first pages contradict each other".to_owned()));
    }
    Ok(if second.transaction > first.transaction {
        second
    } else {
        first
    })
}

fn meta(file: &File, at: usize) -> Result<Snapshot> {
    let mut bytes = [0; PAGE_HEADER + META_BYTES];
    read_exact_at(file, &mut bytes, at as u64)?;
    let (header, meta) = bytes.split_at(PAGE_HEADER);
    if u16_at(header, WORD + 2) != P_META || u32_at(meta, 0) != MAGIC {
        let reason = "it does not begin as a file of LMDB of this machine's byte order and word size";
        return Err(corrupt(reason.to_owned()));
    }
    let version = u32_at(meta, 4);
    if version != VERSION {
        return Err(Error::incompatible(
            "the engine's file",
            format!("it is of format {version} of LMDB; open it with the version that wrote it"),
        ));
    }
    // Behind the version there are the map's address and size, which this opening decides anew.
    let (free, meta) = meta[8 + 2 * WORD..].split_at(TABLE_BYTES);
    let (entries, meta) = meta.split_at(TABLE_BYTES);
    let page_bytes = u32_at(free, 0) as usize;
    let pages = word_at(meta, 0).saturating_add(1);
    let fits = pages
        .checked_mul(page_bytes)
        .is_some_and(|it| it <= isize::MAX as usize);
    if !page_bytes.is_power_of_two() || !PAGE_BYTES.contains(&page_bytes) || pages < METAS || !fits {
        return Err(corrupt(format!(
            "it says that it has {pages} pages of {page_bytes} bytes"
        )));
    }
    Ok(Snapshot {
        page_bytes,
        pages,
        transaction: word_at(meta, WORD),
        free: root(free, INTEGER_KEYS, pages)?,
        entries: root(entries, 0, pages)?,
    })
}

fn root(table: &[u8], flags: u16, pages: usize) -> Result<Option<Root>> {
    let root = Root {
        depth: u16_at(table, 6),
        page: word_at(table, TABLE_BYTES - WORD),
    };
    let is_empty = root.page == NO_ROOT;
    let is_whole = root.depth > 0 && (METAS..pages).contains(&root.page);
    if u16_at(table, 4) != flags || !(is_empty || is_whole) {
        return Err(corrupt("its first pages name no root of a table".to_owned()));
    }
    Ok((!is_empty).then_some(root))
}

impl Pages<'_> {
    /// The page of the number, or its first bytes.
    pub(crate) fn read(&self, page: usize, bytes: usize) -> Result<Vec<u8>> {
        let mut content = vec![0; bytes];
        let at = page as u64 * self.page_bytes as u64;
        read_exact_at(self.file, &mut content, at)?;
        Ok(content)
    }

    /// Whether the file reaches over `pages` pages from `page` on.
    pub(crate) fn reaches(&self, page: usize, pages: usize) -> Result<bool> {
        let end = (page as u64 + pages as u64) * self.page_bytes as u64;
        Ok(self.file.metadata().map_err(unreadable)?.len() >= end)
    }
}

fn read_exact_at(mut file: &File, into: &mut [u8], at: u64) -> Result<()> {
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(into));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(format!("it ends before byte {}", at + into.len() as u64)),
        _ => unreadable(error),
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let mut number = [0; 2];
    number.copy_from_slice(&bytes[at..at + 2]);
    u16::from_ne_bytes(number)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(number)
}

pub(crate) fn word_at(bytes: &[u8], at: usize) -> usize {
    let mut number = [0; WORD];
    number.copy_from_slice(&bytes[at..at + WORD]);
    usize::from_ne_bytes(number)
}

pub(crate) fn corrupt(what: String) -> Error {
    Error::Corrupt {
        reason: format!("the engine's file cannot be used: {what}"),
        source: None,
    }
}

fn unreadable(error: impl Into<BoxError>) -> Error {
    Error::unavailable("cannot read the engine's file", error)
}
