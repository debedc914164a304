//! What is known of a run: what was asked for, what was told, and what must therefore be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use eventstore_abstractions::{
    Appended, ContentType, Database, EventMessage, ExpectedVersion, IdempotencyId, MessageId, Metadata,
    Payload, Position, RecordedEvent, StreamId, Timestamp, TypeName, Version,
};
use fastrand::Rng;
use uuid::Builder;

use super::consumers::Consumed;
use super::life::Life;
use super::plan::{DELETED, RETAINED, STREAMS};
use super::trace::Trace;
use crate::clock::ManualClock;
use crate::fault::locked;
use crate::linear::History;

/// What the databases of a run have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) trace: Arc<Trace>,
    /// Counts what is begun and what is told.
    moment: AtomicU64,
    /// What was told before this moment is durable: a durable commit keeps all that is before it, in every database.
    durable: AtomicU64,
    violation: Mutex<Option<String>>,
}

/// Everything that is known of one database, shared by all who take part in a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) trace: Arc<Trace>,
    pub(super) database: Database,
    common: Arc<Common>,
    known: Mutex<Known>,
}

#[derive(Debug)]
pub(super) struct Known {
    /// Everything that was appended or tried to be, in the order in which it was first tried.
    pub(super) attempts: Vec<Attempt>,
    /// Which attempt an event is of.
    pub(super) owners: BTreeMap<MessageId, usize>,
    /// The log as it was when it was last looked at as a whole.
    pub(super) log: Vec<RecordedEvent>,
    /// The sessions of each stream: when a session was granted, by its token.
    pub(super) sessions: Vec<BTreeMap<u64, u64>>,
    /// What a subscription of each process has seen: an id, or nothing where the event was removed.
    pub(super) seen: Vec<Vec<Option<MessageId>>>,
    pub(super) consumed: Consumed,
    /// Snapshots that were tried to be stored: the version, and the text.
    pub(super) snapshots: Vec<BTreeSet<(u64, String)>>,
    pub(super) life: Life,
    common: Arc<Common>,
    rng: Rng,
}

/// An append.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) parts: Vec<Part>,
    /// The idempotency id of its events.
    pub(super) command: Option<usize>,
    /// The category that no event behind this position may have.
    pub(super) excluded: Option<(String, Position)>,
    /// The token of the session in which it was tried.
    pub(super) token: Option<u64>,
    pub(super) begun: u64,
    pub(super) state: State,
    /// Whether it was durable itself, or was found after a restart.
    pub(super) is_durable: bool,
}

/// What an attempt appends to one stream.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) stream: usize,
    pub(super) expected: ExpectedVersion,
    pub(super) events: Vec<EventMessage>,
    /// What was told.
    pub(super) appended: Option<Appended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody knows.
    Open,
    /// It was told that it happened, at this moment.
    Acked(u64),
    /// It was told that nothing happened, or that is what was found.
    Nothing,
}

impl Common {
    pub(super) fn new(trace: Arc<Trace>) -> Arc<Self> {
        Arc::new(Self {
            trace,
            moment: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            violation: Mutex::new(None),
        })
    }

    /// Reports that something is wrong. The first report counts: what comes after may follow from it.
    pub(super) fn wrong(&self, what: impl Into<String>) {
        let what = what.into();
        self.trace.add(format!("WRONG: {what}"));
        locked(&self.violation).get_or_insert(what);
    }

    pub(super) fn violation(&self) -> Option<String> {
        locked(&self.violation).clone()
    }

