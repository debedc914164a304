//! The open engine: reads, commits, and its orderly end. Every call here blocks.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, PersistMode, Readable, Slice};
use kv_core::directory::Directory;
use kv_core::{
    Batch, Bytes, Capabilities, Condition, Direction, Durability, Error, Outcome, Page, PageBuilder, Result,
    Scan,
};
use parking_lot::Mutex;

use crate::room::Room;
use crate::{error, opening};

pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    durable: true,
    ..Capabilities::IN_PROCESS
};

/// From 4 memtables that wait for their flush, and from 30 runs in the first level, the engine waits inside a
/// commit, and it waits for ever when its workers have failed. A commit adds at most two memtables (the one
/// in use, if it is full, and its own), so from here on we wait before it, where a failure can still be told.
const MAX_WAITING_MEMTABLES: usize = 2;
/// As above; between two looks the workers may add a few runs.
const MAX_FIRST_LEVEL_RUNS: usize = 20;
/// A block of a table is closed when it has reached this size.
const BLOCK_BYTES: usize = 4 << 10;
/// Between two looks at the work of the engine's threads; a flush takes tens of milliseconds.
const PAUSE: Duration = Duration::from_millis(1);

/// An open engine. Fields are dropped in this order: the directory is released when the engine is gone.
pub(crate) struct Engine {
    keyspace: Keyspace,
    database: Database,
    /// Held for the whole of a commit, so that conditions are checked against everything committed before.
    /// One store is the only writer of its directory.
    writing: Mutex<Writer>,
    directory: Directory,
}

struct Writer {
    state: Writing,
    room: Room,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Accepted,
    /// A commit is on its way, or has not come to a good end: after a failed write or sync nobody knows what
    /// is on the disk, and the engine brings back a batch that it has reported as failed.
    Stopped,
}

impl Engine {
    pub(crate) fn new(database: Database, keyspace: Keyspace, directory: Directory) -> Self {
        Self {
            keyspace,
            database,
            writing: Mutex::new(Writer {
                state: Writing::Accepted,
                room: Room::new(),
            }),
            directory,
        }
    }

