//! Why something cannot be done.

use std::error::Error as StdError;
use std::fmt;

use eventstore_abstractions::Error;

use crate::{AccountEvent, Cents};

/// The rule of the domain that a command would break.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The account is not open (any more): open it, or use another.
    NotOpen,
    /// The account was opened before: an id is used for one account only.
    AlreadyOpened,
    /// An account belongs to somebody: name the owner.
    NoOwner,
    /// No money is no deposit and no withdrawal: name an amount.
    NoAmount,
    /// There is not enough money in the account.
    InsufficientFunds {
        /// What there is.
        balance: Cents,
        /// What was to be withdrawn.
        requested: Cents,
    },
    /// The account cannot hold this much.
    BalanceTooLarge,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the account is not open; open it, or use another"),
            Self::AlreadyOpened => f.write_str("the account was opened before; use another id"),
            Self::NoOwner => f.write_str("an account needs an owner; name one"),
            Self::NoAmount => f.write_str("the amount is 0.00; name one of at least 0.01"),
            Self::InsufficientFunds { balance, requested } => write!(
                f,
                "insufficient funds: {requested} was requested and the balance is {balance}; withdraw at most that"
            ),
            Self::BalanceTooLarge => f.write_str("the account cannot hold this much; deposit less"),
        }
    }
}

impl StdError for Refusal {}

/// An event that cannot have happened after those before it: the history was not written by this domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpossibleEvent {
    event: AccountEvent,
    reason: &'static str,
}

impl ImpossibleEvent {
    pub(crate) fn new(event: &AccountEvent, reason: &'static str) -> Self {
        let event = event.clone();
        Self { event, reason }
    }
}

impl fmt::Display for ImpossibleEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, reason } = self;
        write!(
            f,
            "{event:?} cannot have happened, because {reason}; find out who wrote it"
        )
    }
}

impl StdError for ImpossibleEvent {}

/// Why a command was not carried out. Nothing was written.
#[derive(Debug)]
pub enum CommandError {
    /// The domain says no: tell whoever gave the command.
    Refused(Refusal),
    /// The store says no, or failed: [`Error`] says what can be done.
    Store(Error),
}

impl CommandError {
    /// Whether another writer was first: reading the account again and deciding anew may succeed.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_conflict())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

/// The text is that of the inner error, so its sources are the inner error's, too.
impl StdError for CommandError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Refused(refusal) => refusal.source(),
            Self::Store(error) => error.source(),
        }
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
