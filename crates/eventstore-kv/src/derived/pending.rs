//! What is not in the engine yet: derived records in memory, the newest layers first.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use eventstore_abstractions::Database;
use kv_core::{Batch, Capabilities, Direction, Entry, Scan};

use super::{Derivation, Records};

/// About what a record takes in memory beside its bytes.
const RECORD_BYTES: usize = 96;

/// More than the condition on a database and the record of where it is settled have.
const BYTES_OF_A_DATABASE: usize = 2 << 10;

/// A derived record.
#[derive(Clone, Debug)]
pub(super) struct Derived {
    /// The log up to here, which it was derived from.
    position: u64,
    value: Bytes,
}

/// Records of one commit, in key order; where there is none, what the engine has is newer than what was pending.
type Layer = Vec<(Bytes, Option<Derived>)>;

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

/// The records that one part of a log has led to, oldest part first.
#[derive(Debug)]
struct Part {
    /// The key of its database's head.
    database: Bytes,
    /// The last position of the part.
    position: u64,
    keys: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    records: BTreeMap<Bytes, Derived>,
    /// Committed and not yet merged into `records`: a commit must not wait for that.
    layers: Vec<Layer>,
    databases: HashMap<Bytes, Known>,
    parts: VecDeque<Part>,
    /// How many parts were ever written.
    written: u64,
    bytes: usize,
}

/// What fits into a commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    operations: usize,
    bytes: usize,
    /// Whether one part goes in, whatever it takes.
    is_whole: bool,
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
            is_whole: false,
        }
    }
}

/// Records that go to the engine together.
#[derive(Debug, Default)]
pub(super) struct Settling {
    parts: usize,
    pub(super) records: Vec<(Bytes, Bytes)>,
    /// The keys of the heads of the databases that they are of, and up to where those are settled then.
    pub(super) databases: HashMap<Bytes, u64>,
}

