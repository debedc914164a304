//! The journal: one file, to which each commit appends one record.
//!
//! A record is the length of its body and the body's CRC-32, 4 bytes little-endian each, then the body: its writes,
//! one after another. A write is its key, then 1 and its value, or 0 to delete the key. A key or value is its length,
//! 4 bytes little-endian, and its bytes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use kv_core::directory::{Directory, sync_directory};
use kv_core::{Batch, Durability, Error, Result};

/// Names the engine in the directory's marker and in errors.
const ENGINE: &str = "journal";
/// The number of the stored form. A change of the bytes below gets a new one.
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 8;

pub(crate) type Entries = BTreeMap<Bytes, Bytes>;

pub(crate) struct Journal {
    file: File,
    state: State,
    /// Last: another process may have the directory when the file is closed.
    _directory: Directory,
}

#[derive(PartialEq, Eq)]
enum State {
    Writable,
    /// A write is on its way, or one has failed: then nobody knows what is on the disk until it is read again.
    Stopped,
}

impl Journal {
    /// Opens the journal in the directory `path`, and replays it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Entries)> {
        let directory = Directory::claim(path, ENGINE, FORMAT)?;
        let folder = directory.engine_path();
        let failed =
            |error| Error::unavailable(format!("cannot open the journal in {}", path.display()), error);
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        let mut file = options.open(folder.join("commits")).map_err(failed)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let (entries, whole) = replay(&bytes)?;
        // What follows is a commit that a crash cut short, and that nobody was told of.
        file.set_len(whole as u64)
            .and_then(|()| file.sync_all())
            // The file may be new: its name must survive a power cut too.
            .and_then(|()| sync_directory(folder))
            .map_err(failed)?;
        let journal = Self {
            file,
            state: State::Writable,
            _directory: directory,
        };
        Ok((journal, entries))
    }

    /// Appends the writes of `batch`, and makes them and all before them durable if it is asked for.
    pub(crate) fn append(&mut self, batch: &Batch, durability: Durability) -> Result<()> {
        if self.state == State::Stopped {
            let reason = "an earlier write failed; close the store and open it again".to_owned();
            return Err(Error::Unavailable { reason, source: None });
        }
        self.state = State::Stopped;
        self.write(batch, durability)
            .map_err(|error| Error::outcome_unknown("the journal cannot be written", error))?;
        self.state = State::Writable;
        Ok(())
    }

    fn write(&mut self, batch: &Batch, durability: Durability) -> io::Result<()> {
        if batch.writes().len() > 0 {
            self.file.write_all(&record(batch))?;
        }
        match durability {
            Durability::Durable => self.file.sync_data(),
            Durability::Buffered => Ok(()),
        }
    }

    pub(crate) fn close(self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| Error::outcome_unknown("the journal cannot be synced", error))
    }
}

/// Sets or deletes a key.
pub(crate) fn apply(entries: &mut Entries, key: Bytes, value: Option<Bytes>) {
    match value {
        Some(value) => entries.insert(key, value),
        None => entries.remove(&key),
    };
}

fn record(batch: &Batch) -> Vec<u8> {
    let mut record = vec![0; HEADER_BYTES];
    for (key, value) in batch.writes() {
        put(&mut record, key);
        record.put_u8(value.is_some().into());
        if let Some(value) = value {
            put(&mut record, value);
        }
    }
    let (header, body) = record.split_at_mut(HEADER_BYTES);
    let mut header = &mut header[..];
    header.put_u32_le(body.len() as u32);
    header.put_u32_le(crc32fast::hash(body));
    record
}

fn put(record: &mut Vec<u8>, bytes: &[u8]) {
    record.put_u32_le(bytes.len() as u32);
    record.put_slice(bytes);
}

/// The entries to which the records of `journal` lead, and how many bytes of it are whole records.
fn replay(journal: &[u8]) -> Result<(Entries, usize)> {
    let mut entries = Entries::new();
    let mut rest = journal;
    while let Some((body, checksum, after)) = split(rest) {
        if crc32fast::hash(body) == checksum {
            replay_record(body, &mut entries).ok_or_else(|| damaged(journal.len() - rest.len()))?;
        } else if after.is_empty() {
            // The last record: it was being written when the process or the machine stopped.
            break;
        } else {
            return Err(damaged(journal.len() - rest.len()));
        }
        rest = after;
    }
    Ok((entries, journal.len() - rest.len()))
}

/// The body of the first record, its checksum, and what follows; `None` when there is no whole record.
fn split(mut journal: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let length = journal.try_get_u32_le().ok()? as usize;
    let checksum = journal.try_get_u32_le().ok()?;
    let (body, after) = journal.split_at_checked(length)?;
    Some((body, checksum, after))
}

fn replay_record(mut body: &[u8], entries: &mut Entries) -> Option<()> {
    while !body.is_empty() {
        let key = take(&mut body)?;
        let value = match body.try_get_u8().ok()? {
            0 => None,
            _ => Some(take(&mut body)?),
        };
        apply(entries, key, value);
    }
    Some(())
}

fn take(body: &mut &[u8]) -> Option<Bytes> {
    let length = body.try_get_u32_le().ok()? as usize;
    let (bytes, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(Bytes::copy_from_slice(bytes))
}

fn damaged(at: usize) -> Error {
    let reason = format!("the journal is damaged at byte {at}; restore it from a copy");
    Error::Corrupt { reason, source: None }
}
