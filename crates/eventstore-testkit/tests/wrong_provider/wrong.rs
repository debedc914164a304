//! How a provider can be wrong: one trait, of which every method is right unless it is replaced.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    Access, AppendOptions, Appended, Bytes, Changes, Clock, Committed, Database, Deletion, EventLog,
    EventMessage, EventStore, EventStream, ExpectedVersion, IdempotencyKey, LogReadOptions, MultiAppend,
    MultiAppended, Namespace, NamespaceName, Query, ReadOptions, Replay, Result, Retention, Scavenged,
    Session, Settings, Snapshot, StreamId, SubscribeOptions, Subscription, Version,
};
use kv_core::{Batch, Capabilities, Durability, KeyValueStore, Outcome};

use crate::right::{Opening, Right};

pub(crate) type Store = Arc<dyn KeyValueStore>;

/// What is wrong about a provider, the engine beneath it, or its clock.
#[async_trait]
pub(crate) trait Wrong: Debug + Send + Sync + 'static {
    /// What the engine says of itself to the provider.
    fn capabilities(&self, right: Capabilities) -> Capabilities {
        right
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> kv_core::Result<Outcome> {
        right.commit(batch, durability).await
    }

    /// Called before the engine opens what it kept on `_disk`.
    async fn reopens(&self, _disk: &Store) {}

    fn clock(&self, right: Arc<dyn Clock>) -> Arc<dyn Clock> {
        right
    }

    /// What the provider is opened with, when it was asked for `asked`.
    fn settings(&self, asked: Settings) -> Settings {
        asked
    }

    /// Called when the provider opens.
    fn starts(&self) {}

    /// The database that is used for the one that was asked for.
    fn database(&self, asked: &Database) -> Database {
        asked.clone()
    }

    /// The stream that is used for the one that was asked for.
    fn stream(&self, asked: &StreamId) -> StreamId {
        asked.clone()
    }

    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        right.append(events, options).await
    }

    async fn read(&self, right: &Right, options: ReadOptions) -> Result<Replay> {
        right.read(options).await
    }

    fn read_all(&self, right: &Arc<dyn EventLog>, options: LogReadOptions) -> EventStream {
        right.read_all(options)
    }

    async fn append_all(&self, right: &Arc<dyn EventLog>, append: MultiAppend) -> Result<MultiAppended> {
        right.append_all(append).await
    }

    async fn explain(&self, right: &Arc<dyn EventLog>, query: &Query) -> Result<Access> {
        right.explain(query).await
    }

    fn subscribe(&self, right: &Arc<dyn EventLog>, options: SubscribeOptions) -> Subscription {
        right.subscribe(options)
    }

    async fn version(&self, right: &Right) -> Result<Version> {
        right.version().await
    }

    async fn find_append(&self, right: &Right, key: &IdempotencyKey) -> Result<Appended> {
        right.find_append(key).await
    }

    async fn snapshot(&self, right: &Right, version: Version, message: EventMessage) -> Result<()> {
        right.snapshot(version, message).await
    }

    async fn read_snapshot(&self, right: &Right, version: Version) -> Result<Option<Snapshot>> {
        right.read_snapshot(version).await
    }

    async fn snapshot_versions(&self, right: &Right) -> Result<Vec<Version>> {
        right.snapshot_versions().await
    }

    async fn clear_snapshot(&self, right: &Right, version: Version) -> Result<()> {
        right.clear_snapshot(version).await
    }

    async fn clear_snapshots(&self, right: &Right) -> Result<()> {
        right.clear_snapshots().await
    }

    async fn set_retention(&self, right: &Right, retention: Retention) -> Result<()> {
        right.log.set_retention(&right.stream, retention).await
    }

    async fn delete_stream(
        &self,
        right: &Right,
        expected: ExpectedVersion,
        deletion: Deletion,
    ) -> Result<()> {
        right.log.delete_stream(&right.stream, expected, deletion).await
    }

    async fn scavenge(&self, right: &Arc<dyn EventLog>, events: u64) -> Result<Scavenged> {
        right.scavenge(events).await
    }

    async fn open(&self, right: &Opening) -> Result<Arc<dyn EventStore>> {
        right.open().await
    }

    /// What a store says of its session.
    fn session(&self, right: Session) -> Session {
        right
    }

    async fn renew(&self, right: &Right, timeout: Option<Duration>) -> Result<Session> {
        right.own().renew(timeout).await
    }

    async fn close(&self, right: &Right) -> Result<()> {
        right.own().close().await
    }

    /// The namespace that is used for the one that was asked for.
    fn namespace(&self, asked: &NamespaceName) -> NamespaceName {
        asked.clone()
    }

    async fn state_get(&self, right: &Arc<dyn Namespace>, key: &[u8]) -> Result<Option<Bytes>> {
        right.get(key).await
    }

    async fn state_scan(
        &self,
        right: &Arc<dyn Namespace>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        right.scan(prefix, after, limit).await
    }

    async fn state_commit(
        &self,
        _log: &Arc<dyn EventLog>,
        right: &Arc<dyn Namespace>,
        changes: Changes,
        durability: eventstore_abstractions::Durability,
    ) -> Result<Committed> {
        right.commit(changes, durability).await
    }

    /// Called when a store is dropped.
    fn dropped(&self, _right: &Arc<dyn EventStore>) {}
}

