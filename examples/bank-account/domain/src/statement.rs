//! The history of an account, for people.

use eventstore_abstractions::typed::Decoder;
use eventstore_abstractions::{Error, EventLog, Position, ReadOptions, Result, Timestamp, Version};

use crate::{Account, AccountEvent, AccountId, Cents, MoneyDeposited, MoneyWithdrawn};

/// One event of an account, with the balance after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatementLine {
    /// Its number in the account's stream.
    pub version: Version,
    /// Its number in the log of the whole database.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What happened, as it is stored.
    pub event: AccountEvent,
    /// The name under which it is stored.
    pub type_name: String,
    /// The balance after it.
    pub balance: Cents,
}

impl StatementLine {
    /// The amount with its sign, for events that move money.
    ///
    /// ```
    /// use bank_account_domain::{AccountId, statement};
    /// use eventstore_abstractions::{EventLog, Result};
    ///
    /// async fn amounts(log: &dyn EventLog, account: &AccountId) -> Result<Vec<String>> {
    ///     Ok(statement(log, account).await?.iter().filter_map(|line| line.amount()).collect())
    /// }
    /// ```
    #[must_use]
    pub fn amount(&self) -> Option<String> {
        match &self.event {
            AccountEvent::Deposited(MoneyDeposited { amount }) => Some(format!("+{amount}")),
            AccountEvent::Withdrawn(MoneyWithdrawn { amount }) => Some(format!("-{amount}")),
            AccountEvent::Opened(_) | AccountEvent::Closed(_) => None,
        }
    }
}

/// All events of the account `id`, oldest first, in memory. No snapshot is used: a statement is made of every event.
///
/// # Errors
/// As the store fails; [`Error::Application`] when the history is impossible.
pub async fn statement(log: &dyn EventLog, id: &AccountId) -> Result<Vec<StatementLine>> {
    let options = ReadOptions::replay().without_snapshots();
    let mut events = log.read_stream(id.stream(), options).await?.events;
    let decoder = Decoder::<AccountEvent>::new();
    let mut account = Account::default();
    let mut lines = Vec::new();
    while let Some(recorded) = events.next().await {
        let recorded = recorded?;
        let event = decoder.decode_event(&recorded.message)?;
        account.apply(&event).map_err(Error::application)?;
        lines.push(StatementLine {
            version: recorded.version,
            position: recorded.position,
            recorded_at: recorded.recorded_at,
            type_name: recorded.message.type_name().to_owned(),
            balance: account.balance(),
            event,
        });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AccountClosed;

    fn amount(event: impl Into<AccountEvent>) -> Option<String> {
        let line = StatementLine {
            version: Version::FIRST,
            position: Position::FIRST,
            recorded_at: Timestamp::from_micros(0),
            event: event.into(),
            type_name: "any".to_owned(),
            balance: Cents::ZERO,
        };
        line.amount()
    }

    #[test]
    fn amounts_have_the_sign_of_what_they_do() {
        let cents = Cents::new(5);
        assert_eq!(amount(MoneyDeposited { amount: cents }).as_deref(), Some("+0.05"));
        assert_eq!(amount(MoneyWithdrawn { amount: cents }).as_deref(), Some("-0.05"));
        assert_eq!(amount(AccountClosed {}), None);
    }
}
