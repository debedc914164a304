//! The open engine: reads, commits, and its orderly end. Every call here blocks.

use kv_core::directory::Directory;
use kv_core::{
    Batch, Bytes, Capabilities, Direction, Durability, Error, Outcome, Page, PageBuilder, Result, Scan,
};
use parking_lot::Mutex;
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::error::{self, guarded};

pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    durable: true,
    ..Capabilities::IN_PROCESS
};

/// The one table.
pub(crate) const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("kv");

/// An open engine. Fields are dropped in this order: the directory is released when the engine is gone.
pub(crate) struct Engine {
    database: Database,
    /// Whether each durable commit also writes what an opening after a crash would have to find out.
    quick_recovery: bool,
    /// Held for the whole of a commit, so that conditions are checked against everything committed
    /// before. One store is the only writer of its directory.
    writing: Mutex<Writing>,
    directory: Directory,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// Everything committed is durable.
    Durable,
    /// Commits are in memory that are not durable yet.
    Buffered,
    /// A commit is on its way, or has not come to a good end: after a failed write or sync nobody knows
    /// what is on the disk, and the engine brings back a batch that it has reported as failed.
    Stopped,
}

impl Engine {
    pub(crate) fn new(database: Database, directory: Directory, quick_recovery: bool) -> Self {
        Self {
            database,
            quick_recovery,
            writing: Mutex::new(Writing::Durable),
            directory,
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read("read a key", |table| value_of(table, key))
    }

    pub(crate) fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.read("read keys", |table| {
            keys.iter().map(|key| value_of(table, key)).collect()
        })
    }

    pub(crate) fn scan(&self, scan: Scan) -> Result<Page> {
        let mut page = PageBuilder::new(scan.clone());
        if scan.is_empty() {
            return Ok(page.finish());
        }
        self.read("read a range", |table| {
            let mut entries = table.range::<&[u8]>(scan.bounds())?;
            loop {
                let entry = match scan.direction {
                    Direction::Forward => entries.next(),
                    Direction::Reverse => entries.next_back(),
                };
                let Some(entry) = entry else { break };
                let (key, value) = entry?;
                if !page.push(to_bytes(key.value()), to_bytes(value.value())) {
                    break;
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
        if let Some(condition) = self.failed_condition(batch)? {
            return Ok(Outcome::ConditionFailed { condition });
        }
        // What the conditions saw may be buffered still: a durable answer rests on durable data.
        let is_settled = before == Writing::Durable || durability == Durability::Buffered;
        if batch.writes().len() == 0 && is_settled {
            return Ok(Outcome::Applied);
        }
        // Until the engine has said that all is well, so that a panic of the engine stops the writing
        // too.
        *writing = Writing::Stopped;
        self.write(batch, durability).inspect_err(|error| {
            tracing::error!(%error, path = %self.directory.engine_path().display(), "a commit failed");
        })?;
        self.directory.check_exists()?;
        *writing = match durability {
            Durability::Durable => Writing::Durable,
            Durability::Buffered => Writing::Buffered,
        };
        Ok(Outcome::Applied)
    }

    /// Makes everything durable and ends the engine.
    pub(crate) fn close(self) -> Result<()> {
        let Self {
            database, writing, ..
        } = self;
        let was_durable = writing.into_inner() == Writing::Durable;
        match database.close() {
            // No data depends on it: the next opening finds out what this one could not leave.
            Err(error) if was_durable => {
                tracing::warn!(%error, "the engine did not close; opening will read the whole file");
                Ok(())
            }
            Err(error) => {
                let reason = "the engine could not sync; commits that were buffered may be lost";
                Err(Error::outcome_unknown(reason, error))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Reads from one view of everything committed before.
    fn read<T>(
        &self,
        action: &str,
        read: impl FnOnce(&Table) -> std::result::Result<T, redb::Error>,
    ) -> Result<T> {
        guarded(|| read(&self.database.begin_read()?.open_table(TABLE)?))
            .map_err(|failure| failure.of_read(action))
    }

    fn failed_condition(&self, batch: &Batch) -> Result<Option<usize>> {
        if batch.conditions().len() == 0 {
            return Ok(None);
        }
        self.read("check a condition", |table| {
            for (index, condition) in batch.conditions().enumerate() {
                let value = table.get(&condition.key()[..])?;
                if !condition.holds(value.as_ref().map(|it| it.value())) {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
    }

    fn write(&self, batch: &Batch, durability: Durability) -> Result<()> {
        // Until it commits, a transaction that fails leaves nothing behind.
        let transaction = self
            .prepare(batch, durability)
            .map_err(|error| error::Failure::Error(error).of_read("write a batch"))?;
        transaction
            .commit()
            .map_err(|error| error::of_commit(error.into()))
    }

    fn prepare(
        &self,
        batch: &Batch,
        durability: Durability,
    ) -> std::result::Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        match durability {
            Durability::Durable => transaction.set_quick_repair(self.quick_recovery),
            Durability::Buffered => transaction.set_durability(redb::Durability::None)?,
        }
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in batch.writes() {
            match value {
                Some(value) => table.insert(&key[..], &value[..])?,
                None => table.remove(&key[..])?,
            };
        }
        drop(table);
        Ok(transaction)
    }
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

fn value_of(table: &Table, key: &[u8]) -> std::result::Result<Option<Bytes>, redb::Error> {
    Ok(table.get(key)?.map(|value| to_bytes(value.value())))
}

/// A copy: the engine's value would keep the whole page that it is in in memory.
fn to_bytes(slice: &[u8]) -> Bytes {
    Bytes::copy_from_slice(slice)
}
