//! The open engine: reads, commits, and its orderly end. Every call here blocks.

use std::ops::Bound;

use heed::{AnyTls, RoTxn, RwTxn};
use kv_core::directory::Directory;
use kv_core::{
    Batch, Bytes, Capabilities, Direction, Durability, Error, Outcome, Page, PageBuilder, Result, Scan,
};
use parking_lot::Mutex;

use crate::environment::{Environment, Table};
use crate::error;

pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    durable: true,
    // What the engine is compiled for.
    max_key_bytes: 511,
    ..Capabilities::IN_PROCESS
};

/// Entries of a scan are copied together until they have this many bytes, and share the memory: whoever
/// keeps one keeps as much. More would be a little faster and waste more.
const CHUNK_BYTES: usize = 4096;

/// An open engine. Fields are dropped in this order: the directory is released when the engine is gone.
pub(crate) struct Engine {
    environment: Environment,
    /// Held for the whole of a commit: flags of the environment are set in it.
    writing: Mutex<Writing>,
    directory: Directory,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Everything committed is durable.
    Durable,
    /// There are commits that a power cut may undo.
    Buffered,
    /// A commit is on its way, or has not come to a good end: after a failed write or sync nobody knows
    /// what is on the disk.
    Stopped,
}

impl Engine {
    pub(crate) fn new(environment: Environment, directory: Directory) -> Self {
        Self {
            environment,
            writing: Mutex::new(Writing::Durable),
            directory,
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read("read a key", |transaction, table| {
            value_of(transaction, table, key)
        })
    }

    pub(crate) fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.read("read keys", |transaction, table| {
            keys.iter().map(|key| value_of(transaction, table, key)).collect()
        })
    }

    pub(crate) fn scan(&self, scan: Scan) -> Result<Page> {
        let mut page = PageBuilder::new(scan.clone());
        if scan.is_empty() {
            return Ok(page.finish());
        }
        let (start, end) = scan.bounds();
        // The engine refuses the empty key, which comes before all others.
        let start = if scan.start.is_empty() {
            Bound::Unbounded
        } else {
            start
        };
        let bounds = (start, end);
        self.read("read a range", |transaction, table| {
            match scan.direction {
                Direction::Forward => fill(&mut page, scan.max_items, table.range(transaction, &bounds)?)?,
                Direction::Reverse => {
                    fill(&mut page, scan.max_items, table.rev_range(transaction, &bounds)?)?
                }
            }
            Ok(page.finish())
        })
    }

    pub(crate) fn commit(&self, batch: &Batch, durability: Durability) -> Result<Outcome> {
        batch.check(&CAPABILITIES)?;
        let mut writing = self.writing.lock();
        let before = *writing;
        if before == Writing::Stopped {
            return Err(error::stopped());
        }
        // Until the engine has answered, so that a panic stops the writing too.
        *writing = Writing::Stopped;
        let written = self
            .write(batch, durability, before)
            .and_then(|written| self.directory.check_exists().map(|()| written));
        *writing = match &written {
            Ok((_, after)) => *after,
            Err(Error::OutcomeUnknown { .. }) => Writing::Stopped,
            // A transaction that ends without a commit leaves nothing behind.
            Err(_) => before,
        };
        match written {
            Ok((outcome, _)) => Ok(outcome),
            Err(error) => {
                tracing::error!(%error, path = %self.directory.engine_path().display(), "a commit failed");
                Err(error)
            }
        }
    }

    /// Makes everything durable and ends the engine.
    pub(crate) fn close(self) -> Result<()> {
        let before = self.writing.into_inner();
        if before == Writing::Durable {
            return Ok(());
        }
        let synced = self.environment.sync();
        let reason = "commits that were buffered may be lost";
        match synced {
            // After a sync that failed, one that succeeds says nothing of what the first should have written.
            Ok(()) if before == Writing::Stopped => Err(Error::OutcomeUnknown {
                reason: format!("an earlier write failed; {reason}"),
                source: None,
            }),
            Ok(()) => Ok(()),
            Err(error) => {
                let reason = format!("the engine could not sync; {reason}");
                Err(Error::outcome_unknown(reason, error))
            }
        }
    }

