//! Gives back the space of events that are not kept.
//!
//! It walks the log, block by block. What is removed of a block is one commit, on the condition that the block is as it was
//! read: appends only ever add blocks, so that it loses against another scavenge alone, and never holds up a writer. That
//! an event is not kept stands in its stream's head before, for ever; so a reader that misses it knows why.
//!
//! A run goes as a whole, when all of it is not kept.

mod removal;

use std::collections::HashMap;

use bytes::Bytes;
use eventstore_abstractions::{Database, Error, Position, Result, Scavenged, StreamId, Version};
use futures_util::future::try_join_all;
use kv_core::{Batch, Durability, Outcome};

use self::removal::Removal;
use crate::error::open_error;
use crate::keys;
use crate::log::Core;
use crate::record::{self, Place, Record, ScavengeCursor, Segment, StreamHead, open_block};

/// Blocks that are read at once.
const BLOCKS_PER_PAGE: usize = 16;
/// How often the removal from one block is tried that loses against other scavenges.
const MAX_ATTEMPTS: usize = 64;

/// Goes on where the last scavenge of `database` has stopped, past blocks with about `events` events.
pub(crate) async fn scavenge(core: &Core, database: &Database, events: u64) -> Result<Scavenged> {
    if events == 0 {
        return Err(Error::invalid(
            "a scavenge that looks at 0 events never comes to an end; use 1 or more",
        ));
    }
    let key = keys::scavenge_cursor(database);
    let stored = core.reader.get(&key).await?;
    let cursor = match &stored {
        Some(value) => ScavengeCursor::open(&key, value)?,
        None => ScavengeCursor::default(),
    };
    let head = Position::new(core.reader.database_head(database).await?.position);
    let mut walk = Walk {
        core,
        database,
        done: Scavenged::default(),
    };
    let position = Position::new(cursor.position);
    walk.done.position = position;
    walk.blocks(position.next(), head, events).await?;
    let mut done = walk.done;
    done.is_complete = done.position >= head;
    let position = if done.is_complete { 0 } else { done.position.get() };
    if position != cursor.position || done.events > 0 || done.bytes > 0 {
        // It is durable, and so is all that was removed before it.
        let batch = Batch::new().put(key.clone(), ScavengeCursor { position }.seal(&key));
        let _unconditional = commit(core, batch, Durability::Durable).await?;
    }
    Ok(done)
}

struct Walk<'a> {
    core: &'a Core,
    database: &'a Database,
    done: Scavenged,
}

/// What is known of the streams of a block, of which not all is kept.
type Heads = HashMap<StreamId, StreamHead>;

impl Walk<'_> {
    /// Removes what is not kept from the blocks with the positions `first` to `last`, until they had so many events.
    async fn blocks(&mut self, first: Position, last: Position, events: u64) -> Result<()> {
        let mut left = events;
        let mut next = (first <= last).then(|| keys::log_blocks(self.database, first, last));
        while let Some(scan) = next.take() {
            let page = self.core.reader.scan(scan.max_items(BLOCKS_PER_PAGE)).await?;
            for entry in page.entries {
                if left == 0 {
                    return Ok(());
                }
                left = left.saturating_sub(self.block(&entry.key, entry.value).await?);
                self.done.position = Position::new(keys::number_of(&entry.key).unwrap_or_default());
            }
            next = page.next;
        }
        // The log reaches to its head.
        if self.done.position < last {
            return Err(record::missing(&keys::log_block(self.database, last)));
        }
        Ok(())
    }

    /// Removes what is not kept from the block in the record `value` under `key`. It returns how many events it has.
    async fn block(&mut self, key: &Bytes, mut value: Bytes) -> Result<u64> {
        let mut lost = 0;
        loop {
            let segments = open_block(key, &value)?;
            let events = segments.iter().map(|segment| segment.events).sum();
            let heads = self.heads(&segments).await?;
            let removal = Removal::of(self.core, self.database, (key, &value), &segments, &heads).await?;
            let Some(removal) = removal else {
                return Ok(events);
            };
            let (batch, removed) = removal.into_batch(key, &value)?;
            match commit(self.core, batch, Durability::Buffered).await? {
                Outcome::Applied => {
                    self.done.events += removed.events;
                    self.done.bytes += removed.bytes;
                }
                Outcome::ConditionFailed { .. } => lost += 1,
            }
            if lost == MAX_ATTEMPTS {
                return Err(Error::Unavailable {
                    reason: format!(
                        "{MAX_ATTEMPTS} removals in a row lost against other scavenges; try again"
                    ),
                    source: None,
                });
            }
            // What did not fit into the commit comes next.
            let again = self.core.reader.get(key).await?;
            value = again.ok_or_else(|| record::missing(key))?;
        }
    }

    /// The heads of the streams in `segments` of which not all is kept. What is too old now is not kept from here on.
    async fn heads(&self, segments: &[Segment]) -> Result<Heads> {
        let (reader, database) = (&self.core.reader, self.database);
        let mut streams: Vec<&StreamId> = Vec::new();
        for segment in segments.iter().filter(|segment| !segment.is_removed()) {
            if !streams.contains(&&segment.stream) {
                streams.push(&segment.stream);
            }
        }
        let keys = streams.iter().map(|stream| keys::stream_head(database, stream));
        let keys = keys.collect::<Vec<_>>();
        if keys.is_empty() {
            return Ok(Heads::new());
        }
        let values = reader.get_many(&keys).await.map_err(open_error)?;
        let mut heads = Heads::new();
        let mut aged = Vec::new();
        for ((stream, key), value) in streams.into_iter().zip(&keys).zip(values) {
            let head = reader
                .stream_head_in(database, stream, key, value.as_ref())
                .await?;
            match head.life {
                None => continue,
                Some(life) if life.max_age.is_some() => aged.push(stream),
                Some(_) => {}
            }
            heads.insert(stream.clone(), head);
        }
        // They share a commit.
        let excluded = aged.iter().map(|stream| self.core.exclude_aged(database, stream));
        let firsts = try_join_all(excluded).await?;
        for (stream, first) in aged.into_iter().zip(firsts) {
            if let Some(life) = heads.get_mut(stream).and_then(|head| head.life.as_mut()) {
                life.first = life.first.max(first.get());
            }
        }
        Ok(heads)
    }
}

impl Segment {
    fn is_removed(&self) -> bool {
        matches!(self.run, Place::Removed)
    }

    /// Whether none of its events is kept, by the heads of the streams of which not all is.
    fn is_excluded(&self, heads: &Heads) -> bool {
        let first = heads.get(&self.stream).map_or(Version::FIRST, StreamHead::first);
        self.last_version < first
    }
}

/// Whether a commit whose end is not known has happened makes no difference: the next scavenge finds out.
async fn commit(core: &Core, batch: Batch, durability: Durability) -> Result<Outcome> {
    let committed = core.engine.commit(batch, durability).await;
    committed.map_err(|error| match open_error(error) {
        Error::OutcomeUnknown { reason, source } => Error::Unavailable {
            reason: format!("events may have been removed or not, scavenge again: {reason}"),
            source,
        },
        error => error,
    })
}