impl Pending {
    /// What is pending under `key`, or known of it.
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        if let Some(known) = self.databases.get(key) {
            return known.head.clone();
        }
        for layer in self.layers.iter().rev() {
            if let Ok(at) = layer.binary_search_by(|(other, _)| other.as_ref().cmp(key)) {
                return layer[at].1.as_ref().map(|derived| derived.value.clone());
            }
        }
        self.records.get(key).map(|derived| derived.value.clone())
    }

    /// Whether everything is in one map.
    pub(super) fn is_merged(&self) -> bool {
        self.layers.is_empty()
    }

    /// Whether a record under `key` is to be written.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        !self.databases.contains_key(key) && self.get(key).is_some()
    }

    /// What is pending of the range of `scan`, in its direction, and never less than its page may have; everything is
    /// in one map.
    pub(super) fn page(&self, scan: &Scan) -> Vec<Entry> {
        debug_assert!(self.is_merged());
        if scan.is_empty() {
            return Vec::new();
        }
        let (start, end) = scan.bounds();
        let range = self.records.range::<[u8], _>((start, end));
        let entry = |(key, derived): (&Bytes, &Derived)| Entry {
            key: key.clone(),
            value: derived.value.clone(),
        };
        // One more than fits, so that the engine's entries are not taken for the next ones.
        let most = scan.max_items.saturating_add(1);
        let mut entries: Vec<_> = match scan.direction {
            Direction::Forward => range.map(entry).take(most).collect(),
            Direction::Reverse => range.rev().map(entry).take(most).collect(),
        };
        let heads = self.databases.iter().filter(|(key, _)| is_within(key, start, end));
        let heads = heads.filter_map(|(key, known)| {
            Some(Entry {
                key: key.clone(),
                value: known.head.clone()?,
            })
        });
        let before = entries.len();
        entries.extend(heads);
        if entries.len() > before {
            entries.sort_by(|one, other| match scan.direction {
                Direction::Forward => one.key.cmp(&other.key),
                Direction::Reverse => other.key.cmp(&one.key),
            });
        }
        entries
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
            records,
        } = derivation;
        match self.databases.get_mut(&head_key) {
            Some(known) => (known.head, known.position, known.is_marked) = (Some(head), position, true),
            // Everything of its first commit is in the engine.
            None => {
                let known = Known {
                    name: database,
                    head: Some(head),
                    position,
                    settled: position,
                    is_marked: false,
                };
                self.databases.insert(head_key, known);
                return;
            }
        }
        self.push(head_key, position, records);
    }

    /// Adds records that the log of a database has led to up to `position`.
    pub(super) fn push(&mut self, head_key: Bytes, position: u64, mut records: Records) {
        records.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let pending = records.iter().filter(|(_, value)| value.is_some());
        let keys = pending.map(|(key, _)| key.clone()).collect::<Vec<_>>();
        let derived = |value| Derived { position, value };
        let layer = records
            .into_iter()
            .map(|(key, value)| (key, value.map(derived)))
            .collect::<Layer>();
        if !layer.is_empty() {
            self.layers.push(layer);
        }
        match self.parts.back_mut() {
            Some(last) if keys.is_empty() && last.keys.is_empty() && last.database == head_key => {
                last.position = position;
            }
            _ => {
                self.bytes += RECORD_BYTES;
                self.parts.push_back(Part {
                    database: head_key,
                    position,
                    keys,
                });
            }
        }
    }

    /// Brings everything into one map.
    pub(super) fn merge(&mut self) {
        for layer in std::mem::take(&mut self.layers) {
            for (key, derived) in layer {
                let added = derived.as_ref().map_or(0, |derived| size(&key, derived));
                let size_before = |before: Option<Derived>| before.map_or(0, |before| size(&key, &before));
                let removed = match derived {
                    Some(derived) => {
                        let before = self.records.insert(key.clone(), derived);
                        size_before(before)
                    }
                    None => size_before(self.records.remove(&key)),
                };
                self.bytes = self.bytes + added - removed;
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

    /// How many parts were ever added.
    pub(super) fn added(&self) -> u64 {
        self.written + self.parts.len() as u64
    }

    /// How many of them were written.
    pub(super) fn written(&self) -> u64 {
        self.written
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

    /// The oldest records: of whole parts of a log, so many at least if there are, as far as there is room.
    pub(super) fn oldest(&mut self, records: usize, room: Room) -> Settling {
        self.merge();
        let mut settling = Settling::default();
        let (mut operations, mut bytes) = (0, 0);
        for part in &self.parts {
            if settling.parts > 0 && settling.records.len() >= records {
                break;
            }
            let before = settling.records.len();
            for key in &part.keys {
                // One that was derived of more of the log comes with a later part.
                let derived = self.records.get(key).filter(|derived| derived.position <= part.position);
                if let Some(derived) = derived {
                    bytes += key.len() + derived.value.len();
                    settling.records.push((key.clone(), derived.value.clone()));
                }
            }
            // A database may need a condition and a record of its own.
            operations += settling.records.len() - before + 2;
            bytes += BYTES_OF_A_DATABASE;
            let fits = operations <= room.operations && bytes <= room.bytes;
            if !fits && !(room.is_whole && settling.parts == 0) {
                settling.records.truncate(before);
                break;
            }
            settling.databases.insert(part.database.clone(), part.position);
            settling.parts += 1;
        }
        settling
    }

    /// Forgets what is in the engine now.
    pub(super) fn settled(&mut self, settling: &Settling) {
        self.written += settling.parts as u64;
        for part in self.parts.drain(..settling.parts) {
            self.bytes -= RECORD_BYTES;
            for key in part.keys {
                let is_settled = |derived: &Derived| derived.position <= part.position;
                if self.records.get(&key).is_some_and(is_settled)
                    && let Some(derived) = self.records.remove(&key)
                {
                    self.bytes -= size(&key, &derived);
                }
            }
        }
        for (key, position) in &settling.databases {
            if let Some(known) = self.databases.get_mut(key) {
                (known.settled, known.is_marked) = (*position, true);
            }
        }
    }
}

fn size(key: &Bytes, derived: &Derived) -> usize {
    RECORD_BYTES + key.len() + derived.value.len()
}

fn is_within(key: &[u8], start: Bound<&[u8]>, end: Bound<&[u8]>) -> bool {
    let begins = match start {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    let ends = match end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    };
    begins && ends
}
