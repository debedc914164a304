//! The blocks that a group adds to the log of a database.

use bytes::Bytes;
use eventstore_abstractions::{Database, Position, StreamId, Version};

use crate::keys;
use crate::record::{EncodedRun, NewBlock};

/// A block of the log is closed at so many bytes: large enough that its key and checksum cost little, small enough
/// that a read from the middle of the log begins close by.
pub(crate) const MAX_BLOCK_BYTES: usize = 16 << 10;

/// What a group has appended to a log so far.
#[derive(Debug, Default)]
pub(super) struct LogTail {
    closed: Vec<(Position, NewBlock)>,
    open: Option<(Position, NewBlock)>,
}

impl LogTail {
    /// Adds a run of `events` events, the last of which has this version and this position.
    pub(super) fn push(
        &mut self,
        stream: &StreamId,
        last: (Version, Position),
        events: u64,
        run: &EncodedRun,
    ) {
        let (version, position) = last;
        let mut block = self.open.take().map_or_else(NewBlock::new, |(_, block)| block);
        block.push(stream, version, events, run);
        if block.bytes() < MAX_BLOCK_BYTES {
            self.open = Some((position, block));
        } else {
            self.closed.push((position, block));
        }
    }

    /// The records of all blocks and their keys.
    pub(super) fn take_blocks(&mut self, database: &Database) -> impl Iterator<Item = (Bytes, Bytes)> {
        self.closed.extend(self.open.take());
        self.closed.drain(..).map(|(last, block)| {
            let key = keys::log_block(database, last);
            let value = block.seal(&key);
            (key, value)
        })
    }
}
