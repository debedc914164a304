//! A client of a run: it takes its steps one after the other, and says what it was told.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    AppendCondition, AppendOptions, Appended, Durability, Error, EventLog, EventMessage, EventStore,
    EventStoreProvider, ExpectedVersion, LogReadOptions, MultiAppend, OpenOptions, Position, Query,
    ReadOptions, Result, Version,
};
use tokio::time::{sleep, timeout};

use super::age::Aging;
use super::bugs::Bug;
use super::clock::SimClock;
use super::plan::{Append, DELETED, Expected, Hold, HoldEnd, RETAINED, STREAMS, Step, What};
use super::world::{Attempt, Part, World, command_id, may_be_removed, stream_id};
use crate::linear::{Begun, Call, History, Told};

/// How long an open waits for a session that somebody else holds.
const OPEN_TIMEOUT: Duration = Duration::from_millis(30);

pub(super) struct Client {
    pub(super) name: String,
    pub(super) world: Arc<World>,
    pub(super) provider: Arc<dyn EventStoreProvider>,
    pub(super) log: Arc<dyn EventLog>,
    /// The logs of all databases.
    pub(super) logs: Vec<Arc<dyn EventLog>>,
    pub(super) clock: Arc<SimClock>,
    pub(super) histories: Arc<Vec<History>>,
    pub(super) bug: Option<Bug>,
    /// The version that it saw last of each stream, and the position of the log.
    pub(super) seen: [u64; STREAMS],
    pub(super) head: Position,
    /// Its last append whose outcome it does not know.
    pub(super) open: Option<usize>,
    /// A session that it has kept.
    pub(super) held: Option<(usize, Box<dyn EventStore>)>,
}

/// Who appends.
enum Writer<'a> {
    Anybody,
    Session(&'a dyn EventStore),
}

impl Client {
    pub(super) async fn run(mut self, steps: Vec<Step>) {
        for step in steps {
            let Some(ms) = step.give_up_after_ms else {
                self.step(step.what).await;
                continue;
            };
            if timeout(Duration::from_millis(ms), self.step(step.what))
                .await
                .is_err()
            {
                self.note("gives up");
            }
        }
    }

    pub(super) fn note(&self, what: impl AsRef<str>) {
        self.world.trace.add(format!("{}: {}", self.name, what.as_ref()));
    }

    async fn step(&mut self, what: What) {
        match what {
            What::Append(append) => self.append(append).await,
            What::AppendAll {
                events,
                is_conditional,
                is_durable,
            } => self.append_all(events, is_conditional, is_durable).await,
            What::Retry => {
                if let Some(number) = self.open {
                    self.attempt(number, true, true, &Writer::Anybody).await;
                }
            }
            What::Read { stream, page_size } => self.read(stream, page_size).await,
            What::Version { stream } => self.version(stream).await,
            What::ReadLog { page_size } => self.read_log(page_size).await,
            What::Snapshot { stream } => self.snapshot(stream).await,
            What::Hold(hold) => self.hold(hold).await,
            What::UseHeld { events } => {
                if let Some((stream, store)) = self.held.take() {
                    self.append_held(stream, &*store, events).await;
                    self.held = Some((stream, store));
                }
            }
            What::Retain { stream } => self.retain(stream).await,
            What::Delete { expected, deletion } => self.delete(expected, deletion).await,
            What::Scavenge { events } => self.scavenge(events).await,
            What::Replay => self.replay().await,
            What::Discard => self.discard().await,
            What::Jump { ms } => {
                self.note(format!("its clock jumps by {ms} ms"));
                self.clock.jump(ms);
            }
            What::Pause { ms } => sleep(Duration::from_millis(ms)).await,
        }
    }

    /// Notes how a call ended; an error that cannot be is reported.
    pub(super) fn told(&self, what: &str, told: Result<String>) {
        match told {
            Ok(told) => self.note(format!("{what}: {told}")),
            Err(error) => {
                self.note(format!("{what}: {}", kind(&error)));
                if !can_be(&error) && !self.world.known().life.explains(&error) {
                    self.world
                        .wrong(format!("{} {what} and is told: {error:?}", self.name));
                }
            }
        }
    }

