//! Recognises an append that was done before, by the ids of its messages.

use std::collections::HashMap;

use bytes::Bytes;
use eventstore_abstractions::{
    Appended, Database, EventMessage, IdempotencyId, IdempotencyKey, Result, StreamId, Version,
};

use crate::keys;
use crate::reader::Reader;
use crate::record::{IdempotencyEntry, MessageEntry, Record};

/// What the ids of an append say about it.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// No id was used before.
    New,
    /// It was done before, with the same content: this was its outcome.
    Done(Appended),
    /// An id was used before, at a version, with other content.
    Conflict { key: IdempotencyKey, version: Version },
}

/// The keys under which the ids of `events` are entered.
pub(crate) fn entry_keys<'a>(
    database: &'a Database,
    stream: &'a StreamId,
    events: &'a [EventMessage],
) -> impl Iterator<Item = Bytes> + 'a {
    let messages = events
        .iter()
        .map(|event| keys::message(database, stream, event.id()));
    messages.chain(idempotency_ids(events).map(|id| keys::idempotency(database, stream, id)))
}

/// The idempotency ids of `events`, each once where its events follow each other, as those of one command do.
pub(crate) fn idempotency_ids(events: &[EventMessage]) -> impl Iterator<Item = &IdempotencyId> {
    let mut previous = None;
    events
        .iter()
        .filter_map(|event| event.metadata.context.idempotency_id.as_ref())
        .filter(move |id| {
            let repeated = previous == Some(*id);
            previous = Some(*id);
            !repeated
        })
}

/// Judges an append by `entries`, the stored values of its [`entry_keys`].
pub(crate) async fn judge(
    reader: &Reader,
    database: &Database,
    stream: &StreamId,
    events: &[EventMessage],
    entries: &HashMap<Bytes, Bytes>,
) -> Result<Verdict> {
    let earlier = Earlier {
        reader,
        database,
        stream,
    };
    let mut versions = Vec::with_capacity(events.len());
    for event in events {
        let key = keys::message(database, stream, event.id());
        let entry = entries
            .get(&key)
            .map(|value| MessageEntry::open(&key, value))
            .transpose()?;
        versions.push(entry.map(|entry| entry.version));
    }
    if let Some((known, version)) = versions
        .iter()
        .enumerate()
        .find_map(|(at, version)| Some((at, (*version)?)))
    {
        let conflict = Verdict::Conflict {
            key: events[known].id().into(),
            version: Version::new(version),
        };
        let consecutive = versions
            .iter()
            .enumerate()
            .all(|(at, found)| *found == Some(version + at as u64));
        return earlier.same_or(version, events, consecutive, conflict).await;
    }
    for id in idempotency_ids(events) {
        let key = keys::idempotency(database, stream, id);
        let Some(value) = entries.get(&key) else { continue };
        let entry = IdempotencyEntry::open(&key, value)?;
        let conflict = Verdict::Conflict {
            key: id.clone().into(),
            version: Version::new(entry.first_version),
        };
        let same_length = entry.events == events.len() as u64;
        return earlier
            .same_or(entry.first_version, events, same_length, conflict)
            .await;
    }
    Ok(Verdict::New)
}

struct Earlier<'a> {
    reader: &'a Reader,
    database: &'a Database,
    stream: &'a StreamId,
}

impl Earlier<'_> {
    /// `Done` if `possible` and the stored events from `first` on say the same as `events`, else `conflict`.
    async fn same_or(
        &self,
        first: u64,
        events: &[EventMessage],
        possible: bool,
        conflict: Verdict,
    ) -> Result<Verdict> {
        let mut outcome = None;
        for (event, version) in events.iter().zip(first..).take_while(|_| possible) {
            let stored = self
                .reader
                .event(self.database, self.stream, Version::new(version))
                .await?;
            if !stored.message.same_content(event) {
                return Ok(conflict);
            }
            outcome = Some(Appended::new(
                stored.version,
                stored.position,
                events.len() as u64,
            ));
        }
        Ok(outcome.map_or(conflict, Verdict::Done))
    }
}

impl IdempotencyEntry {
    pub(crate) fn last_version(&self) -> u64 {
        self.first_version + self.events.saturating_sub(1)
    }
}
