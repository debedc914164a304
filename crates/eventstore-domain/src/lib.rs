//! What follows an event log: durable consumers and projections, on any store that can be followed and keeps state
//! beside its events.
//!
//! | to | use |
//! |---|---|
//! | do something for each event, at least once: send a mail, call a service | [`consumer`] |
//! | keep a state that follows from the events, each applied exactly once | [`projection`] |
//!
//! Both are generic: they need [`EventLog::subscribe`] and [`EventLog::namespace`], and know no backend. They take their
//! time from an injected [`Clock`], and no promise depends on it being right.
//!
//! [`EventLog::subscribe`]: eventstore_abstractions::EventLog::subscribe
//! [`EventLog::namespace`]: eventstore_abstractions::EventLog::namespace
//! [`Clock`]: eventstore_abstractions::Clock
#![forbid(unsafe_code)]

mod clock;
pub mod consumer;
mod following;
mod names;
pub mod projection;
mod record;
mod running;

pub use running::Running;

/// The chapters of the guide compile.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../docs/guide/consumers.md")]
    struct Consumers;
    #[doc = include_str!("../../../docs/guide/projections.md")]
    struct Projections;
}
