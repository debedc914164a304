//! The small records: heads, leases and the entries by which an append is recognised.

use bincode::{BorrowDecode, Encode};

use super::Record;

/// Says that the store is one of ours, and how its keys are laid out.
#[derive(Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct StoreFormat {
    pub(crate) layout: u32,
}

/// Where a database's log ends. Every commit to the database requires the head it has read and writes the next one:
/// that makes all its commits one sequence, on shared engines too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct DatabaseHead {
    /// Position of the newest event.
    pub(crate) position: u64,
    /// Grows with every write to the database, also of snapshots and leases. Fencing tokens are taken from it.
    pub(crate) revision: u64,
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Encode, BorrowDecode)]
pub(crate) struct StreamHead {
    pub(crate) version: u64,
    /// The newest of the message ids that tell their time; see [`crate::idempotency`].
    pub(crate) newest_id: Option<[u8; 16]>,
    /// Whether a snapshot was ever taken: without one, a read need not look for it.
    pub(crate) has_snapshots: bool,
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

impl Record<'_> for StoreFormat {}
impl Record<'_> for DatabaseHead {}
impl Record<'_> for StreamHead {}
impl Record<'_> for Lease {}
impl Record<'_> for MessageEntry {}
impl Record<'_> for IdempotencyEntry {}