    fn tick(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl World {
    /// The world of the database `number`.
    pub(super) fn new(seed: u64, number: u64, processes: usize, common: &Arc<Common>) -> Arc<Self> {
        let known = Known {
            attempts: Vec::new(),
            owners: BTreeMap::new(),
            log: Vec::new(),
            sessions: vec![BTreeMap::new(); STREAMS],
            seen: vec![Vec::new(); processes],
            consumed: Consumed::default(),
            snapshots: vec![BTreeSet::new(); STREAMS],
            life: Life::default(),
            common: Arc::clone(common),
            rng: Rng::with_seed(!seed ^ (number << 32)),
        };
        Arc::new(Self {
            trace: Arc::clone(&common.trace),
            database: database(number),
            common: Arc::clone(common),
            known: Mutex::new(known),
        })
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }

    /// Reports that something is wrong.
    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.common.wrong(what);
    }

    /// The history of each stream from here on: it begins with the events that are in the log.
    pub(super) fn histories(&self) -> Vec<History> {
        let known = self.known();
        let events = |stream| {
            let of_stream = known
                .log
                .iter()
                .filter(move |event| event.stream == stream_id(stream));
            of_stream.map(|event| known.number(event.message.id())).collect()
        };
        (0..STREAMS)
            .map(|stream| {
                let history = History::starting_with(events(stream));
                match stream {
                    DELETED => known.life.begin(history),
                    _ => history,
                }
            })
            .collect()
    }

    /// The versions of the streams and the position of the log, as they were when it was last looked.
    pub(super) fn last_seen(&self) -> ([u64; STREAMS], Position) {
        let known = self.known();
        let version = |stream| {
            let id = stream_id(stream);
            known.log.iter().filter(|event| event.stream == id).count() as u64
        };
        let head = Position::new(known.log.len() as u64);
        (std::array::from_fn(version), head)
    }

    /// A new event.
    pub(super) fn event(&self, text: &str, has_old_id: bool) -> EventMessage {
        let now = self.trace.now_ms();
        let random = self.known().rng.u128(..).to_le_bytes();
        let [mut tail @ .., _, _, _, _, _, _] = random;
        tail[0] &= 0x0f;
        let start = ManualClock::START.as_micros().unsigned_abs() / 1_000;
        let id_ms = if has_old_id {
            start - 1_000 + u64::from(tail[1])
        } else {
            start + now
        };
        let id = MessageId::from_uuid(Builder::from_unix_timestamp_millis(id_ms, &tail).into_uuid());
        let created = ManualClock::START.as_micros() + i64::try_from(now * 1_000).unwrap_or(i64::MAX);
        let name = TypeName::new("Simulated").expect("a valid name");
        EventMessage {
            payload: Payload::new(ContentType::OCTET_STREAM, text.as_bytes().to_vec()),
            metadata: Metadata::new_at(id, name, Timestamp::from_micros(created)),
        }
    }

    /// Notes that an append is begun: its number.
    pub(super) fn begin(&self, attempt: Attempt) -> usize {
        let mut known = self.known();
        let number = known.attempts.len();
        let mut attempt = attempt;
        attempt.begun = self.common.tick();
        for id in attempt.ids() {
            known.owners.insert(id, number);
        }
        known.attempts.push(attempt);
        number
    }

    /// Notes that an append was told to have happened.
    pub(super) fn acked(&self, number: usize, begun: u64, appended: &[Appended], is_durable: bool) {
        let now = self.common.tick();
        let attempt = &mut self.known().attempts[number];
        attempt.state = State::Acked(now);
        attempt.is_durable |= is_durable;
        for (part, appended) in attempt.parts.iter_mut().zip(appended) {
            part.appended = Some(*appended);
        }
        if is_durable {
            // What was told before a durable commit began is not after it.
            self.common.durable.fetch_max(begun, Ordering::SeqCst);
        }
    }

    /// Notes that an append was told to have done nothing, this time.
    pub(super) fn refused(&self, number: usize, is_retry: bool) {
        let mut known = self.known();
        let attempt = &mut known.attempts[number];
        // Nobody knows of the tries before.
        if attempt.state == State::Open && !is_retry {
            attempt.state = State::Nothing;
        }
    }

    /// Notes that a session was granted that was asked for at `begun`.
    pub(super) fn granted(&self, stream: usize, token: u64, begun: u64) {
        let mut known = self.known();
        let now = self.common.tick();
        let earlier = known.sessions[stream]
            .iter()
            .filter(|(_, granted)| **granted < begun)
            .map(|(token, _)| *token)
            .max();
        let twice = known.sessions[stream].insert(token, now).is_some();
        drop(known);
        if twice || earlier.is_some_and(|earlier| earlier >= token) {
            self.wrong(format!(
                "stream {stream} gave out fencing token {token} after {earlier:?}"
            ));
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.common.tick()
    }
}

impl Known {
    /// Whether a power cut must keep what was acknowledged.
    pub(super) fn is_durable(&self, attempt: &Attempt) -> bool {
        let is_before = |at| at < self.common.durable.load(Ordering::SeqCst);
        attempt.is_durable || matches!(attempt.state, State::Acked(at) if is_before(at))
    }

    pub(super) fn now(&self) -> u64 {
        self.common.moment.load(Ordering::SeqCst)
    }

    /// What an event is called in histories: attempts that are the same to the store have the same.
    pub(super) fn number(&self, id: MessageId) -> u64 {
        let Some(attempt) = self.owners.get(&id) else {
            return u64::MAX;
        };
        let owner = &self.attempts[*attempt];
        let at = owner.ids().position(|it| it == id).unwrap_or_default() as u64;
        let group = match owner.command {
            Some(command) => (1 << 32) + command as u64,
            None => *attempt as u64,
        };
        group * 100 + at
    }
}

impl Attempt {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self {
            parts,
            command: None,
            excluded: None,
            token: None,
            begun: 0,
            state: State::Open,
            is_durable: false,
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = MessageId> {
        self.parts
            .iter()
            .flat_map(|part| part.events.iter().map(EventMessage::id))
    }

    pub(super) fn is_acked(&self) -> bool {
        matches!(self.state, State::Acked(_))
    }

    /// Whether some of it may have been removed.
    pub(super) fn may_be_removed(&self) -> bool {
        self.parts.iter().any(|part| may_be_removed(part.stream))
    }
}

impl Part {
    pub(super) fn new(stream: usize, expected: ExpectedVersion, events: Vec<EventMessage>) -> Self {
        Self {
            stream,
            expected,
            events,
            appended: None,
        }
    }
}

/// The events of a command: the same each time, but for their message ids.
pub(super) fn command_id(stream: usize, command: usize) -> IdempotencyId {
    IdempotencyId::new(format!("command {command} of {stream}")).expect("a valid id")
}

/// The databases have streams of the same names.
fn database(number: u64) -> Database {
    match number {
        0 => Database::default(),
        number => Database::new(format!("database {number}")).expect("a valid name"),
    }
}

/// Whether some of a stream may be removed.
pub(super) fn may_be_removed(stream: usize) -> bool {
    stream >= RETAINED
}

pub(super) fn stream_id(stream: usize) -> StreamId {
    let category = if may_be_removed(stream) { "removed" } else { "kept" };
    StreamId::new(category, format!("s{stream}")).expect("a valid name")
}

pub(super) fn version(number: u64) -> Version {
    Version::new(number)
}
