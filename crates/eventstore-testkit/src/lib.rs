//! The conformance suites that every backend runs, and the faults to test against.
//!
//! - [`kv`]: the suite of a [`kv_core::KeyValueStore`]. A backend's own test file is a factory and one
//!   call of [`kv_conformance!`].
//! - [`provider`]: the suite of an event store provider over such a store, with [`provider_conformance!`].
//! - [`clock`]: a clock that stands still until a test moves it.
//! - [`fault`]: a store that damages, fails or holds what passes through it.
//! - [`linear`]: whether a history of concurrent calls can be explained.
//! - [`seed`]: random choices that can be played again.
//! - `sim`, with the feature `simulation`: the whole store on a simulated engine.
//!
//! Everything here fails by panicking, as a test does.
#![forbid(unsafe_code)]

pub mod clock;
pub mod fault;
pub mod kv;
pub mod linear;
pub mod provider;
pub mod seed;
#[cfg(feature = "simulation")]
pub mod sim;