    async fn append(&mut self, append: Append) {
        let Append { stream, .. } = append;
        let (count, command) = match append.command {
            // A command has the same events each time.
            Some(command) => (1 + command % 2, Some(stream * 10 + command)),
            None => (append.events, None),
        };
        let events = self.events(stream, count, append.has_old_ids, append.command);
        let expected = self.expected(stream, append.expected);
        let mut attempt = Attempt::new(vec![Part::new(stream, expected, events)]);
        attempt.command = command;
        let number = self.world.begin(attempt);
        self.attempt(number, append.is_durable, false, &Writer::Anybody)
            .await;
    }

    /// What a call expects of `stream`, which the client knows as far as it has seen it.
    pub(super) fn expected(&self, stream: usize, expected: Expected) -> ExpectedVersion {
        let seen = self.seen[stream];
        match expected {
            Expected::Any => ExpectedVersion::Any,
            Expected::NoStream => ExpectedVersion::NoStream,
            Expected::StreamExists => ExpectedVersion::StreamExists,
            Expected::Seen => ExpectedVersion::Exact(Version::new(seen)),
            Expected::Next => ExpectedVersion::Exact(Version::new(seen + 1)),
        }
    }

    fn events(
        &self,
        stream: usize,
        count: usize,
        has_old_ids: bool,
        command: Option<usize>,
    ) -> Vec<EventMessage> {
        let number = self.world.known().attempts.len();
        let event = |at| match command {
            Some(command) => {
                let id = command_id(stream, command);
                self.world
                    .event(&format!("{id}, event {at}"), has_old_ids)
                    .with_idempotency_id(id)
            }
            None => self
                .world
                .event(&format!("event {at} of append {number}"), has_old_ids),
        };
        (0..count).map(event).collect()
    }

    async fn append_all(&mut self, events: usize, is_conditional: bool, is_durable: bool) {
        let parts = (0..RETAINED).map(|stream| {
            let expected = match (events + stream) % 2 {
                0 => ExpectedVersion::Any,
                _ => ExpectedVersion::Exact(Version::new(self.seen[stream])),
            };
            Part::new(stream, expected, self.events(stream, events, false, None))
        });
        let mut attempt = Attempt::new(parts.collect());
        if is_conditional {
            attempt.excluded = Some((stream_id(RETAINED).category().to_owned(), self.head));
        }
        let number = self.world.begin(attempt);
        self.attempt(number, is_durable, false, &Writer::Anybody).await;
    }

    /// Tries to append what attempt `number` says.
    async fn attempt(&mut self, number: usize, is_durable: bool, is_retry: bool, writer: &Writer<'_>) {
        let attempt = self.world.known().attempts[number].clone();
        let begun = self.world.now();
        // What was removed is not recognised any more. And who tries again does so without the session, and must not be
        // taken for it.
        if !attempt.may_be_removed() && attempt.token.is_none() {
            self.open = Some(number);
        }
        let calls = attempt.parts.iter().map(|part| {
            let known = self.world.known();
            let events = part.events.iter().map(|event| known.number(event.id())).collect();
            let expected = part.expected;
            self.histories[part.stream].begin(Call::Append { events, expected })
        });
        let calls = calls.collect::<Vec<_>>();
        let durability = if is_durable {
            Durability::Durable
        } else {
            Durability::Buffered
        };
        let appended = match (&attempt.parts[..], writer) {
            ([part], Writer::Anybody) => {
                let options = AppendOptions::expecting(part.expected).durability(durability);
                let stream = stream_id(part.stream);
                let appended = self.log.append_with(&stream, part.events.clone(), options).await;
                appended.map(|appended| vec![appended])
            }
            ([part], Writer::Session(store)) => {
                let options = AppendOptions::expecting(part.expected).durability(durability);
                self.append_in(part, *store, options)
                    .await
                    .map(|appended| vec![appended])
            }
            (parts, _) => {
                let append = parts.iter().fold(MultiAppend::new(), |append, part| {
                    append.to(&stream_id(part.stream), part.expected, part.events.clone())
                });
                let append = attempt.excluded.iter().fold(append, |append, (category, after)| {
                    let query = Query::category(category.clone());
                    append.condition(AppendCondition::fail_if_after(query, *after))
                });
                let appended = self.log.append_all(append.durability(durability)).await;
                appended.map(|appended| appended.streams)
            }
        };
        self.settle(number, begun, calls, appended, is_durable, is_retry);
    }

