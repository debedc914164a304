//! The record of a block of the log: what was appended, in the order of its positions.
//!
//! Short runs stand in the block as a copy, so that the log is read in one sequence; long ones are named, so that
//! they are not stored twice. Of a run that was removed only its place in the sequence stays.

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{Error, Position, Result, StreamId, Version};

use super::run::{EncodedRun, Run};
use super::{Damage, FORMAT, body_of, borrow_fields, encode_fields, seal_body};
use crate::keys;

/// Runs of at least so many bytes are not copied: reading one on its own costs little beside decoding its events.
pub(crate) const MAX_COPIED_BYTES: usize = 4 << 10;

#[derive(Encode, BorrowDecode)]
struct SegmentRecord<'a> {
    category: &'a str,
    id: &'a str,
    last_version: u64,
    events: u64,
    run: PlaceRecord<'a>,
}

#[derive(Encode, BorrowDecode)]
enum PlaceRecord<'a> {
    /// The fields of the run.
    Copied(&'a [u8]),
    /// In its own record, of about so many bytes.
    Stored(u64),
    /// Nowhere any more.
    Removed,
}

/// A block that is being written.
#[derive(Debug)]
pub(crate) struct NewBlock {
    body: Vec<u8>,
}

/// One run in the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) stream: StreamId,
    pub(crate) last_version: Version,
    /// The position of its first event.
    pub(crate) position: Position,
    pub(crate) events: u64,
    pub(crate) run: Place,
}

/// Where the events of a segment are.
#[derive(Debug)]
pub(crate) enum Place {
    Copied(Box<Run>),
    Stored { bytes: u64 },
    Removed,
}

impl NewBlock {
    pub(crate) fn new() -> Self {
        Self { body: vec![FORMAT] }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn push(&mut self, stream: &StreamId, last_version: Version, events: u64, run: &EncodedRun) {
        let fields = run.fields();
        let segment = SegmentRecord {
            category: stream.category(),
            id: stream.id(),
            last_version: last_version.get(),
            events,
            run: if run.is_copied() {
                PlaceRecord::Copied(fields)
            } else {
                PlaceRecord::Stored(fields.len() as u64)
            },
        };
        encode_fields(&segment, &mut self.body);
    }

    pub(crate) fn seal(self, key: &[u8]) -> Bytes {
        seal_body(key, self.body)
    }
}

/// The segments of the block in the record `value` under `key`, in the order of their positions.
pub(crate) fn open_block(key: &Bytes, value: &Bytes) -> Result<Vec<Segment>> {
    segments(key, value).map_err(|damage| damage.of(key))
}

/// The block in the record `value` under `key`, with nothing of the events of the segments `removed`, which are given by
/// their numbers. Their streams, versions and positions stay.
pub(crate) fn block_without(key: &Bytes, value: &Bytes, removed: &[usize]) -> Result<Bytes> {
    let rewritten = || {
        let mut left = body_of(key, value)?;
        let mut block = NewBlock::new();
        for at in 0.. {
            if left.is_empty() {
                break;
            }
            let (mut segment, bytes) = borrow_fields::<SegmentRecord<'_>>(left)?;
            left = &left[bytes..];
            if removed.contains(&at) {
                segment.run = PlaceRecord::Removed;
            }
            encode_fields(&segment, &mut block.body);
        }
        Ok(block.seal(key))
    };
    rewritten().map_err(|damage: Damage| damage.of(key))
}

fn segments(key: &Bytes, value: &Bytes) -> Result<Vec<Segment>, Damage> {
    let mut left = body_of(key, value)?;
    let mut segments = Vec::new();
    let mut events = 0_u64;
    while !left.is_empty() {
        let (record, bytes) = borrow_fields::<SegmentRecord<'_>>(left)?;
        left = &left[bytes..];
        if !(1..=record.last_version).contains(&record.events) {
            return Err(impossible());
        }
        events = events.saturating_add(record.events);
        segments.push(Segment::open(key, value, record)?);
    }
    // The key has the position of the last event; those before it follow from the number of events.
    let last = keys::number_of(key).unwrap_or_default();
    let Some(before) = last.checked_sub(events).filter(|_| !segments.is_empty()) else {
        return Err(impossible());
    };
    let mut position = Position::new(before).next();
    for segment in &mut segments {
        segment.position = position;
        position = position.advanced_by(segment.events);
        if let Place::Copied(run) = &segment.run
            && (run.first_position(), run.events()) != (segment.position, segment.events)
        {
            return Err(impossible());
        }
    }
    Ok(segments)
}

impl Segment {
    fn open(key: &Bytes, value: &Bytes, record: SegmentRecord<'_>) -> Result<Self, Damage> {
        let stream = StreamId::new(record.category, record.id).map_err(Damage::Invalid)?;
        let last_version = Version::new(record.last_version);
        let run = match record.run {
            PlaceRecord::Copied(fields) => {
                let fields = value.slice_ref(fields);
                Place::Copied(Box::new(Run::parse(
                    key.clone(),
                    fields,
                    stream.clone(),
                    last_version,
                )?))
            }
            PlaceRecord::Stored(bytes) => Place::Stored { bytes },
            PlaceRecord::Removed => Place::Removed,
        };
        let (events, position) = (record.events, Position::ZERO);
        Ok(Self {
            stream,
            last_version,
            position,
            events,
            run,
        })
    }
}

fn impossible() -> Damage {
    Damage::Invalid(Error::invalid("its number of events is not possible"))
}
