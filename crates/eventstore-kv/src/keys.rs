//! The key layout: the one module that knows where a record is kept.
//!
//! A key is the byte of its space, then its components. A name is its UTF-8 bytes and a zero byte, which no name
//! contains; a number is 8 bytes, big-endian. So the keys of a stream sort by number, and no name can reach into the
//! keys of another. `docs/storage-format.md` gives every key.
//!
//! Keys of streams begin with some bytes of a hash of the stream's names. Names are alike from their beginning on, so
//! that an engine would compare most keys to their end; and nothing is read in the order of names.

use bytes::Bytes;
use eventstore_abstractions::{
    Database, IdempotencyId, MessageId, NamespaceName, Position, StreamId, Version,
};
use kv_core::Scan;

/// Ends a name. Names have no control characters, so none contains it.
const END: u8 = 0;

/// Bytes of the hash before the names of a stream: with the byte of the space what engines compare at once.
const SCATTER_BYTES: usize = 3;
/// Its database, its category and its id.
const NAMES_OF_A_STREAM: usize = 3;
const NUMBER_BYTES: usize = size_of::<u64>();

/// One prefix byte per kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Space {
    Format = 0x01,
    Copy = 0x02,
    DatabaseHead = 0x10,
    LogBlock = 0x11,
    StreamHead = 0x12,
    Run = 0x13,
    Snapshot = 0x14,
    Message = 0x15,
    Idempotency = 0x16,
    Lease = 0x17,
    TagPostings = 0x18,
    TypePostings = 0x19,
    CategoryPostings = 0x1a,
    ScavengeCursor = 0x1b,
    Settled = 0x1c,
    Turn = 0x1d,
    State = 0x20,
}

/// An index of a database's events, by names of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    Tags,
    Types,
    Categories,
}

impl Index {
    fn space(self) -> Space {
        match self {
            Self::Tags => Space::TagPostings,
            Self::Types => Space::TypePostings,
            Self::Categories => Space::CategoryPostings,
        }
    }
}

struct Key(Vec<u8>);

impl Key {
    /// A key of `space` with room for `bytes` more.
    fn new(space: Space, bytes: usize) -> Self {
        let mut key = Vec::with_capacity(1 + bytes);
        key.push(space as u8);
        Self(key)
    }

    /// A key of `space` and `database`, with room for `rest` more bytes.
    fn in_database(space: Space, database: &Database, rest: usize) -> Self {
        let name = database.as_str();
        Self::new(space, name.len() + 1 + rest).name(name)
    }

    /// A key of `space` and a stream, with room for `rest` more bytes.
    fn in_stream(space: Space, database: &Database, stream: &StreamId, rest: usize) -> Self {
        let names = [database.as_str(), stream.category(), stream.id()];
        let bytes = names.iter().map(|name| name.len() + 1).sum::<usize>();
        let mut key = Self::new(space, SCATTER_BYTES + bytes + rest);
        key.0.extend_from_slice(&[0; SCATTER_BYTES]);
        let mut key = names.into_iter().fold(key, Key::name);
        let names = 1 + SCATTER_BYTES;
        let scatter = crc32fast::hash(&key.0[names..]).to_be_bytes();
        key.0[1..names].copy_from_slice(&scatter[..SCATTER_BYTES]);
        key
    }

