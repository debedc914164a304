//! The bytes of a record: the one module that names bincode.
//!
//! A record is a format byte, its fields in bincode, and a CRC-32 over the key, the format byte and the fields.
//! Engines were seen returning flipped bytes as valid data, and a value under another key is as wrong as a damaged
//! one: the checksum tells both. `docs/storage-format.md` gives every field.

mod block;
mod bundle;
mod entries;
mod message;
mod postings;
mod run;
mod snapshot;
mod state;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::Error;

use crate::keys;

pub(crate) use block::{MAX_COPIED_BYTES, NewBlock, Place, Segment, block_without, open_block};
pub(crate) use bundle::{Runs, follows, is_one_record, record_after, seal_bundle};
pub(crate) use entries::{
    DatabaseHead, Deleted, Heads, IdempotencyEntry, Lease, Life, MessageEntry, ScavengeCursor, Settled,
    StoreFormat, StreamHead, Turn, UnfinishedCopy,
};
pub(crate) use message::message_bytes;
pub(crate) use postings::{Posting, open_postings, seal_postings};
pub(crate) use run::{EncodedRun, Run};
pub(crate) use snapshot::{decode_snapshot, encode_snapshot};
pub(crate) use state::{STATE_OVERHEAD_BYTES, open_state, seal_state};

/// The first byte of every record. A change of any field's form gets a new one, and the old one stays readable.
const FORMAT: u8 = 1;
/// The first byte of a record of several runs.
const BUNDLE_FORMAT: u8 = 2;
const CHECKSUM_BYTES: usize = 4;
/// Most bytes that decoding may allocate for one record; no engine takes a larger value. Without a limit nine hostile
/// bytes make bincode ask for more memory than there is.
const DECODE_LIMIT: usize = 64 << 20;

type Config = Configuration<LittleEndian, Varint, Limit<DECODE_LIMIT>>;

const fn config() -> Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT>()
}

/// What is wrong with the bytes of a record.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error("it has {0} bytes, fewer than any record")]
    TooShort(usize),
    #[error("its checksum is {stored:08x} and should be {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
    #[error("its format is {0}, which this version does not read; open it with the version that wrote it")]
    Format(u8),
    #[error("its fields cannot be decoded: {0}")]
    Fields(bincode::error::DecodeError),
    #[error("it has {0} bytes after its last field")]
    Trailing(usize),
    #[error("a field is not valid: {0}")]
    Invalid(Error),
}

impl Damage {
    fn of(self, key: &[u8]) -> Error {
        Error::Corrupt {
            reason: keys::describe(key),
            source: Some(Box::new(self)),
        }
    }
}

/// The error of a record that must be there and is not.
pub(crate) fn missing(key: &[u8]) -> Error {
    Error::Corrupt {
        reason: format!("{} is missing", keys::describe(key)),
        source: None,
    }
}

/// The error of a record whose content contradicts another's.
pub(crate) fn contradiction(key: &[u8], what: impl std::fmt::Display) -> Error {
    Error::Corrupt {
        reason: format!("{}: {what}", keys::describe(key)),
        source: None,
    }
}

/// Whether `bytes` are a record that was written under `key`, whichever it is.
pub(crate) fn check(key: &[u8], bytes: &[u8]) -> Result<(), Error> {
    let format = formatted_body_of(key, bytes).map(|(format, _)| format);
    match format {
        Ok(FORMAT | BUNDLE_FORMAT) => Ok(()),
        Ok(other) => Err(Damage::Format(other).of(key)),
        Err(damage) => Err(damage.of(key)),
    }
}

/// A record that is kept as its bincode fields.
pub(crate) trait Record<'a>: Encode + BorrowDecode<'a, ()> {
    /// The bytes to store under `key`.
    fn seal(&self, key: &[u8]) -> Bytes {
        seal(key, self)
    }

    /// The record in `bytes`, which were read under `key`.
    fn open(key: &[u8], bytes: &'a [u8]) -> Result<Self, Error> {
        open(key, bytes).map_err(|damage| damage.of(key))
    }
}

fn seal(key: &[u8], fields: &impl Encode) -> Bytes {
    let mut body = Vec::with_capacity(64);
    body.push(FORMAT);
    encode_fields(fields, &mut body);
    seal_body(key, body)
}

/// A record with any bytes for fields.
#[cfg(feature = "fuzzing")]
pub(crate) fn seal_fields(key: &[u8], fields: &[u8]) -> Bytes {
    seal_body(key, [&[FORMAT], fields].concat())
}

/// A record of several runs with any bytes for fields.
#[cfg(feature = "fuzzing")]
pub(crate) fn seal_bundle_fields(key: &[u8], fields: &[u8]) -> Bytes {
    seal_body(key, [&[BUNDLE_FORMAT], fields].concat())
}

/// Adds the checksum to a format byte and fields.
fn seal_body(key: &[u8], mut body: Vec<u8>) -> Bytes {
    let checksum = checksum(key, &body);
    body.extend_from_slice(&checksum.to_le_bytes());
    body.into()
}

fn encode_fields(fields: &impl Encode, body: &mut Vec<u8>) {
    bincode::encode_into_std_write(fields, body, config()).expect("writing fields to memory cannot fail");
}

fn open<'a, T: BorrowDecode<'a, ()>>(key: &[u8], bytes: &'a [u8]) -> Result<T, Damage> {
    let fields = body_of(key, bytes)?;
    let (record, read) = borrow_fields(fields)?;
    match fields.len() - read {
        0 => Ok(record),
        trailing => Err(Damage::Trailing(trailing)),
    }
}

/// The fields of a record, when its checksum is right and its format is that of all but bundles.
fn body_of<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Damage> {
    match formatted_body_of(key, bytes)? {
        (FORMAT, fields) => Ok(fields),
        (other, _) => Err(Damage::Format(other)),
    }
}

/// The format and the fields of a record, when its checksum is right.
fn formatted_body_of<'a>(key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), Damage> {
    let Some((body, stored)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(Damage::TooShort(bytes.len()));
    };
    let (stored, computed) = (u32::from_le_bytes(*stored), checksum(key, body));
    if stored != computed {
        return Err(Damage::Checksum { stored, computed });
    }
    match body.split_first() {
        Some((&format, fields)) => Ok((format, fields)),
        None => Err(Damage::TooShort(bytes.len())),
    }
}

/// What stands at the beginning of `fields`, and how many bytes it has.
fn borrow_fields<'a, T: BorrowDecode<'a, ()>>(fields: &'a [u8]) -> Result<(T, usize), Damage> {
    bincode::borrow_decode_from_slice(fields, config()).map_err(Damage::Fields)
}

/// The length goes in first, so that no byte can move from the key to the value unnoticed.
fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(key.len() as u32).to_le_bytes());
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
