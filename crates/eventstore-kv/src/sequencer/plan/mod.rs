//! Decides requests against what is known, without touching the engine: a pure function of both.

mod append;
mod batch;
mod leases;
mod life;
mod log;
mod multi;
mod snapshots;
mod tail;
#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;
use eventstore_abstractions::{
    Appended, Database, Error, IdempotencyId, Indexes, MessageId, MultiAppended, Result, Session, StreamId,
    Timestamp,
};
use hashbrown::HashMap;

use self::log::LogTail;
pub(crate) use self::log::MAX_BLOCK_BYTES;
use self::tail::Tail;
use super::cache::{Cache, DatabaseState, StreamState};
use super::known::{Facts, KnownRequest};
use super::request::{Action, Request};
use crate::record::{DatabaseHead, Record, StreamHead, Turn};
use crate::subscription::Reach;

/// What a request did.
#[derive(Debug)]
pub(super) enum Done {
    Appended(Appended),
    AppendedAll(MultiAppended),
    Written,
    Cleared(usize),
    Opened(Session),
    Renewed(Session),
    Held(Box<eventstore_abstractions::HeldBy>),
}

/// The writes of a group, the state that they lead to, and what each request is then told.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) now: Timestamp,
    limits: Limits,
    databases: Vec<PlannedDatabase>,
    streams: Vec<PlannedStream>,
    /// Where in `streams` the one with this head key is.
    index: HashMap<Bytes, usize>,
    answers: Vec<Result<Done>>,
    /// In order; a later write of a key replaces an earlier one.
    writes: Vec<(Bytes, Option<Bytes>)>,
    durable: bool,
}

/// What the engine asks of every plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Whether every change of a lease must survive a crash. It need not where all sessions end with the process;
    /// a new session always does, so that no fencing token is given out twice.
    pub(super) durable_leases: bool,
    /// Most bytes of one record.
    pub(super) record_bytes: usize,
    /// What is indexed.
    pub(super) indexes: Indexes,
    /// Whether a commit that is not of this plan may land while it is decided: of another process, or an earlier one of
    /// unknown outcome.
    pub(super) requires_heads: bool,
    /// Whether what the log says anyway is left out of commits; see [`crate::derived`].
    pub(super) defers: bool,
}

#[derive(Debug)]
struct PlannedDatabase {
    name: Database,
    /// Its head before the plan.
    base: DatabaseHead,
    state: DatabaseState,
    damage: Option<Error>,
    /// Whether it is written to; then its head is, too.
    is_changed: bool,
    log: LogTail,
    tail: Tail,
    /// Whether what its log says anyway is left out: not of the first commit to it.
    defers: bool,
}

/// A stream that requests of a plan are about.
#[derive(Debug)]
pub(super) struct PlannedStream {
    key: Bytes,
    /// Where its database is among those of the plan.
    database: usize,
    /// Its head before the plan.
    pub(super) base: StreamHead,
    state: StreamState,
    damage: Option<Error>,
    is_changed: bool,
    /// Whether its head comes to say what the copies in the log do not.
    is_underivable: bool,
    has_new_snapshots: bool,
    /// The runs that it adds, and their keys.
    runs: Vec<(Bytes, Bytes)>,
    /// The ids that the plan appends.
    messages: Vec<MessageId>,
    idempotency: Vec<IdempotencyId>,
}

impl PlannedStream {
    pub(super) fn appends(&self, id: MessageId) -> bool {
        self.messages.contains(&id)
    }

    pub(super) fn uses(&self, id: &IdempotencyId) -> bool {
        self.idempotency.contains(id)
    }
}