    fn name(mut self, name: &str) -> Self {
        debug_assert!(
            !name.as_bytes().contains(&END),
            "names have no control characters"
        );
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(END);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Bytes {
        self.0.extend_from_slice(bytes);
        self.0.into()
    }

    fn number(self, number: u64) -> Bytes {
        self.bytes(&number.to_be_bytes())
    }

    fn done(self) -> Bytes {
        self.0.into()
    }
}

pub(crate) fn format() -> Bytes {
    Key::new(Space::Format, 0).done()
}

/// Says that the store is a copy that is not finished.
pub(crate) fn copy() -> Bytes {
    Key::new(Space::Copy, 0).done()
}

pub(crate) fn database_head(database: &Database) -> Bytes {
    Key::in_database(Space::DatabaseHead, database, 0).done()
}

/// The block of the log whose last event has the position `last`.
pub(crate) fn log_block(database: &Database, last: Position) -> Bytes {
    Key::in_database(Space::LogBlock, database, NUMBER_BYTES).number(last.get())
}

/// Also what identifies a stream among all streams of the engine.
pub(crate) fn stream_head(database: &Database, stream: &StreamId) -> Bytes {
    Key::in_stream(Space::StreamHead, database, stream, 0).done()
}

/// The run of events whose last one has the version `last`.
pub(crate) fn run(database: &Database, stream: &StreamId, last: Version) -> Bytes {
    Key::in_stream(Space::Run, database, stream, NUMBER_BYTES).number(last.get())
}

pub(crate) fn snapshot(database: &Database, stream: &StreamId, version: Version) -> Bytes {
    Key::in_stream(Space::Snapshot, database, stream, NUMBER_BYTES).number(version.get())
}

pub(crate) fn message(database: &Database, stream: &StreamId, id: MessageId) -> Bytes {
    let id = id.as_uuid();
    Key::in_stream(Space::Message, database, stream, id.as_bytes().len()).bytes(id.as_bytes())
}

pub(crate) fn idempotency(database: &Database, stream: &StreamId, id: &IdempotencyId) -> Bytes {
    let id = id.as_str().as_bytes();
    Key::in_stream(Space::Idempotency, database, stream, id.len()).bytes(id)
}

pub(crate) fn lease(database: &Database, stream: &StreamId) -> Bytes {
    Key::in_stream(Space::Lease, database, stream, 0).done()
}

pub(crate) fn scavenge_cursor(database: &Database) -> Bytes {
    Key::in_database(Space::ScavengeCursor, database, 0).done()
}

/// Says up to where what is derived of a database's log is stored.
pub(crate) fn settled(database: &Database) -> Bytes {
    Key::in_database(Space::Settled, database, 0).done()
}

/// Up to where all databases are settled.
pub(crate) fn all_settled() -> Scan {
    Scan::prefix(Key::new(Space::Settled, 0).done())
}

/// What identifies a stream among all of the engine, in the key of its head.
pub(crate) fn stream_of_head(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[Space::StreamHead as u8])
}

/// The same of a key that is that of a head, sharing its buffer.
pub(crate) fn slice_of_head(key: &Bytes) -> Bytes {
    key.slice(1..)
}

/// What identifies a stream among all of the engine, in the key of a run, or in the bound of a scan of runs.
pub(crate) fn stream_of_run(key: &[u8]) -> Option<&[u8]> {
    let stream = key.strip_prefix(&[Space::Run as u8])?;
    let mut ends = stream
        .iter()
        .enumerate()
        .skip(SCATTER_BYTES)
        .filter(|(_, byte)| **byte == END);
    let (end, _) = ends.nth(NAMES_OF_A_STREAM - 1)?;
    Some(&stream[..=end])
}

/// What a scan may find of the records that can be derived from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derivable<'a> {
    Nothing,
    /// Runs of the stream that this identifies.
    Runs(&'a [u8]),
    Anything,
}

pub(crate) fn derivable(scan: &Scan) -> Derivable<'_> {
    let is_below = !scan.end.is_empty() && scan.end.as_ref() <= &[Space::StreamHead as u8][..];
    if is_below || scan.start.first().is_some_and(|space| *space > Space::Run as u8) {
        return Derivable::Nothing;
    }
    match stream_of_run(&scan.start) {
        Some(stream) if scan.end.get(1..).is_some_and(|end| end.starts_with(stream)) => {
            Derivable::Runs(stream)
        }
        _ => Derivable::Anything,
    }
}

/// Whether the record under `key` can be derived from the log, or says how long that is.
pub(crate) fn is_derived(key: &[u8]) -> bool {
    [Space::DatabaseHead, Space::StreamHead, Space::Run]
        .iter()
        .any(|space| key.first() == Some(&(*space as u8)))
}

/// Whose turn it is to write to a database.
pub(crate) fn turn(database: &Database) -> Bytes {
    Key::in_database(Space::Turn, database, 0).done()
}

/// The runs of a stream that end with a version from `first` to `last`, both included. As runs are kept under the
/// last of their versions, the first of these has `first` in it.
pub(crate) fn runs(database: &Database, stream: &StreamId, first: Version, last: Version) -> Scan {
    numbered(
        Key::in_stream(Space::Run, database, stream, NUMBER_BYTES),
        first.get(),
        last.get(),
    )
}