    /// Reads from one view of everything committed before.
    fn read<T>(
        &self,
        action: &str,
        read: impl FnOnce(&RoTxn<'_, AnyTls>, &Table) -> heed::Result<T>,
    ) -> Result<T> {
        let transaction = self
            .environment
            .read()
            .map_err(|error| error::of_read(action, error))?;
        read(&transaction, self.environment.table()).map_err(|error| error::of_read(action, error))
    }

    fn write(&self, batch: &Batch, durability: Durability, before: Writing) -> Result<(Outcome, Writing)> {
        let of_write = |error| error::of_read("write a batch", error);
        let table = self.environment.table();
        let mut transaction = self.environment.write().map_err(of_write)?;
        if let Some(condition) = failed_condition(&transaction, table, batch).map_err(of_write)? {
            return Ok((Outcome::ConditionFailed { condition }, before));
        }
        if apply(&mut transaction, table, batch).map_err(of_write)? {
            self.environment
                .commit(transaction, durability)
                .map_err(error::of_commit)?;
            let after = match durability {
                Durability::Durable => Writing::Durable,
                Durability::Buffered => Writing::Buffered,
            };
            return Ok((Outcome::Applied, after));
        }
        drop(transaction);
        if before == Writing::Buffered && durability == Durability::Durable {
            // What the conditions saw may be buffered still: a durable answer rests on durable data.
            self.environment.sync().map_err(error::in_doubt)?;
            return Ok((Outcome::Applied, Writing::Durable));
        }
        Ok((Outcome::Applied, before))
    }
}

fn failed_condition(transaction: &RwTxn<'_>, table: &Table, batch: &Batch) -> heed::Result<Option<usize>> {
    for (index, condition) in batch.conditions().enumerate() {
        if !condition.holds(table.get(transaction, condition.key())?) {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Returns whether there is anything to commit: the engine syncs nothing when there is not.
fn apply(transaction: &mut RwTxn<'_>, table: &Table, batch: &Batch) -> heed::Result<bool> {
    let mut is_changed = false;
    for (key, value) in batch.writes() {
        is_changed |= match value {
            Some(value) => {
                table.put(transaction, key, value)?;
                true
            }
            None => table.delete(transaction, key)?,
        };
    }
    Ok(is_changed)
}

fn value_of(transaction: &RoTxn<'_, AnyTls>, table: &Table, key: &[u8]) -> heed::Result<Option<Bytes>> {
    // The engine refuses a key that it could not have taken.
    if key.is_empty() || key.len() > CAPABILITIES.max_key_bytes {
        return Ok(None);
    }
    Ok(table.get(transaction, key)?.map(Bytes::copy_from_slice))
}

/// Copies entries out of the map, where they are overwritten after the transaction: many at once, since to
/// allocate memory for each would take longer than to find it.
fn fill<'a>(
    page: &mut PageBuilder,
    max_items: usize,
    mut entries: impl Iterator<Item = heed::Result<(&'a [u8], &'a [u8])>>,
) -> heed::Result<()> {
    let mut left = max_items.max(1);
    let mut chunk = Vec::new();
    loop {
        let mut bytes = 0;
        chunk.clear();
        while left > 0 && bytes < CHUNK_BYTES {
            let Some(entry) = entries.next() else { break };
            let (key, value) = entry?;
            bytes += key.len() + value.len();
            chunk.push((key, value));
            left -= 1;
        }
        if chunk.is_empty() || !push(page, &chunk, bytes) {
            return Ok(());
        }
    }
}

/// Copies the entries into one piece of memory and adds them to the page. Returns whether more may follow.
fn push(page: &mut PageBuilder, entries: &[(&[u8], &[u8])], bytes: usize) -> bool {
    let mut copy = Vec::with_capacity(bytes);
    for (key, value) in entries {
        copy.extend_from_slice(key);
        copy.extend_from_slice(value);
    }
    let mut rest = Bytes::from(copy);
    entries.iter().all(|(key, value)| {
        let key = rest.split_to(key.len());
        page.push(key, rest.split_to(value.len()))
    })
}
