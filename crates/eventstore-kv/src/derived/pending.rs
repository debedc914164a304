//! What is not in the engine yet: derived records in memory.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use eventstore_abstractions::Database;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as MapEntry;
use kv_core::{Direction, Entry, Scan};

use super::heads::StoredHeads;
use super::room::Room;
use super::{Derivation, DerivedStream};
use crate::keys;
use crate::record::{follows, is_one_record, seal_bundle};

/// About what a record takes in memory beside its bytes.
const RECORD_BYTES: usize = 96;
/// More than the condition on a database and the record of where it is settled have.
const BYTES_OF_A_DATABASE: usize = 2 << 10;

/// A database as readers see it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: Database,
    /// The record of its head; `None` if it was lost.
    pub(super) head: Option<Bytes>,
    /// The position that this head has, or should have.
    pub(super) position: u64,
    /// Up to here all that is derived of its log is in the engine.
    pub(super) settled: u64,
    /// Whether the engine has a record of `settled`, or of a lower position.
    pub(super) is_marked: bool,
}

/// A record, and the last position of the part of the log that it was derived from.
#[derive(Debug)]
struct Derived {
    position: u64,
    key: Bytes,
    value: Bytes,
}

/// What is pending of one stream.
#[derive(Debug, Default)]
struct Stream {
    head: Option<Derived>,
    /// In the order of their versions, and so of their positions.
    runs: VecDeque<Derived>,
}

/// What a part of a log has led to. Oldest parts are settled first.
#[derive(Debug)]
struct Part {
    /// The key of its database's head.
    database: Bytes,
    /// The last position of the part.
    position: u64,
    /// What identifies the streams that have records of it.
    streams: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    streams: HashMap<Bytes, Stream>,
    databases: HashMap<Bytes, Known>,
    parts: VecDeque<Part>,
    /// What is known of the heads that are not pending.
    pub(super) stored: StoredHeads,
    /// How many parts were ever settled.
    settled: u64,
    bytes: usize,
}

/// What goes to the engine together.
#[derive(Debug, Default)]
pub(super) struct Settling {
    parts: usize,
    /// What goes of each stream.
    streams: HashMap<Bytes, Taken>,
    /// How many records of what is pending go.
    taken: usize,
    pub(super) records: Vec<(Bytes, Bytes)>,
    /// The keys of the heads of the databases that they are of, and up to where those are settled then.
    pub(super) databases: BTreeMap<Bytes, u64>,
}

/// What goes of a stream: its oldest runs, and its head.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    runs: usize,
    has_head: bool,
}

impl Pending {
    /// Nothing yet, and room for so many heads that the engine has.
    pub(super) fn new(max_stored_heads: usize) -> Self {
        Self {
            stored: StoredHeads::new(max_stored_heads),
            ..Self::default()
        }
    }

