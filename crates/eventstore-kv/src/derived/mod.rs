//! Writes what the log says anyway later than the log.
//!
//! A commit of appends needs three things of an engine: the blocks of the log, the head of the database, and what tells
//! an append from its repetition. The heads of streams, and the runs that stand in a block as a copy, can be derived from
//! the blocks. So they stay in memory, where readers see them at the moment at which the append is acknowledged, and go
//! to the engine many at a time: with later commits when there are too many, or when there is nothing else to do. A head
//! that has changed ten times meanwhile is written once.
//!
//! A record of each database says up to where its log is settled; at the next opening the rest is derived. Where other
//! processes write too, everything is written at once, as everywhere in the first commit to a database.

mod deferring;
mod doubts;
mod heads;
mod pending;
mod replay;
mod room;
mod store;

use std::sync::Arc;

use bytes::Bytes;
use eventstore_abstractions::{Database, Result};
use kv_core::{Batch, Capabilities, Durability, KeyValueStore, Outcome};

use self::deferring::Deferring;
use crate::error::open_error;

/// What a commit to a database leads to.
#[derive(Debug)]
pub(crate) struct Derivation {
    pub(crate) database: Database,
    /// The key of its head, and the head.
    pub(crate) head_key: Bytes,
    pub(crate) head: Bytes,
    /// The position that the head has.
    pub(crate) position: u64,
    /// The streams that have changed.
    pub(crate) streams: Vec<DerivedStream>,
}

/// What the log says of a stream.
#[derive(Debug)]
pub(crate) struct DerivedStream {
    pub(crate) head_key: Bytes,
    /// Whether the commit itself has all of it, newer than what is pending.
    pub(crate) is_direct: bool,
    pub(crate) head: Option<Bytes>,
    /// Its new runs, and their keys.
    pub(crate) runs: Vec<(Bytes, Bytes)>,
}

/// The engine, as the sequencer writes to it.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    /// All is written at once.
    Direct(Arc<dyn KeyValueStore>),
    Deferring(Arc<Deferring<Arc<dyn KeyValueStore>>>),
}

impl Engine {
    /// Derives what `engine` does not have, and keeps about `max_bytes` of it in memory from then on, and as many heads of
    /// streams as `max_heads` beside them.
    pub(crate) async fn open(
        engine: Arc<dyn KeyValueStore>,
        max_bytes: usize,
        max_heads: usize,
    ) -> Result<Self> {
        let Capabilities { durable, shared, .. } = engine.capabilities();
        if shared || !durable {
            return Ok(Self::Direct(engine));
        }
        let deferring = Deferring::open(Arc::clone(&engine), max_bytes, max_heads).await?;
        if max_bytes > 0 {
            return Ok(Self::Deferring(Arc::new(deferring)));
        }
        deferring.settle_for_good().await.map_err(open_error)?;
        Ok(Self::Direct(engine))
    }

    /// What readers read.
    pub(crate) fn store(&self) -> Arc<dyn KeyValueStore> {
        match self {
            Self::Direct(engine) => Arc::clone(engine),
            Self::Deferring(deferring) => Arc::clone(deferring) as Arc<dyn KeyValueStore>,
        }
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.store().capabilities()
    }

    /// Whether plans leave out what can be derived.
    pub(crate) fn defers(&self) -> bool {
        matches!(self, Self::Deferring(_))
    }

    /// Commits `batch`, and shows with it what it leads to.
    pub(crate) async fn commit(
        &self,
        batch: Batch,
        derivations: Vec<Derivation>,
        durability: Durability,
    ) -> kv_core::Result<Outcome> {
        match self {
            Self::Direct(engine) => engine.commit(batch, durability).await,
            Self::Deferring(deferring) => deferring.commit_deriving(batch, derivations, durability).await,
        }
    }

    /// Whether nothing is left to be written.
    pub(crate) fn is_settled(&self) -> bool {
        match self {
            Self::Direct(_) => true,
            Self::Deferring(deferring) => deferring.is_settled(),
        }
    }

    /// Writes some of what was put off.
    pub(crate) async fn settle_some(&self) -> kv_core::Result<()> {
        match self {
            Self::Direct(_) => Ok(()),
            Self::Deferring(deferring) => deferring.settle_some().await,
        }
    }

    pub(crate) async fn close(&self) -> kv_core::Result<()> {
        self.store().close().await
    }
}

/// Writes what the store in `engine` has put off, if it was not closed.
pub(crate) async fn settle(engine: &dyn KeyValueStore) -> Result<()> {
    if engine.capabilities().shared {
        return Ok(());
    }
    let deferring = Deferring::open(engine, 0, 0).await?;
    deferring.settle().await.map_err(open_error)
}
