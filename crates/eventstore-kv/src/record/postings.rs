//! The record of postings: where in the log the events are that have a name, as far as one commit appended them.

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{Error, Position, Result};

use super::{Damage, FORMAT, body_of, borrow_fields, encode_fields, seal_body};
use crate::keys;

/// Events that follow each other in the log, have the name, and are of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting<'a> {
    pub(crate) first: Position,
    pub(crate) last: Position,
    /// The type of the events in postings of a tag, so that it can be told without reading them; empty in others.
    pub(crate) type_name: &'a str,
}

/// The last posting stands first, since its last position is in the key.
#[derive(Encode, BorrowDecode)]
struct PostingRecord<'a> {
    /// How many events are between it and the posting after it.
    gap: u64,
    events: u64,
    type_name: &'a str,
}

impl Posting<'_> {
    /// Not less than what it takes in a record.
    pub(crate) fn bytes(&self) -> usize {
        // Two numbers and the length of a text.
        self.type_name.len() + 9 + 9 + 3
    }
}

/// The record of `postings`, in the order of their positions, under the key that has the last one.
pub(crate) fn seal_postings(key: &[u8], postings: &[Posting<'_>]) -> Bytes {
    let mut body = vec![FORMAT];
    let mut end = postings.last().map_or(0, |posting| posting.last.get());
    for posting in postings.iter().rev() {
        let record = PostingRecord {
            gap: end - posting.last.get(),
            events: posting.last.get() - posting.first.get() + 1,
            type_name: posting.type_name,
        };
        encode_fields(&record, &mut body);
        end = posting.first.get() - 1;
    }
    seal_body(key, body)
}

/// The postings in the record `value` under `key`, the last one first.
pub(crate) fn open_postings<'a>(key: &[u8], value: &'a [u8]) -> Result<Vec<Posting<'a>>> {
    postings(key, value).map_err(|damage| damage.of(key))
}

fn postings<'a>(key: &[u8], value: &'a [u8]) -> Result<Vec<Posting<'a>>, Damage> {
    let mut left = body_of(key, value)?;
    let mut postings = Vec::new();
    let mut end = keys::number_of(key).unwrap_or_default();
    while !left.is_empty() {
        let (record, bytes) = borrow_fields::<PostingRecord<'_>>(left)?;
        left = &left[bytes..];
        let last = end.checked_sub(record.gap);
        let before = last.and_then(|last| last.checked_sub(record.events));
        let (Some(last), Some(before), true) = (last, before, record.events > 0) else {
            return Err(impossible());
        };
        postings.push(Posting {
            first: Position::new(before + 1),
            last: Position::new(last),
            type_name: record.type_name,
        });
        end = before;
    }
    if postings.is_empty() {
        return Err(impossible());
    }
    Ok(postings)
}

fn impossible() -> Damage {
    Damage::Invalid(Error::invalid("its positions are not possible"))
}
