//! What domain code needs to know of an event store: traits, event messages and typed events.
//!
//! An application's state is kept as append-only streams of events, one stream per aggregate. This
//! crate holds the vocabulary and the traits; it has no engine, no runtime and no storage format, so
//! that a domain library can depend on it alone and a backend can change without touching the domain.
//!
//! | to | use |
//! |---|---|
//! | append with an expected version, and read, without a session | [`EventLog`] |
//! | own a stream exclusively for a while | [`EventStore`], opened by an [`EventStoreProvider`] |
//! | say what an event is | [`EventMessage`], or [`DomainEvent`](typed::DomainEvent) for typed events |
//! | decode several event types of one stream | [`event_set!`] and [`Decoder`](typed::Decoder) |
//!
//! ```
//! use eventstore_abstractions::{EventLog, EventLogExt, EventMessage, ExpectedVersion, Result, StreamId};
//! use eventstore_abstractions::typed::DomainEvent;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct MoneyDeposited {
//!     cents: u64,
//! }
//!
//! impl DomainEvent for MoneyDeposited {
//!     const TYPE_NAME: &'static str = "MoneyDeposited";
//! }
//!
//! // Domain code: it works with any backend.
//! async fn deposit(log: &dyn EventLog, account: &StreamId, cents: u64) -> Result<()> {
//!     let version = log.version(account).await?;
//!     let event = EventMessage::of(&MoneyDeposited { cents })?;
//!     log.append(account, ExpectedVersion::Exact(version), [event]).await?;
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]

mod clock;
mod error;
mod ids;
mod log;
mod log_ext;
mod message;
mod metadata;
mod multi;
mod names;
mod namespace;
mod numbers;
mod options;
mod provider;
mod query;
mod recorded;
mod retention;
mod settings;
mod store;
mod store_ext;
mod streams;
mod subscription;
mod text;
pub mod typed;

pub use bytes::Bytes;

pub use clock::{Clock, Timestamp};
pub use error::{BoxError, Error, HeldBy, Result};
pub use ids::{
    CausationId, CorrelationId, IdempotencyId, IdempotencyKey, MessageId, Scope, SessionId, UserId,
    UserSessionId,
};
pub use log::EventLog;
pub use log_ext::EventLogExt;
pub use message::{ContentType, EventMessage, Payload};
pub use metadata::{ContextFields, ContextMetadata, MessageMetadata, Metadata};
pub use multi::{AppendCondition, MultiAppend, MultiAppended, StreamAppend};
pub use names::{Database, StreamId, Tag, TypeName};
pub use namespace::{Changes, Committed, MAX_KEY_BYTES, Namespace, NamespaceName, Requirement};
pub use numbers::{ExpectedVersion, Position, Version};
pub use options::{
    AppendOptions, Direction, Durability, LogReadOptions, OpenOptions, ReadOptions, Selection,
};
pub use provider::{EventStoreProvider, EventStoreProviderExt};
pub use query::{Access, Query, QueryItem};
pub use recorded::{Appended, History, RecordedEvent, Snapshot};
pub use retention::{Deletion, Retention, Scavenged, StreamInfo};
pub use settings::{Indexes, Settings};
pub use store::{EventStore, Session};
pub use store_ext::EventStoreExt;
pub use streams::{EventStream, Replay};
pub use subscription::{Notice, SubscribeFrom, SubscribeOptions, Subscription};

#[doc(hidden)]
pub mod private {
    //! What the macros of this crate expand to, and what crates of this repository share. Not part of the public
    //! interface.
    pub use core::{option::Option, result::Result};

    pub use crate::text::check as check_text;
}
