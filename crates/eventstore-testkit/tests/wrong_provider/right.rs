//! The right things beneath: what a wrong one has to call in order to be right.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    AppendOptions, Appended, Clock, Database, EventLog, EventMessage, EventStore, EventStoreProvider,
    IdempotencyKey, OpenOptions, ReadOptions, Replay, Result, Snapshot, StreamId, Version,
};
use kv_core::Capabilities;

/// A stream of the right provider, reached as the caller reached it: through a session, or without one.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    pub(crate) provider: Arc<dyn EventStoreProvider>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) stream: StreamId,
    pub(crate) session: Option<Arc<dyn EventStore>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) capabilities: Capabilities,
}

/// Calls `$method` of the session, or `$log` of the log, with the stream before its other arguments.
macro_rules! through {
    ($right:ident, $log:ident, $method:ident($($argument:expr),*)) => {
        match &$right.session {
            Some(session) => session.$method($($argument),*).await,
            None => $right.log.$log(&$right.stream $(, $argument)*).await,
        }
    };
}

impl Right {
    /// The session of the call, which must have one.
    pub(crate) fn own(&self) -> &Arc<dyn EventStore> {
        self.session.as_ref().expect("the call is one of a session")
    }

    /// The same stream, reached without the session.
    pub(crate) fn without_session(&self) -> Self {
        Self {
            session: None,
            ..self.clone()
        }
    }

    pub(crate) async fn append(&self, events: Vec<EventMessage>, options: AppendOptions) -> Result<Appended> {
        through!(self, append_with, append_with(events, options))
    }

    pub(crate) async fn read(&self, options: ReadOptions) -> Result<Replay> {
        through!(self, read_stream, read_with(options))
    }

    pub(crate) async fn version(&self) -> Result<Version> {
        through!(self, version, version())
    }

    pub(crate) async fn find_append(&self, key: &IdempotencyKey) -> Result<Appended> {
        through!(self, find_append, find_append(key))
    }

    pub(crate) async fn snapshot(&self, version: Version, message: EventMessage) -> Result<()> {
        through!(self, snapshot, snapshot(version, message))
    }

    pub(crate) async fn read_snapshot(&self, version: Version) -> Result<Option<Snapshot>> {
        through!(self, read_snapshot, read_snapshot(version))
    }

    pub(crate) async fn snapshot_versions(&self) -> Result<Vec<Version>> {
        through!(self, snapshot_versions, snapshot_versions())
    }

    pub(crate) async fn clear_snapshot(&self, version: Version) -> Result<()> {
        through!(self, clear_snapshot, clear_snapshot(version))
    }

    pub(crate) async fn clear_snapshots(&self) -> Result<()> {
        through!(self, clear_snapshots, clear_snapshots())
    }

    /// What an append of `events` would be told, if it were made now.
    pub(crate) async fn foretold(&self, events: u64) -> Result<Appended> {
        let (version, head) = (self.version().await?, self.log.head().await?);
        Ok(Appended::new(
            version.advanced_by(events),
            head.advanced_by(events),
            events,
        ))
    }
}

/// A session that is to be opened by the right provider.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) provider: Arc<dyn EventStoreProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) database: Database,
    pub(crate) stream: StreamId,
    pub(crate) options: OpenOptions,
}

impl Opening {
    pub(crate) async fn open(&self) -> Result<Arc<dyn EventStore>> {
        let options = self.options.clone();
        let opened = self
            .provider
            .open_with(&self.database, &self.stream, options)
            .await;
        opened.map(Arc::from)
    }

    /// Opens it if nobody holds the stream.
    pub(crate) async fn open_at_once(&self) -> Result<Arc<dyn EventStore>> {
        self.with(self.options.clone().open_timeout(Duration::ZERO))
            .open()
            .await
    }

    /// The same with other options.
    pub(crate) fn with(&self, options: OpenOptions) -> Self {
        Self {
            options,
            ..self.clone()
        }
    }
}
