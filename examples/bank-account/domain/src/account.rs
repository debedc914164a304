//! The aggregate: what an account is, what it allows, and what its events do to it.

use serde::{Deserialize, Serialize};

use crate::{
    AccountClosed, AccountEvent, AccountOpened, Cents, ImpossibleEvent, MoneyDeposited, MoneyWithdrawn,
    Refusal,
};

/// What somebody wants to happen to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Open the account.
    Open {
        /// Whose account it is to be.
        owner: String,
    },
    /// Pay money in.
    Deposit(Cents),
    /// Take money out.
    Withdraw(Cents),
    /// Pay out what is left and close the account for good.
    Close,
}

/// The state of an account: what its events have made of it.
///
/// Both functions that matter are pure. [`decide`](Self::decide) says which events a command leads to, and
/// [`apply`](Self::apply) takes the account from one event to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Account {
    /// Nothing has happened yet.
    #[default]
    Unopened,
    /// In use.
    Open {
        /// Whose account it is.
        owner: String,
        /// The money in it.
        balance: Cents,
    },
    /// Closed for good; its history stays.
    Closed,
}

impl Account {
    /// The money in the account; none unless it is open.
    #[must_use]
    pub fn balance(&self) -> Cents {
        match self {
            Self::Open { balance, .. } => *balance,
            Self::Unopened | Self::Closed => Cents::ZERO,
        }
    }

    /// The events that `command` leads to, to be appended all or not at all.
    ///
    /// # Errors
    /// The [`Refusal`] that says which rule the command would break.
    pub fn decide(&self, command: &Command) -> Result<Vec<AccountEvent>, Refusal> {
        match (self, command) {
            (Self::Unopened, Command::Open { owner }) => open(owner),
            (Self::Open { .. } | Self::Closed, Command::Open { .. }) => Err(Refusal::AlreadyOpened),
            (Self::Unopened | Self::Closed, _) => Err(Refusal::NotOpen),
            (Self::Open { balance, .. }, Command::Deposit(amount)) => deposit(*balance, *amount),
            (Self::Open { balance, .. }, Command::Withdraw(amount)) => withdraw(*balance, *amount),
            (Self::Open { balance, .. }, Command::Close) => Ok(close(*balance)),
        }
    }

    /// Takes the account past `event`. On an error it stays as it was.
    ///
    /// # Errors
    /// [`ImpossibleEvent`] when the event breaks a rule that [`decide`](Self::decide) keeps. An event is a fact, so
    /// this means that something else wrote it; going on would give a wrong balance.
    pub fn apply(&mut self, event: &AccountEvent) -> Result<(), ImpossibleEvent> {
        let impossible = |reason| ImpossibleEvent::new(event, reason);
        match (&mut *self, event) {
            (Self::Unopened, AccountEvent::Opened(AccountOpened { owner })) => {
                let (owner, balance) = (owner.clone(), Cents::ZERO);
                *self = Self::Open { owner, balance };
            }
            (_, AccountEvent::Opened(_)) => return Err(impossible("the account was opened before")),
            (Self::Open { balance, .. }, AccountEvent::Deposited(MoneyDeposited { amount })) => {
                let sum = balance.checked_add(*amount);
                *balance = sum.ok_or_else(|| impossible("the balance would be too large"))?;
            }
            (Self::Open { balance, .. }, AccountEvent::Withdrawn(MoneyWithdrawn { amount })) => {
                let rest = balance.checked_sub(*amount);
                *balance = rest.ok_or_else(|| impossible("the balance would be below zero"))?;
            }
            (Self::Open { balance, .. }, AccountEvent::Closed(_)) if *balance != Cents::ZERO => {
                return Err(impossible("there is money left in the account"));
            }
            (Self::Open { .. }, AccountEvent::Closed(_)) => *self = Self::Closed,
            (Self::Unopened | Self::Closed, _) => return Err(impossible("the account is not open")),
        }
        Ok(())
    }
}

fn open(owner: &str) -> Result<Vec<AccountEvent>, Refusal> {
    if owner.trim().is_empty() {
        return Err(Refusal::NoOwner);
    }
    let owner = owner.to_owned();
    Ok(vec![AccountOpened { owner }.into()])
}

fn deposit(balance: Cents, amount: Cents) -> Result<Vec<AccountEvent>, Refusal> {
    if amount == Cents::ZERO {
        return Err(Refusal::NoAmount);
    }
    balance.checked_add(amount).ok_or(Refusal::BalanceTooLarge)?;
    Ok(vec![MoneyDeposited { amount }.into()])
}

fn withdraw(balance: Cents, amount: Cents) -> Result<Vec<AccountEvent>, Refusal> {
    if amount == Cents::ZERO {
        return Err(Refusal::NoAmount);
    }
    if amount > balance {
        let requested = amount;
        return Err(Refusal::InsufficientFunds { balance, requested });
    }
    Ok(vec![MoneyWithdrawn { amount }.into()])
}

