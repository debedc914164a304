//! What fits into a commit.

use kv_core::{Batch, Capabilities};

#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    operations: usize,
    bytes: usize,
    /// Most bytes of a record.
    pub(super) record_bytes: usize,
    /// Whether one part of a log goes in, whatever it takes: it came in one commit.
    pub(super) is_whole: bool,
}

impl Room {
    /// That of a commit of its own.
    pub(super) fn of(capabilities: &Capabilities) -> Self {
        Self {
            is_whole: true,
            ..Self::beside(&Batch::new(), capabilities)
        }
    }

    /// What is left beside `batch`.
    pub(super) fn beside(batch: &Batch, capabilities: &Capabilities) -> Self {
        let operations = batch.conditions().len() + batch.writes().len();
        Self {
            operations: capabilities.max_batch_operations.saturating_sub(operations),
            bytes: capabilities.max_batch_bytes.saturating_sub(batch.bytes()),
            record_bytes: capabilities.max_value_bytes,
            is_whole: false,
        }
    }

    pub(super) fn fits(self, operations: usize, bytes: usize) -> bool {
        operations <= self.operations && bytes <= self.bytes
    }
}
