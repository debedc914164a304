//! The records of a store, as a copy reads them.

use std::vec;

use eventstore_abstractions::{Error, Position, Result};
use kv_core::{Capabilities, Entry, Error as EngineError, KeyValueStore, Page, Scan};

use super::{CopyOptions, CopyStep};
use crate::error::open_error;
use crate::keys::{self, Kind};
use crate::provider::{cannot_open, check_layout};
use crate::record::{self, DatabaseHead, Heads, Record};

/// Records and bytes of a page: enough that a sync or a round trip per page costs little beside it.
const PAGE_RECORDS: usize = 4_096;
const PAGE_BYTES: usize = 1 << 20;
/// Bytes that a commit has beside its records, at most: the state of the copy as it was and as it is, each with a key
/// of a record in it.
pub(super) const STATE_BYTES: usize = 4 << 10;
/// Conditions and writes that a commit has beside its records.
const STATE_OPERATIONS: usize = 2;

/// One of the two engines of a copy. Its errors say which one.
#[derive(Debug)]
pub(super) struct Side<'a> {
    name: &'static str,
    pub(super) engine: &'a dyn KeyValueStore,
}

/// All records of a store, in the order of their keys.
pub(super) struct Records<'a> {
    side: &'a Side<'a>,
    entries: vec::IntoIter<Entry>,
    next: Option<Scan>,
}

impl<'a> Side<'a> {
    pub(super) fn source(engine: &'a dyn KeyValueStore) -> Self {
        let name = "source";
        Self { name, engine }
    }

    pub(super) fn target(engine: &'a dyn KeyValueStore) -> Self {
        let name = "target";
        Self { name, engine }
    }

    /// Makes sure that the engine holds a store of our layout.
    pub(super) async fn check(&self) -> Result<()> {
        let format = self.engine.get(&keys::format()).await;
        let Some(format) = format.map_err(|error| self.failed(error))? else {
            return Err(cannot_open(format!(
                "the {} holds no event store; give one that does, and finish it first if it is a copy itself",
                self.name
            )));
        };
        check_layout(&format).map_err(|error| self.of(error))
    }

    /// Where the databases of the store end.
    pub(super) async fn heads(&self) -> Result<Heads> {
        let (mut heads, mut hasher) = (Heads::default(), crc32fast::Hasher::new());
        let mut hash = |entry: &Entry| {
            hasher.update(&entry.key);
            hasher.update(&entry.value);
        };
        let mut next = Some(keys::database_heads());
        while let Some(scan) = next {
            let page = self.page(scan).await?;
            for entry in page.entries {
                let head = DatabaseHead::open(&entry.key, &entry.value).map_err(|error| self.of(error))?;
                heads.databases += 1;
                heads.positions = heads.positions.wrapping_add(head.position);
                heads.revisions = heads.revisions.wrapping_add(head.revision);
                hash(&entry);
                let Some(database) = keys::database_of(&entry.key) else {
                    let no_name = record::contradiction(&entry.key, "its key has no name of a database");
                    return Err(self.of(no_name));
                };
                // Two stores that were written to as often have other events in them.
                let blocks = keys::log_blocks(&database, Position::ZERO, Position::MAX);
                let newest = self.page(blocks.reverse().max_items(1)).await?;
                newest.entries.iter().for_each(&mut hash);
            }
            next = page.next;
        }
        heads.checksum = hasher.finalize();
        Ok(heads)
    }

    /// A page of records, each of which is what was written. Leases and turns are left out, as neither sessions nor
    /// processes move, and so is what says up to where records are derived: all are.
    pub(super) async fn page(&self, scan: Scan) -> Result<Page> {
        let page = self.engine.scan(scan).await;
        let mut page = page.map_err(|error| self.failed(error))?;
        let moves =
            |entry: &Entry| !matches!(keys::kind(&entry.key), Kind::Lease | Kind::Settled | Kind::Turn);
        page.entries.retain(moves);
        for entry in &page.entries {
            record::check(&entry.key, &entry.value).map_err(|error| self.of(error))?;
        }
        Ok(page)
    }

