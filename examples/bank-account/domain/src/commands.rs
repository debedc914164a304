//! Commands on stored accounts: read, decide, append.

use eventstore_abstractions::typed::{Decoder, Json};
use eventstore_abstractions::{
    AppendOptions, Error, EventLog, EventLogExt, EventMessage, EventStore, EventStoreExt, ExpectedVersion,
    ReadOptions, Replay, Result, StreamId, Version,
};

use crate::{Account, AccountEvent, AccountId, Command, CommandError};

/// How often [`handle`] decides anew when other writers are first. Each time one of them has made progress, so
/// more than a few rounds mean that the account needs a session, not patience.
const MAX_ATTEMPTS: u32 = 5;

/// An account as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Its state.
    pub account: Account,
    /// The version of its stream, which an append that builds on it expects.
    pub version: Version,
    /// The snapshot that was started from; 0 if there was none.
    pub snapshot: Version,
}

impl Loaded {
    /// How many events were read and applied.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.version.get() - self.snapshot.get()
    }
}

/// Reads the account `id`: its newest snapshot, if any, and the events after it. One that was never opened is
/// [`Account::Unopened`].
///
/// # Errors
/// As the store fails; [`Error::Application`] when the history is impossible.
pub async fn load(log: &dyn EventLog, id: &AccountId) -> Result<Loaded> {
    if let Some(loaded) = replayed(log.read(id.stream()).await?).await? {
        return Ok(loaded);
    }
    let events_only = ReadOptions::replay().without_snapshots();
    replayed_without_snapshot(log.read_stream(id.stream(), events_only).await?).await
}

/// The same through a session.
///
/// # Errors
/// As [`load`], and those of the session.
pub async fn load_in_session(store: &dyn EventStore) -> Result<Loaded> {
    if let Some(loaded) = replayed(store.read_with(ReadOptions::replay()).await?).await? {
        return Ok(loaded);
    }
    let events_only = ReadOptions::replay().without_snapshots();
    replayed_without_snapshot(store.read_with(events_only).await?).await
}

/// Carries out `command` on the account as it was `loaded`, if it is still as it was. Returns the new version.
///
/// # Errors
/// [`CommandError::Refused`] when the domain says no. [`CommandError::Store`] with a conflict when another writer was
/// first: what was decided may be wrong now, so nothing is written.
pub async fn execute(
    log: &dyn EventLog,
    id: &AccountId,
    loaded: &Loaded,
    command: &Command,
) -> Result<Version, CommandError> {
    let messages = decide(&loaded.account, command)?;
    append(log, id.stream(), loaded.version, messages).await
}

/// Reads the account `id` and carries out `command`; does so again when another writer was first. Returns the new
/// version.
///
/// ```
/// use bank_account_domain::{AccountId, Cents, Command, CommandError, handle};
/// use eventstore_abstractions::EventLog;
///
/// async fn salary(log: &dyn EventLog, account: &AccountId) -> Result<(), CommandError> {
///     handle(log, account, &Command::Deposit(Cents::new(300_000))).await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// As [`execute`]; a conflict only after several attempts.
pub async fn handle(log: &dyn EventLog, id: &AccountId, command: &Command) -> Result<Version, CommandError> {
    let mut attempt = 1;
    loop {
        let loaded = load(log, id).await?;
        match execute(log, id, &loaded, command).await {
            Err(error) if error.is_conflict() && attempt < MAX_ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

/// Carries out `command` on the account that the session `store` holds. There can be no conflict: nobody else may
/// write meanwhile. Returns the new version.
///
/// # Errors
/// [`CommandError::Refused`] when the domain says no, and those of the session.
pub async fn handle_in_session(store: &dyn EventStore, command: &Command) -> Result<Version, CommandError> {
    let loaded = load_in_session(store).await?;
    let messages = decide(&loaded.account, command)?;
    Ok(store.append(messages).await?.version)
}

fn decide(account: &Account, command: &Command) -> Result<Vec<EventMessage>, CommandError> {
    let events = account.decide(command)?;
    let messages: Result<Vec<_>> = events.iter().map(EventMessage::of).collect();
    Ok(messages?)
}

async fn append(
    log: &dyn EventLog,
    stream: &StreamId,
    version: Version,
    messages: Vec<EventMessage>,
) -> Result<Version, CommandError> {
    let options = AppendOptions::expecting(ExpectedVersion::Exact(version));
    match log.append_with(stream, messages.clone(), options).await {
        // The same messages again: if the first attempt did happen they are recognised, and not appended twice.
        Err(error) if error.outcome_unknown() => {
            Ok(log.append_with(stream, messages, options).await?.version)
        }
        outcome => Ok(outcome?.version),
    }
}

/// The account that `replay` leads to; `None` when its snapshot is not one that this program can read.
async fn replayed(replay: Replay) -> Result<Option<Loaded>> {
    let (account, version) = match &replay.snapshot {
        None => (Account::default(), Version::ZERO),
        Some(snapshot) => match snapshot.decode(&Json)? {
            Some(account) => (account, snapshot.version),
            None => return Ok(None),
        },
    };
    apply_all(account, version, replay).await.map(Some)
}

async fn replayed_without_snapshot(replay: Replay) -> Result<Loaded> {
    apply_all(Account::default(), Version::ZERO, replay).await
}

/// Event by event as they are read, so that a long history needs no more memory than a short one.
async fn apply_all(mut account: Account, snapshot: Version, mut replay: Replay) -> Result<Loaded> {
    let decoder = Decoder::<AccountEvent>::new();
    let mut version = snapshot;
    while let Some(recorded) = replay.events.next().await {
        let recorded = recorded?;
        // An event of an unknown type is an error: a balance that left it out would be wrong.
        let event = decoder.decode_event(&recorded.message)?;
        account.apply(&event).map_err(Error::application)?;
        version = recorded.version;
    }
    Ok(Loaded {
        account,
        version,
        snapshot,
    })
}
