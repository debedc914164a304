//! The session-free log of a database, and the writes that sessions share with it.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, Clock, Database, EventLog, EventMessage, EventStream, IdempotencyKey,
    LogReadOptions, Position, ReadOptions, Replay, Result, Snapshot, StreamId, Version,
};
use kv_core::Capabilities;
use tokio::sync::oneshot;

use crate::hold::Writer;
use crate::limits::{self, Cost};
use crate::reader::Reader;
use crate::sequencer::{Action, Append, Reply, Request, Sequencer};
use crate::{log_reader, stream_reader};

/// Snapshots that one commit removes at most.
const MAX_CLEARED: usize = 1_000;

/// What a provider, its logs and its sessions share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) reader: Reader,
    pub(crate) sequencer: Sequencer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) capabilities: Capabilities,
}

impl Core {
    pub(crate) async fn ask(
        &self,
        database: &Database,
        stream: &StreamId,
        action: Action,
        cost: Cost,
    ) -> Result<Reply> {
        let (reply, answer) = oneshot::channel();
        let request = Request::new(database.clone(), stream.clone(), action, cost, reply);
        self.sequencer.ask(request, answer).await
    }

    pub(crate) async fn append(
        &self,
        database: &Database,
        stream: &StreamId,
        writer: Writer,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let cost = limits::check_events(database, stream, &events, &self.capabilities)?;
        let AppendOptions {
            expected, durability, ..
        } = options;
        let action = Action::Append(Append {
            writer,
            events,
            expected,
            durability,
        });
        match self.ask(database, stream, action, cost).await? {
            Reply::Appended(appended) => Ok(appended),
            other => unreachable!("an append is not answered with {other:?}"),
        }
    }

    pub(crate) async fn snapshot(
        &self,
        database: &Database,
        stream: &StreamId,
        writer: Writer,
        version: Version,
        snapshot: EventMessage,
    ) -> Result<()> {
        let cost = limits::check_snapshot(database, stream, version, &snapshot, &self.capabilities)?;
        let action = Action::Snapshot {
            writer,
            version,
            message: Box::new(snapshot),
        };
        self.ask(database, stream, action, cost).await.map(drop)
    }

    pub(crate) async fn clear_snapshot(
        &self,
        database: &Database,
        stream: &StreamId,
        writer: Writer,
        version: Version,
    ) -> Result<()> {
        let action = Action::ClearSnapshot { writer, version };
        self.ask(database, stream, action, Cost::of_keys(1))
            .await
            .map(drop)
    }

    /// Removes all snapshots: in one commit, unless there are more than [`MAX_CLEARED`].
    pub(crate) async fn clear_snapshots(
        &self,
        database: &Database,
        stream: &StreamId,
        writer: Writer,
    ) -> Result<()> {
        // Half of a batch is left to the other requests of the group.
        let limit = MAX_CLEARED.min(self.capabilities.max_batch_operations / 2).max(1);
        loop {
            let action = Action::ClearSnapshots { writer, limit };
            match self.ask(database, stream, action, Cost::of_keys(limit)).await? {
                Reply::Cleared(cleared) if cleared == limit => {}
                _ => return Ok(()),
            }
        }
    }
}

/// The log of one database, without a session.
#[derive(Debug)]
pub(crate) struct Log {
    core: Arc<Core>,
    database: Database,
}

impl Log {
    pub(crate) fn new(core: Arc<Core>, database: Database) -> Self {
        Self { core, database }
    }
}

#[async_trait]
impl EventLog for Log {
    fn database(&self) -> &Database {
        &self.database
    }

    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        self.core
            .append(&self.database, stream, Writer::Free, events, options)
            .await
    }

    async fn read_stream(&self, stream: &StreamId, options: ReadOptions) -> Result<Replay> {
        stream_reader::read(self.core.reader.clone(), &self.database, stream, options).await
    }

    fn read_all(&self, options: LogReadOptions) -> EventStream {
        log_reader::read(self.core.reader.clone(), self.database.clone(), options)
    }

    async fn version(&self, stream: &StreamId) -> Result<Version> {
        let head = self.core.reader.stream_head(&self.database, stream).await?;
        Ok(Version::new(head.version))
    }

    async fn head(&self) -> Result<Position> {
        let head = self.core.reader.database_head(&self.database).await?;
        Ok(Position::new(head.position))
    }

    async fn find_append(&self, stream: &StreamId, key: &IdempotencyKey) -> Result<Appended> {
        self.core.reader.find_append(&self.database, stream, key).await
    }

    async fn snapshot(&self, stream: &StreamId, version: Version, snapshot: EventMessage) -> Result<()> {
        self.core
            .snapshot(&self.database, stream, Writer::Free, version, snapshot)
            .await
    }

    async fn read_snapshot(&self, stream: &StreamId, version: Version) -> Result<Option<Snapshot>> {
        self.core.reader.snapshot(&self.database, stream, version).await
    }

    async fn snapshot_versions(&self, stream: &StreamId) -> Result<Vec<Version>> {
        self.core
            .reader
            .snapshot_versions(&self.database, stream, usize::MAX)
            .await
    }

    async fn clear_snapshot(&self, stream: &StreamId, version: Version) -> Result<()> {
        self.core
            .clear_snapshot(&self.database, stream, Writer::Free, version)
            .await
    }

    async fn clear_snapshots(&self, stream: &StreamId) -> Result<()> {
        self.core
            .clear_snapshots(&self.database, stream, Writer::Free)
            .await
    }
}
