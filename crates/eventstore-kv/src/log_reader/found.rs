//! Pages of what an index has of a query.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use eventstore_abstractions::{Direction, Position, Result};

use super::{Cursor, Rest, STORED_BYTES, Segments};
use crate::keys;
use crate::query::Candidates;
use crate::record::{Segment, open_block};

/// Candidates of a page at least: not each of them need match.
const MIN_CANDIDATES: u64 = 16;
/// Most blocks that are read in one call, when candidates are close to each other.
const MAX_BLOCKS: usize = 64;

/// Where an index has led to.
pub(super) struct Found {
    candidates: Candidates,
    /// The segments behind the last candidate that were read, in the order of the log.
    segments: VecDeque<Segment>,
    /// How many blocks were read in the last call, and the positions that they had.
    blocks: usize,
    had: RangeInclusive<u64>,
}

impl Rest {
    /// The next page of events that may match.
    pub(super) async fn find(&mut self, cursor: &mut Cursor) -> Result<Segments> {
        let direction = self.options.direction;
        let mut found = match cursor.found.take() {
            Some(found) => found,
            None => self.first_candidates(cursor).await?,
        };
        let mut page = Vec::new();
        let mut room = (self.options.page_size as u64).min(self.left.max(MIN_CANDIDATES));
        let mut bytes = 0;
        while room > 0 && bytes < STORED_BYTES && !cursor.is_done(direction) {
            let next = found.candidates.seek(cursor.expected).await?;
            let Some(first) = next.filter(|next| *next > cursor.scanned) else {
                cursor.pass_index(direction);
                break;
            };
            cursor.expected = first;
            bytes += self.load_found(cursor, &mut found).await?;
            let segment = found.next_segment(direction);
            let Some(segment) = segment.filter(|segment| segment.has(first)) else {
                return Err(self.missing(cursor));
            };
            // Those that follow in the segment are taken with it.
            let mut last = first;
            room -= 1;
            while room > 0 && segment.has(beyond(direction, last)) {
                match found.candidates.seek(beyond(direction, last)).await? {
                    Some(next) if segment.has(next) => last = next,
                    _ => break,
                }
                room -= 1;
            }
            bytes += segment.stored_bytes();
            cursor.expected = beyond(direction, last);
            let wanted = segment.versions(first.min(last), first.max(last));
            page.push((segment, wanted));
        }
        cursor.found = Some(found);
        Ok(page)
    }

    async fn first_candidates(&self, cursor: &Cursor) -> Result<Found> {
        let (query, direction) = (&self.options.query, self.options.direction);
        let (reader, database) = (&self.reader, &self.database);
        Ok(Found {
            candidates: Candidates::of(reader, database, &cursor.head, query, direction).await?,
            segments: VecDeque::new(),
            blocks: 0,
            had: 0..=0,
        })
    }

    /// Makes the segment with the expected position the next one. Returns how many bytes were read for it.
    async fn load_found(&self, cursor: &Cursor, found: &mut Found) -> Result<u64> {
        let (direction, expected) = (self.options.direction, cursor.expected);
        if found.skip_to(expected, direction) {
            return Ok(0);
        }
        found.blocks = found.blocks_at(expected, direction);
        found.segments.clear();
        let scan = keys::log_blocks(&self.database, expected, cursor.end());
        let page = self.reader.scan(scan.max_items(found.blocks)).await?;
        let mut bytes = 0;
        for entry in &page.entries {
            bytes += entry.value.len() as u64;
            found.segments.extend(open_block(&entry.key, &entry.value)?);
        }
        if let (Some(first), Some(last)) = (found.segments.front(), found.segments.back()) {
            found.had = first.position.get()..=last.last_position().get();
        }
        found.skip_to(expected, direction);
        Ok(bytes)
    }
}

impl Found {
    /// How many blocks to read from `expected` on. Each call reads more than the one before as long as candidates come
    /// close to each other.
    fn blocks_at(&self, expected: Position, direction: Direction) -> usize {
        let (first, last) = (*self.had.start(), *self.had.end());
        let is_close = expected.get().saturating_sub(last) <= last - first + 1;
        match direction {
            Direction::Forward if is_close => (self.blocks * 2).clamp(1, MAX_BLOCKS),
            // Blocks are found by what ends behind the position: those before it are not read with it.
            _ => 1,
        }
    }

    /// Drops the segments before the one that has `expected`; `false` when none has it.
    fn skip_to(&mut self, expected: Position, direction: Direction) -> bool {
        while let Some(segment) = self.peek(direction) {
            if segment.has(expected) {
                return true;
            }
            let is_passed = match direction {
                Direction::Forward => segment.last_position() < expected,
                Direction::Backward => segment.position > expected,
            };
            if !is_passed {
                return false;
            }
            self.next_segment(direction);
        }
        false
    }

    fn peek(&self, direction: Direction) -> Option<&Segment> {
        match direction {
            Direction::Forward => self.segments.front(),
            Direction::Backward => self.segments.back(),
        }
    }

    fn next_segment(&mut self, direction: Direction) -> Option<Segment> {
        match direction {
            Direction::Forward => self.segments.pop_front(),
            Direction::Backward => self.segments.pop_back(),
        }
    }
}

impl Cursor {
    /// Goes past everything that the index has.
    fn pass_index(&mut self, direction: Direction) {
        self.expected = match direction {
            Direction::Forward => self.end().next(),
            Direction::Backward => self.scanned.min(self.expected),
        };
    }
}

/// The position behind `position`, in the direction of the read.
fn beyond(direction: Direction, position: Position) -> Position {
    match direction {
        Direction::Forward => position.next(),
        Direction::Backward => Position::new(position.get() - 1),
    }
}
