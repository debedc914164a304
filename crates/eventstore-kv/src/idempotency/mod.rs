//! Recognises an append that was done before, by the ids of its messages.
//!
//! Most message ids tell their time (UUIDv7) and come in order. The *newest id* of a stream is the greatest of those;
//! its head has it. An event with a greater id was not appended before, which costs no read; and because each run
//! says the newest id up to its end, the event is found again by a search through the runs. Only an event with an id
//! of another kind, or whose id came out of order, has an entry of its own.
//!
//! When an event is removed, its id is not known any more: the append is a new one.

mod search;

use bytes::Bytes;
use eventstore_abstractions::{
    Appended, Database, EventMessage, IdempotencyId, IdempotencyKey, MessageId, Result, StreamId, Version,
};
use hashbrown::HashMap;

use crate::keys;
use crate::reader::Reader;
use crate::record::{IdempotencyEntry, MessageEntry, Record, StreamHead};
use search::Search;

/// The number of the UUID version whose ids sort by time.
const SORTED_BY_TIME: usize = 7;

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

/// What is stored where an append may have been done before.
enum Stored {
    /// Its events: this was its outcome.
    Same(Appended),
    Differs,
    /// Some of it was removed.
    Removed,
}

impl Stored {
    /// The verdict on an append whose `key` was used at `version`, if that is still known.
    fn verdict(self, key: IdempotencyKey, version: Version) -> Option<Verdict> {
        match self {
            Self::Same(appended) => Some(Verdict::Done(appended)),
            Self::Differs => Some(Verdict::Conflict { key, version }),
            Self::Removed => None,
        }
    }
}

/// Whether `id` comes after all ids that a stream with this newest one has, as far as they tell their time.
pub(crate) fn is_newer(id: MessageId, newest: Option<MessageId>) -> bool {
    is_sorted_by_time(id) && newest.is_none_or(|newest| newest < id)
}

/// Whether `id` tells its time.
pub(crate) fn is_sorted_by_time(id: MessageId) -> bool {
    id.as_uuid().get_version_num() == SORTED_BY_TIME
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

/// A stream and what is committed of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) database: &'a Database,
    pub(crate) stream: &'a StreamId,
    pub(crate) head: &'a StreamHead,
}

impl Earlier<'_> {
    /// Judges an append of `events`. Those with the numbers `suspects` have ids that may be in the stream; `entries` has
    /// the stored entries of these ids and of the idempotency ids.
    pub(crate) async fn judge(
        &self,
        events: &[EventMessage],
        suspects: &[usize],
        entries: &HashMap<Bytes, Bytes>,
    ) -> Result<Verdict> {
        if let Some((at, version)) = self.first_known(events, suspects, entries).await? {
            let known = &events[at];
            // The append that was done before began with the same event.
            let stored = match at {
                0 => self.stored(version, events, true).await?,
                _ => Stored::Differs,
            };
            let key = known.id().into();
            if let Some(verdict) = stored.verdict(key, version) {
                return Ok(verdict);
            }
        }
        for id in idempotency_ids(events) {
            let key = keys::idempotency(self.database, self.stream, id);
            let Some(value) = entries.get(&key) else { continue };
            let entry = IdempotencyEntry::open(&key, value)?;
            let version = Version::new(entry.first_version);
            let stored = if entry.events == events.len() as u64 {
                self.stored(version, events, false).await?
            } else {
                Stored::Differs
            };
            if let Some(verdict) = stored.verdict(id.clone().into(), version) {
                return Ok(verdict);
            }
        }
        Ok(Verdict::New)
    }

    /// The version of the message with the id, which the entries do not have, or `None`.
    pub(crate) async fn version_of(&self, id: MessageId) -> Result<Option<Version>> {
        let newest = self.head.newest_id();
        if !is_sorted_by_time(id) || is_newer(id, newest) {
            return Ok(None);
        }
        Search::new(*self).find(id).await
    }

    /// The first of `events` that the stream has, and its version.
    async fn first_known(
        &self,
        events: &[EventMessage],
        suspects: &[usize],
        entries: &HashMap<Bytes, Bytes>,
    ) -> Result<Option<(usize, Version)>> {
        let mut searched = Vec::new();
        let mut first = None;
        for at in suspects.iter().copied() {
            let event = &events[at];
            let key = keys::message(self.database, self.stream, event.id());
            if let Some(value) = entries.get(&key) {
                let version = Version::new(MessageEntry::open(&key, value)?.version);
                first = Some((at, version));
                break;
            }
            if is_sorted_by_time(event.id()) {
                searched.push((event.id(), at));
            }
        }
        searched.sort_unstable();
        let mut search = Search::new(*self);
        for (id, at) in searched {
            if first.is_none_or(|(first, _)| at < first)
                && let Some(version) = search.find(id).await?
            {
                first = Some((at, version));
            }
        }
        Ok(first)
    }

    /// What is stored from `first` on, compared with `events`. With `same_ids` the ids must agree, too.
    async fn stored(&self, first: Version, events: &[EventMessage], same_ids: bool) -> Result<Stored> {
        let count = events.len() as u64;
        let last = first.advanced_by(count - 1);
        if last.get() > self.head.version {
            return Ok(Stored::Differs);
        }
        let mut given = events.iter();
        let mut outcome = Stored::Differs;
        let mut next = first;
        while next <= last {
            let Some(mut run) = self.reader.run(self.database, self.stream, next).await? else {
                return Ok(Stored::Removed);
            };
            run.select(next, last)?;
            for (stored, event) in run.by_ref().zip(given.by_ref()) {
                let stored = stored?;
                let same_id = !same_ids || stored.message.id() == event.id();
                if !same_id || !stored.message.same_content(event) {
                    return Ok(Stored::Differs);
                }
                outcome = Stored::Same(Appended::new(stored.version, stored.position, count));
                next = stored.version.next();
            }
        }
        Ok(outcome)
    }
}

impl IdempotencyEntry {
    pub(crate) fn last_version(&self) -> u64 {
        self.first_version + self.events.saturating_sub(1)
    }
}

impl StreamHead {
    pub(crate) fn newest_id(&self) -> Option<MessageId> {
        self.newest_id
            .map(|id| MessageId::from_uuid(uuid::Uuid::from_bytes(id)))
    }
}
