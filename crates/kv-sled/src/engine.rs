//! The engine while the store is open: reads, commits, and the syncs that make them durable.

use std::fs::File;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use kv_core::directory::Directory;
use kv_core::{
    Batch, Bytes, Condition, Direction, Durability, Error, Outcome, Page, PageBuilder, Result, Scan,
};
use parking_lot::{Mutex, RwLock};

use crate::error::{Failure, guarded};
use crate::limits::{CAPABILITIES, SEGMENT_BYTES};
use crate::{Options, files, key, opening};

/// A running engine. Dropping it flushes, and releases the directory.
pub(crate) struct Engine {
    /// `None` once the engine is stopped.
    db: Option<sled::Db>,
    /// The log, open a second time: what the engine calls a flush hands its data to the disk without telling
    /// the disk, or the file system, to keep it. A sync of this handle does.
    log: File,
    options: Options,
    /// Position in the log up to which it is durable. Changed by the holder of `sync` alone.
    durable: AtomicI64,
    /// One sync at a time: the error of one must stop the next, to which the system would not report it again.
    sync: Mutex<()>,
    /// One commit at a time.
    commit: Mutex<()>,
    /// Held for writing while a batch is applied, key by key, and for reading by each read: the engine's
    /// iterators see parts of batches.
    batches: RwLock<()>,
    /// A commit failed after it had begun: what is on the disk is not known.
    in_doubt: AtomicBool,
    /// A batch was applied in part.
    torn: AtomicBool,
    /// Position in the log when the engine was opened.
    opened_at: i64,
    /// Last: released when the engine has stopped.
    directory: Directory,
}

impl Engine {
    pub(crate) fn new(db: sled::Db, log: File, directory: Directory, options: Options) -> Self {
        let opened_at = db.context.pagecache.log.stable_offset();
        Self {
            db: Some(db),
            log,
            options,
            durable: AtomicI64::new(opened_at),
            sync: Mutex::new(()),
            commit: Mutex::new(()),
            batches: RwLock::new(()),
            in_doubt: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            opened_at,
            directory,
        }
    }

    /// Makes durable what the opening wrote.
    pub(crate) fn settle(&self) -> Result<()> {
        self.flush().map_err(Failure::of_read)?;
        let folder = self.directory.engine_path();
        files::settle(folder)
            .map_err(|error| Error::unavailable(format!("cannot sync {}", folder.display()), error))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read(|db| value_of(db, key))
    }

