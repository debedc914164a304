//! Random appends and snapshots.

use eventstore_abstractions::{
    AppendOptions, Durability, EventMessage, ExpectedVersion, IdempotencyId, Version,
};

use super::{Place, Run};
use crate::provider::bench::{Bench, event, state};

/// Ids of commands are few, so that they come again.
pub(super) const COMMANDS: usize = 3;

impl Run {
    pub(super) async fn append(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let way = self.way(bench, &place);
        let events = self.messages(&place);
        let expected = self.expectation(&place);
        let durability = if self.rng.u8(..4) == 0 {
            Durability::Durable
        } else {
            Durability::Buffered
        };
        let answer = self.write_answer(bench, &place, &way, |model, caller| {
            model.append(&place.stream, caller, expected, &events)
        });
        let options = AppendOptions::expecting(expected).durability(durability);
        let appended = way.append(&place.stream, events.clone(), options).await;
        let what = format!("append of {} at {expected}", events.len());
        self.compare(&what, &place, appended, answer);
        self.tried.push((place, events));
    }

    pub(super) async fn snapshot(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let way = self.way(bench, &place);
        let version = self.version_near(&place).max(Version::FIRST);
        let message = state(self.rng.u64(..));
        let answer = self.write_answer(bench, &place, &way, |model, caller| {
            model.snapshot(&place.stream, caller, version, &message)
        });
        let stored = way.snapshot(&place.stream, version, message).await;
        self.compare(&format!("snapshot at {version}"), &place, stored, answer);
    }

    pub(super) async fn clear(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let way = self.way(bench, &place);
        if self.rng.u8(..4) == 0 {
            let answer = self.write_answer(bench, &place, &way, |model, caller| {
                model.clear_snapshots(&place.stream, caller)
            });
            let cleared = way.clear_snapshots(&place.stream).await;
            return self.compare("clear all", &place, cleared, answer);
        }
        // Mostly one that is there.
        let there = self.models[place.database].snapshot_versions(&place.stream);
        let version = match self.rng.usize(..=there.len()) {
            at if at < there.len() => there[at],
            _ => self.version_near(&place),
        };
        let answer = self.write_answer(bench, &place, &way, |model, caller| {
            model.clear_snapshot(&place.stream, caller, version)
        });
        let cleared = way.clear_snapshot(&place.stream, version).await;
        self.compare(&format!("clear {version}"), &place, cleared, answer);
    }

    /// Events to append: new ones, or some that were tried before, the same or changed.
    fn messages(&mut self, place: &Place) -> Vec<EventMessage> {
        let tried = self.tried.iter().filter(|(of, _)| of == place);
        let tried: Vec<Vec<EventMessage>> = tried.map(|(_, events)| events.clone()).collect();
        let mut earlier = match tried.len() {
            0 => Vec::new(),
            count => tried[self.rng.usize(..count)].clone(),
        };
        match self.rng.u8(..12) {
            0 | 1 => earlier,
            2 if !earlier.is_empty() => {
                let changed = self.rng.usize(..earlier.len());
                earlier[changed].payload.bytes = "changed".into();
                earlier
            }
            3 => {
                earlier.truncate(self.rng.usize(..=earlier.len()));
                earlier
            }
            4 => {
                earlier.push(self.message());
                earlier
            }
            5 | 6 => self.command(),
            _ => {
                let count = self.rng.usize(..5);
                let mut events: Vec<_> = (0..count).map(|_| self.message()).collect();
                if count > 0 && self.rng.u8(..5) == 0 {
                    let numbered = self.rng.usize(..count);
                    let right = self.models[place.database].version(&place.stream) + 1 + numbered as u64;
                    let number = right + self.rng.u64(..2);
                    let message = events[numbered].clone();
                    events[numbered] = message.with_sequence_number(Version::new(number));
                }
                events
            }
        }
    }

    fn message(&mut self) -> EventMessage {
        event(&format!("event {}", self.rng.u64(..)))
    }

    /// The events of a command, with new message ids each time. Mostly the same ones.
    fn command(&mut self) -> Vec<EventMessage> {
        let id = format!("command {}", self.rng.usize(..COMMANDS));
        let count = if self.rng.u8(..4) == 0 { 1 } else { 2 };
        let id = IdempotencyId::new(id).expect("a valid id");
        let texts = (0..count).map(|number| format!("{id} {number}"));
        texts
            .map(|text| event(&text).with_idempotency_id(id.clone()))
            .collect()
    }

    fn expectation(&mut self, place: &Place) -> ExpectedVersion {
        match self.rng.u8(..12) {
            0 => ExpectedVersion::NoStream,
            1 => ExpectedVersion::StreamExists,
            2 | 3 => ExpectedVersion::Exact(self.version_near(place)),
            4..8 => ExpectedVersion::Exact(Version::new(self.models[place.database].version(&place.stream))),
            _ => ExpectedVersion::Any,
        }
    }
}
