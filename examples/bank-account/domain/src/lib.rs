//! The domain of a bank account, as a library that works with every backend.
//!
//! It depends on `eventstore-abstractions` and serde alone. The program that uses it chooses the backend; see the
//! crate `bank-account` beside this one.
//!
//! | file | holds |
//! |---|---|
//! | `events.rs` | what can happen: [`AccountOpened`], [`MoneyDeposited`], [`MoneyWithdrawn`], [`AccountClosed`] |
//! | `account.rs` | the aggregate: [`Account::decide`] and [`Account::apply`], pure functions, tested without a store |
//! | `commands.rs` | reads an account, decides, appends: [`handle`] and its parts |
//! | `snapshot.rs` | the account as a snapshot: a shortcut to its state, never a substitute for its events |
//! | `statement.rs` | the history with the balance after each event |
//!
//! ```
//! use bank_account_domain::{Account, Cents, Command, Refusal};
//!
//! let mut account = Account::default();
//! for command in [Command::Open { owner: "Alice".into() }, Command::Deposit(Cents::new(10_000))] {
//!     for event in account.decide(&command)? {
//!         account.apply(&event)?;
//!     }
//! }
//! assert_eq!(account.balance(), Cents::new(10_000));
//! assert!(matches!(
//!     account.decide(&Command::Withdraw(Cents::new(10_001))),
//!     Err(Refusal::InsufficientFunds { .. })
//! ));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod account;
mod account_id;
mod commands;
mod error;
mod events;
mod money;
mod snapshot;
mod statement;

pub use account::{Account, Command};
pub use account_id::AccountId;
pub use commands::{Loaded, execute, handle, handle_in_session, load, load_in_session};
pub use error::{CommandError, ImpossibleEvent, Refusal};
pub use events::{AccountClosed, AccountEvent, AccountOpened, MoneyDeposited, MoneyWithdrawn};
pub use money::Cents;
pub use snapshot::take_snapshot;
pub use statement::{StatementLine, statement};
