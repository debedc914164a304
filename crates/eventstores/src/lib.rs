//! Event sourcing in the process that needs it: streams of events, one gap-free log over them, snapshots and
//! exclusive sessions, on the backend that a URL names.
//!
//! - **One line picks the storage.** A Cargo feature makes a backend available, a URL selects it, and no other line
//!   of an application changes: tests run on `memory:`, the application on `fjall:./data`.
//! - **What is acknowledged is kept.** An append returns when it would survive a power cut, or fails and says
//!   whether it can have happened.
//! - **Conflicts are answers.** An append says which version it expects. Of several that expect the same one
//!   succeeds, and the others are told the version that the stream has.
//! - **Every event has a number in the whole log**, without gaps, and no event appears behind a reader.
//!
#![cfg_attr(feature = "memory", doc = "```")]
#![cfg_attr(not(feature = "memory"), doc = "```no_run")]
//! use eventstores::typed::DomainEvent;
//! use eventstores::{EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, StreamId};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct MoneyDeposited { cents: u64 }
//! impl DomainEvent for MoneyDeposited {
//!     const TYPE_NAME: &'static str = "MoneyDeposited";
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eventstores::Result<()> {
//! let provider = eventstores::connect("memory:").await?; // or "fjall:./data"
//! let log = provider.default_log();
//! let account = StreamId::new("account", "alice")?;
//!
//! let deposit = || EventMessage::of(&MoneyDeposited { cents: 500 });
//! log.append(&account, ExpectedVersion::NoStream, [deposit()?]).await?;
//! // Somebody else decides on what they read before: they are refused, and nothing is written.
//! let refused = log.append(&account, ExpectedVersion::NoStream, [deposit()?]).await;
//! assert!(refused.unwrap_err().is_conflict());
//!
//! let history = log.read(&account).await?.collect().await?;
//! assert_eq!(history.version().get(), 1);
//! provider.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Backends and features
//! No feature is on by default, and features only add. Without any, this crate is its traits: no engine, no tokio
//! and no bincode are in the tree.
//!
//! | URL | feature | data | prefer it |
//! |---|---|---|---|
//! | `memory:` | `memory` | gone when the provider is | in tests |
//! | `fjall:PATH` | `fjall` | durable, in a directory that one process has open | by default |
//! | `lmdb:PATH` | `lmdb` | durable, in a directory that one process has open | for many more reads than writes: see `kv_lmdb` |
//! | `redb:PATH` | `redb` | durable, in a directory that one process has open | for the same in Rust alone: see `kv_redb` |
//! | `postgres://USER:PASSWORD@HOST/DATABASE` | `postgres` | durable, in a table that any number of processes share | where one machine is not enough: see `kv_postgres` |
//! | `sled:PATH` | `sled` | durable, in a directory that one process has open | where sled is in use already: see `kv_sled` |
//! | `etcd://HOST,HOST,HOST/PREFIX` | `etcd` | durable and replicated, shared by any number of processes | for gigabytes that must be there when a machine is not: see `kv_etcd` |
//!
//! A path is taken literally: spaces, `%`, `?` and any Unicode are part of its name. See [`connect_with`].
//!
//! # Where to go
//! | to | use |
//! |---|---|
//! | open a store | [`connect`], [`connect_with`] |
//! | move a store to another backend | `copy`, with the feature of any backend |
//! | append with an expected version, and read, without a session | [`EventLog`], [`EventLogExt`] |
//! | own a stream exclusively for a while | [`EventStoreProviderExt::open`], [`EventStore`], [`EventStoreExt`] |
//! | write events as Rust types | [`typed`], [`event_set!`] |
//! | follow the log with consumers and projections | the module `domain`, with the feature of that name |
//! | know what failed and what to do about it | [`Error`] |
//!
//! A domain library should depend on `eventstore-abstractions` alone, which has every type and trait named here;
//! only the program that picks the backend needs this crate.
#![forbid(unsafe_code)]

mod connect;
#[cfg(feature = "_engine")]
mod copy;
mod url;

pub use connect::{connect, connect_with};
#[cfg(feature = "_engine")]
pub use copy::{copy, copy_with};
#[cfg(feature = "_engine")]
#[doc(inline)]
pub use eventstore_kv::{Copied, CopyOptions, CopyProgress, CopyStep};

#[doc(inline)]
pub use eventstore_abstractions::{
    Access, AppendCondition, AppendOptions, Appended, BoxError, Bytes, CausationId, Changes, Clock,
    Committed, ContentType, ContextFields, ContextMetadata, CorrelationId, Database, Deletion, Direction,
    Durability, Error, EventLog, EventLogExt, EventMessage, EventStore, EventStoreExt, EventStoreProvider,
    EventStoreProviderExt, EventStream, ExpectedVersion, HeldBy, History, IdempotencyId, IdempotencyKey,
    Indexes, LogReadOptions, MAX_KEY_BYTES, MessageId, MessageMetadata, Metadata, MultiAppend, MultiAppended,
    Namespace, NamespaceName, Notice, OpenOptions, Payload, Position, Query, QueryItem, ReadOptions,
    RecordedEvent, Replay, Requirement, Result, Retention, Scavenged, Scope, Selection, Session, SessionId,
    Settings, Snapshot, StreamAppend, StreamId, StreamInfo, SubscribeFrom, SubscribeOptions, Subscription,
    Tag, Timestamp, TypeName, UserId, UserSessionId, Version, event_set, typed,
};

#[cfg(feature = "domain")]
#[doc(inline)]
pub use eventstore_domain as domain;

/// The example in the repository's README compiles.
#[cfg(all(doctest, feature = "fjall"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples in the guide run. Those of consumers and projections are tested with their crate.
#[cfg(all(doctest, feature = "memory"))]
mod guide {
    #[doc = include_str!("../../../docs/guide/appending.md")]
    struct Appending;
    #[doc = include_str!("../../../docs/guide/reading.md")]
    struct Reading;
    #[doc = include_str!("../../../docs/guide/subscribing.md")]
    struct Subscribing;
    #[doc = include_str!("../../../docs/guide/retention.md")]
    struct Retention;
    #[doc = include_str!("../../../docs/guide/scaling.md")]
    struct Scaling;
}
