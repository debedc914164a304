//! Decides an append, and writes its events and what points at them.

use std::sync::Arc;

use eventstore_abstractions::{
    Appended, Durability, Error, EventMessage, ExpectedVersion, Position, Result, StreamId, Version,
};

use super::{Done, Plan, Target};
use crate::hold::Writer;
use crate::idempotency::{self, Verdict, is_newer};
use crate::keys;
use crate::record::{EncodedRun, IdempotencyEntry, MessageEntry, Record, message_bytes};
use crate::sequencer::request::Append;

/// A run is closed at about so many bytes: a read of one event decodes those before it in its run.
pub(super) const MAX_RUN_BYTES: usize = 16 << 10;

impl Plan {
    /// Whether one of the ids of `events` was appended to the stream earlier in this plan.
    pub(super) fn repeats_within_plan(&self, target: Target<'_>, events: &[EventMessage]) -> bool {
        let stream = &self.streams[target.stream];
        if !stream.is_changed {
            return false;
        }
        let newest = stream.state.head.newest_id();
        let repeats = |id| !is_newer(id, newest) && stream.appends(id);
        events.iter().any(|event| repeats(event.id()))
            || idempotency::idempotency_ids(events).any(|id| stream.uses(id))
    }

    pub(super) fn append(&mut self, target: Target<'_>, append: &Append, verdict: Verdict) -> Result<Done> {
        let Append {
            writer,
            events,
            expected,
            durability,
        } = append;
        self.check(target, *writer)?;
        let is_durable = *durability == Durability::Durable;
        match verdict {
            Verdict::New => {}
            Verdict::Done(appended) => {
                // The first try may have been buffered, or its sync may have failed.
                self.durable |= is_durable;
                return Ok(Done::Appended(appended));
            }
            Verdict::Conflict { key, version } => {
                return Err(Error::DuplicateIdempotencyId {
                    stream: target.name.clone(),
                    key,
                    version,
                });
            }
        }
        self.require(target, *expected, events)?;
        let appended = self.add(target, *writer, events);
        self.durable |= is_durable && appended.events > 0;
        Ok(Done::Appended(appended))
    }

    /// Checks that the stream is as an append of `events` expects it.
    pub(super) fn require(
        &mut self,
        target: Target<'_>,
        expected: ExpectedVersion,
        events: &[EventMessage],
    ) -> Result<()> {
        let head = self.state(target).head;
        let actual = Version::new(head.version);
        if !head.accepts(expected) {
            return Err(Error::StoreVersionMismatch {
                stream: target.name.clone(),
                expected,
                actual,
            });
        }
        check_sequence_numbers(target.name, events, actual)
    }

    /// Adds `events`, which have passed all checks, to the stream.
    pub(super) fn add(
        &mut self,
        target: Target<'_>,
        writer: Writer,
        events: &Arc<Vec<EventMessage>>,
    ) -> Appended {
        let actual = Version::new(self.state(target).head.version);
        let position = Position::new(self.databases[target.database].state.head.position);
        if events.is_empty() {
            return Appended::new(actual, position, 0);
        }
        self.end_dead_lease(target, writer);
        self.write_events(target, events, position);
        self.databases[target.database]
            .tail
            .push(target.name, position.next(), events);
        let count = events.len() as u64;
        self.bump(target, count);
        Appended::new(actual.advanced_by(count), position.advanced_by(count), count)
    }

    /// Writes the events that follow the stream and `position`, and the entries by which they are recognised.
    fn write_events(&mut self, target: Target<'_>, events: &[EventMessage], position: Position) {
        let first_version = self.state(target).head.version + 1;
        for id in idempotency::idempotency_ids(events) {
            let key = keys::idempotency(self.database_name(target), target.name, id);
            let events = events.len() as u64;
            self.put(key, |key| {
                let entry = IdempotencyEntry {
                    first_version,
                    events,
                };
                entry.seal(key)
            });
            self.planned(target).idempotency.push(id.clone());
        }
        let mut position = position;
        let mut left = events;
        while !left.is_empty() {
            let (run, rest) = left.split_at(run_length(left, self.limits.record_bytes));
            self.write_run(target, run, position);
            position = position.advanced_by(run.len() as u64);
            left = rest;
        }
    }

    /// Writes the events that follow the stream and `position` as one run.
    fn write_run(&mut self, target: Target<'_>, events: &[EventMessage], position: Position) {
        let count = events.len() as u64;
        let mut head = self.state(target).head;
        for event in events {
            head.version += 1;
            let id = event.id();
            if is_newer(id, head.newest_id()) {
                head.newest_id = Some(*id.as_uuid().as_bytes());
            } else {
                let key = keys::message(self.database_name(target), target.name, id);
                let version = head.version;
                self.put(key, |key| MessageEntry { version }.seal(key));
            }
            self.planned(target).messages.push(id);
        }
        head.grow();
        let version = Version::new(head.version);
        let bytes = events.iter().map(message_bytes).sum();
        let run = EncodedRun::new(position.next(), self.now, head.newest_id(), events, bytes);
        let last = (version, position.advanced_by(count));
        self.databases[target.database]
            .log
            .push(target.name, last, count, &run);
        let key = keys::run(self.database_name(target), target.name, version);
        let is_copied = run.is_copied();
        let value = run.seal(&key);
        let stream = self.planned(target);
        stream.runs.push((key, value));
        stream.state.head = head;
        stream.is_changed = true;
        stream.is_underivable |= !is_copied;
    }
}

/// How many of `events` go into the first run: at least one.
pub(super) fn run_length(events: &[EventMessage], record_bytes: usize) -> usize {
    let most = MAX_RUN_BYTES.min(record_bytes);
    let mut bytes = 0;
    let fitting = events.iter().take_while(|event| {
        bytes += message_bytes(event);
        bytes <= most
    });
    fitting.count().max(1)
}

fn check_sequence_numbers(stream: &StreamId, events: &[EventMessage], current: Version) -> Result<()> {
    for (event, before) in events.iter().zip(current.get()..) {
        let Some(number) = event.metadata.context.sequence_number else {
            continue;
        };
        if number.get() != before + 1 {
            let expected = ExpectedVersion::Exact(Version::new(number.get() - 1));
            let actual = Version::new(before);
            return Err(Error::StoreVersionMismatch {
                stream: stream.clone(),
                expected,
                actual,
            });
        }
    }
    Ok(())
}