    /// All records of the store.
    pub(super) fn records(&'a self) -> Records<'a> {
        Records {
            side: self,
            entries: Vec::new().into_iter(),
            next: Some(
                keys::records_after(b"")
                    .max_items(PAGE_RECORDS)
                    .max_bytes(PAGE_BYTES),
            ),
        }
    }

    /// What a failure of the engine means: all of a copy can be tried again, whatever became of a commit.
    pub(super) fn failed(&self, error: EngineError) -> Error {
        match open_error(error) {
            Error::OutcomeUnknown { reason, source } => self.of(Error::Unavailable { reason, source }),
            error => self.of(error),
        }
    }

    /// The error with the name of the engine that it is of.
    pub(super) fn of(&self, error: Error) -> Error {
        let name = |reason| format!("{}: {reason}", self.name);
        match error {
            Error::Corrupt { reason, source } => Error::Corrupt {
                reason: name(reason),
                source,
            },
            Error::Unavailable { reason, source } => Error::Unavailable {
                reason: name(reason),
                source,
            },
            error => error,
        }
    }
}

impl Records<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Ok(Some(entry));
            }
            let Some(scan) = self.next.take() else {
                return Ok(None);
            };
            let page = self.side.page(scan).await?;
            self.entries = page.entries.into_iter();
            self.next = page.next;
        }
    }
}

/// The records above the key `after`, in pages that an engine with these capabilities takes as one commit.
pub(super) fn pages_after(after: &[u8], capabilities: &Capabilities) -> Scan {
    let operations = capabilities.max_batch_operations.saturating_sub(STATE_OPERATIONS);
    let bytes = capabilities.max_batch_bytes.saturating_sub(STATE_BYTES);
    keys::records_after(after)
        .max_items(PAGE_RECORDS.min(operations))
        .max_bytes(PAGE_BYTES.min(bytes))
}

/// Looks at every record of the source, if there may be one that the target does not take.
pub(super) async fn check_sizes(source: &Side<'_>, target: &Side<'_>, options: &CopyOptions) -> Result<()> {
    let (from, to) = (source.engine.capabilities(), target.engine.capabilities());
    let takes_all = to.max_key_bytes >= from.max_key_bytes
        && to.max_value_bytes >= from.max_value_bytes
        && to.max_batch_bytes >= from.max_key_bytes + from.max_value_bytes + STATE_BYTES;
    if takes_all {
        return Ok(());
    }
    let (mut records, mut bytes) = (0, 0);
    let mut next = Some(pages_after(b"", &from));
    while let Some(scan) = next {
        let page = source.page(scan).await?;
        for entry in &page.entries {
            if !fits(entry, &to) {
                return Err(too_large(entry, &to));
            }
            records += 1;
            bytes += (entry.key.len() + entry.value.len()) as u64;
        }
        options.tell(CopyStep::Sizing, (records, bytes));
        next = page.next;
    }
    Ok(())
}

pub(super) fn fits(entry: &Entry, capabilities: &Capabilities) -> bool {
    entry.key.len() <= capabilities.max_key_bytes
        && entry.value.len() <= capabilities.max_value_bytes
        && entry.key.len() + entry.value.len() + STATE_BYTES <= capabilities.max_batch_bytes
}

pub(super) fn too_large(entry: &Entry, capabilities: &Capabilities) -> Error {
    Error::invalid(format!(
        "the target takes keys of {} and values of {} bytes, and these have {} and {}: {}; choose a target that takes it",
        capabilities.max_key_bytes,
        capabilities
            .max_value_bytes
            .min(capabilities.max_batch_bytes.saturating_sub(STATE_BYTES)),
        entry.key.len(),
        entry.value.len(),
        keys::describe(&entry.key),
    ))
}