    /// What is known to be under `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.pending(key).or_else(|| self.stored.get(key).cloned())
    }

    /// What is pending under `key`, or known of a database's head.
    pub(super) fn pending(&self, key: &[u8]) -> Option<Bytes> {
        if let Some(known) = self.databases.get(key) {
            return known.head.clone();
        }
        if let Some(head) =
            keys::stream_of_head(key).and_then(|stream| self.streams.get(stream)?.head.as_ref())
        {
            return Some(head.value.clone());
        }
        let runs = &self.streams.get(keys::stream_of_run(key)?)?.runs;
        let at = runs.binary_search_by(|run| run.key.as_ref().cmp(key)).ok()?;
        Some(runs[at].value.clone())
    }

    /// The keys of the heads of streams, in order, and the heads.
    pub(super) fn heads(&self) -> BTreeMap<Bytes, Bytes> {
        let heads = self.streams.values().filter_map(|stream| stream.head.as_ref());
        heads.map(|head| (head.key.clone(), head.value.clone())).collect()
    }

    /// Forgets the head of a stream under `key`: the engine has a newer one.
    pub(super) fn forget_head(&mut self, key: &Bytes) {
        let MapEntry::Occupied(mut entry) = self.streams.entry(keys::slice_of_head(key)) else {
            return;
        };
        self.bytes -= entry.get_mut().head.take().map_or(0, |head| head.bytes());
        if entry.get().is_empty() {
            entry.remove();
        }
    }

    /// Whether a record under `key` is to be written.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        !self.databases.contains_key(key) && self.pending(key).is_some()
    }

    /// What is pending of the range of `scan`, which is one of runs of `stream`, in its direction; not less than its page
    /// may have.
    pub(super) fn page(&self, stream: &[u8], scan: &Scan) -> Vec<Entry> {
        let Some(stream) = self.streams.get(stream) else {
            return Vec::new();
        };
        let first = stream.runs.partition_point(|run| run.key < scan.start);
        let end = stream.runs.partition_point(|run| run.key < scan.end);
        let runs = stream.runs.range(first.min(end)..end).map(|run| Entry {
            key: run.key.clone(),
            value: run.value.clone(),
        });
        // One more than fits, so that the engine's entries are not taken for the next ones.
        let most = scan.max_items.saturating_add(1);
        match scan.direction {
            Direction::Forward => runs.take(most).collect(),
            Direction::Reverse => runs.rev().take(most).collect(),
        }
    }

    pub(super) fn known(&self, head_key: &Bytes) -> Option<&Known> {
        self.databases.get(head_key)
    }

    pub(super) fn know(&mut self, head_key: Bytes, known: Known) {
        self.databases.insert(head_key, known);
    }

    /// Adds what a commit has led to: from here on readers see it.
    pub(super) fn add(&mut self, derivation: Derivation) {
        let Derivation {
            database,
            head_key,
            head,
            position,
            streams,
        } = derivation;
        let Some(known) = self.databases.get_mut(&head_key) else {
            // Everything of its first commit is in the engine.
            let known = Known {
                name: database,
                head: Some(head),
                position,
                settled: position,
                is_marked: false,
            };
            self.know(head_key, known);
            return;
        };
        (known.head, known.position, known.is_marked) = (Some(head), position, true);
        self.push(head_key, position, streams);
    }

    /// Adds what the log of a database has led to up to `position`.
    pub(super) fn push(&mut self, head_key: Bytes, position: u64, streams: Vec<DerivedStream>) {
        let mut changed = Vec::with_capacity(streams.len());
        for derived in streams {
            self.stored.written(&derived.head_key);
            let name = keys::slice_of_head(&derived.head_key);
            let mut entry = match self.streams.entry(name.clone()) {
                MapEntry::Occupied(entry) => entry,
                // It is in the engine.
                MapEntry::Vacant(_) if derived.is_direct => continue,
                MapEntry::Vacant(entry) => entry.insert_entry(Stream::default()),
            };
            let stream = entry.get_mut();
            if derived.is_direct || derived.head.is_some() {
                self.bytes -= stream.head.take().map_or(0, |head| head.bytes());
            }
            for (key, value) in derived.runs {
                let run = Derived { position, key, value };
                self.bytes += run.bytes();
                stream.runs.push_back(run);
            }
            if let Some(value) = derived.head {
                let head = Derived {
                    position,
                    key: derived.head_key,
                    value,
                };
                self.bytes += head.bytes();
                stream.head = Some(head);
            }
            if stream.is_empty() {
                entry.remove();
            }
            changed.push(name);
        }
        match self.parts.back_mut() {
            Some(last) if changed.is_empty() && last.streams.is_empty() && last.database == head_key => {
                last.position = position;
            }
            _ => {
                self.bytes += RECORD_BYTES;
                self.parts.push_back(Part {
                    database: head_key,
                    position,
                    streams: changed,
                });
            }
        }
    }

    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// How many parts were ever added, and how many of them were settled.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.settled + self.parts.len() as u64, self.settled)
    }

    /// The databases of which the engine says up to where they are settled.
    pub(super) fn marked(&self) -> Vec<Database> {
        let marked = self.databases.values().filter(|known| known.is_marked);
        marked.map(|known| known.name.clone()).collect()
    }

    /// Forgets everything: the engine is about to be closed.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The oldest parts of a log, whole, until so many records go at least, as far as there is room. With the runs of a part
    /// go later ones of their streams that fit into the same record.
    pub(super) fn oldest(&self, records: usize, room: Room) -> Settling {
        let mut settling = Settling::default();
        let (mut operations, mut bytes) = (0, 0);
        for part in &self.parts {
            if settling.parts > 0 && settling.taken >= records {
                break;
            }
            let before = settling.records.len();
            let mut of_part = Vec::new();
            for name in &part.streams {
                let Some(stream) = self.streams.get(name) else {
                    continue;
                };
                let before = settling.streams.get(name).copied().unwrap_or_default();
                let taken = stream.take(before, part.position, room.record_bytes, &mut settling.records);
                of_part.push((name, before, taken));
            }
            // A database may need a condition and a record of its own.
            operations += settling.records.len() - before + 2;
            let written = settling.records[before..].iter();
            bytes += written.map(|(key, value)| key.len() + value.len()).sum::<usize>();
            bytes += BYTES_OF_A_DATABASE;
            let is_alone = room.is_whole && settling.parts == 0;
            if !(is_alone || room.fits(operations, bytes)) {
                settling.records.truncate(before);
                break;
            }
            for (name, before, taken) in of_part {
                settling.taken += taken.records() - before.records();
                settling.streams.insert(name.clone(), taken);
            }
            settling.databases.insert(part.database.clone(), part.position);
            settling.parts += 1;
        }
        settling
    }

    /// Forgets what is in the engine now.
    pub(super) fn settled(&mut self, settling: &Settling) {
        self.settled += settling.parts as u64;
        self.bytes -= RECORD_BYTES * settling.parts;
        self.parts.drain(..settling.parts);
        for (name, taken) in &settling.streams {
            let MapEntry::Occupied(mut entry) = self.streams.entry(name.clone()) else {
                continue;
            };
            let stream = entry.get_mut();
            let runs = stream.runs.drain(..taken.runs);
            self.bytes -= runs.map(|run| run.bytes()).sum::<usize>();
            if taken.has_head {
                self.bytes -= stream.head.take().map_or(0, |head| head.bytes());
            }
            if stream.is_empty() {
                entry.remove();
            }
        }
        for (key, position) in &settling.databases {
            if let Some(known) = self.databases.get_mut(key) {
                (known.settled, known.is_marked) = (*position, true);
            }
        }
    }
}

