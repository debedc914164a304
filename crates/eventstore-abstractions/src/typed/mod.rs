//! Typed events: Rust types in, Rust types out.
//!
//! An event type implements [`DomainEvent`], which gives it a name and a schema version. The types that
//! one stream holds are gathered by [`event_set!`](crate::event_set) into an enum, and a [`Decoder`]
//! reads recorded events back as that enum. What to do with a type that the enum does not know is the
//! caller's choice: see [`UnknownTypes`].
//!
//! ```
//! use eventstore_abstractions::{EventMessage, event_set};
//! use eventstore_abstractions::typed::{Decoder, DomainEvent, UnknownTypes};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Opened { owner: String }
//! impl DomainEvent for Opened {
//!     const TYPE_NAME: &'static str = "Opened";
//! }
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Deposited { cents: u64 }
//! impl DomainEvent for Deposited {
//!     const TYPE_NAME: &'static str = "Deposited";
//!     const SCHEMA_VERSION: u32 = 2;
//! }
//!
//! event_set! {
//!     #[derive(Debug, PartialEq)]
//!     enum AccountEvent { Opened, Deposited }
//! }
//!
//! let message = EventMessage::of(&Deposited { cents: 500 })?;
//! let event = Decoder::<AccountEvent>::new().decode_event(&message)?;
//! assert_eq!(event, AccountEvent::Deposited(Deposited { cents: 500 }));
//!
//! // A type from a newer version of the program is an error, unless the caller chooses otherwise.
//! let unknown = EventMessage::json("Frozen", &())?;
//! assert!(Decoder::<AccountEvent>::new().decode_event(&unknown).is_err());
//! let skipping = Decoder::<AccountEvent>::new().unknown_types(UnknownTypes::Skip);
//! assert!(skipping.decode(&unknown)?.is_none());
//! # Ok::<(), eventstore_abstractions::Error>(())
//! ```

mod codec;
mod decoder;
mod event_set;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use codec::{Json, PayloadCodec};
pub use decoder::{Decoded, Decoder, UnknownTypes};
pub use event_set::EventSet;

/// An event as a Rust type: it has a name and a schema version under which it is stored.
///
/// The type stays free to be renamed or moved; [`TYPE_NAME`](Self::TYPE_NAME) must not change once events are
/// stored. When the shape of the payload changes, raise [`SCHEMA_VERSION`](Self::SCHEMA_VERSION).
///
/// ```
/// use eventstore_abstractions::typed::DomainEvent;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Deposited {
///     cents: u64,
///     /// Since version 2; `None` in events of version 1.
///     note: Option<String>,
/// }
///
/// impl DomainEvent for Deposited {
///     const TYPE_NAME: &'static str = "Deposited";
///     const SCHEMA_VERSION: u32 = 2;
/// }
/// ```
pub trait DomainEvent: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name under which events of this type are stored.
    const TYPE_NAME: &'static str;
    /// The version of the payload's schema that this type writes, and the highest that it reads.
    const SCHEMA_VERSION: u32 = 1;
}