    async fn append_in(
        &self,
        part: &Part,
        store: &dyn EventStore,
        options: AppendOptions,
    ) -> Result<Appended> {
        let appended = store.append_with(part.events.clone(), options).await;
        match appended {
            Err(Error::StoreSessionExpired { .. } | Error::InvalidStoreSession { .. })
                if self.bug == Some(Bug::SessionNotInCondition) =>
            {
                self.log
                    .append_with(&stream_id(part.stream), part.events.clone(), options)
                    .await
            }
            appended => appended,
        }
    }

    /// Notes what an append was told.
    fn settle(
        &mut self,
        number: usize,
        begun: u64,
        calls: Vec<Begun>,
        appended: Result<Vec<Appended>>,
        is_durable: bool,
        is_retry: bool,
    ) {
        let parts = self.world.known().attempts[number].parts.clone();
        let streams = parts.iter().map(|part| part.stream);
        let calls = streams.zip(calls);
        let what = format!("append {number}");
        let error = match appended {
            Ok(appended) => {
                let versions = appended
                    .iter()
                    .map(|it| format!("version {} at {}", it.version, it.position));
                self.note(format!("{what}: {}", versions.collect::<Vec<_>>().join(", ")));
                for ((stream, call), appended) in calls.zip(&appended) {
                    self.histories[stream].end(call, Told::Appended(appended.version.get()));
                    self.seen[stream] = appended.version.get();
                    self.head = self.head.max(appended.position);
                }
                self.world.acked(number, begun, &appended, is_durable);
                self.open = self.open.filter(|open| *open != number);
                return;
            }
            Err(error) => error,
        };
        if error.outcome_unknown() {
            return self.note(format!("{what}: nobody knows"));
        }
        for (stream, call) in calls {
            match &error {
                Error::StoreVersionMismatch {
                    stream: of, actual, ..
                } if *of == stream_id(stream) => {
                    self.histories[stream].end(call, Told::Conflict(actual.get()));
                    self.seen[stream] = actual.get();
                }
                Error::StreamDeleted { .. } => self.histories[stream].end(call, Told::Gone),
                _ => self.histories[stream].forget(call),
            }
        }
        self.world.refused(number, is_retry);
        if !is_retry {
            self.open = self.open.filter(|open| *open != number);
        }
        self.told(&what, Err(error));
    }

    async fn read(&mut self, stream: usize, page_size: usize) {
        let call = self.histories[stream].begin(Call::Read);
        let scavenges = self.world.known().life.scavenges();
        let aging = Aging::begin(stream, &self.world, &self.clock);
        let options = ReadOptions::slice(Version::FIRST, Version::MAX).page_size(page_size);
        let read = match self.log.read_stream(&stream_id(stream), options).await {
            Ok(replay) => replay.events.collect().await,
            Err(error) => Err(error),
        };
        let what = format!("reads stream {stream}");
        let events = match read {
            Ok(events) => events,
            Err(error) => return self.told(&what, Err(error)),
        };
        let last = events.last().map_or(0, |event| event.version.get());
        self.note(format!("{what}: {} events to version {last}", events.len()));
        self.world.check_events(stream, &events);
        aging.check(&self.world, &events);
        if may_be_removed(stream) && (stream != DELETED || self.world.known().life.scavenges() != scavenges) {
            match events.is_empty() {
                true => self.histories[stream].forget(call),
                false => self.histories[stream].end(call, Told::Version(last)),
            }
        } else {
            let numbers = events
                .iter()
                .map(|event| self.world.known().number(event.message.id()));
            self.histories[stream].end(call, Told::Events(numbers.collect()));
        }
        self.seen[stream] = last;
    }