impl Stream {
    fn is_empty(&self) -> bool {
        self.head.is_none() && self.runs.is_empty()
    }

    /// Adds to `records` what is to be written of the parts of the log up to `position`, and is not in `taken` yet; with runs,
    /// those behind them as far as they share a record. Runs never go without the head: by it, who derives the rest knows
    /// that there may be some.
    fn take(
        &self,
        mut taken: Taken,
        position: u64,
        record_bytes: usize,
        records: &mut Vec<(Bytes, Bytes)>,
    ) -> Taken {
        let is_due = |derived: &Derived| derived.position <= position;
        let mut has_runs = false;
        while self.runs.get(taken.runs).is_some_and(is_due) {
            has_runs = true;
            let first = &self.runs[taken.runs];
            let (mut bytes, mut last) = (first.value.len(), &first.key);
            // Those that were too long to be put off are not among them.
            let fitting = self.runs.range(taken.runs + 1..).take_while(|run| {
                bytes += run.value.len();
                let follows = is_one_record(bytes, record_bytes) && follows(&run.key, &run.value, last);
                last = &run.key;
                follows
            });
            let end = taken.runs + 1 + fitting.count();
            let Derived { key, value, .. } = &self.runs[end - 1];
            let value = match end - taken.runs {
                1 => value.clone(),
                _ => seal_bundle(key, self.runs.range(taken.runs..end).map(|run| &run.value)),
            };
            records.push((key.clone(), value));
            taken.runs = end;
        }
        let head = self.head.as_ref().filter(|_| !taken.has_head);
        if let Some(head) = head.filter(|head| has_runs || is_due(head)) {
            taken.has_head = true;
            records.push((head.key.clone(), head.value.clone()));
        }
        taken
    }
}

impl Taken {
    fn records(self) -> usize {
        self.runs + usize::from(self.has_head)
    }
}

impl Derived {
    fn bytes(&self) -> usize {
        RECORD_BYTES + self.key.len() + self.value.len()
    }
}

#[cfg(test)]
mod tests;
