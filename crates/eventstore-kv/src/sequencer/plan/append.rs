//! Decides an append, and writes its events and what points at them.

use eventstore_abstractions::{
    Appended, Durability, Error, EventMessage, ExpectedVersion, Position, Result, StreamId, Version,
};

use super::{Done, Plan, Target};
use crate::hold::Writer;
use crate::idempotency::{self, Verdict};
use crate::keys;
use crate::record::{IdempotencyEntry, LogEntry, MessageEntry, Record, StreamHead, encode_event};

impl Plan {
    pub(super) fn append(
        &mut self,
        target: Target<'_>,
        writer: Writer,
        events: &[EventMessage],
        expected: ExpectedVersion,
        durability: Durability,
        verdict: Verdict,
    ) -> Result<Done> {
        self.check(target, writer)?;
        match verdict {
            Verdict::New => {}
            Verdict::Done(appended) => {
                // The first try may have been buffered, or its sync may have failed.
                self.durable |= durability == Durability::Durable;
                return Ok(Done::Appended(appended));
            }
            Verdict::Conflict { key, version } => {
                return Err(Error::DuplicateIdempotencyId {
                    stream: target.stream.clone(),
                    key,
                    version,
                });
            }
        }
        let actual = Version::new(self.state(target).head.version);
        if !expected.accepts(actual) {
            return Err(Error::StoreVersionMismatch {
                stream: target.stream.clone(),
                expected,
                actual,
            });
        }
        check_sequence_numbers(target.stream, events, actual)?;
        let count = events.len() as u64;
        let position = Position::new(self.database(target).head.position);
        if events.is_empty() {
            return Ok(Done::Appended(Appended::new(actual, position, 0)));
        }
        self.end_dead_lease(target, writer);
        self.write_events(target, events, actual, position);
        self.durable |= durability == Durability::Durable;
        let head = StreamHead {
            version: actual.get() + count,
            position: position.get() + count,
        };
        self.put(target.head_key.clone(), |key| head.seal(key));
        self.state(target).head = head;
        self.bump(target, count);
        Ok(Done::Appended(Appended::new(
            Version::new(head.version),
            Position::new(head.position),
            count,
        )))
    }

    /// Writes the events that follow `version` and `position`, and what points at them.
    fn write_events(
        &mut self,
        target: Target<'_>,
        events: &[EventMessage],
        version: Version,
        position: Position,
    ) {
        let Target { database, stream, .. } = target;
        let count = events.len() as u64;
        let first_version = version.next().get();
        let mut bytes = 0;
        for (event, number) in events.iter().zip(1..) {
            let (version, position) = (version.advanced_by(number), position.advanced_by(number));
            let now = self.now;
            let key = keys::event(database, stream, version);
            bytes += self.put(key, |key| encode_event(key, position, now, event)) as u64;
            let key = keys::message(database, stream, event.id());
            self.put_once(key, |key| {
                MessageEntry {
                    version: version.get(),
                }
                .seal(key)
            });
        }
        for id in idempotency::idempotency_ids(events) {
            let key = keys::idempotency(database, stream, id);
            self.put_once(key, |key| {
                IdempotencyEntry {
                    first_version,
                    events: count,
                }
                .seal(key)
            });
        }
        let (category, id) = (stream.category(), stream.id());
        self.put(keys::log_entry(database, position.next()), |key| {
            LogEntry {
                category,
                id,
                first_version,
                events: count,
                bytes,
            }
            .seal(key)
        });
    }
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
