//! An engine, and in memory what it does not have yet.

use std::ops::Deref;

use bytes::Bytes;
use eventstore_abstractions::{Database, Position, Result};
use hashbrown::HashSet;
use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome};
use parking_lot::RwLock;
use tokio::sync::Mutex as AsyncMutex;

use super::Derivation;
use super::doubts::Doubts;
use super::pending::{Known, Pending, Settling};
use super::replay::Replay;
use super::room::Room;
use crate::error::{engine_error, open_error};
use crate::keys;
use crate::record::{self, DatabaseHead, Record, Settled, StreamHead};

/// Records that are written at once when there is nothing else to do: for so long an append may have to wait.
const RECORDS_AT_REST: usize = 256;
/// For each record that is added while there are too many, so many are written.
const SETTLED_PER_ADDED: usize = 2;
/// Blocks at the end of a log that are looked at where nothing says that something is missing of them.
const CHECKED_BLOCKS: usize = 16;
/// Heads that are compared at once.
const HEADS_AT_ONCE: usize = 1_024;
/// How often writing is tried where something else moves a database meanwhile.
const MAX_ATTEMPTS: usize = 64;

/// An engine that has the rest of its records in memory.
#[derive(Debug)]
pub(crate) struct Deferring<E> {
    pub(super) engine: E,
    pub(super) pending: RwLock<Pending>,
    max_bytes: usize,
    /// Held by whoever commits: nothing may be written after what replaces it.
    gate: AsyncMutex<()>,
    doubts: Doubts,
}

impl<E: Deref<Target = dyn KeyValueStore>> Deferring<E> {
    /// Derives what `engine` does not have.
    pub(super) async fn open(engine: E, max_bytes: usize, max_heads: usize) -> Result<Self> {
        let deferring = Self {
            engine,
            pending: RwLock::new(Pending::new(max_heads)),
            max_bytes,
            gate: AsyncMutex::default(),
            doubts: Doubts::default(),
        };
        for scan in [keys::database_heads(), keys::all_settled()] {
            let mut next = Some(scan);
            while let Some(scan) = next {
                let page = deferring.engine.scan(scan).await.map_err(open_error)?;
                let names = page
                    .entries
                    .iter()
                    .filter_map(|entry| keys::database_of(&entry.key));
                for name in names {
                    deferring.begin(keys::database_head(&name), name).await?;
                }
                next = page.next;
            }
        }
        Ok(deferring)
    }

    /// Gets to know a database, unless it is known, and derives what is missing of it. A head that is damaged or lost is left
    /// to who reads it.
    async fn begin(&self, head_key: Bytes, name: Database) -> Result<()> {
        if self.pending.read().known(&head_key).is_some() {
            return Ok(());
        }
        let head = self.engine.get(&head_key).await.map_err(open_error)?;
        let opened = head.as_ref().map(|head| DatabaseHead::open(&head_key, head));
        let position = match opened {
            Some(Ok(head)) => head.position,
            _ => self.newest_block(&name).await?,
        };
        let key = keys::settled(&name);
        let marked = self.engine.get(&key).await.map_err(open_error)?;
        let marked = marked.map(|value| Settled::open(&key, &value)).transpose()?;
        let settled = match marked {
            Some(marked) => marked.position,
            None => {
                self.check_unmarked(&name, position).await?;
                position
            }
        };
        let known = Known {
            name,
            head,
            position,
            settled,
            is_marked: marked.is_some(),
        };
        self.derive(head_key, known, settled).await
    }

    /// The position of the newest event of a log.
    async fn newest_block(&self, database: &Database) -> Result<u64> {
        let blocks = keys::log_blocks(database, Position::ZERO, Position::MAX);
        let page = self
            .engine
            .scan(blocks.reverse().max_items(1))
            .await
            .map_err(open_error)?;
        let newest = page.entries.first().and_then(|entry| keys::number_of(&entry.key));
        Ok(newest.unwrap_or_default())
    }

    /// Makes sure that nothing of the last blocks of a log, which ends at `position`, is missing where nothing says that
    /// it may be.
    async fn check_unmarked(&self, database: &Database, position: u64) -> Result<()> {
        let blocks = keys::log_blocks(database, Position::ZERO, Position::new(position));
        let blocks = blocks.reverse().max_items(CHECKED_BLOCKS);
        let page = self.engine.scan(blocks).await.map_err(open_error)?;
        let Some(oldest) = page.entries.last() else {
            return Ok(());
        };
        // The first position of the oldest one is not known before it is opened: it is left out, unless it is the first.
        let after = page
            .next
            .and_then(|_| keys::number_of(&oldest.key))
            .unwrap_or_default();
        let replay = Replay {
            engine: &*self.engine,
            database,
            after,
            position,
        };
        let blocks = replay.run(|_| None).await?;
        let mut streams = blocks.iter().flat_map(|(_, streams)| streams);
        if streams.any(|stream| stream.head.is_some()) {
            return Err(record::missing(&keys::settled(database)));
        }
        Ok(())
    }

