//! A provider, its logs and its sessions, which do what [`Wrong`] makes of the right ones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    Access, AppendOptions, Appended, Clock, Database, Deletion, EventLog, EventMessage, EventStore,
    EventStoreProvider, EventStream, ExpectedVersion, IdempotencyKey, LogReadOptions, MultiAppend,
    MultiAppended, Namespace, NamespaceName, OpenOptions, Position, Query, ReadOptions, Replay, Result,
    Retention, Scavenged, Session, Settings, Snapshot, StreamId, StreamInfo, SubscribeOptions, Subscription,
    Version,
};
use kv_core::Capabilities;

use crate::namespaces::Wronged;
use crate::right::{Opening, Right};
use crate::wrong::Wrong;

#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) right: Arc<dyn EventStoreProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) capabilities: Capabilities,
    pub(crate) wrong: Arc<dyn Wrong>,
}

impl Provider {
    fn reached(&self, database: &Database, stream: StreamId, session: Option<Arc<dyn EventStore>>) -> Right {
        Right {
            provider: Arc::clone(&self.right),
            log: self.right.log(database),
            stream,
            session,
            clock: Arc::clone(&self.clock),
            capabilities: self.capabilities,
        }
    }
}

#[async_trait]
impl EventStoreProvider for Provider {
    fn settings(&self) -> &Settings {
        self.right.settings()
    }

    fn is_durable(&self) -> bool {
        self.right.is_durable()
    }

    fn log(&self, database: &Database) -> Arc<dyn EventLog> {
        Arc::new(Log {
            right: self.right.log(&self.wrong.database(database)),
            provider: self.clone(),
        })
    }

    async fn open_with(
        &self,
        database: &Database,
        stream: &StreamId,
        options: OpenOptions,
    ) -> Result<Box<dyn EventStore>> {
        let opening = Opening {
            provider: Arc::clone(&self.right),
            clock: Arc::clone(&self.clock),
            database: self.wrong.database(database),
            stream: self.wrong.stream(stream),
            options,
        };
        let opened = self.wrong.open(&opening).await?;
        let (database, stream) = (opened.database().clone(), opened.stream().clone());
        Ok(Box::new(Held {
            right: self.reached(&database, stream, Some(opened)),
            wrong: Arc::clone(&self.wrong),
        }))
    }

    async fn close(&self) -> Result<()> {
        self.right.close().await
    }
}

#[derive(Debug)]
struct Log {
    right: Arc<dyn EventLog>,
    provider: Provider,
}

impl Log {
    fn at(&self, stream: &StreamId) -> Right {
        let stream = self.provider.wrong.stream(stream);
        self.provider.reached(self.right.database(), stream, None)
    }
}

