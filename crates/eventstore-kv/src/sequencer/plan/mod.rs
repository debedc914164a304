//! Decides a group of requests against what is known, without touching the engine: a pure function of both.

mod append;
mod leases;
mod snapshots;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use eventstore_abstractions::{Appended, Database, Error, Result, Session, StreamId, Timestamp};
use kv_core::Batch;

use self::snapshots::snapshots_marker;
use super::known::{DatabaseState, Facts, Known, StreamState};
use super::request::{Action, Request};
use crate::idempotency;
use crate::keys;
use crate::record::Record;

/// What becomes of one request if the plan is committed.
#[derive(Debug)]
pub(super) enum Decision {
    Answer(Result<Done>),
    /// It depends on a request before it in the group: it is decided after that one is committed.
    Later,
}

/// What a request did.
#[derive(Debug)]
pub(super) enum Done {
    Appended(Appended),
    Written,
    Cleared(usize),
    Opened(Session),
    Renewed(Session),
    Held(Box<eventstore_abstractions::HeldBy>),
}

/// The writes of a group and the state that they lead to.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) now: Timestamp,
    pub(super) databases: BTreeMap<Database, DatabaseState>,
    pub(super) streams: HashMap<Bytes, StreamState>,
    pub(super) decisions: Vec<Decision>,
    /// Databases that were written to; their heads are written last.
    changed: HashSet<Database>,
    /// Keys, other than of heads, leases and events, that this group has written.
    touched: HashSet<Bytes>,
    /// In order; a later write of a key replaces an earlier one.
    writes: Vec<(Bytes, Option<Bytes>)>,
    durable: bool,
}

/// Decides `requests` in order.
///
/// `durable_leases` says whether every change of a lease must survive a crash. It need not where all sessions end
/// with the process; a new session always does, so that no fencing token is given out twice.
pub(super) fn decide(requests: &[Request], known: Known, now: Timestamp, durable_leases: bool) -> Plan {
    let Known {
        databases,
        streams,
        facts,
    } = known;
    let mut plan = Plan {
        now,
        databases,
        streams,
        decisions: Vec::with_capacity(requests.len()),
        changed: HashSet::new(),
        touched: HashSet::new(),
        writes: Vec::new(),
        durable: false,
    };
    for (request, facts) in requests.iter().zip(facts) {
        let decision = match facts {
            Ok(facts) => plan.request(request, facts, durable_leases),
            Err(error) => Decision::Answer(Err(error)),
        };
        plan.decisions.push(decision);
    }
    plan
}

impl Plan {
    /// The batch that commits the plan, and how durable it must be. It requires the head of each
    /// database that is written to as it was read, and writes the next one.
    ///
    /// With `shared` it requires the heads of the others too: what was known of them was read in
    /// several calls, and an answer that writes nothing, such as a conflict, must be true of one
    /// moment as well.
    pub(super) fn take_batch(&mut self, shared: bool) -> (Batch, kv_core::Durability) {
        let mut batch = Batch::new();
        for (key, value) in self.writes.drain(..) {
            batch = match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        let unchanged = self
            .databases
            .iter()
            .filter(|(name, _)| !self.changed.contains(*name));
        for (name, state) in unchanged.filter(|_| shared) {
            batch = require_head(batch, keys::database_head(name), state.stored.clone());
        }
        for database in self.changed.drain() {
            let key = keys::database_head(&database);
            let state = self
                .databases
                .get_mut(&database)
                .expect("a changed database is known");
            let value = state.head.seal(&key);
            batch = require_head(batch, key.clone(), state.stored.replace(value.clone()));
            batch = batch.put(key, value);
        }
        let durability = if self.durable {
            kv_core::Durability::Durable
        } else {
            kv_core::Durability::Buffered
        };
        (batch, durability)
    }

    fn request(&mut self, request: &Request, facts: Facts, durable_leases: bool) -> Decision {
        let (database, stream) = (&request.database, &request.stream);
        let target = Target {
            database,
            stream,
            head_key: &request.head_key,
        };
        let answer = match (&request.action, facts) {
            (
                Action::Append {
                    writer,
                    events,
                    expected,
                    durability,
                },
                Facts::Append(verdict),
            ) => {
                if self.touches_any(idempotency::entry_keys(database, stream, events)) {
                    return Decision::Later;
                }
                self.append(target, *writer, events, *expected, *durability, verdict)
            }
            (
                Action::Snapshot {
                    writer,
                    version,
                    message,
                },
                _,
            ) => self.snapshot(target, *writer, *version, message),
            (Action::ClearSnapshot { writer, version }, Facts::Snapshots(found)) => {
                if self.touches_any([keys::snapshot(database, stream, *version)].into_iter()) {
                    return Decision::Later;
                }
                self.clear(target, *writer, &found)
                    .and_then(|done| match found[..] {
                        [] => Err(Error::SnapshotVersionNotFound {
                            stream: stream.clone(),
                            version: *version,
                        }),
                        _ => Ok(done),
                    })
            }
            (Action::ClearSnapshots { writer, .. }, Facts::Snapshots(found)) => {
                if self.touched.contains(&snapshots_marker(target)) {
                    return Decision::Later;
                }
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
                self.renew(target, *writer, *session, expires_at, durable_leases)
            }
            (Action::Release { session }, _) => Ok(self.release(target, *session, durable_leases)),
            (action, facts) => unreachable!("{action:?} is never gathered with {facts:?}"),
        };
        Decision::Answer(answer)
    }

    /// Counts a write to the database: the new revision, which no write before it had.
    fn bump(&mut self, target: Target<'_>, events: u64) -> u64 {
        let head = &mut self.database(target).head;
        head.position += events;
        head.revision += 1;
        let revision = head.revision;
        self.changed.insert(target.database.clone());
        revision
    }

    fn put(&mut self, key: Bytes, seal: impl FnOnce(&[u8]) -> Bytes) -> usize {
        let value = seal(&key);
        let bytes = value.len();
        self.writes.push((key, Some(value)));
        bytes
    }

    /// Writes a key that later requests of the group must not judge by what is committed.
    fn put_once(&mut self, key: Bytes, seal: impl FnOnce(&[u8]) -> Bytes) {
        self.touched.insert(key.clone());
        self.put(key, seal);
    }

    fn delete(&mut self, key: Bytes) {
        self.writes.push((key, None));
    }

    fn touches_any(&self, mut keys: impl Iterator<Item = Bytes>) -> bool {
        !self.touched.is_empty() && keys.any(|key| self.touched.contains(&key))
    }

    fn state(&mut self, target: Target<'_>) -> &mut StreamState {
        self.streams
            .get_mut(target.head_key)
            .expect("the stream of a request is known")
    }

    fn database(&mut self, target: Target<'_>) -> &mut DatabaseState {
        self.databases
            .get_mut(target.database)
            .expect("the database of a request is known")
    }
}

/// The stream that a request is about.
#[derive(Clone, Copy)]
struct Target<'a> {
    database: &'a Database,
    stream: &'a StreamId,
    head_key: &'a Bytes,
}

/// The condition that a database's head is as it was read.
fn require_head(batch: Batch, key: Bytes, stored: Option<Bytes>) -> Batch {
    match stored {
        Some(stored) => batch.require_equals(key, stored),
        None => batch.require_absent(key),
    }
}
