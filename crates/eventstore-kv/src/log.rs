//! The session-free log of a database, and the writes that sessions share with it.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{
    Access, AppendOptions, Appended, Clock, Database, Deletion, EventLog, EventMessage, EventStream,
    ExpectedVersion, IdempotencyKey, Indexes, LogReadOptions, MultiAppend, MultiAppended, Namespace,
    NamespaceName, Position, Query, ReadOptions, Replay, Result, Retention, Scavenged, Snapshot, StreamId,
    StreamInfo, SubscribeOptions, Subscription, Version,
};
use kv_core::{Capabilities, KeyValueStore};
use tokio::sync::oneshot;

use crate::hold::Writer;
use crate::limits::{self, Cost};
use crate::namespace::State;
use crate::reader::Reader;
use crate::sequencer::{Action, Append, AppendAll, LifeChange, Reply, Request, Sequencer};
use crate::subscription::{self, Tails};
use crate::{keys, life, log_reader, query, scavenger, stream_reader};

/// Snapshots that one commit removes at most.
const MAX_CLEARED: usize = 1_000;

/// What a provider, its logs and its sessions share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) reader: Reader,
    pub(crate) sequencer: Sequencer,
    /// For what is no write to a stream: the removal of what is not kept, and state beside the events.
    pub(crate) engine: Arc<dyn KeyValueStore>,
    pub(crate) tails: Arc<Tails>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) capabilities: Capabilities,
    pub(crate) indexes: Indexes,
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
        let cost = limits::check_append(database, stream, &events, self.indexes, &self.capabilities)?;
        let AppendOptions {
            expected, durability, ..
        } = options;
        let action = Action::Append(Append {
            writer,
            events: Arc::new(events),
            expected,
            durability,
        });
        match self.ask(database, stream, action, cost).await? {
            Reply::Appended(appended) => Ok(appended),
            other => unreachable!("an append is not answered with {other:?}"),
        }
    }

    async fn append_all(&self, database: &Database, append: MultiAppend) -> Result<MultiAppended> {
        let cost = limits::check_append_all(database, &append, self.indexes, &self.capabilities)?;
        let (first, append) = AppendAll::new(database, append);
        let action = Action::AppendAll(Box::new(append));
        match self.ask(database, &first, action, cost).await? {
            Reply::AppendedAll(appended) => Ok(appended),
            other => unreachable!("an append to several streams is not answered with {other:?}"),
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

    /// Changes which events of a stream are kept. Nothing of it stays in memory.
    async fn change_life(&self, database: &Database, stream: &StreamId, change: LifeChange) -> Result<()> {
        self.ask(database, stream, Action::Life(change), Cost::of_keys(1))
            .await?;
        self.reader.cache().forget(&keys::stream_head(database, stream));
        Ok(())
    }

    /// Leaves out for ever the events of a stream that are too old now. It returns the first version that is kept.
    pub(crate) async fn exclude_aged(&self, database: &Database, stream: &StreamId) -> Result<Version> {
        let head = self.reader.stream_head(database, stream).await?;
        let first = life::first_kept(&self.reader, database, stream, &head).await?;
        let Some(seen) = head.life.filter(|_| first > head.first()) else {
            return Ok(head.first());
        };
        let change = LifeChange::Exclude { seen, first };
        self.change_life(database, stream, change).await?;
        Ok(self.reader.stream_head(database, stream).await?.first())
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
        self.core.reader.usable_snapshots(&self.database, stream).await
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

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo> {
        let (reader, database) = (&self.core.reader, &self.database);
        let head = reader.stream_head(database, stream).await?;
        let first = life::first_kept(reader, database, stream, &head).await?;
        Ok(StreamInfo::new(
            Version::new(head.version),
            first,
            head.retention(),
            head.deletion(),
        ))
    }

    async fn set_retention(&self, stream: &StreamId, retention: Retention) -> Result<()> {
        life::check(&retention)?;
        // What is too old by what was asked for before is not kept again.
        self.core.exclude_aged(&self.database, stream).await?;
        let change = LifeChange::Retain(retention);
        self.core.change_life(&self.database, stream, change).await
    }

    async fn delete_stream(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        deletion: Deletion,
    ) -> Result<()> {
        let change = LifeChange::Delete { expected, deletion };
        self.core.change_life(&self.database, stream, change).await
    }

    async fn scavenge(&self, events: u64) -> Result<Scavenged> {
        scavenger::scavenge(&self.core, &self.database, events).await
    }

    async fn append_all(&self, append: MultiAppend) -> Result<MultiAppended> {
        self.core.append_all(&self.database, append).await
    }

    async fn explain(&self, query: &Query) -> Result<Access> {
        query.validate()?;
        let mut head = self.core.reader.database_head(&self.database).await?;
        // An index that the next write begins says so already.
        head.index(self.core.indexes);
        Ok(query::access(query, &head))
    }

    fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        subscription::subscribe(&self.core, &self.database, options)
    }

    fn namespace(&self, name: &NamespaceName) -> Arc<dyn Namespace> {
        let engine = Arc::clone(&self.core.engine);
        Arc::new(State::new(engine, &self.database, name.clone()))
    }
}
