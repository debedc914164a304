//! What can be asked of the sequencer, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventstore_abstractions::{
    AppendCondition, Appended, Database, Deletion, Durability, EventMessage, ExpectedVersion, HeldBy,
    MultiAppend, MultiAppended, Result, Retention, Session, SessionId, StreamId, Version,
};
use tokio::sync::oneshot;

use crate::hold::Writer;
use crate::keys;
use crate::limits::Cost;
use crate::record::Life;
use crate::sequencer::Hold;

/// One write, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) database: Database,
    /// The stream that it is about; the first one, if there are several.
    pub(super) stream: StreamId,
    /// The key of the stream's head; it identifies the stream.
    pub(super) head_key: Bytes,
    pub(super) action: Action,
    pub(super) cost: Cost,
    /// Until it is answered.
    reply: Option<oneshot::Sender<Answer>>,
}

/// A request on its way: in the same memory from the queue to its answer.
pub(crate) type Queued = Box<Request>;

/// What a request is told.
///
/// The request comes with it, and is dropped by whoever asked: memory that one thread allocates and another one
/// frees makes them wait for each other.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(super) reply: Result<Reply>,
    _request: Option<Queued>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    Append(Append),
    AppendAll(Box<AppendAll>),
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
    Life(LifeChange),
}

/// What becomes of the events that a stream has.
#[derive(Debug)]
pub(crate) enum LifeChange {
    Retain(Retention),
    Delete {
        expected: ExpectedVersion,
        deletion: Deletion,
    },
    /// Events before `first` are too old for what was `seen` to be asked for.
    Exclude {
        seen: Life,
        first: Version,
    },
}

/// An append to one stream.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) writer: Writer,
    /// The plan keeps them, too.
    pub(crate) events: Arc<Vec<EventMessage>>,
    pub(crate) expected: ExpectedVersion,
    pub(crate) durability: Durability,
}

/// An append to several streams, of which there is at least one.
#[derive(Debug)]
pub(crate) struct AppendAll {
    pub(super) parts: Vec<AppendPart>,
    pub(super) conditions: Vec<AppendCondition>,
    durability: Durability,
}

/// What is appended to one of several streams.
#[derive(Debug)]
pub(super) struct AppendPart {
    pub(super) stream: StreamId,
    pub(super) head_key: Bytes,
    pub(super) expected: ExpectedVersion,
    pub(super) events: Arc<Vec<EventMessage>>,
}

impl AppendAll {
    /// `append`, which is valid, and the first of its streams.
    pub(crate) fn new(database: &Database, append: MultiAppend) -> (StreamId, Self) {
        let parts = append.streams.into_iter().map(|part| AppendPart {
            head_key: keys::stream_head(database, &part.stream),
            stream: part.stream,
            expected: part.expected,
            events: Arc::new(part.events),
        });
        let parts = parts.collect::<Vec<_>>();
        let stream = parts[0].stream.clone();
        let append = Self {
            parts,
            conditions: append.conditions,
            durability: append.durability,
        };
        (stream, append)
    }

    pub(super) fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }
}

impl AppendPart {
    fn part(&self) -> Part<'_> {
        Part {
            stream: &self.stream,
            head_key: &self.head_key,
            events: &self.events,
        }
    }
}

/// One of the streams that a request is about, and what it appends there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) stream: &'a StreamId,
    pub(super) head_key: &'a Bytes,
    pub(super) events: &'a [EventMessage],
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Reply {
    Appended(Appended),
    AppendedAll(MultiAppended),
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
        reply: oneshot::Sender<Answer>,
    ) -> Self {
        let head_key = keys::stream_head(&database, &stream);
        Self {
            database,
            stream,
            head_key,
            action,
            cost,
            reply: Some(reply),
        }
    }

    pub(super) fn is_append(&self) -> bool {
        matches!(self.action, Action::Append(_) | Action::AppendAll(_))
    }

    /// Tells whoever asked, if somebody still waits. A hold in an answer that nobody takes releases itself.
    pub(super) fn answer(mut self: Box<Self>, reply: Result<Reply>) {
        if let Some(asked) = self.reply.take() {
            let _ = asked.send(Answer {
                reply,
                _request: Some(self),
            });
        }
    }

    /// The streams that it is about: at least one.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let own: &[EventMessage] = match &self.action {
            Action::Append(append) => &append.events,
            _ => &[],
        };
        let own = Part {
            stream: &self.stream,
            head_key: &self.head_key,
            events: own,
        };
        let several = match &self.action {
            Action::AppendAll(append) => &append.parts[..],
            _ => &[],
        };
        let is_one = several.is_empty();
        is_one
            .then_some(own)
            .into_iter()
            .chain(several.iter().map(AppendPart::part))
    }
}