/// The snapshots of a stream from `first` to `last`, both included.
pub(crate) fn snapshots(database: &Database, stream: &StreamId, first: Version, last: Version) -> Scan {
    numbered(
        Key::in_stream(Space::Snapshot, database, stream, NUMBER_BYTES),
        first.get(),
        last.get(),
    )
}

/// The blocks of the log that end with a position from `first` to `last`, both included: the first of them has `first`
/// in it.
pub(crate) fn log_blocks(database: &Database, first: Position, last: Position) -> Scan {
    numbered(
        Key::in_database(Space::LogBlock, database, NUMBER_BYTES),
        first.get(),
        last.get(),
    )
}

/// The postings of `name` whose last position is `last`.
pub(crate) fn postings(index: Index, database: &Database, name: &str, last: Position) -> Bytes {
    postings_of(index, database, name).number(last.get())
}

/// The postings of `name` that end with a position from `first` to `last`, both included: the first of them has the
/// first position from `first` on that is listed.
pub(crate) fn postings_between(
    index: Index,
    database: &Database,
    name: &str,
    first: Position,
    last: Position,
) -> Scan {
    numbered(postings_of(index, database, name), first.get(), last.get())
}

/// The postings of all names that begin with `prefix`, or with `after` those of names behind that one.
pub(crate) fn postings_of_prefix(
    index: Index,
    database: &Database,
    prefix: &str,
    after: Option<&str>,
) -> Scan {
    let prefix_key = |name: &str| {
        let mut key = Key::in_database(index.space(), database, name.len() + 1);
        key.0.extend_from_slice(name.as_bytes());
        key.0
    };
    let mut scan = Scan::prefix(prefix_key(prefix));
    if let Some(after) = after {
        // Just above everything that this name has, and below every longer one.
        let mut start = prefix_key(after);
        start.push(END + 1);
        scan.start = start.into();
    }
    scan
}

/// The name in the key of postings.
pub(crate) fn name_of_postings(key: &[u8]) -> Option<&str> {
    let mut names = key.get(1..)?.split(|byte| *byte == END).skip(1);
    std::str::from_utf8(names.next()?).ok()
}

fn postings_of(index: Index, database: &Database, name: &str) -> Key {
    Key::in_database(index.space(), database, name.len() + 1 + NUMBER_BYTES).name(name)
}

/// The leases of all streams of all databases.
pub(crate) fn leases() -> Scan {
    Scan::prefix(Key::new(Space::Lease, 0).done())
}

/// The heads of all databases.
pub(crate) fn database_heads() -> Scan {
    Scan::prefix(Key::new(Space::DatabaseHead, 0).done())
}

/// The database whose head, or whose settled position, has the key.
pub(crate) fn database_of(key: &[u8]) -> Option<Database> {
    let name = key.get(1..)?.strip_suffix(&[END])?;
    Database::new(std::str::from_utf8(name).ok()?).ok()
}

/// What a store consists of, above the key `after`: every record but those that say what the store is.
pub(crate) fn records_after(after: &[u8]) -> Scan {
    // The smallest key above another is that one with a zero byte behind it.
    let start = match after {
        [] => vec![Space::Copy as u8 + 1],
        after => [after, &[0]].concat(),
    };
    Scan::range(start, Bytes::new())
}

/// What a copy of a store asks of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    DatabaseHead,
    LogBlock,
    StreamHead,
    Snapshot,
    Lease,
    Settled,
    Turn,
    Other,
}

pub(crate) fn kind(key: &[u8]) -> Kind {
    let kinds = [
        (Space::DatabaseHead, Kind::DatabaseHead),
        (Space::LogBlock, Kind::LogBlock),
        (Space::StreamHead, Kind::StreamHead),
        (Space::Snapshot, Kind::Snapshot),
        (Space::Lease, Kind::Lease),
        (Space::Settled, Kind::Settled),
        (Space::Turn, Kind::Turn),
    ];
    let found = kinds
        .iter()
        .find(|(space, _)| key.first() == Some(&(*space as u8)));
    found.map_or(Kind::Other, |(_, kind)| *kind)
}

/// What the keys of a namespace begin with.
pub(crate) fn state_prefix(database: &Database, namespace: &NamespaceName) -> Bytes {
    let name = namespace.as_str();
    let key = Key::in_database(Space::State, database, name.len() + 1);
    key.name(name).done()
}