    /// Derives what follows from the log of a database behind `after`, and makes it known.
    async fn derive(&self, head_key: Bytes, known: Known, after: u64) -> Result<()> {
        let replay = Replay {
            engine: &*self.engine,
            database: &known.name,
            after,
            position: known.position,
        };
        let blocks = replay.run(|key| self.pending.read().pending(key)).await?;
        let mut pending = self.pending.write();
        pending.know(head_key.clone(), known);
        for (position, streams) in blocks {
            pending.push(head_key.clone(), position, streams);
        }
        Ok(())
    }

    /// Commits `batch`, and shows with it what it leads to.
    pub(super) async fn commit_deriving(
        &self,
        batch: Batch,
        derivations: Vec<Derivation>,
        durability: Durability,
    ) -> kv_core::Result<Outcome> {
        let _gate = self.gate.lock().await;
        let databases = derivations
            .iter()
            .map(|derivation| (derivation.head_key.clone(), derivation.database.clone()));
        let doubt = self.doubts.begin(databases.collect());
        let batch = self.mark(batch, &derivations);
        let streams = derivations.iter().flat_map(|derivation| &derivation.streams);
        let added = streams.map(|stream| 1 + stream.runs.len()).sum();
        let (batch, settling) = self.settle_with(batch, added);
        let outcome = self.commit_straight(batch, durability).await?;
        if outcome == Outcome::Applied {
            let mut pending = self.pending.write();
            pending.settled(&settling);
            for derivation in derivations {
                pending.add(derivation);
            }
            drop(pending);
            doubt.clear();
        }
        Ok(outcome)
    }

    /// Commits what may have heads of streams in it that do not come out of what is pending.
    pub(super) async fn commit_straight(
        &self,
        batch: Batch,
        durability: Durability,
    ) -> kv_core::Result<Outcome> {
        if !self.begins_writing_heads(&batch) {
            return self.engine.commit(batch, durability).await;
        }
        let outcome = self.engine.commit(batch, durability).await;
        // One that nobody knows the outcome of may land later.
        if !matches!(&outcome, Err(error) if error.is_outcome_unknown()) {
            self.pending.write().stored.end();
        }
        outcome
    }

    /// Whether `batch` has heads of streams: from now on nobody reads those of before, except in the engine.
    fn begins_writing_heads(&self, batch: &Batch) -> bool {
        let keys = batch.writes().map(|(key, _)| key);
        let mut heads = keys.filter(|key| keys::stream_of_head(key).is_some()).peekable();
        let has_heads = heads.peek().is_some();
        if has_heads {
            self.pending.write().stored.begin(heads);
        }
        has_heads
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.read().is_empty()
    }

    /// Writes some of what is pending.
    pub(super) async fn settle_some(&self) -> kv_core::Result<()> {
        self.catch_up().await?;
        let _gate = self.gate.lock().await;
        let settling = self
            .pending
            .read()
            .oldest(RECORDS_AT_REST, Room::of(&self.engine.capabilities()));
        let batch = self.with(Batch::new(), &settling);
        if batch.is_empty() {
            return Ok(());
        }
        match self.engine.commit(batch, Durability::Buffered).await? {
            Outcome::Applied => self.pending.write().settled(&settling),
            Outcome::ConditionFailed { .. } => {
                let pending = self.pending.read();
                let moved = settling
                    .databases
                    .keys()
                    .filter_map(|key| Some((key.clone(), pending.known(key)?.name.clone())));
                self.doubts.add(moved);
            }
        }
        Ok(())
    }

    /// Writes all that is pending now.
    pub(super) async fn settle(&self) -> kv_core::Result<()> {
        let (goal, mut settled) = self.pending.read().progress();
        let mut lost = 0;
        while settled < goal {
            self.settle_some().await?;
            let before = settled;
            settled = self.pending.read().progress().1;
            lost = if settled > before { 0 } else { lost + 1 };
            if lost == MAX_ATTEMPTS {
                return Err(Error::Unavailable {
                    reason: "something else writes to the store; let nothing do so, and try again".to_owned(),
                    source: None,
                });
            }
        }
        Ok(())
    }

