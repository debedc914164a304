//! The record of a run: consecutive events of one stream that were appended at once.
//!
//! A run is decoded event by event as it is read, and shares the buffer that the engine returned.

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{
    Error, EventMessage, MessageId, Position, RecordedEvent, Result, StreamId, Timestamp, Version,
};
use uuid::Uuid;

use super::block::MAX_COPIED_BYTES;
use super::message::{Encoded, MessageRecord};
use super::{Damage, FORMAT, body_of, borrow_fields, encode_fields, seal_body};
use crate::keys;

/// What the events of a run share.
#[derive(Encode, BorrowDecode)]
struct RunHead {
    first_position: u64,
    recorded_at: i64,
    events: u32,
    newest_id: NewestId,
}

/// The newest id of the stream up to the end of the run; see [`crate::idempotency`].
#[derive(Clone, Debug, Encode, BorrowDecode)]
enum NewestId {
    /// No event up to here has an id that tells its time.
    None,
    /// It is that of the last event of the run.
    Last,
    Other([u8; 16]),
}

/// The bytes of a new run: they go into its own record, and a copy into the log.
pub(crate) struct EncodedRun {
    body: Vec<u8>,
}

/// A run that was read: an iterator over its events that decodes one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The key of the record that it is in, for errors.
    key: Bytes,
    stream: StreamId,
    fields: Bytes,
    /// Where in `fields` the next event begins.
    at: usize,
    version: u64,
    position: u64,
    left: u32,
    recorded_at: Timestamp,
    newest_id: NewestId,
    /// Whether the iteration goes to the last event of the record.
    is_whole: bool,
}

impl EncodedRun {
    /// The run of `events`, the first of which has the position `first`. `newest_id` is that of the stream with them.
    pub(crate) fn new(
        first: Position,
        recorded_at: Timestamp,
        newest_id: Option<MessageId>,
        events: &[EventMessage],
        capacity: usize,
    ) -> Self {
        let last_id = events.last().map(EventMessage::id);
        let head = RunHead {
            first_position: first.get(),
            recorded_at: recorded_at.as_micros(),
            events: u32::try_from(events.len()).expect("a run has few events"),
            newest_id: match newest_id {
                None => NewestId::None,
                Some(id) if Some(id) == last_id => NewestId::Last,
                Some(id) => NewestId::Other(*id.as_uuid().as_bytes()),
            },
        };
        let mut body = Vec::with_capacity(capacity);
        body.push(FORMAT);
        encode_fields(&head, &mut body);
        for event in events {
            encode_fields(&Encoded(event), &mut body);
        }
        Self { body }
    }

    pub(crate) fn fields(&self) -> &[u8] {
        &self.body[1..]
    }

    /// Whether it stands in the log as a copy.
    pub(crate) fn is_copied(&self) -> bool {
        self.fields().len() < MAX_COPIED_BYTES
    }

    pub(crate) fn seal(self, key: &[u8]) -> Bytes {
        seal_body(key, self.body)
    }
}

/// How many events the run with these fields has.
pub(super) fn events_in(fields: &[u8]) -> Result<u32, Damage> {
    Ok(borrow_fields::<RunHead>(fields)?.0.events)
}

impl Run {
    /// The run in the record `value` of `stream` under `key`, which has no other.
    pub(crate) fn open(key: &Bytes, value: &Bytes, stream: StreamId) -> Result<Self> {
        let last = Version::new(keys::number_of(key).unwrap_or_default());
        body_of(key, value)
            .and_then(|fields| Self::parse(key.clone(), value.slice_ref(fields), stream, last))
            .map_err(|damage| damage.of(key))
    }

    /// The run with these fields, which ends with the version `last` and stands in the record under `key`.
    pub(super) fn parse(key: Bytes, fields: Bytes, stream: StreamId, last: Version) -> Result<Self, Damage> {
        let (head, at) = borrow_fields::<RunHead>(&fields)?;
        let events = u64::from(head.events);
        let possible = events > 0 && events <= last.get();
        let Some(end) = head.first_position.checked_add(events).filter(|_| possible) else {
            return Err(Damage::Invalid(Error::invalid(
                "its number of events is not possible",
            )));
        };
        Ok(Self {
            key,
            stream,
            at,
            version: last.get() - events + 1,
            position: end - events,
            left: head.events,
            recorded_at: Timestamp::from_micros(head.recorded_at),
            newest_id: head.newest_id,
            is_whole: true,
            fields,
        })
    }

    /// The record of it under `key`.
    pub(crate) fn seal(&self, key: &[u8]) -> Bytes {
        seal_body(key, [&[FORMAT][..], &self.fields].concat())
    }

