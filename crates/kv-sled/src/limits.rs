//! The sizes that keep every write in the engine's log, and the arithmetic behind them.
//!
//! The engine writes a message of more than a quarter of a segment (less a header) to a file of its own under
//! `blobs/`, which it never syncs. A message is either one change (a key and its value) or a whole page: the
//! engine rewrites a page at every tenth change to it, and when it splits, merges or moves it. So it is the
//! page that must fit.
//!
//! A leaf is split when it is visited with more than 16 entries, hence has at most 17 when it is left. A leaf
//! of fewer than 4 entries is merged into its left neighbour, which then has up to 20 and is visited next by
//! the one that merged, who splits it. Several readers that merge several leaves into one at the same moment
//! can add 3 each before one of them splits it:
//! [`LEAF_ENTRIES`] leaves room for four at once, all of largest values. Inner pages have up to 256 keys and
//! 64 by a merge, without values, and are smaller.

use kv_core::Capabilities;

/// The engine's unit of writing and reuse. With its default of 512 KiB values of 16 KB were lost in power
/// cuts; the engine takes at most 16 MiB. A store cannot be opened with another size than its own: this is
/// part of the format.
pub(crate) const SEGMENT_BYTES: usize = 8 << 20;
/// Longest message that stays in the log.
const LARGEST_MESSAGE_BYTES: usize = SEGMENT_BYTES / sled::MINIMUM_ITEMS_PER_SEGMENT - sled::SEG_HEADER_LEN;

/// What this backend promises and accepts.
pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    durable: true,
    shared: false,
    max_value_bytes: 64 << 10,
    // Readers wait while a batch is applied: about a second for the largest.
    max_batch_bytes: 16 << 20,
    max_batch_operations: 1 << 16,
    ..Capabilities::IN_PROCESS
};

/// Most entries that a leaf ever has.
const LEAF_ENTRIES: usize = 30;
/// Lengths of up to nine bytes before a stored key and its value.
const LENGTHS_BYTES: usize = 2 * 9;
/// A stored key is at most twice as long as the key.
const STORED_KEY_BYTES: usize = 2 * CAPABILITIES.max_key_bytes;
const ENTRY_BYTES: usize = LENGTHS_BYTES + STORED_KEY_BYTES + CAPABILITIES.max_value_bytes;
/// A page's two bounds, each a key with its length, and its fixed fields.
const PAGE_BYTES: usize = 2 * (9 + STORED_KEY_BYTES) + 64;

const _: () = assert!(
    sled::MAX_MSG_HEADER_LEN + PAGE_BYTES + LEAF_ENTRIES * ENTRY_BYTES <= LARGEST_MESSAGE_BYTES,
    "a leaf of largest values must fit into one message of the log"
);
const _: () = assert!(
    sled::MAX_MSG_HEADER_LEN + PAGE_BYTES + (256 + 64) * (STORED_KEY_BYTES + LENGTHS_BYTES)
        <= LARGEST_MESSAGE_BYTES,
    "an inner page of longest keys must fit into one message of the log"
);
