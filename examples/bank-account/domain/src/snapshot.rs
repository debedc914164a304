//! The account as a snapshot: a shortcut to its state. The events stay, and are what counts.

use eventstore_abstractions::typed::{DomainEvent, Json, PayloadCodec};
use eventstore_abstractions::{EventLog, EventMessage, Result, Snapshot, Version};

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

/// The account of `snapshot`, or `None` when it is of another type or schema version: then the events are replayed,
/// which always leads to the same state.
pub(crate) fn account_of(snapshot: &Snapshot) -> Result<Option<Account>> {
    let message = &snapshot.message;
    if message.type_name() != Account::TYPE_NAME
        || message.metadata.message.schema_version != Account::SCHEMA_VERSION
    {
        return Ok(None);
    }
    Json.decode(&message.payload).map(Some)
}

#[cfg(test)]
mod tests {
    use eventstore_abstractions::Timestamp;

    use super::*;
    use crate::Cents;

    fn account() -> Account {
        Account::Open {
            owner: "Alice".to_owned(),
            balance: Cents::new(5),
        }
    }

    fn snapshot(message: EventMessage) -> Snapshot {
        Snapshot::new(Version::FIRST, Timestamp::from_micros(0), message)
    }

    #[test]
    fn snapshot_gives_the_account_back() {
        let message = EventMessage::of(&account()).expect("can be written");
        let read = account_of(&snapshot(message)).expect("can be read");
        assert_eq!(read, Some(account()));
    }

    #[test]
    fn snapshot_of_another_schema_or_type_is_left_aside() {
        let mut newer = EventMessage::of(&account()).expect("can be written");
        newer.metadata.message.schema_version += 1;
        let other = EventMessage::json("Savings", &account()).expect("can be written");
        for message in [newer, other] {
            assert_eq!(account_of(&snapshot(message)).expect("is no error"), None);
        }
    }

    #[test]
    fn damaged_snapshot_is_an_error() {
        let mut message = EventMessage::of(&account()).expect("can be written");
        message.payload.bytes = "{".into();
        assert!(account_of(&snapshot(message)).is_err());
    }
}
