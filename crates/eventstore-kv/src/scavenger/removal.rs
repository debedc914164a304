//! What one commit of a scavenge removes.

use std::collections::BTreeMap;

use bytes::Bytes;
use eventstore_abstractions::{Database, Result, StreamId, Version};
use kv_core::{Batch, Entry};

use super::Heads;
use crate::error::open_error;
use crate::idempotency::idempotency_ids;
use crate::keys;
use crate::log::Core;
use crate::log_reader::open_stored;
use crate::record::{
    self, IdempotencyEntry, MessageEntry, Place, Record, Run, Runs, Segment, StreamHead, block_without,
    record_after,
};

/// Keys that one commit writes at most, unless a single run needs more: it bounds how long it can hold up appends.
const MAX_OPERATIONS: usize = 1_000;
/// Keys that the block needs: its condition and its new value.
const OPERATIONS_OF_THE_BLOCK: usize = 2;
/// Not less than a key and a small record take.
const BYTES_PER_OPERATION: usize = 640;

/// Segments of one block whose runs go, and all that points at their events.
pub(super) struct Removal {
    segments: Vec<usize>,
    /// What is stored under keys that go.
    deleted: BTreeMap<Bytes, Deleted>,
    /// Records of runs, of which some or all go.
    runs: BTreeMap<Bytes, Shortened>,
    removed: Removed,
}

/// A record of runs, and up to which version they go. By the time of the commit they may be in another record.
struct Shortened {
    record: Bytes,
    stream: StreamId,
    last: Version,
}

/// A record that goes.
enum Deleted {
    /// It goes if it is still this: it might be of a later event by then.
    IfEqual(Bytes),
    /// It never changes.
    OfBytes(u64),
}

/// What a removal gives back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

impl Removal {
    /// What is to be removed of the block in the record `block`, a key and a value, that has `segments`: as much as fits
    /// into a commit. There is `None` when nothing is.
    pub(super) async fn of(
        core: &Core,
        database: &Database,
        block: (&Bytes, &Bytes),
        segments: &[Segment],
        heads: &Heads,
    ) -> Result<Option<Self>> {
        let capabilities = &core.capabilities;
        let most = (capabilities.max_batch_operations / 2)
            .min(capabilities.max_batch_bytes / 2 / BYTES_PER_OPERATION)
            .min(MAX_OPERATIONS);
        let mut removal = Self {
            segments: Vec::new(),
            deleted: BTreeMap::new(),
            runs: BTreeMap::new(),
            removed: Removed::default(),
        };
        for (segment, at) in segments.iter().zip(0..) {
            if segment.is_removed() || !segment.is_excluded(heads) {
                continue;
            }
            let Some(run) = run_of(core, database, block, segment).await? else {
                continue;
            };
            let pointers = pointers(core, database, &segment.stream, &run).await?;
            let shortened = match segment.run {
                Place::Copied(_) => shortened(core, database, segment).await?,
                _ => None,
            };
            let record = shortened.as_ref().map_or(1, |(_, record)| record.operations());
            let added = record + 2 * pointers.len();
            if !removal.segments.is_empty() && removal.operations() + added > most {
                break;
            }
            if let Place::Stored { .. } = segment.run {
                let key = keys::run(database, &segment.stream, segment.last_version);
                removal.deleted.insert(key, Deleted::OfBytes(run.bytes() as u64));
            }
            removal.runs.extend(shortened);
            let pointers = pointers
                .into_iter()
                .map(|(key, value)| (key, Deleted::IfEqual(value)));
            removal.deleted.extend(pointers);
            removal.segments.push(at);
            removal.removed.events += segment.events;
        }
        for (stream, head) in heads {
            let room = most.saturating_sub(removal.operations());
            removal.add_snapshots(core, database, stream, head, room).await?;
        }
        let is_empty = removal.segments.is_empty() && removal.deleted.is_empty();
        Ok((!is_empty).then_some(removal))
    }

    /// The commit, if the block is still in the record `value` under `key`.
    pub(super) fn into_batch(self, key: &Bytes, value: &Bytes) -> Result<(Batch, Removed)> {
        let mut removed = self.removed;
        let mut batch = Batch::new().require_equals(key.clone(), value.clone());
        if !self.segments.is_empty() {
            let rewritten = block_without(key, value, &self.segments)?;
            removed.bytes += (value.len() as u64).saturating_sub(rewritten.len() as u64);
            batch = batch.put(key.clone(), rewritten);
        }
        for (key, Shortened { record, stream, last }) in self.runs {
            let rest = record_after(&key, &record, &stream, last)?;
            removed.bytes += (record.len() - rest.as_ref().map_or(0, Bytes::len)) as u64;
            batch = batch.require_equals(key.clone(), record);
            batch = match rest {
                Some(rest) => batch.put(key, rest),
                None => {
                    removed.bytes += key.len() as u64;
                    batch.delete(key)
                }
            };
        }
        for (key, deleted) in self.deleted {
            removed.bytes += key.len() as u64;
            removed.bytes += match deleted {
                Deleted::IfEqual(value) => {
                    let bytes = value.len() as u64;
                    batch = batch.require_equals(key.clone(), value);
                    bytes
                }
                Deleted::OfBytes(bytes) => bytes,
            };
            batch = batch.delete(key);
        }
        Ok((batch, removed))
    }

