//! What the commands do when a store refuses or fails: against a log whose answers are written down beforehand.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bank_account_domain::{Account, AccountId, Cents, Command, CommandError, Refusal, handle, load};
use eventstore_abstractions::{
    AppendOptions, Appended, Database, Error, EventLog, EventMessage, EventStream, ExpectedVersion,
    IdempotencyKey, LogReadOptions, Position, ReadOptions, RecordedEvent, Replay, Result, Selection,
    Snapshot, StreamId, Timestamp, Version,
};

/// A log of one open, empty account, whose first appends fail as scripted and change nothing.
#[derive(Debug, Default)]
struct ScriptedLog {
    database: Database,
    snapshot: Option<Snapshot>,
    failures: Mutex<VecDeque<Error>>,
    appends: Mutex<Vec<(ExpectedVersion, Vec<EventMessage>)>>,
}

impl ScriptedLog {
    fn failing(failures: impl IntoIterator<Item = Error>) -> Self {
        let failures = Mutex::new(failures.into_iter().collect());
        Self {
            failures,
            ..Self::default()
        }
    }

    fn appends(self) -> Vec<(ExpectedVersion, Vec<EventMessage>)> {
        self.appends
            .into_inner()
            .expect("no test panics while it holds it")
    }
}

#[async_trait]
impl EventLog for ScriptedLog {
    fn database(&self) -> &Database {
        &self.database
    }

    async fn append_with(
        &self,
        _: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let mut appends = self.appends.lock().expect("not poisoned");
        appends.push((options.expected, events));
        match self.failures.lock().expect("not poisoned").pop_front() {
            Some(error) => Err(error),
            None => Ok(Appended::new(Version::new(2), Position::new(2), 1)),
        }
    }

    async fn read_stream(&self, stream: &StreamId, options: ReadOptions) -> Result<Replay> {
        let with_snapshots = matches!(options.selection, Selection::Replay { snapshots: true, .. });
        let snapshot = self.snapshot.clone().filter(|_| with_snapshots);
        let first = RecordedEvent::new(
            stream.clone(),
            Version::FIRST,
            Position::FIRST,
            Timestamp::from_micros(0),
            EventMessage::json("AccountOpened", &Owner { owner: "Alice" })?,
        );
        let events = (snapshot.is_none()).then_some(Ok(first));
        let events = EventStream::from_events(events);
        Ok(Replay { snapshot, events })
    }

    fn read_all(&self, _: LogReadOptions) -> EventStream {
        unreachable!("no command reads the log")
    }

    async fn version(&self, _: &StreamId) -> Result<Version> {
        unreachable!("reading gives the version")
    }

    async fn head(&self) -> Result<Position> {
        unreachable!("no command reads the log")
    }

    async fn find_append(&self, _: &StreamId, _: &IdempotencyKey) -> Result<Appended> {
        unreachable!("appending again finds out")
    }

    async fn snapshot(&self, _: &StreamId, _: Version, _: EventMessage) -> Result<()> {
        unreachable!("no test takes a snapshot")
    }

    async fn read_snapshot(&self, _: &StreamId, _: Version) -> Result<Option<Snapshot>> {
        unreachable!("reading the stream gives it")
    }

    async fn snapshot_versions(&self, _: &StreamId) -> Result<Vec<Version>> {
        unreachable!("no command lists snapshots")
    }

    async fn clear_snapshot(&self, _: &StreamId, _: Version) -> Result<()> {
        unreachable!("no command clears snapshots")
    }

    async fn clear_snapshots(&self, _: &StreamId) -> Result<()> {
        unreachable!("no command clears snapshots")
    }
}

#[derive(serde::Serialize)]
struct Owner {
    owner: &'static str,
}

/// The log answers at once, so no runtime is needed.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the scripted log never waits"),
    }
}

fn alice() -> AccountId {
    AccountId::new("alice").expect("a valid id")
}

fn conflict() -> Error {
    Error::StoreVersionMismatch {
        stream: alice().stream().clone(),
        expected: ExpectedVersion::Exact(Version::new(1)),
        actual: Version::new(2),
    }
}

fn deposit(log: &ScriptedLog) -> Result<Version, CommandError> {
    now(handle(log, &alice(), &Command::Deposit(Cents::new(5))))
}

#[test]
fn append_expects_the_version_that_was_read() {
    let log = ScriptedLog::default();
    assert_eq!(deposit(&log).expect("accepted"), Version::new(2));
    let [(expected, messages)] = log.appends().try_into().expect("one append");
    assert_eq!(expected, ExpectedVersion::Exact(Version::FIRST));
    assert_eq!(messages[0].type_name(), "MoneyDeposited");
}

#[test]
fn conflict_is_decided_anew() {
    let log = ScriptedLog::failing([conflict(), conflict()]);
    assert!(deposit(&log).is_ok());
    assert_eq!(log.appends().len(), 3);
}

#[test]
fn conflict_without_end_is_handed_to_the_caller() {
    let log = ScriptedLog::failing((0..100).map(|_| conflict()));
    assert!(deposit(&log).expect_err("gives up").is_conflict());
    assert_eq!(log.appends().len(), 5);
}

#[test]
fn append_of_unknown_outcome_is_repeated_with_the_same_messages() {
    let unknown = Error::OutcomeUnknown {
        reason: "the disk went away".to_owned(),
        source: None,
    };
    let log = ScriptedLog::failing([unknown]);
    assert!(deposit(&log).is_ok());
    let [first, second] = log.appends().try_into().expect("two appends");
    assert_eq!(
        first, second,
        "ids and all: this is what makes a store recognise them"
    );
}

#[test]
fn other_failures_are_not_repeated() {
    let log = ScriptedLog::failing([Error::ProviderClosed]);
    assert!(matches!(
        deposit(&log),
        Err(CommandError::Store(Error::ProviderClosed))
    ));
    assert_eq!(log.appends().len(), 1);
}

#[test]
fn refused_command_appends_nothing() {
    let log = ScriptedLog::default();
    let refused = now(handle(&log, &alice(), &Command::Withdraw(Cents::new(5))));
    assert!(matches!(
        refused,
        Err(CommandError::Refused(Refusal::InsufficientFunds { .. }))
    ));
    assert!(log.appends().is_empty());
}

fn loaded_with_snapshot(message: EventMessage) -> (u64, u64, Account) {
    let log = ScriptedLog {
        snapshot: Some(Snapshot::new(Version::FIRST, Timestamp::from_micros(0), message)),
        ..ScriptedLog::default()
    };
    let loaded = now(load(&log, &alice())).expect("can be read");
    (loaded.snapshot.get(), loaded.events(), loaded.account)
}

#[test]
fn snapshot_is_used_and_one_of_another_schema_is_replayed_over() {
    let account = Account::Open {
        owner: "Alice".to_owned(),
        balance: Cents::ZERO,
    };
    let message = EventMessage::of(&account).expect("can be written");
    let mut newer = message.clone();
    newer.metadata.message.schema_version += 1;
    assert_eq!(loaded_with_snapshot(message), (1, 0, account.clone()));
    assert_eq!(loaded_with_snapshot(newer), (0, 1, account));
}