#[derive(Debug)]
pub(crate) struct NothingWrong;

impl Wrong for NothingWrong {}

/// Declares things that are wrong in one method: `Name: method |arguments| body;`.
macro_rules! wrong {
    ($($name:ident: $method:ident |$($argument:ident),+| $body:expr;)+) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        crate::wrong::implement! { $name $method($($argument),+) $body }
    )+};
}

/// Implements [`Wrong`] with one method of its own, for [`wrong!`].
macro_rules! implement {
    ($name:ident commit($right:ident, $batch:ident, $durability:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn commit(
                &self,
                $right: &crate::wrong::Store,
                $batch: kv_core::Batch,
                $durability: kv_core::Durability,
            ) -> kv_core::Result<kv_core::Outcome> {
                $body
            }
        }
    };
    ($name:ident settings($asked:ident) $body:expr) => {
        impl crate::wrong::Wrong for $name {
            fn settings(
                &self,
                $asked: eventstore_abstractions::Settings,
            ) -> eventstore_abstractions::Settings {
                $body
            }
        }
    };
    ($name:ident append($right:ident, $events:ident, $options:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn append(
                &self,
                $right: &crate::right::Right,
                $events: Vec<eventstore_abstractions::EventMessage>,
                $options: eventstore_abstractions::AppendOptions,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Appended> {
                $body
            }
        }
    };
    ($name:ident read($right:ident, $options:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn read(
                &self,
                $right: &crate::right::Right,
                $options: eventstore_abstractions::ReadOptions,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Replay> {
                $body
            }
        }
    };
    ($name:ident read_all($right:ident, $options:ident) $body:expr) => {
        impl crate::wrong::Wrong for $name {
            fn read_all(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::EventLog>,
                $options: eventstore_abstractions::LogReadOptions,
            ) -> eventstore_abstractions::EventStream {
                $body
            }
        }
    };
    ($name:ident append_all($right:ident, $append:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn append_all(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::EventLog>,
                $append: eventstore_abstractions::MultiAppend,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::MultiAppended> {
                $body
            }
        }
    };
    ($name:ident explain($right:ident, $query:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn explain(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::EventLog>,
                $query: &eventstore_abstractions::Query,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Access> {
                $body
            }
        }
    };
    ($name:ident subscribe($right:ident, $options:ident) $body:expr) => {
        impl crate::wrong::Wrong for $name {
            fn subscribe(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::EventLog>,
                $options: eventstore_abstractions::SubscribeOptions,
            ) -> eventstore_abstractions::Subscription {
                $body
            }
        }
    };
    ($name:ident version($right:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn version(
                &self,
                $right: &crate::right::Right,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Version> {
                $body
            }
        }
    };
    ($name:ident find_append($right:ident, $key:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn find_append(
                &self,
                $right: &crate::right::Right,
                $key: &eventstore_abstractions::IdempotencyKey,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Appended> {
                $body
            }
        }
    };
    ($name:ident snapshot($right:ident, $version:ident, $message:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn snapshot(
                &self,
                $right: &crate::right::Right,
                $version: eventstore_abstractions::Version,
                $message: eventstore_abstractions::EventMessage,
            ) -> eventstore_abstractions::Result<()> {
                $body
            }
        }
    };
    ($name:ident read_snapshot($right:ident, $version:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn read_snapshot(
                &self,
                $right: &crate::right::Right,
                $version: eventstore_abstractions::Version,
            ) -> eventstore_abstractions::Result<Option<eventstore_abstractions::Snapshot>> {
                $body
            }
        }
    };
    ($name:ident snapshot_versions($right:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn snapshot_versions(
                &self,
                $right: &crate::right::Right,
            ) -> eventstore_abstractions::Result<Vec<eventstore_abstractions::Version>> {
                $body
            }
        }
    };
    ($name:ident clear_snapshot($right:ident, $version:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn clear_snapshot(
                &self,
                $right: &crate::right::Right,
                $version: eventstore_abstractions::Version,
            ) -> eventstore_abstractions::Result<()> {
                $body
            }
        }
    };
    ($name:ident clear_snapshots($right:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn clear_snapshots(
                &self,
                $right: &crate::right::Right,
            ) -> eventstore_abstractions::Result<()> {
                $body
            }
        }
    };
    ($name:ident set_retention($right:ident, $retention:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn set_retention(
                &self,
                $right: &crate::right::Right,
                $retention: eventstore_abstractions::Retention,
            ) -> eventstore_abstractions::Result<()> {
                $body
            }
        }
    };
    ($name:ident delete_stream($right:ident, $expected:ident, $deletion:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn delete_stream(
                &self,
                $right: &crate::right::Right,
                $expected: eventstore_abstractions::ExpectedVersion,
                $deletion: eventstore_abstractions::Deletion,
            ) -> eventstore_abstractions::Result<()> {
                $body
            }
        }
    };
    ($name:ident scavenge($right:ident, $events:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn scavenge(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::EventLog>,
                $events: u64,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Scavenged> {
                $body
            }
        }
    };
    ($name:ident open($right:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn open(
                &self,
                $right: &crate::right::Opening,
            ) -> eventstore_abstractions::Result<std::sync::Arc<dyn eventstore_abstractions::EventStore>>
            {
                $body
            }
        }
    };
    ($name:ident renew($right:ident, $timeout:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn renew(
                &self,
                $right: &crate::right::Right,
                $timeout: Option<std::time::Duration>,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Session> {
                $body
            }
        }
    };
    ($name:ident state_get($right:ident, $key:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn state_get(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::Namespace>,
                $key: &[u8],
            ) -> eventstore_abstractions::Result<Option<eventstore_abstractions::Bytes>> {
                $body
            }
        }
    };
    ($name:ident state_scan($right:ident, $prefix:ident, $after:ident, $limit:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn state_scan(
                &self,
                $right: &std::sync::Arc<dyn eventstore_abstractions::Namespace>,
                $prefix: &[u8],
                $after: Option<&[u8]>,
                $limit: usize,
            ) -> eventstore_abstractions::Result<
                Vec<(
                    eventstore_abstractions::Bytes,
                    eventstore_abstractions::Bytes,
                )>,
            > {
                $body
            }
        }
    };
    ($name:ident state_commit($log:ident, $right:ident, $changes:ident, $durability:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn state_commit(
                &self,
                $log: &std::sync::Arc<dyn eventstore_abstractions::EventLog>,
                $right: &std::sync::Arc<dyn eventstore_abstractions::Namespace>,
                $changes: eventstore_abstractions::Changes,
                $durability: eventstore_abstractions::Durability,
            ) -> eventstore_abstractions::Result<eventstore_abstractions::Committed> {
                $body
            }
        }
    };
    ($name:ident close($right:ident) $body:expr) => {
        #[async_trait::async_trait]
        impl crate::wrong::Wrong for $name {
            async fn close(&self, $right: &crate::right::Right) -> eventstore_abstractions::Result<()> {
                $body
            }
        }
    };
}

pub(crate) use {implement, wrong};
