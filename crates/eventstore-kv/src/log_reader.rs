//! Reads the log of a database, page by page.
//!
//! The log is a sequence of blocks. Short runs stand in them as a copy; those of a page that do not are read in one
//! call to the engine.

use std::collections::VecDeque;

use bytes::Bytes;
use eventstore_abstractions::{
    Database, Direction, Error, EventStream, LogReadOptions, Position, Result, Version,
};
use kv_core::Scan;

use crate::error::open_error;
use crate::keys;
use crate::pages::{Pages, Piece, page_of};
use crate::reader::Reader;
use crate::record::{self, Place, Run, Segment, open_block};
use crate::stream_reader::failed;

/// Bytes of runs of one page that are read on their own.
const STORED_BYTES: u64 = 1 << 20;

/// Reads the log as `options` say, up to where it ends when the first event is asked for.
pub(crate) fn read(reader: Reader, database: Database, options: LogReadOptions) -> EventStream {
    if let Err(error) = options.validate() {
        return failed(error);
    }
    let rest = Rest {
        reader,
        database,
        options,
        left: options.limit.unwrap_or(u64::MAX),
        cursor: None,
    };
    rest.into_events()
}

/// What is left of a read.
struct Rest {
    reader: Reader,
    database: Database,
    options: LogReadOptions,
    /// How many events are still wanted.
    left: u64,
    /// Set once the end of the log is known.
    cursor: Option<Cursor>,
}

struct Cursor {
    /// The position that comes next; 0 when a backward read is done.
    expected: Position,
    /// The end of the log when the read began.
    head: Position,
    next: Option<Scan>,
    segments: VecDeque<Segment>,
}

impl Pages for Rest {
    async fn next_page(&mut self) -> Result<Option<VecDeque<Piece>>> {
        let mut cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => self.begin().await?,
        };
        let direction = self.options.direction;
        if self.left == 0 || cursor.is_done(direction) {
            return Ok(None);
        }
        if cursor.segments.is_empty() {
            self.load(&mut cursor).await?;
        }
        let mut page = Vec::new();
        let mut room = (self.options.page_size as u64).min(self.left);
        let mut bytes = 0;
        while room > 0 && bytes < STORED_BYTES && !cursor.is_done(direction) {
            let Some(segment) = cursor.segments.pop_front() else {
                break;
            };
            let (first, last) = (segment.position, segment.last_position());
            if !(first..=last).contains(&cursor.expected) {
                return Err(self.missing(&cursor));
            }
            if let Place::Stored { bytes: stored } = segment.run {
                bytes += stored;
            }
            let wanted = cursor.pass(&segment, direction, self.left);
            let events = wanted.1.get() - wanted.0.get() + 1;
            self.left -= events;
            room = room.saturating_sub(events);
            page.push((segment, wanted));
        }
        self.cursor = Some(cursor);
        self.pieces(page).await.map(Some)
    }
}

impl Rest {
    /// Finds the block with the first position that is wanted.
    async fn begin(&self) -> Result<Cursor> {
        let head = Position::new(self.reader.database_head(&self.database).await?.position);
        let from = self.options.from;
        let blocks = |first, last| keys::log_blocks(&self.database, first, last);
        let (expected, next) = match self.options.direction {
            Direction::Forward => (from.max(Position::FIRST), blocks(from, head)),
            Direction::Backward if from >= head => (head, blocks(Position::ZERO, head).reverse()),
            Direction::Backward => {
                // The block that has the position ends behind it.
                let page = self.reader.scan(blocks(from, head).max_items(1)).await?;
                let key = page.entries.first().and_then(|entry| keys::number_of(&entry.key));
                let last = Position::new(key.unwrap_or_default());
                (from, blocks(Position::ZERO, last).reverse())
            }
        };
        Ok(Cursor {
            expected,
            head,
            next: Some(next),
            segments: VecDeque::new(),
        })
    }