#[async_trait]
impl EventLog for Log {
    fn database(&self) -> &Database {
        self.right.database()
    }

    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        self.provider
            .wrong
            .append(&self.at(stream), events, options)
            .await
    }

    async fn read_stream(&self, stream: &StreamId, options: ReadOptions) -> Result<Replay> {
        self.provider.wrong.read(&self.at(stream), options).await
    }

    fn read_all(&self, options: LogReadOptions) -> EventStream {
        self.provider.wrong.read_all(&self.right, options)
    }

    async fn version(&self, stream: &StreamId) -> Result<Version> {
        self.provider.wrong.version(&self.at(stream)).await
    }

    async fn head(&self) -> Result<Position> {
        self.right.head().await
    }

    async fn find_append(&self, stream: &StreamId, key: &IdempotencyKey) -> Result<Appended> {
        self.provider.wrong.find_append(&self.at(stream), key).await
    }

    async fn snapshot(&self, stream: &StreamId, version: Version, snapshot: EventMessage) -> Result<()> {
        self.provider
            .wrong
            .snapshot(&self.at(stream), version, snapshot)
            .await
    }

    async fn read_snapshot(&self, stream: &StreamId, version: Version) -> Result<Option<Snapshot>> {
        self.provider.wrong.read_snapshot(&self.at(stream), version).await
    }

    async fn snapshot_versions(&self, stream: &StreamId) -> Result<Vec<Version>> {
        self.provider.wrong.snapshot_versions(&self.at(stream)).await
    }

    async fn clear_snapshot(&self, stream: &StreamId, version: Version) -> Result<()> {
        self.provider
            .wrong
            .clear_snapshot(&self.at(stream), version)
            .await
    }

    async fn clear_snapshots(&self, stream: &StreamId) -> Result<()> {
        self.provider.wrong.clear_snapshots(&self.at(stream)).await
    }

    async fn append_all(&self, append: MultiAppend) -> Result<MultiAppended> {
        self.provider.wrong.append_all(&self.right, append).await
    }

    async fn explain(&self, query: &Query) -> Result<Access> {
        self.provider.wrong.explain(&self.right, query).await
    }

    fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        self.provider.wrong.subscribe(&self.right, options)
    }

    fn namespace(&self, name: &NamespaceName) -> Arc<dyn Namespace> {
        let wrong = Arc::clone(&self.provider.wrong);
        Arc::new(Wronged {
            right: self.right.namespace(&wrong.namespace(name)),
            log: Arc::clone(&self.right),
            wrong,
        })
    }

    async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo> {
        self.right.stream_info(stream).await
    }

    async fn set_retention(&self, stream: &StreamId, retention: Retention) -> Result<()> {
        self.provider
            .wrong
            .set_retention(&self.at(stream), retention)
            .await
    }

    async fn delete_stream(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        deletion: Deletion,
    ) -> Result<()> {
        self.provider
            .wrong
            .delete_stream(&self.at(stream), expected, deletion)
            .await
    }

    async fn scavenge(&self, events: u64) -> Result<Scavenged> {
        self.provider.wrong.scavenge(&self.right, events).await
    }
}

/// An open session.
#[derive(Debug)]
struct Held {
    right: Right,
    wrong: Arc<dyn Wrong>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.wrong.dropped(self.right.own());
    }
}

#[async_trait]
impl EventStore for Held {
    fn database(&self) -> &Database {
        self.right.own().database()
    }

    fn stream(&self) -> &StreamId {
        self.right.own().stream()
    }

    fn session(&self) -> Session {
        self.wrong.session(self.right.own().session())
    }

    async fn append_with(&self, events: Vec<EventMessage>, options: AppendOptions) -> Result<Appended> {
        self.wrong.append(&self.right, events, options).await
    }

    async fn read_with(&self, options: ReadOptions) -> Result<Replay> {
        self.wrong.read(&self.right, options).await
    }

    async fn version(&self) -> Result<Version> {
        self.wrong.version(&self.right).await
    }

    async fn find_append(&self, key: &IdempotencyKey) -> Result<Appended> {
        self.wrong.find_append(&self.right, key).await
    }

    async fn snapshot(&self, version: Version, snapshot: EventMessage) -> Result<()> {
        self.wrong.snapshot(&self.right, version, snapshot).await
    }

    async fn read_snapshot(&self, version: Version) -> Result<Option<Snapshot>> {
        self.wrong.read_snapshot(&self.right, version).await
    }

    async fn snapshot_versions(&self) -> Result<Vec<Version>> {
        self.wrong.snapshot_versions(&self.right).await
    }

    async fn clear_snapshot(&self, version: Version) -> Result<()> {
        self.wrong.clear_snapshot(&self.right, version).await
    }

    async fn clear_snapshots(&self) -> Result<()> {
        self.wrong.clear_snapshots(&self.right).await
    }

    async fn renew(&self, timeout: Option<Duration>) -> Result<Session> {
        self.wrong.renew(&self.right, timeout).await
    }

    async fn close(&self) -> Result<()> {
        self.wrong.close(&self.right).await
    }
}