    async fn version(&mut self, stream: usize) {
        let call = self.histories[stream].begin(Call::Read);
        let version = self.log.version(&stream_id(stream)).await;
        if let Ok(version) = &version {
            self.seen[stream] = version.get();
            self.histories[stream].end(call, Told::Version(version.get()));
        }
        self.told(
            &format!("asks for the version of {stream}"),
            version.map(|it| it.to_string()),
        );
    }

    async fn read_log(&mut self, page_size: usize) {
        let events = self.log.read_all(LogReadOptions::forward().page_size(page_size));
        match events.collect().await {
            Ok(events) => {
                self.note(format!("reads the log: {} events", events.len()));
                self.world.check_log(&events);
                self.head = events.last().map_or(Position::ZERO, |event| event.position);
            }
            Err(error) => self.told("reads the log", Err(error)),
        }
    }

    async fn snapshot(&mut self, stream: usize) {
        let version = self.seen[stream];
        if version == 0 {
            return;
        }
        let text = format!("state of {stream} at {version}, {}", self.world.now());
        self.world.known().snapshots[stream].insert((version, text.clone()));
        let (id, at) = (stream_id(stream), Version::new(version));
        let stored = self.log.snapshot(&id, at, self.world.event(&text, false)).await;
        let what = format!("stores a snapshot of {stream} at {version}");
        match stored {
            // It is behind what is kept by now.
            Err(Error::InvalidInput { .. }) if may_be_removed(stream) => {
                self.note(format!("{what}: too late"))
            }
            stored => self.told(&what, stored.map(|()| "stored".to_owned())),
        }
        let deleted = self.world.known().life.deleted(stream);
        let read = self.log.read_snapshot(&id, at).await;
        if let Ok(Some(snapshot)) = &read {
            self.world.check_snapshot(stream, snapshot, deleted);
        }
        self.told(
            "reads it",
            read.map(|it| if it.is_some() { "read" } else { "there is none" }.to_owned()),
        );
    }

    async fn hold(&mut self, hold: Hold) {
        let Hold { stream, .. } = hold;
        let options = OpenOptions::default()
            .session_timeout(Duration::from_millis(hold.timeout_ms))
            .open_timeout(OPEN_TIMEOUT)
            .owner(self.name.clone());
        let begun = self.world.now();
        let store = match self
            .provider
            .open_with(&self.world.database, &stream_id(stream), options)
            .await
        {
            Ok(store) => store,
            Err(error) => return self.told(&format!("opens a session on {stream}"), Err(error)),
        };
        let token = store.session().fencing_token;
        self.note(format!("opens a session on {stream}: token {token}"));
        self.world.granted(stream, token, begun);
        for _ in 0..hold.appends {
            self.append_held(stream, &*store, 1).await;
            sleep(Duration::from_millis(hold.pause_ms)).await;
        }
        if hold.renews {
            let renewed = store.renew(None).await;
            self.told("renews it", renewed.map(|_| "renewed".to_owned()));
        }
        match hold.end {
            HoldEnd::Close => self.told("closes it", store.close().await.map(|()| "closed".to_owned())),
            HoldEnd::Drop => self.note("drops it"),
            HoldEnd::Keep => self.held = Some((stream, store)),
        }
    }

    async fn append_held(&mut self, stream: usize, store: &dyn EventStore, events: usize) {
        let events = self.events(stream, events, false, None);
        let mut attempt = Attempt::new(vec![Part::new(stream, ExpectedVersion::Any, events)]);
        attempt.token = Some(store.session().fencing_token);
        let number = self.world.begin(attempt);
        self.attempt(number, true, false, &Writer::Session(store)).await;
    }
}

/// Whether a call may end so while the engine works as its contract says.
pub(super) fn can_be(error: &Error) -> bool {
    !matches!(
        error,
        Error::Corrupt { .. }
            | Error::CannotOpen { .. }
            | Error::ProviderClosed
            | Error::InvalidInput { .. }
            | Error::DuplicateIdempotencyId { .. }
            | Error::Unsupported { .. }
            | Error::StreamDeleted { .. }
    )
}

/// The name of an error: its text may hold what differs from run to run.
pub(super) fn kind(error: &Error) -> String {
    let text = format!("{error:?}");
    let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_owned()
}
