//! The record of several runs of one stream, one after another. Runs that are written later than the log are written
//! together, so that a stream that grows by single events does not take a record for each of them.

use std::vec;

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{Error, Result, StreamId, Version};

use super::run::{Run, events_in};
use super::{
    BUNDLE_FORMAT, CHECKSUM_BYTES, Damage, FORMAT, borrow_fields, encode_fields, formatted_body_of, seal_body,
};
use crate::keys;

/// A record of several runs has so many bytes at most: a read of one event takes all of it from the engine.
const MAX_BUNDLE_BYTES: usize = 16 << 10;
/// What it has beside its runs, each of which takes no more in it than in a record of its own.
const OWN_BYTES: usize = 16;
/// Not less than the two numbers of a run take.
const BYTES_OF_NUMBERS: usize = 10;

/// How many events each run has, and how many bytes its fields take, which follow.
#[derive(Encode, BorrowDecode)]
struct BundleHead {
    runs: Vec<(u32, u32)>,
}

/// The runs of one record, oldest first.
#[derive(Debug)]
pub(crate) enum Runs {
    One(Option<Run>),
    Several(vec::IntoIter<Run>),
}

/// Whether records of so many bytes together make one that the engine takes.
pub(crate) fn is_one_record(bytes: usize, record_bytes: usize) -> bool {
    bytes + OWN_BYTES <= MAX_BUNDLE_BYTES.min(record_bytes)
}

/// Whether the run in `record` under `key` is the one behind that under the key `before`. This process has made them.
pub(crate) fn follows(key: &[u8], record: &[u8], before: &[u8]) -> bool {
    let (last, events) = (keys::number_of(key), u64::from(made(record).0));
    last.is_some_and(|last| keys::number_of(before) == last.checked_sub(events))
}

/// How many events the run in a record has that this process has made, and its fields.
fn made(record: &[u8]) -> (u32, &[u8]) {
    let fields = &record[1..record.len() - CHECKSUM_BYTES];
    (events_in(fields).expect("this process has encoded it"), fields)
}

/// The record under `key`, which is that of the last one, of the runs in these records, which this process has made. There
/// are several, each of which follows the one before, and they make one.
pub(crate) fn seal_bundle<'a>(key: &[u8], records: impl Iterator<Item = &'a Bytes>) -> Bytes {
    seal(key, &records.map(|record| made(record)).collect::<Vec<_>>())
}

/// The record of runs, of each of which there are the number of events and the fields.
fn seal(key: &[u8], runs: &[(u32, &[u8])]) -> Bytes {
    if let [(_, fields)] = runs {
        return seal_body(key, [&[FORMAT], *fields].concat());
    }
    let head = BundleHead {
        runs: runs
            .iter()
            .map(|(events, fields)| (*events, fields.len() as u32))
            .collect(),
    };
    let bytes = runs
        .iter()
        .map(|(_, fields)| BYTES_OF_NUMBERS + fields.len())
        .sum::<usize>();
    let mut body = Vec::with_capacity(bytes + BYTES_OF_NUMBERS + CHECKSUM_BYTES);
    body.push(BUNDLE_FORMAT);
    encode_fields(&head, &mut body);
    runs.iter().for_each(|(_, fields)| body.extend_from_slice(fields));
    seal_body(key, body)
}

impl Runs {
    /// The runs in the record `value` of `stream` under `key`.
    pub(crate) fn open(key: &Bytes, value: &Bytes, stream: &StreamId) -> Result<Self> {
        Self::parse(key, value, stream).map_err(|damage| damage.of(key))
    }

    fn parse(key: &Bytes, value: &Bytes, stream: &StreamId) -> Result<Self, Damage> {
        let last = Version::new(keys::number_of(key).unwrap_or_default());
        let (format, fields) = formatted_body_of(key, value)?;
        match format {
            FORMAT => {
                let run = Run::parse(key.clone(), value.slice_ref(fields), stream.clone(), last)?;
                Ok(Self::One(Some(run)))
            }
            BUNDLE_FORMAT => {
                several(key, value, fields, stream, last).map(|runs| Self::Several(runs.into_iter()))
            }
            other => Err(Damage::Format(other)),
        }
    }
}

fn several(
    key: &Bytes,
    value: &Bytes,
    fields: &[u8],
    stream: &StreamId,
    last: Version,
) -> Result<Vec<Run>, Damage> {
    let (head, at) = borrow_fields::<BundleHead>(fields)?;
    let mut left = &fields[at..];
    let events = head
        .runs
        .iter()
        .map(|(events, _)| u64::from(*events))
        .sum::<u64>();
    let Some(mut version) = last.get().checked_sub(events).filter(|_| head.runs.len() > 1) else {
        return Err(impossible());
    };
    let mut runs: Vec<Run> = Vec::with_capacity(head.runs.len());
    for (events, bytes) in head.runs {
        let Some((own, others)) = left.split_at_checked(bytes as usize) else {
            return Err(impossible());
        };
        left = others;
        version += u64::from(events);
        let run = Run::parse(
            key.clone(),
            value.slice_ref(own),
            stream.clone(),
            Version::new(version),
        )?;
        let follows = runs
            .last()
            .is_none_or(|before| before.last_position() < run.first_position());
        if run.events() != u64::from(events) || !follows {
            return Err(impossible());
        }
        runs.push(run);
    }
    match left.len() {
        0 => Ok(runs),
        trailing => Err(Damage::Trailing(trailing)),
    }
}

/// The record `value` under `key` without its runs up to the version `last`; `None` when no other is left.
pub(crate) fn record_after(
    key: &Bytes,
    value: &Bytes,
    stream: &StreamId,
    last: Version,
) -> Result<Option<Bytes>> {
    let runs = Runs::open(key, value, stream)?.filter(|run| run.last_version() > last);
    let runs = runs.collect::<Vec<_>>();
    let left = runs.iter().map(|run| (run.events() as u32, run.fields()));
    let left = left.collect::<Vec<_>>();
    Ok((!left.is_empty()).then(|| seal(key, &left)))
}

impl Iterator for Runs {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        match self {
            Self::One(run) => run.take(),
            Self::Several(runs) => runs.next(),
        }
    }
}

impl DoubleEndedIterator for Runs {
    fn next_back(&mut self) -> Option<Run> {
        match self {
            Self::One(run) => run.take(),
            Self::Several(runs) => runs.next_back(),
        }
    }
}

fn impossible() -> Damage {
    Damage::Invalid(Error::invalid("its runs do not make one record"))
}