/// Two events that belong together: a crash between them cannot happen, because an append is all or nothing.
fn close(balance: Cents) -> Vec<AccountEvent> {
    let pay_out = (balance != Cents::ZERO).then(|| MoneyWithdrawn { amount: balance }.into());
    pay_out.into_iter().chain([AccountClosed {}.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Cents = Cents::new(u64::MAX);

    fn opened() -> AccountEvent {
        let owner = "Alice".to_owned();
        AccountOpened { owner }.into()
    }

    fn deposited(cents: u64) -> AccountEvent {
        let amount = Cents::new(cents);
        MoneyDeposited { amount }.into()
    }

    fn withdrawn(cents: u64) -> AccountEvent {
        let amount = Cents::new(cents);
        MoneyWithdrawn { amount }.into()
    }

    fn closed() -> AccountEvent {
        AccountClosed {}.into()
    }

    fn given<const N: usize>(history: [AccountEvent; N]) -> Account {
        let mut account = Account::default();
        for event in &history {
            account.apply(event).expect("a possible history");
        }
        account
    }

    fn open_command() -> Command {
        let owner = "Alice".to_owned();
        Command::Open { owner }
    }

    #[test]
    fn allowed_commands_lead_to_their_events() {
        let deposit = Command::Deposit(Cents::new(5));
        let withdraw = Command::Withdraw(Cents::new(5));
        assert_eq!(given([]).decide(&open_command()), Ok(vec![opened()]));
        assert_eq!(given([opened()]).decide(&deposit), Ok(vec![deposited(5)]));
        assert_eq!(
            given([opened(), deposited(5)]).decide(&withdraw),
            Ok(vec![withdrawn(5)])
        );
    }

    #[test]
    fn closing_pays_out_what_is_left() {
        assert_eq!(given([opened()]).decide(&Command::Close), Ok(vec![closed()]));
        assert_eq!(
            given([opened(), deposited(5)]).decide(&Command::Close),
            Ok(vec![withdrawn(5), closed()])
        );
    }

    #[test]
    fn overdraft_is_refused_with_balance_and_request() {
        let refusal = given([opened(), deposited(5)]).decide(&Command::Withdraw(Cents::new(6)));
        let (balance, requested) = (Cents::new(5), Cents::new(6));
        assert_eq!(refusal, Err(Refusal::InsufficientFunds { balance, requested }));
    }

    #[test]
    fn commands_that_break_a_rule_are_refused() {
        let refused = |account: Account, command| account.decide(&command).expect_err("must be refused");
        let owner = " ".to_owned();
        assert_eq!(refused(given([]), Command::Open { owner }), Refusal::NoOwner);
        assert_eq!(refused(given([opened()]), open_command()), Refusal::AlreadyOpened);
        assert_eq!(
            refused(given([opened(), closed()]), open_command()),
            Refusal::AlreadyOpened
        );
        for nothing in [Command::Deposit(Cents::ZERO), Command::Withdraw(Cents::ZERO)] {
            assert_eq!(refused(given([opened()]), nothing), Refusal::NoAmount);
        }
        for account in [given([]), given([opened(), closed()])] {
            for command in [Command::Deposit(MAX), Command::Withdraw(MAX), Command::Close] {
                assert_eq!(refused(account.clone(), command), Refusal::NotOpen);
            }
        }
        assert_eq!(
            refused(given([opened(), deposited(1)]), Command::Deposit(MAX)),
            Refusal::BalanceTooLarge
        );
    }

    #[test]
    fn impossible_histories_are_errors_and_change_nothing() {
        let cases = [
            (given([]), deposited(1)),
            (given([]), closed()),
            (given([opened()]), opened()),
            (given([opened()]), withdrawn(1)),
            (given([opened(), deposited(1)]), deposited(u64::MAX)),
            (given([opened(), deposited(1)]), closed()),
            (given([opened(), closed()]), deposited(1)),
        ];
        for (account, event) in cases {
            let mut changed = account.clone();
            assert!(changed.apply(&event).is_err(), "{event:?} after {account:?}");
            assert_eq!(changed, account);
        }
    }

    /// What `decide` allows, `apply` accepts: a store never gets a history that cannot be replayed.
    #[test]
    fn whatever_is_decided_can_be_applied() {
        let commands = [
            open_command(),
            Command::Deposit(Cents::new(2)),
            Command::Withdraw(Cents::new(1)),
            Command::Close,
        ];
        // Every sequence of five commands, written as a number of five digits to base four.
        for sequence in 0..4_usize.pow(5) {
            let mut account = Account::default();
            for step in 0..5 {
                let command = &commands[sequence / 4_usize.pow(step) % 4];
                for event in account.decide(command).unwrap_or_default() {
                    account.apply(&event).expect("decided, hence possible");
                }
            }
        }
    }
}
