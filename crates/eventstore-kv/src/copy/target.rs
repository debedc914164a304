//! The target of a copy: what is there already, and what is written to it.

use bytes::Bytes;
use eventstore_abstractions::{Error, Result};
use kv_core::{Batch, Durability, Entry, Error as EngineError, Outcome, Scan};

use super::records::{Side, fits, pages_after, too_large};
use crate::keys;
use crate::provider::{LAYOUT, check_layout};
use crate::record::{Heads, Record, StoreFormat, UnfinishedCopy};

/// What a target holds.
pub(super) enum Begun<'a> {
    Nothing,
    Unfinished(Copying<'a>),
    /// A store that can be opened.
    Finished,
}

/// A copy that has begun and is not finished. Each commit requires the state that the one before it left, so that of two
/// copies to one target one succeeds.
pub(super) struct Copying<'a> {
    target: &'a Side<'a>,
    state: UnfinishedCopy,
    /// The state as it is stored.
    stored: Bytes,
}

/// What `target` holds; an error if it is nothing of a copy.
pub(super) async fn begun<'a>(target: &'a Side<'a>) -> Result<Begun<'a>> {
    // A copy that is finished between the two reads is seen as unfinished, or as finished.
    let found = target.engine.get_many(&[keys::copy(), keys::format()]).await;
    let mut found = found.map_err(|error| target.failed(error))?.into_iter();
    if let Some(stored) = found.next().flatten() {
        let state = UnfinishedCopy::open(&keys::copy(), &stored).map_err(|error| target.of(error))?;
        return Ok(Begun::Unfinished(Copying {
            target,
            state,
            stored,
        }));
    }
    if let Some(format) = found.next().flatten() {
        check_layout(&format).map_err(|error| target.of(error))?;
        return Ok(Begun::Finished);
    }
    nothing(target).await
}

async fn nothing<'a>(target: &Side<'_>) -> Result<Begun<'a>> {
    let everything = Scan::range(Bytes::new(), Bytes::new()).max_items(1);
    let page = target.engine.scan(everything).await;
    let page = page.map_err(|error| target.failed(error))?;
    if page.entries.is_empty() {
        return Ok(Begun::Nothing);
    }
    Err(Error::invalid(
        "the target holds data and is no copy; give an empty target",
    ))
}

impl<'a> Copying<'a> {
    /// Makes the target, which is empty, an unfinished copy of `source`.
    pub(super) async fn begin(target: &'a Side<'a>, source: Heads) -> Result<Self> {
        let state = UnfinishedCopy {
            source,
            records: 0,
            bytes: 0,
            after: Vec::new(),
        };
        let stored = state.seal(&keys::copy());
        let batch = Batch::new()
            .require_absent(keys::copy())
            // A store may have been opened there since we looked.
            .require_absent(keys::format())
            .put(keys::copy(), stored.clone());
        let copying = Self {
            target,
            state,
            stored,
        };
        copying.commit(batch).await?;
        Ok(copying)
    }

    /// The source as it was when the copy began.
    pub(super) fn source(&self) -> Heads {
        self.state.source
    }

    pub(super) fn target(&self) -> &'a Side<'a> {
        self.target
    }

    /// Records and bytes that were copied.
    pub(super) fn copied(&self) -> (u64, u64) {
        (self.state.records, self.state.bytes)
    }

    /// The records that are left.
    pub(super) fn rest(&self) -> Scan {
        pages_after(&self.state.after, &self.target.engine.capabilities())
    }

    /// Adds the records that come next.
    pub(super) async fn add(&mut self, entries: Vec<Entry>) -> Result<()> {
        let Some(last) = entries.last() else {
            return Ok(());
        };
        let capabilities = self.target.engine.capabilities();
        if let Some(large) = entries.iter().find(|entry| !fits(entry, &capabilities)) {
            return Err(too_large(large, &capabilities));
        }
        let bytes = entries.iter().map(|entry| entry.key.len() + entry.value.len());
        let state = UnfinishedCopy {
            source: self.state.source,
            records: self.state.records + entries.len() as u64,
            bytes: self.state.bytes + bytes.sum::<usize>() as u64,
            after: last.key.to_vec(),
        };
        let stored = state.seal(&keys::copy());
        let batch = Batch::new()
            .require_equals(keys::copy(), self.stored.clone())
            .put(keys::copy(), stored.clone());
        let batch = entries
            .into_iter()
            .fold(batch, |batch, entry| batch.put(entry.key, entry.value));
        self.commit(batch).await?;
        (self.state, self.stored) = (state, stored);
        Ok(())
    }

    /// Makes the copy a store.
    pub(super) async fn finish(self) -> Result<()> {
        let format = StoreFormat { layout: LAYOUT }.seal(&keys::format());
        let batch = Batch::new()
            .require_equals(keys::copy(), self.stored.clone())
            .delete(keys::copy())
            .put(keys::format(), format);
        self.commit(batch).await
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        match self.target.engine.commit(batch, Durability::Durable).await {
            Ok(Outcome::Applied) => Ok(()),
            Ok(Outcome::ConditionFailed { .. }) => Err(self.target.of(Error::Unavailable {
                reason: "somebody else writes to it, or a commit that was given up has come late; copy again, and it \
                         goes on"
                    .to_owned(),
                source: None,
            })),
            Err(error @ EngineError::TooLarge { .. }) => Err(Error::invalid(error.to_string())),
            Err(error) => Err(self.target.failed(error)),
        }
    }
}
