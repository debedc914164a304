//! What can be asked of the sequencer, and what it answers.

use std::time::Duration;

use bytes::Bytes;
use eventstore_abstractions::{
    Appended, Database, Durability, EventMessage, ExpectedVersion, HeldBy, Result, Session, SessionId,
    StreamId, Version,
};
use tokio::sync::oneshot;

use crate::hold::Writer;
use crate::keys;
use crate::limits::Cost;
use crate::sequencer::Hold;

/// One write to one stream, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) database: Database,
    pub(super) stream: StreamId,
    /// The key of the stream's head; it identifies the stream.
    pub(super) head_key: Bytes,
    pub(super) action: Action,
    pub(super) cost: Cost,
    pub(super) reply: oneshot::Sender<Result<Reply>>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    Append(Append),
    Snapshot {
        writer: Writer,
        version: Version,
        message: Box<EventMessage>,
    },
    ClearSnapshot {
        writer: Writer,
        version: Version,
    },
    /// Removes up to `limit` snapshots; the answer says how many there were.
    ClearSnapshots {
        writer: Writer,
        limit: usize,
    },
    Acquire {
        session: SessionId,
        owner: String,
        timeout: Duration,
    },
    Renew {
        writer: Writer,
        session: SessionId,
        timeout: Duration,
    },
    Release {
        session: SessionId,
    },
}

/// An append to one stream.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) writer: Writer,
    pub(crate) events: Vec<EventMessage>,
    pub(crate) expected: ExpectedVersion,
    pub(crate) durability: Durability,
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Reply {
    Appended(Appended),
    Written,
    Cleared(usize),
    Opened(Hold, Session),
    Renewed(Session),
    /// Another session holds the stream.
    Held(Box<HeldBy>),
}

impl Request {
    pub(crate) fn new(
        database: Database,
        stream: StreamId,
        action: Action,
        cost: Cost,
        reply: oneshot::Sender<Result<Reply>>,
    ) -> Self {
        let head_key = keys::stream_head(&database, &stream);
        Self {
            database,
            stream,
            head_key,
            action,
            cost,
            reply,
        }
    }
}