    /// The version of the first event that is left.
    pub(crate) fn first_version(&self) -> Version {
        Version::new(self.version)
    }

    /// The version of the last event of the record that it is in.
    pub(crate) fn last_of_record(&self) -> Version {
        Version::new(keys::number_of(&self.key).unwrap_or_default())
    }

    /// The position of the first event that is left.
    pub(crate) fn first_position(&self) -> Position {
        Position::new(self.position)
    }

    /// The version of the last event that is left.
    pub(crate) fn last_version(&self) -> Version {
        Version::new(self.version + u64::from(self.left) - 1)
    }

    /// When its events were accepted.
    pub(crate) fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// The position of the last event that is left.
    pub(crate) fn last_position(&self) -> Position {
        Position::new(self.position + u64::from(self.left) - 1)
    }

    /// How many events are left.
    pub(crate) fn events(&self) -> u64 {
        u64::from(self.left)
    }

    /// How many bytes it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.fields.len()
    }

    /// The bytes of its events.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The same in `fields`, which are a copy of its own.
    pub(crate) fn in_buffer(self, fields: Bytes) -> Self {
        Self { fields, ..self }
    }

    /// The newest id of the stream up to the end of the run.
    pub(crate) fn newest_id(&self) -> Result<Option<MessageId>> {
        match &self.newest_id {
            NewestId::None => Ok(None),
            NewestId::Last => Ok(self.ids()?.pop()),
            NewestId::Other(id) => Ok(Some(MessageId::from_uuid(Uuid::from_bytes(*id)))),
        }
    }

    /// The ids of the events that are left.
    pub(crate) fn ids(&self) -> Result<Vec<MessageId>> {
        let mut at = self.at;
        let ids = (0..self.left).map(|_| {
            let (record, bytes) = borrow_fields::<MessageRecord<'_>>(&self.fields[at..])?;
            at += bytes;
            Ok(MessageId::from_uuid(Uuid::from_bytes(record.id)))
        });
        ids.collect::<Result<_, Damage>>()
            .map_err(|damage| damage.of(&self.key))
    }

    /// Goes past the events before the version `first`, and leaves out those after `last`.
    pub(crate) fn select(&mut self, first: Version, last: Version) -> Result<()> {
        let passed = first.get().saturating_sub(self.version).min(u64::from(self.left));
        for _ in 0..passed {
            let skipped = borrow_fields::<MessageRecord<'_>>(&self.fields[self.at..]);
            let (_, bytes) = skipped.map_err(|damage| damage.of(&self.key))?;
            self.advance(bytes);
        }
        let wanted = (last.get() + 1).saturating_sub(self.version);
        if wanted < u64::from(self.left) {
            self.left = wanted as u32;
            self.is_whole = false;
        }
        Ok(())
    }

    /// The events that are left, last one first.
    pub(crate) fn reversed(self) -> Result<Vec<RecordedEvent>> {
        let mut events = self.collect::<Result<Vec<_>>>()?;
        events.reverse();
        Ok(events)
    }

    /// Whether the record ends behind the last event, when that is the next one, of so many bytes.
    fn ends_well(&self, bytes: usize) -> bool {
        !self.is_whole || self.left > 1 || self.at + bytes == self.fields.len()
    }

    /// The error of a damage; nothing follows it.
    #[cold]
    fn stop(&mut self, damage: Damage) -> Error {
        self.left = 0;
        damage.of(&self.key)
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.version += 1;
        self.position += 1;
        self.left -= 1;
    }
}

impl Iterator for Run {
    type Item = Result<RecordedEvent>;

    /// An event is large: it is made where it is returned, and moved as little as possible.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let record = match borrow_fields::<MessageRecord<'_>>(&self.fields[self.at..]) {
            Ok((record, bytes)) if self.ends_well(bytes) => {
                self.at += bytes;
                record
            }
            Ok((_, bytes)) => {
                let trailing = self.fields.len() - self.at - bytes;
                return Some(Err(self.stop(Damage::Trailing(trailing))));
            }
            Err(damage) => return Some(Err(self.stop(damage))),
        };
        let message = match record.decode(&self.fields) {
            Ok(message) => message,
            Err(error) => return Some(Err(self.stop(Damage::Invalid(error)))),
        };
        let (version, position) = (Version::new(self.version), Position::new(self.position));
        self.version += 1;
        self.position += 1;
        self.left -= 1;
        Some(Ok(RecordedEvent::new(
            self.stream.clone(),
            version,
            position,
            self.recorded_at,
            message,
        )))
    }
}
