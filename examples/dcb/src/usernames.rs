//! A user name is unique: whoever registers or changes to one must find it free, and a name that was given up stays
//! taken for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventstore_abstractions::typed::DomainEvent;
use eventstore_abstractions::{
    EventLog, EventMessage, Query, QueryItem, StreamId, Tag, Timestamp, event_set,
};
use serde::{Deserialize, Serialize};

use crate::{DecisionModel, Outcome, decide};

/// How long a name that was given up stays taken.
pub const RETENTION: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// Somebody has an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRegistered {
    /// Under which name.
    pub username: String,
}

/// Somebody has another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsernameChanged {
    /// The name until now.
    pub from: String,
    /// The name from now on.
    pub to: String,
}

/// Somebody has no account any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountClosed {
    /// Under which name it was.
    pub username: String,
}

impl DomainEvent for AccountRegistered {
    const TYPE_NAME: &'static str = "AccountRegistered";
}

impl DomainEvent for UsernameChanged {
    const TYPE_NAME: &'static str = "UsernameChanged";
}

impl DomainEvent for AccountClosed {
    const TYPE_NAME: &'static str = "AccountClosed";
}

event_set! {
    /// What happens to accounts and their names.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum AccountEvent { AccountRegistered, UsernameChanged, AccountClosed }
}

/// Why a command about names is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Somebody has the name, or has given it up a short time ago.
    #[error("the name is taken")]
    Taken,
    /// Nobody has the name.
    #[error("nobody has that name")]
    Unknown,
}

/// What is known of the names that a command is about.
#[derive(Debug, Default)]
struct Names {
    /// The names in use.
    used: BTreeSet<String>,
    /// When names were given up last.
    given_up: BTreeMap<String, Timestamp>,
}

impl DecisionModel for Names {
    type Event = AccountEvent;

    fn apply(&mut self, event: AccountEvent, at: Timestamp) {
        let (given_up, used) = match event {
            AccountEvent::AccountRegistered(AccountRegistered { username }) => (None, Some(username)),
            AccountEvent::UsernameChanged(UsernameChanged { from, to }) => (Some(from), Some(to)),
            AccountEvent::AccountClosed(AccountClosed { username }) => (Some(username), None),
        };
        if let Some(name) = given_up {
            self.used.remove(&name);
            self.given_up.insert(name, at);
        }
        self.used.extend(used);
    }
}

impl Names {
    fn require_free(&self, name: &str, now: Timestamp) -> Result<(), Refusal> {
        let is_kept = |at: &Timestamp| at.saturating_add(RETENTION) > now;
        if self.used.contains(name) || self.given_up.get(name).is_some_and(is_kept) {
            return Err(Refusal::Taken);
        }
        Ok(())
    }

    fn require_used(&self, name: &str) -> Result<(), Refusal> {
        self.used.contains(name).then_some(()).ok_or(Refusal::Unknown)
    }
}

/// Registers an account under a name.
///
/// # Errors
/// [`Refusal::Taken`], or as the store fails.
pub async fn register(log: &dyn EventLog, account: &str, username: &str, now: Timestamp) -> Outcome<Refusal> {
    let tags = tags([username])?;
    decide(log, &stream(account)?, &about(&tags), |names: &Names| {
        names.require_free(username, now)?;
        let username = username.to_owned();
        Ok(message(&AccountRegistered { username }, &tags))
    })
    .await
}

/// Changes the name of an account to another one.
///
/// # Errors
/// [`Refusal::Unknown`] or [`Refusal::Taken`], or as the store fails.
pub async fn change(
    log: &dyn EventLog,
    account: &str,
    from: &str,
    to: &str,
    now: Timestamp,
) -> Outcome<Refusal> {
    let tags = tags([from, to])?;
    decide(log, &stream(account)?, &about(&tags), |names: &Names| {
        names.require_used(from)?;
        names.require_free(to, now)?;
        let changed = UsernameChanged {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        Ok(message(&changed, &tags))
    })
    .await
}

/// Closes an account.
///
/// # Errors
/// [`Refusal::Unknown`], or as the store fails.
pub async fn close(log: &dyn EventLog, account: &str, username: &str) -> Outcome<Refusal> {
    let tags = tags([username])?;
    decide(log, &stream(account)?, &about(&tags), |names: &Names| {
        names.require_used(username)?;
        let username = username.to_owned();
        Ok(message(&AccountClosed { username }, &tags))
    })
    .await
}

fn tags<'a>(usernames: impl IntoIterator<Item = &'a str>) -> eventstore_abstractions::Result<Vec<Tag>> {
    usernames
        .into_iter()
        .map(|name| Tag::new(format!("username:{name}")))
        .collect()
}

/// Everything about any of these names.
fn about(tags: &[Tag]) -> Query {
    let items = tags.iter().map(|tag| QueryItem::tags([tag.clone()]));
    items.fold(Query::all(), Query::or)
}

fn stream(account: &str) -> eventstore_abstractions::Result<StreamId> {
    StreamId::new("account", account)
}

fn message(event: &impl DomainEvent, tags: &[Tag]) -> EventMessage {
    let message = EventMessage::of(event).expect("the events are plain data");
    message.with_tags(tags.iter().cloned())
}