    /// Reads the next blocks; there must be one that continues the log.
    async fn load(&self, cursor: &mut Cursor) -> Result<()> {
        let direction = self.options.direction;
        while let Some(scan) = cursor.next.take() {
            let page = self
                .reader
                .scan(page_of(scan, self.options.page_size as u64))
                .await?;
            cursor.next = page.next;
            for entry in &page.entries {
                let segments = open_block(&entry.key, &entry.value)?;
                match direction {
                    Direction::Forward => cursor.segments.extend(segments),
                    Direction::Backward => cursor.segments.extend(segments.into_iter().rev()),
                }
            }
            // The first block may begin, or in a backward read end, before what is wanted.
            let expected = cursor.expected;
            let is_passed = |segment: &Segment| match direction {
                Direction::Forward => segment.last_position() < expected,
                Direction::Backward => segment.position > expected,
            };
            while cursor.segments.front().is_some_and(is_passed) {
                cursor.segments.pop_front();
            }
            if !cursor.segments.is_empty() {
                return Ok(());
            }
        }
        Err(self.missing(cursor))
    }

    /// The events of `page`: of each segment those from and to the given versions.
    async fn pieces(&self, page: Vec<(Segment, (Version, Version))>) -> Result<VecDeque<Piece>> {
        let stored = page
            .iter()
            .filter(|(segment, _)| matches!(segment.run, Place::Stored { .. }));
        let keys = stored
            .map(|(segment, _)| keys::run(&self.database, &segment.stream, segment.last_version))
            .collect::<Vec<_>>();
        let values = if keys.is_empty() {
            Vec::new()
        } else {
            self.reader.get_many(&keys).await.map_err(open_error)?
        };
        let mut stored = keys.iter().zip(values);
        let pieces = page.into_iter().map(|(segment, (first, last))| {
            let mut run = match segment.run {
                Place::Copied(run) => *run,
                Place::Stored { .. } => {
                    let (key, value) = stored.next().expect("each of them was read");
                    open_stored(key, value, &segment)?
                }
            };
            run.select(first, last)?;
            Piece::new(run, self.options.direction)
        });
        pieces.collect()
    }

    fn missing(&self, cursor: &Cursor) -> Error {
        record::missing(&keys::log_block(&self.database, cursor.expected))
    }
}

/// The run that `segment` names. What the log says of it must be what it says itself.
fn open_stored(key: &Bytes, value: Option<Bytes>, segment: &Segment) -> Result<Run> {
    let value = value.ok_or_else(|| record::missing(key))?;
    let run = Run::open(key, &value, segment.stream.clone())?;
    if (run.first_position(), run.events()) != (segment.position, segment.events) {
        let (own, log) = (run.first_position(), segment.position);
        let what = format!(
            "the log has {} events of it from position {log} and it has {} from {own}",
            segment.events,
            run.events()
        );
        return Err(record::contradiction(key, what));
    }
    Ok(run)
}

impl Segment {
    fn last_position(&self) -> Position {
        Position::new(self.position.get() + self.events - 1)
    }
}

impl Cursor {
    fn is_done(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.expected > self.head,
            Direction::Backward => self.expected == Position::ZERO,
        }
    }

    /// Moves past the segment that has the expected position, by at most `most` events: the versions passed.
    fn pass(&mut self, segment: &Segment, direction: Direction, most: u64) -> (Version, Version) {
        let (first, last) = match direction {
            Direction::Forward => {
                let first = self.expected;
                let last = segment
                    .last_position()
                    .min(Position::new(first.get().saturating_add(most - 1)));
                self.expected = last.next();
                (first, last)
            }
            Direction::Backward => {
                let last = self.expected;
                let first = segment
                    .position
                    .max(Position::new((last.get() + 1).saturating_sub(most)));
                self.expected = Position::new(first.get() - 1);
                (first, last)
            }
        };
        let first_version = segment.last_version.get() - (segment.events - 1);
        let version =
            |position: Position| Version::new(first_version + (position.get() - segment.position.get()));
        (version(first), version(last))
    }
}