    pub(crate) fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.read(|db| keys.iter().map(|key| value_of(db, key)).collect())
    }

    pub(crate) fn scan(&self, scan: Scan) -> Result<Page> {
        self.read(|db| page(db, scan))?
    }

    pub(crate) fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        batch.check(&CAPABILITIES)?;
        let _alone = self.commit.lock();
        self.check_writable()?;
        if let Some(condition) = self.first_lost(batch.conditions())? {
            return Ok(Outcome::ConditionFailed { condition });
        }
        self.settle_reads()?;
        self.apply(&batch)?;
        // A buffered commit is flushed too: it survives the end of the process, and the position in the log is exact.
        let synced = self.flush().and_then(|()| match durability {
            Durability::Durable => self.sync(),
            Durability::Buffered => self.keep_up(),
        });
        match synced {
            Ok(()) => {
                self.directory.check_exists().inspect_err(|_| {
                    self.in_doubt.store(true, Ordering::SeqCst);
                })?;
                Ok(Outcome::Applied)
            }
            Err(failure) => {
                self.in_doubt.store(true, Ordering::SeqCst);
                Err(failure.of_commit("the commit was applied and could not be made durable"))
            }
        }
    }

    /// Stops the engine so that the directory can be opened again at once, and leaves a snapshot of where its
    /// log ends.
    ///
    /// A log without a snapshot of its end is read up to the first thing that cannot be read, which is taken for
    /// the end: what follows a damaged byte would be lost without a word. With the snapshot it is an error.
    pub(crate) fn close(mut self) -> Result<()> {
        let _alone = self.commit.get_mut();
        let has_written = self.position() != Some(self.opened_at);
        self.stop()?;
        if has_written && !self.in_doubt.load(Ordering::SeqCst) {
            let folder = self.directory.engine_path();
            drop(opening::start(folder, &self.options).map_err(Failure::of_read)?);
            files::wait_for_release(&self.log)
                .and_then(|()| files::sync_all(folder))
                .map_err(|error| Error::unavailable("cannot leave a snapshot", error))?;
        }
        Ok(())
    }

    fn read<T>(&self, read: impl FnOnce(&sled::Db) -> Result<T, sled::Error>) -> Result<T> {
        let value = {
            let _whole_batches = self.batches.read();
            if self.torn.load(Ordering::SeqCst) {
                return Err(torn());
            }
            guarded(|| read(self.db())).map_err(Failure::of_read)?
        };
        // Reads split and merge pages, and so write. A failure does not touch what was read; commits stop.
        if let Err(failure) = self.keep_up() {
            self.in_doubt.store(true, Ordering::SeqCst);
            tracing::warn!(?failure, "cannot sync the log; open the store again");
        }
        Ok(value)
    }

    fn first_lost<'a>(&self, conditions: impl Iterator<Item = &'a Condition>) -> Result<Option<usize>> {
        // No batch is applied meanwhile: the caller holds `commit`.
        guarded(|| {
            for (index, condition) in conditions.enumerate() {
                let current = self.db().get(key::encode(condition.key()))?;
                if !condition.holds(current.as_deref()) {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
        .map_err(Failure::of_read)
    }

    /// Flushes what reads have written since the last commit, so that a batch, which can fill several
    /// segments, begins where the position in the log is exact.
    fn settle_reads(&self) -> Result<()> {
        self.flush().and_then(|()| self.keep_up()).map_err(|failure| {
            self.in_doubt.store(true, Ordering::SeqCst);
            Error::unavailable(
                "the engine cannot write; close the store and open it again",
                failure.into_source(),
            )
        })
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut writes = sled::Batch::default();
        for (key, value) in batch.writes() {
            let key = key::encode(key);
            match value {
                Some(value) => writes.insert(&*key, &**value),
                None => writes.remove(&*key),
            }
        }
        let _no_reader = self.batches.write();
        guarded(|| self.db().apply_batch(writes)).map_err(|failure| {
            self.torn.store(true, Ordering::SeqCst);
            self.in_doubt.store(true, Ordering::SeqCst);
            failure.of_commit("the engine failed while it applied the batch")
        })
    }

    fn check_writable(&self) -> Result<()> {
        if self.torn.load(Ordering::SeqCst) {
            return Err(torn());
        }
        if self.in_doubt.load(Ordering::SeqCst) {
            let reason = "an earlier commit or sync failed; close the store and open it again";
            return Err(Error::Unavailable {
                reason: reason.to_owned(),
                source: None,
            });
        }
        // A failed write of the engine's threads: it would refuse the batch too, but perhaps in the middle of it.
        self.db()
            .context
            .global_error()
            .map_err(|error| Error::unavailable("the engine has failed", error))
    }

    fn db(&self) -> &sled::Db {
        self.db
            .as_ref()
            .expect("only closing and dropping stop the engine, and they own it")
    }

    /// How far the log is written, in bytes since the store was created.
    fn position(&self) -> Option<i64> {
        self.db
            .as_ref()
            .map(|db| db.context.pagecache.log.stable_offset())
    }

    /// Hands all that was applied to the file. Not durable yet.
    fn flush(&self) -> Result<(), Failure> {
        guarded(|| self.db().flush()).map(drop)
    }

    /// Makes durable what was handed to the file.
    fn sync(&self) -> Result<(), Failure> {
        let _one = self.sync.lock();
        if self.in_doubt.load(Ordering::SeqCst) {
            return Err(Failure::Error(
                std::io::Error::other("an earlier sync failed").into(),
            ));
        }
        let position = self.position().unwrap_or_default();
        let synced = self
            .log
            .sync_data()
            .and_then(|()| files::sync_blobs(self.directory.engine_path()));
        if let Err(error) = synced {
            self.in_doubt.store(true, Ordering::SeqCst);
            return Err(Failure::Error(error.into()));
        }
        self.durable.store(position, Ordering::SeqCst);
        Ok(())
    }

    /// Syncs the log whenever it has reached another segment.
    ///
    /// The engine writes over a segment as soon as all its data was written elsewhere *and flushed*, two
    /// segments later. As its flush is not a sync, a power cut could then take the new place, and the old one
    /// is gone: a loss of commits that had been durable, or a store that does not open. With a sync per
    /// segment the new place is durable before the old one is written over. Within a batch nothing is written
    /// over for the sake of the batch itself: the engine counts none of it as flushed before all of it is.
    fn keep_up(&self) -> Result<(), Failure> {
        let segment = |position: i64| position / SEGMENT_BYTES as i64;
        let written = self.position().unwrap_or_default();
        if segment(written) > segment(self.durable.load(Ordering::SeqCst)) {
            self.sync()
        } else {
            Ok(())
        }
    }

    fn stop(&mut self) -> Result<()> {
        let Some(db) = self.db.take() else { return Ok(()) };
        if self.torn.load(Ordering::SeqCst) {
            // Dropping it would flush a part of a batch. The next process finds the log without it.
            std::mem::forget(db);
            return Err(torn());
        }
        let flushed = guarded(|| {
            let flushed = db.flush().map(|_bytes| ());
            drop(db);
            flushed
        });
        let released = files::wait_for_release(&self.log).and_then(|()| self.log.sync_all());
        flushed.map_err(|failure| failure.of_commit("the last commits could not be flushed"))?;
        released.map_err(|error| Error::outcome_unknown("the last commits could not be synced", error))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "the store was dropped and could not be flushed");
        }
    }
}

fn torn() -> Error {
    let reason = "the engine failed within a batch; restart the process and open the store again";
    Error::Unavailable {
        reason: reason.to_owned(),
        source: None,
    }
}

fn value_of(db: &sled::Db, key: &[u8]) -> Result<Option<Bytes>, sled::Error> {
    // A copy: the engine's value may be a small part of a page, which it would keep in memory.
    Ok(db
        .get(key::encode(key))?
        .map(|value| Bytes::copy_from_slice(&value)))
}

/// Reads a page. The outer error is the engine's; the inner one says that it returned a key that was never stored.
fn page(db: &sled::Db, scan: Scan) -> Result<Result<Page>, sled::Error> {
    let mut page = PageBuilder::new(scan.clone());
    if scan.is_empty() {
        return Ok(Ok(page.finish()));
    }
    let end = if scan.end.is_empty() {
        Bound::Unbounded
    } else {
        Bound::Excluded(key::encode(&scan.end))
    };
    let mut range = db.range((Bound::Included(key::encode(&scan.start)), end));
    let mut next = || match scan.direction {
        Direction::Forward => range.next(),
        Direction::Reverse => range.next_back(),
    };
    while let Some(entry) = next() {
        let (stored, value) = entry?;
        let Some(key) = key::decode(&stored) else {
            let reason = format!("the engine returned the key {stored:?}, which was never stored");
            return Ok(Err(Error::Corrupt { reason, source: None }));
        };
        if !page.push(key, Bytes::copy_from_slice(&value)) {
            break;
        }
    }
    Ok(Ok(page.finish()))
}
