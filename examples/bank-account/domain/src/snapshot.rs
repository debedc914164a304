//! The account as a snapshot: a shortcut to its state. The events stay, and are what counts.

use eventstore_abstractions::typed::DomainEvent;
use eventstore_abstractions::{EventLog, EventMessage, Result, Version};

use crate::{Account, AccountId, load};

/// A snapshot is stored like an event. Raise the schema version when the fields of [`Account`], or what its events
/// do to it, change: snapshots from before are then left aside, and the events replayed.
impl DomainEvent for Account {
    const TYPE_NAME: &'static str = "Account";
    const SCHEMA_VERSION: u32 = 1;
}

/// Stores the state of the account `id` beside its events, and returns the version that it belongs to.
///
/// # Errors
/// As [`load`], and as [`EventLog::snapshot`]; an account that was never opened has nothing to take.
pub async fn take_snapshot(log: &dyn EventLog, id: &AccountId) -> Result<Version> {
    let loaded = load(log, id).await?;
    let message = EventMessage::of(&loaded.account)?;
    log.snapshot(id.stream(), loaded.version, message).await?;
    Ok(loaded.version)
}