    /// Adds up to `room` snapshots of `stream` that are of no use any more.
    async fn add_snapshots(
        &mut self,
        core: &Core,
        database: &Database,
        stream: &StreamId,
        head: &StreamHead,
        room: usize,
    ) -> Result<()> {
        let first = head.first_usable_snapshot(head.first());
        if !head.has_snapshots || room == 0 {
            return Ok(());
        }
        let scan = keys::snapshots(database, stream, Version::ZERO, Version::new(first.get() - 1));
        for entry in core.reader.scan(scan.max_items(room)).await?.entries {
            let bytes = Deleted::OfBytes(entry.value.len() as u64);
            self.deleted.insert(entry.key, bytes);
        }
        Ok(())
    }

    fn operations(&self) -> usize {
        let conditions = self
            .deleted
            .values()
            .filter(|deleted| matches!(deleted, Deleted::IfEqual(_)));
        let runs = self.runs.values().map(Shortened::operations).sum::<usize>();
        OPERATIONS_OF_THE_BLOCK + runs + self.deleted.len() + conditions.count()
    }
}

impl Shortened {
    /// It stands in the commit as it was and, shorter, as it will be.
    fn operations(&self) -> usize {
        2 + 2 * self.record.len() / BYTES_PER_OPERATION
    }
}

/// The record that has the run of `segment`, and up to it nothing that is kept; `None` when it was removed.
async fn shortened(
    core: &Core,
    database: &Database,
    segment: &Segment,
) -> Result<Option<(Bytes, Shortened)>> {
    let last = segment.last_version;
    let runs = keys::runs(database, &segment.stream, last, Version::MAX);
    let page = core.reader.scan(runs.max_items(1)).await?;
    let Some(Entry { key, value }) = page.entries.into_iter().next() else {
        return Ok(None);
    };
    let mut runs = Runs::open(&key, &value, &segment.stream)?;
    let has_run = runs.next().is_some_and(|first| first.first_version() <= last);
    let stream = segment.stream.clone();
    let record = value;
    Ok(has_run.then_some((key, Shortened { record, stream, last })))
}

/// The run of `segment`, which is in the record `block`; `None` when another scavenge has just removed it.
async fn run_of(
    core: &Core,
    database: &Database,
    block: (&Bytes, &Bytes),
    segment: &Segment,
) -> Result<Option<Run>> {
    match &segment.run {
        Place::Copied(run) => Ok(Some(Run::clone(run))),
        Place::Stored { .. } => {
            let key = keys::run(database, &segment.stream, segment.last_version);
            if let Some(value) = core.reader.get(&key).await? {
                return open_stored(&key, &value, segment).map(Some);
            }
            let (block, read) = block;
            if core.reader.get(block).await?.as_ref() == Some(read) {
                return Err(record::missing(&key));
            }
            Ok(None)
        }
        Place::Removed => Ok(None),
    }
}

/// The records that point at events of `run`, and what is in them: none of them may outlive the run. An event's own
/// records are looked up by what is in the event; this is the place for those of an index, too.
async fn pointers(
    core: &Core,
    database: &Database,
    stream: &StreamId,
    run: &Run,
) -> Result<Vec<(Bytes, Bytes)>> {
    let (first, last) = (run.first_version().get(), run.last_version().get());
    let events = run.clone().map(|event| event.map(|event| event.message));
    let events = events.collect::<Result<Vec<_>>>()?;
    let messages = events
        .iter()
        .map(|event| keys::message(database, stream, event.id()));
    let messages = messages.collect::<Vec<_>>();
    let commands = idempotency_ids(&events).map(|id| keys::idempotency(database, stream, id));
    let (count, keys) = (
        messages.len(),
        messages.into_iter().chain(commands).collect::<Vec<_>>(),
    );
    let values = core.reader.get_many(&keys).await.map_err(open_error)?;
    let mut pointers = Vec::new();
    for (at, (key, value)) in keys.into_iter().zip(values).enumerate() {
        let Some(value) = value else { continue };
        // Its id may have been used again, once it was not known any more.
        let points_here = if at < count {
            (first..=last).contains(&MessageEntry::open(&key, &value)?.version)
        } else {
            let entry = IdempotencyEntry::open(&key, &value)?;
            entry.first_version <= last && first <= entry.last_version()
        };
        if points_here {
            pointers.push((key, value));
        }
    }
    pointers.sort_unstable();
    pointers.dedup();
    Ok(pointers)
}