    // Reads go through a snapshot throughout: the engine's plain reads see single writes of a batch as they
    // arrive in memory, before the batch is complete.

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.get_in(&self.database.snapshot(), key)
    }

    pub(crate) fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let snapshot = self.database.snapshot();
        keys.iter().map(|key| self.get_in(&snapshot, key)).collect()
    }

    fn get_in(&self, snapshot: &impl Readable, key: &[u8]) -> Result<Option<Bytes>> {
        let value = snapshot
            .get(&self.keyspace, key)
            .map_err(|error| error::of_read("read a key", error))?;
        Ok(value.map(to_bytes))
    }

    pub(crate) fn scan(&self, scan: Scan) -> Result<Page> {
        let mut page = PageBuilder::new(scan.clone());
        if scan.is_empty() {
            return Ok(page.finish());
        }
        let mut entries = self
            .database
            .snapshot()
            .range::<&[u8], _>(&self.keyspace, scan.bounds());
        loop {
            let entry = match scan.direction {
                Direction::Forward => entries.next(),
                Direction::Reverse => entries.next_back(),
            };
            let Some(entry) = entry else { break };
            let (key, value) = entry
                .into_inner()
                .map_err(|error| error::of_read("read a range", error))?;
            if !page.push(to_bytes(key), to_bytes(value)) {
                break;
            }
        }
        Ok(page.finish())
    }

    pub(crate) fn commit(&self, batch: &Batch, durability: Durability) -> Result<Outcome> {
        batch.check(&CAPABILITIES)?;
        let mut writer = self.writing.lock();
        if writer.state == Writing::Stopped {
            return Err(error::stopped(None));
        }
        if let Some(condition) = self.failed_condition(batch)? {
            return Ok(Outcome::ConditionFailed { condition });
        }
        self.wait_for_room()?;
        // Until the engine has said that all is well, so that a panic of the engine stops the writing too.
        writer.state = Writing::Stopped;
        self.write(batch, durability).map_err(|error| {
            tracing::error!(%error, path = %self.directory.engine_path().display(), "a commit failed");
            error::of_commit(error)
        })?;
        self.directory.check_exists()?;
        writer.state = Writing::Accepted;
        let is_durable = durability == Durability::Durable;
        writer
            .room
            .used(journal_bytes(batch), is_durable, self.directory.engine_path());
        Ok(Outcome::Applied)
    }

    /// Plain reads here: the commit lock keeps every batch out.
    fn failed_condition(&self, batch: &Batch) -> Result<Option<usize>> {
        for (index, condition) in batch.conditions().enumerate() {
            let held = match condition {
                Condition::Absent(key) => self.keyspace.contains_key(key).map(|found| !found),
                Condition::Present(key) => self.keyspace.contains_key(key),
                Condition::Equals { key, .. } => {
                    self.keyspace.get(key).map(|it| condition.holds(it.as_deref()))
                }
            };
            if !held.map_err(|error| error::of_read("check a condition", error))? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn write(&self, batch: &Batch, durability: Durability) -> fjall::Result<()> {
        let mode = match durability {
            Durability::Durable => PersistMode::SyncData,
            Durability::Buffered => PersistMode::Buffer,
        };
        if batch.writes().len() == 0 {
            // What the conditions saw may be buffered still: a durable answer rests on durable data.
            return self.database.persist(mode);
        }
        let mut writes = self.database.batch().durability(Some(mode));
        for (key, value) in batch.writes() {
            match value {
                Some(value) => writes.insert(&self.keyspace, &key[..], &value[..]),
                None => writes.remove(&self.keyspace, &key[..]),
            }
        }
        writes.commit()
    }

    fn wait_for_room(&self) -> Result<()> {
        while self.keyspace.sealed_memtable_count() >= MAX_WAITING_MEMTABLES
            || self.keyspace.tree.l0_run_count() >= MAX_FIRST_LEVEL_RUNS
        {
            self.check_workers()
                .map_err(|error| error::stopped(Some(error.into())))?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Fails when the engine has stopped because one of its threads has.
    fn check_workers(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::Buffer)
    }

    /// Makes everything durable, moves it into tables, and ends the engine.
    pub(crate) fn close(self) -> Result<()> {
        self.database.persist(PersistMode::SyncAll).map_err(|error| {
            let reason = "the journal could not be synced; commits that were buffered may be lost";
            Error::outcome_unknown(reason, error)
        })?;
        let flushed = self.flush();
        let Self {
            keyspace,
            database,
            directory,
            ..
        } = self;
        let is_only_keyspace = database.keyspace_count() == 1;
        drop(keyspace);
        drop(database);
        let emptied = match flushed {
            Ok(()) if is_only_keyspace => empty_journal(directory.engine_path()),
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = emptied {
            // No data depends on it: the journals have everything.
            tracing::warn!(%error, "could not move the journal into tables; opening will replay it");
        }
        Ok(())
    }

    /// Moves the memtable into a table, so that the next opening has nothing to rebuild.
    fn flush(&self) -> fjall::Result<()> {
        self.keyspace.rotate_memtable()?;
        while self.keyspace.sealed_memtable_count() > 0 {
            self.check_workers()?;
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// Empties the journal of an engine that has ended and has all its data in synced tables.
///
/// The engine would keep it, and read all of it at the next opening to find out that every record is in a
/// table. It is emptied and not removed, because without a journal the engine would count its sequence
/// numbers from zero again.
fn empty_journal(folder: &Path) -> io::Result<()> {
    let journals = opening::journals(folder)?;
    // With sealed journals left, what they hold was not flushed after all.
    if let [journal] = &journals[..] {
        let journal = OpenOptions::new().write(true).open(journal)?;
        journal.set_len(0)?;
        journal.sync_all()?;
    }
    Ok(())
}

/// About how much of the journal a batch takes: a header for each write, and its bytes.
fn journal_bytes(batch: &Batch) -> u64 {
    let writes = batch.writes();
    let bytes = writes.map(|(key, value)| 16 + key.len() + value.map_or(0, |it| it.len()));
    bytes.sum::<usize>() as u64
}

/// Shares the engine's buffer where it is not much larger than what is wanted: a slice keeps the whole block in memory
/// that it was read from, which is about [`BLOCK_BYTES`] unless one value makes it larger.
fn to_bytes(slice: Slice) -> Bytes {
    if slice.len() < BLOCK_BYTES {
        Bytes::copy_from_slice(&slice)
    } else {
        Bytes::from_owner(slice)
    }
}
