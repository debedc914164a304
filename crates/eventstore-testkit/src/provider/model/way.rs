//! The two ways to a stream: a session, and the log without one.

use std::sync::Arc;

use eventstore_abstractions::{
    AppendOptions, Appended, EventLog, EventMessage, EventStore, History, IdempotencyKey, ReadOptions,
    Result, Snapshot, StreamId, Version,
};

use super::Place;

/// A session that was opened at some time.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) place: Place,
    pub(super) store: Arc<dyn EventStore>,
    pub(super) closed: bool,
}

/// Through what a stream is reached.
pub(super) enum Way {
    Log(Arc<dyn EventLog>),
    Session(Opened),
}

/// Calls `$method` of the session, or of the log with the stream before its other arguments.
macro_rules! through {
    ($way:ident, $stream:ident, $log:ident($($argument:expr),*), $session:ident) => {
        match $way {
            Way::Log(log) => log.$log($stream $(, $argument)*).await,
            Way::Session(opened) => opened.store.$session($($argument),*).await,
        }
    };
}

impl Way {
    pub(super) async fn append(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        through!(self, stream, append_with(events, options), append_with)
    }

    pub(super) async fn read(&self, stream: &StreamId, options: ReadOptions) -> Result<History> {
        through!(self, stream, read_stream(options), read_with)?
            .collect()
            .await
    }

    pub(super) async fn version(&self, stream: &StreamId) -> Result<Version> {
        through!(self, stream, version(), version)
    }

    pub(super) async fn find_append(&self, stream: &StreamId, key: &IdempotencyKey) -> Result<Appended> {
        through!(self, stream, find_append(key), find_append)
    }

    pub(super) async fn snapshot(&self, stream: &StreamId, at: Version, state: EventMessage) -> Result<()> {
        through!(self, stream, snapshot(at, state), snapshot)
    }

    pub(super) async fn read_snapshot(&self, stream: &StreamId, at: Version) -> Result<Option<Snapshot>> {
        through!(self, stream, read_snapshot(at), read_snapshot)
    }

    pub(super) async fn snapshot_versions(&self, stream: &StreamId) -> Result<Vec<Version>> {
        through!(self, stream, snapshot_versions(), snapshot_versions)
    }

    pub(super) async fn clear_snapshot(&self, stream: &StreamId, at: Version) -> Result<()> {
        through!(self, stream, clear_snapshot(at), clear_snapshot)
    }

    pub(super) async fn clear_snapshots(&self, stream: &StreamId) -> Result<()> {
        through!(self, stream, clear_snapshots(), clear_snapshots)
    }
}
