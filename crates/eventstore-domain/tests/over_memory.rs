//! The same over the provider, on the backend in memory.
#![allow(
    clippy::duplicate_mod,
    reason = "the files are made for this: what they share is chosen by the name of the crate"
)]

#[path = "consumers.rs"]
mod consumers;
#[path = "projections.rs"]
mod projections;