    /// Writes all that is pending, and removes what says that there may be more.
    pub(super) async fn settle_for_good(&self) -> kv_core::Result<()> {
        self.settle().await?;
        let marked = self.pending.read().marked();
        let batch = marked
            .iter()
            .fold(Batch::new(), |batch, name| batch.delete(keys::settled(name)));
        if !batch.is_empty() {
            let _unconditional = self.engine.commit(batch, Durability::Durable).await?;
        }
        Ok(())
    }

    /// Says in `batch` where to begin deriving, for databases that do not say so yet.
    fn mark(&self, mut batch: Batch, derivations: &[Derivation]) -> Batch {
        let pending = self.pending.read();
        for derivation in derivations {
            if let Some(known) = pending
                .known(&derivation.head_key)
                .filter(|known| !known.is_marked)
            {
                batch = put_settled(batch, &known.name, known.settled);
            }
        }
        batch
    }

    /// Adds to `batch`, which adds so many records to those that are pending, some of the oldest if there are too many.
    fn settle_with(&self, batch: Batch, added: usize) -> (Batch, Settling) {
        if self.pending.read().bytes() <= self.max_bytes {
            return (batch, Settling::default());
        }
        let room = Room::beside(&batch, &self.engine.capabilities());
        let settling = self.pending.read().oldest(added * SETTLED_PER_ADDED, room);
        (self.with(batch, &settling), settling)
    }

    /// Adds to `batch` what is to be settled, as long as its databases are as they are known.
    fn with(&self, mut batch: Batch, settling: &Settling) -> Batch {
        let direct = batch.writes().map(|(key, _)| key.clone()).collect::<HashSet<_>>();
        for (key, value) in settling.records.iter().filter(|(key, _)| !direct.contains(key)) {
            batch = batch.put(key.clone(), value.clone());
        }
        let pending = self.pending.read();
        for (key, position) in &settling.databases {
            let Some(known) = pending.known(key) else { continue };
            if !direct.contains(key) {
                batch = batch.require_read(key.clone(), known.head.clone());
            }
            batch = put_settled(batch, &known.name, *position);
        }
        batch
    }

    /// Finds out what commits have done that did not end well, if there are.
    pub(super) async fn catch_up(&self) -> kv_core::Result<()> {
        if !self.doubts.is_any() {
            return Ok(());
        }
        let _gate = self.gate.lock().await;
        for (key, database) in self.doubts.all() {
            if let Some(head) = self.engine.get(&key).await? {
                self.catch_up_with(key, head, database)
                    .await
                    .map_err(engine_error)?;
            }
        }
        Ok(())
    }

    /// Forgets the heads of streams that the engine has newer ones of: of an append that nobody knew the outcome of and that
    /// had its records of a stream itself, or of a retention or a deletion.
    async fn forget_older_heads(&self) -> Result<()> {
        let heads = Vec::from_iter(self.pending.read().heads());
        for heads in heads.chunks(HEADS_AT_ONCE) {
            let keys = heads.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            let stored = self.engine.get_many(&keys).await.map_err(open_error)?;
            for ((key, pending), stored) in heads.iter().zip(stored) {
                // One that is damaged is left to who reads it. What is pending comes from appends: no other head that is
                // older has its version.
                let version = |head: &Bytes| StreamHead::open(key, head).map(|head| head.version);
                let (pending, stored) = (version(pending)?, stored.as_ref().map(version));
                if stored.is_some_and(|stored| stored.is_ok_and(|stored| stored >= pending)) {
                    self.pending.write().forget_head(key);
                }
            }
        }
        Ok(())
    }

    /// Derives what is not known of a database that has this head.
    async fn catch_up_with(&self, key: Bytes, head: Bytes, database: Database) -> Result<()> {
        let known = self.pending.read().known(&key).cloned();
        let Some(known) = known else {
            return self.begin(key, database).await;
        };
        if known.head.as_ref() == Some(&head) {
            return Ok(());
        }
        self.forget_older_heads().await?;
        let after = known.position;
        let position = DatabaseHead::open(&key, &head)?.position;
        // Every commit to it says where to begin deriving, if nothing did before.
        let moved = Known {
            head: Some(head),
            position,
            is_marked: true,
            ..known
        };
        self.derive(key, moved, after).await
    }
}

fn put_settled(batch: Batch, database: &Database, position: u64) -> Batch {
    let key = keys::settled(database);
    let value = Settled { position }.seal(&key);
    batch.put(key, value)
}

#[cfg(test)]
mod tests;