/// `key` of the namespace whose keys begin with `namespace`.
pub(crate) fn state(namespace: &[u8], key: &[u8]) -> Bytes {
    [namespace, key].concat().into()
}

/// The keys of a namespace that begin with `prefix` and are above `after`.
pub(crate) fn states(namespace: &[u8], prefix: &[u8], after: Option<&[u8]>) -> Scan {
    let mut scan = Scan::prefix(state(namespace, prefix));
    if let Some(after) = after {
        // The smallest key above another is that one with a zero byte behind it.
        let above = [namespace, after, &[0]].concat();
        scan.start = scan.start.max(above.into());
    }
    scan
}

fn numbered(prefix: Key, first: u64, last: u64) -> Scan {
    let mut end = prefix.0.clone();
    end.extend_from_slice(&last.to_be_bytes());
    // The end of a scan is exclusive: one byte behind the last key is just above it.
    end.push(0);
    Scan::range(prefix.number(first), end)
}

/// The number that ends the key of a run, a snapshot or a block of the log.
pub(crate) fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The key in words, for errors: which record it is, of what, and its number.
pub(crate) fn describe(key: &[u8]) -> String {
    let named = |kind: &str, names: usize, rest: fn(&[u8]) -> String| {
        // The keys of streams alone, which have three names, begin with it.
        let scatter = if names == 3 { SCATTER_BYTES } else { 0 };
        let mut left = key.get(1 + scatter..)?;
        let mut words = kind.to_owned();
        for _ in 0..names {
            let end = left.iter().position(|byte| *byte == END)?;
            words += &format!(" {:?}", String::from_utf8_lossy(&left[..end]));
            left = &left[end + 1..];
        }
        Some(words + &rest(left))
    };
    let nothing = |_: &[u8]| String::new();
    let version =
        |left: &[u8]| number_of(left).map_or_else(String::new, |number| format!(", version {number}"));
    let position =
        |left: &[u8]| number_of(left).map_or_else(String::new, |number| format!(", position {number}"));
    let id = |left: &[u8]| format!(", id {}", left.escape_ascii());
    let rest = |left: &[u8]| format!(", key {}", left.escape_ascii());
    let text = match key.first().copied() {
        Some(byte) if byte == Space::Format as u8 => Some("the format of the store".to_owned()),
        Some(byte) if byte == Space::Copy as u8 => Some("the state of the copy".to_owned()),
        Some(byte) if byte == Space::DatabaseHead as u8 => named("the head of database", 1, nothing),
        Some(byte) if byte == Space::LogBlock as u8 => named("the log block of database", 1, position),
        Some(byte) if byte == Space::StreamHead as u8 => named("the head of stream", 3, nothing),
        Some(byte) if byte == Space::Run as u8 => named("the events of stream", 3, version),
        Some(byte) if byte == Space::Snapshot as u8 => named("the snapshot of stream", 3, version),
        Some(byte) if byte == Space::Message as u8 => named("the message entry of stream", 3, id),
        Some(byte) if byte == Space::Idempotency as u8 => named("the idempotency entry of stream", 3, id),
        Some(byte) if byte == Space::Lease as u8 => named("the lease of stream", 3, nothing),
        Some(byte) if byte == Space::ScavengeCursor as u8 => {
            named("the scavenge cursor of database", 1, nothing)
        }
        Some(byte) if byte == Space::Settled as u8 => named("the settled position of database", 1, nothing),
        Some(byte) if byte == Space::Turn as u8 => named("the turn of database", 1, nothing),
        Some(byte) if byte == Space::TagPostings as u8 => {
            named("the postings of database and tag", 2, position)
        }
        Some(byte) if byte == Space::TypePostings as u8 => {
            named("the postings of database and type", 2, position)
        }
        Some(byte) if byte == Space::CategoryPostings as u8 => {
            named("the postings of database and category", 2, position)
        }
        Some(byte) if byte == Space::State as u8 => named("the value of namespace", 2, rest),
        _ => None,
    };
    let hex = key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match text {
        Some(text) => format!("{text} (key {hex})"),
        None => format!("key {hex}"),
    }
}

#[cfg(test)]
mod tests;