impl Plan {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            now: Timestamp::from_micros(0),
            limits,
            databases: Vec::new(),
            streams: Vec::new(),
            index: HashMap::new(),
            answers: Vec::new(),
            writes: Vec::new(),
            durable: false,
        }
    }

    pub(super) fn database_at(&self, name: &Database) -> Option<usize> {
        self.databases.iter().position(|database| database.name == *name)
    }

    /// Adds a database whose head is this, or is damaged.
    pub(super) fn add_database(&mut self, name: Database, state: Result<DatabaseState>) {
        let (mut state, damage) = divided(state);
        let base = state.head;
        state.head.index(self.limits.indexes);
        let defers = self.limits.defers && state.stored.is_some();
        self.databases.push(PlannedDatabase {
            name,
            base,
            state,
            damage,
            is_changed: false,
            log: LogTail::default(),
            tail: Tail::default(),
            defers,
        });
    }

    /// The head of a database before the plan.
    pub(super) fn base_of(&self, database: usize) -> &DatabaseHead {
        &self.databases[database].base
    }

    pub(super) fn stream_at(&self, head_key: &Bytes) -> Option<usize> {
        self.index.get(head_key).copied()
    }

    pub(super) fn stream_in(&self, at: usize) -> &PlannedStream {
        &self.streams[at]
    }

    /// Adds a stream of a database of the plan; its state is this, or is damaged.
    pub(super) fn add_stream(&mut self, database: usize, key: Bytes, state: Result<StreamState>) {
        let (state, damage) = divided(state);
        self.index.insert(key.clone(), self.streams.len());
        self.streams.push(PlannedStream {
            key,
            database,
            base: state.head,
            state,
            damage,
            is_changed: false,
            is_underivable: false,
            has_new_snapshots: false,
            runs: Vec::new(),
            messages: Vec::new(),
            idempotency: Vec::new(),
        });
    }

    /// What is wrong with a stream or its database: nothing can be decided about it.
    pub(super) fn damage(&self, database: usize, stream: usize) -> Option<&Error> {
        let stream = self.streams[stream].damage.as_ref();
        stream.or(self.databases[database].damage.as_ref())
    }

    /// Decides one more request. It returns `false`, and has not decided it, when the request depends on what this
    /// plan is about to write: it has to wait for that commit.
    pub(super) fn decide(&mut self, request: &Request, known: Option<KnownRequest>) -> bool {
        let Some(known) = known else { return false };
        let database = known.database;
        let target = Target {
            name: &request.stream,
            database,
            stream: known.stream,
        };
        let stream = &self.streams[target.stream];
        let answer = match (&request.action, known.facts) {
            (_, Err(error)) => Err(error),
            (Action::Append(append), Ok(Facts::Append(verdict))) => {
                if self.repeats_within_plan(target, &append.events) {
                    return false;
                }
                self.append(target, append, verdict)
            }
            (Action::AppendAll(append), Ok(Facts::AppendAll { verdicts, excluded })) => {
                let streams = std::iter::once(known.stream).chain(known.others);
                let targets = append.parts.iter().zip(streams).map(|(part, stream)| Target {
                    name: &part.stream,
                    database,
                    stream,
                });
                let targets = targets.collect::<Vec<_>>();
                let mut parts = targets.iter().zip(&append.parts);
                if parts.any(|(target, part)| self.repeats_within_plan(*target, &part.events)) {
                    return false;
                }
                self.append_all(&targets, append, &verdicts, excluded)
            }
            (Action::ClearSnapshot { .. } | Action::ClearSnapshots { .. }, _) if stream.has_new_snapshots => {
                return false;
            }
            (action, Ok(facts)) => self.other(target, action, facts),
        };
        self.answers.push(answer);
        true
    }

    /// Where the logs of its databases ended before it, and where they end with it.
    pub(super) fn reach(&self) -> impl Iterator<Item = Reach<'_>> {
        let known = self.databases.iter().filter(|database| database.damage.is_none());
        known.map(|database| {
            (
                &database.name,
                database.base.position,
                database.state.head.position,
            )
        })
    }

    /// Makes what the plan leads to what the next one begins with.
    pub(super) fn remember_in(&self, cache: &mut Cache) {
        for database in self.databases.iter().filter(|database| database.is_changed) {
            cache.put_database(&database.name, &database.state);
        }
        for stream in self.streams.iter().filter(|stream| stream.damage.is_none()) {
            cache.put_stream(&stream.key, &stream.state);
        }
    }

    /// Lets go of its events, once it has landed: nobody looks for them in it any more.
    pub(super) fn forget_events(&mut self) {
        for database in &mut self.databases {
            database.tail = Tail::default();
        }
    }

    /// The databases that it writes to.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Database> {
        let changed = self.databases.iter().filter(|database| database.is_changed);
        changed.map(|database| &database.name)
    }

    /// What each request is told when the plan is committed.
    pub(super) fn take_answers(&mut self) -> Vec<Result<Done>> {
        std::mem::take(&mut self.answers)
    }

    fn other(&mut self, target: Target<'_>, action: &Action, facts: Facts) -> Result<Done> {
        match (action, facts) {
            (
                Action::Snapshot {
                    writer,
                    version,
                    message,
                },
                _,
            ) => self.snapshot(target, *writer, *version, message),
            (Action::ClearSnapshot { writer, version }, Facts::Snapshots(found)) => {
                let done = self.clear(target, *writer, &found)?;
                if found.is_empty() {
                    return Err(Error::SnapshotVersionNotFound {
                        stream: target.name.clone(),
                        version: *version,
                    });
                }
                Ok(done)
            }
            (Action::ClearSnapshots { writer, .. }, Facts::Snapshots(found)) => {
                self.clear(target, *writer, &found)
            }
            (
                Action::Acquire {
                    session,
                    owner,
                    timeout,
                },
                _,
            ) => {
                let expires_at = self.now.saturating_add(*timeout);
                self.acquire(target, *session, owner, expires_at)
            }
            (
                Action::Renew {
                    writer,
                    session,
                    timeout,
                },
                _,
            ) => {
                let expires_at = self.now.saturating_add(*timeout);
                self.renew(target, *writer, *session, expires_at)
            }
            (Action::Release { session }, _) => Ok(self.release(target, *session)),
            (Action::Life(change), _) => self.change_life(target, change),
            (action, facts) => unreachable!("{action:?} is never gathered with {facts:?}"),
        }
    }

    /// Counts a write to the database: the new revision, which no write before it had.
    fn bump(&mut self, target: Target<'_>, events: u64) -> u64 {
        let database = &mut self.databases[target.database];
        database.is_changed = true;
        let head = &mut database.state.head;
        head.position += events;
        head.revision += 1;
        head.revision
    }

    /// Makes `next` of the record of a turn.
    pub(super) fn pass_turn(&mut self, key: &Bytes, next: Option<Turn>) {
        self.writes.push((key.clone(), next.map(|next| next.seal(key))));
    }

    fn put(&mut self, key: Bytes, seal: impl FnOnce(&[u8]) -> Bytes) {
        let value = seal(&key);
        self.writes.push((key, Some(value)));
    }

    fn delete(&mut self, key: Bytes) {
        self.writes.push((key, None));
    }

    fn planned(&mut self, target: Target<'_>) -> &mut PlannedStream {
        &mut self.streams[target.stream]
    }

    fn state(&mut self, target: Target<'_>) -> &mut StreamState {
        &mut self.planned(target).state
    }

    fn database_name(&self, target: Target<'_>) -> &Database {
        &self.databases[target.database].name
    }
}

/// The stream that a request is about.
#[derive(Clone, Copy)]
struct Target<'a> {
    name: &'a StreamId,
    /// Where its database is among those of the plan.
    database: usize,
    /// Where it is among the streams of the plan.
    stream: usize,
}

/// What is known of something, or why nothing is.
fn divided<T: Default>(state: Result<T>) -> (T, Option<Error>) {
    match state {
        Ok(state) => (state, None),
        Err(error) => (T::default(), Some(error)),
    }
}
