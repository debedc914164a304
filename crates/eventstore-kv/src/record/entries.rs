//! The small records: heads, leases and the entries by which an append is recognised.

use bincode::{BorrowDecode, Encode};
use eventstore_abstractions::Indexes;

use super::Record;

/// Says that the store is one of ours, and how its keys are laid out.
#[derive(Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct StoreFormat {
    pub(crate) layout: u32,
}

/// Says that the store is a copy that is not finished, of what, and how far it is.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct UnfinishedCopy {
    /// The source as it was when the copy began.
    pub(crate) source: Heads,
    /// Records that were copied, and the bytes of their keys and values.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// The key of the last of them; empty before the first.
    pub(crate) after: Vec<u8>,
}

/// What tells a store from others, and from itself after another write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Heads {
    pub(crate) databases: u64,
    /// The sum of the positions of all databases.
    pub(crate) positions: u64,
    /// The sum of their revisions.
    pub(crate) revisions: u64,
    /// A CRC-32 of their heads, and of the newest block of each one's log.
    pub(crate) checksum: u32,
}

/// Where a database's log ends. Every commit to the database requires the head it has read and writes the next one:
/// that makes all its commits one sequence, on shared engines too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct DatabaseHead {
    /// Position of the newest event.
    pub(crate) position: u64,
    /// Grows with every write to the database, also of snapshots and leases. Fencing tokens are taken from it.
    pub(crate) revision: u64,
    /// The index of event types has every event after this position; without it there is none.
    pub(crate) types_after: Option<u64>,
    /// The same for categories of streams.
    pub(crate) categories_after: Option<u64>,
}

impl DatabaseHead {
    /// Begins the indexes that are asked for, unless there are, and ends the others.
    pub(crate) fn index(&mut self, asked: Indexes) {
        let position = self.position;
        let after = |is_asked: bool, after: Option<u64>| is_asked.then(|| after.unwrap_or(position));
        self.types_after = after(asked.types, self.types_after);
        self.categories_after = after(asked.categories, self.categories_after);
    }
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct StreamHead {
    pub(crate) version: u64,
    /// The newest of the message ids that tell their time; see [`crate::idempotency`].
    pub(crate) newest_id: Option<[u8; 16]>,
    /// Whether a snapshot was ever taken: without one, a read need not look for it.
    pub(crate) has_snapshots: bool,
    /// What became of its events; `None` as long as all of them are kept, whatever comes. See [`crate::life`].
    pub(crate) life: Option<Life>,
}

/// Which events of a stream are kept, and whether it was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Life {
    /// The first version that is kept, whatever its age; it never falls. Runs that end below it may be gone.
    pub(crate) first: u64,
    /// The version that it had when it was deleted last; 0 if it never was.
    pub(crate) deleted_at: u64,
    pub(crate) deleted: Option<Deleted>,
    pub(crate) truncate_before: Option<u64>,
    pub(crate) max_count: Option<u64>,
    /// Microseconds.
    pub(crate) max_age: Option<u64>,
}

/// How a stream was deleted that nothing was appended to since.
#[derive(Clone, Copy, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) enum Deleted {
    Soft,
    Hard,
}

/// Which session holds a stream.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Lease {
    pub(crate) session: [u8; 16],
    pub(crate) token: u64,
    /// Microseconds since 1970.
    pub(crate) expires_at: i64,
    pub(crate) owner: String,
}

/// Where the message with an id is.
#[derive(Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct MessageEntry {
    pub(crate) version: u64,
}

/// Where the append with an idempotency id is.
#[derive(Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct IdempotencyEntry {
    pub(crate) first_version: u64,
    pub(crate) events: u64,
}

/// Where the removal of events has come to in a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct ScavengeCursor {
    /// The last position that was looked at; 0 when the next look begins anew.
    pub(crate) position: u64,
}

/// Up to where what is derived of a database's log is stored; see [`crate::derived`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Settled {
    pub(crate) position: u64,
}

/// Which of the processes that write to a database has its turn, and who waits for one.
#[derive(Clone, Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Turn {
    /// Each process has an id of its own, made when it opens the store.
    pub(crate) holder: [u8; 16],
    /// The one that has waited longest first.
    pub(crate) waiting: Vec<[u8; 16]>,
}

impl Record<'_> for StoreFormat {}
impl Record<'_> for UnfinishedCopy {}
impl Record<'_> for DatabaseHead {}
impl Record<'_> for StreamHead {}
impl Record<'_> for Lease {}
impl Record<'_> for MessageEntry {}
impl Record<'_> for IdempotencyEntry {}
impl Record<'_> for ScavengeCursor {}
impl Record<'_> for Settled {}
impl Record<'_> for Turn {}
