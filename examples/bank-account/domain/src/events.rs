//! What can happen to an account. These types are stored: their names and fields are a promise to the past.

use eventstore_abstractions::event_set;
use eventstore_abstractions::typed::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::Cents;

/// An account was opened: always the first event of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOpened {
    /// Whose account it is.
    pub owner: String,
}

impl DomainEvent for AccountOpened {
    const TYPE_NAME: &'static str = "AccountOpened";
}

/// Money was paid in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoneyDeposited {
    /// How much, in cents.
    pub amount: Cents,
}

impl DomainEvent for MoneyDeposited {
    const TYPE_NAME: &'static str = "MoneyDeposited";
}

/// Money was taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoneyWithdrawn {
    /// How much, in cents.
    pub amount: Cents,
}

impl DomainEvent for MoneyWithdrawn {
    const TYPE_NAME: &'static str = "MoneyWithdrawn";
}

/// The account was closed: always the last event of its stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClosed {}

impl DomainEvent for AccountClosed {
    const TYPE_NAME: &'static str = "AccountClosed";
}

event_set! {
    /// Whatever can happen to an account.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum AccountEvent {
        Opened(AccountOpened),
        Deposited(MoneyDeposited),
        Withdrawn(MoneyWithdrawn),
        Closed(AccountClosed),
    }
}

#[cfg(test)]
mod tests {
    use eventstore_abstractions::EventMessage;
    use eventstore_abstractions::typed::Decoder;

    use super::*;

    /// A stored form that changes unnoticed would make the accounts of yesterday unreadable.
    #[test]
    fn stored_form_of_every_event_is_pinned() {
        let amount = Cents::new(5);
        let owner = "Alice".to_owned();
        let cases: [(AccountEvent, &str, &str); 4] = [
            (
                AccountOpened { owner }.into(),
                "AccountOpened",
                r#"{"owner":"Alice"}"#,
            ),
            (
                MoneyDeposited { amount }.into(),
                "MoneyDeposited",
                r#"{"amount":5}"#,
            ),
            (
                MoneyWithdrawn { amount }.into(),
                "MoneyWithdrawn",
                r#"{"amount":5}"#,
            ),
            (AccountClosed {}.into(), "AccountClosed", "{}"),
        ];
        for (event, type_name, json) in cases {
            let message = EventMessage::of(&event).expect("can be written");
            assert_eq!(message.type_name(), type_name);
            assert_eq!(message.metadata.message.schema_version, 1);
            assert_eq!(message.payload.bytes, json);
            let decoded = Decoder::<AccountEvent>::new().decode_event(&message);
            assert_eq!(decoded.expect("can be read"), event);
        }
    }
}
