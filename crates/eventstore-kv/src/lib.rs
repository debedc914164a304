//! The event store and its provider over any ordered key-value engine.
//!
//! [`Provider`] turns a [`KeyValueStore`](kv_core::KeyValueStore) into an
//! [`EventStoreProvider`](eventstore_abstractions::EventStoreProvider). Applications usually get one from the
//! `eventstores` crate by URL; this crate is for those who bring an engine of their own.
//!
//! ```
//! use std::sync::Arc;
//!
//! use eventstore_abstractions::{EventMessage, EventStoreProviderExt, ExpectedVersion, Settings, StreamId};
//! use eventstore_kv::Provider;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), eventstore_abstractions::Error> {
//! let provider = Provider::open(Arc::new(kv_memory::Store::new()), Settings::default()).await?;
//! let account = StreamId::new("account", "alice")?;
//! let opened = EventMessage::json("Opened", &())?;
//! let appended = provider.append(&account, ExpectedVersion::NoStream, vec![opened]).await?;
//! assert_eq!((appended.version.get(), appended.position.get()), (1, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//! All writes go through one sequencer per open engine, a thread. It takes what waits, decides every request against
//! what is committed or about to be, and applies all of them in one conditional commit that moves the head of each
//! database it touches from the revision it read to the next; what comes meanwhile grows into the next commit. Reads go
//! straight to the engine. `docs/architecture.md` in the repository is the map, `docs/storage-format.md` says what every
//! stored byte means.
#![forbid(unsafe_code)]

mod clock;
mod copy;
mod derived;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hold;
mod idempotency;
mod keys;
mod life;
mod limits;
mod log;
mod log_reader;
mod namespace;
mod options;
mod pages;
mod provider;
mod query;
mod reader;
mod record;
mod scavenger;
mod sequencer;
mod session;
mod stream_cache;
mod stream_reader;
mod subscription;

pub use clock::SystemClock;
pub use copy::{Copied, CopyOptions, CopyProgress, CopyStep, copy, copy_with};
pub use error::open_error;
pub use options::Options;
pub use provider::Provider;
