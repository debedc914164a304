//! Reads the log of a database, page by page.
//!
//! The log is a sequence of blocks. Short runs stand in them as a copy; those of a page that do not are read in one
//! call to the engine. A read with a query goes through the log, too, as far as no index says where to look.

mod found;

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use eventstore_abstractions::{
    Database, Direction, Error, EventStream, LogReadOptions, Position, Query, RecordedEvent, Result, Version,
};
use kv_core::Scan;

use self::found::Found;
use crate::error::open_error;
use crate::keys;
use crate::pages::{Pages, Piece, page_of};
use crate::query;
use crate::reader::Reader;
use crate::record::{self, DatabaseHead, Place, Run, Segment, open_block};
use crate::stream_reader::failed;

/// Bytes of runs of one page that are read on their own.
const STORED_BYTES: u64 = 1 << 20;

/// Reads the log as `options` say, up to where it ends when the first event is asked for.
pub(crate) fn read(reader: Reader, database: Database, options: LogReadOptions) -> EventStream {
    match options.validate() {
        Ok(()) => Rest::new(reader, database, options).into_events(),
        Err(error) => failed(error),
    }
}

/// The position of an event behind `after` that matches `query`, in a log that ends at `head`.
pub(crate) async fn find(
    reader: &Reader,
    database: &Database,
    head: &DatabaseHead,
    query: &Query,
    after: Position,
) -> Result<Option<Position>> {
    if after.get() >= head.position {
        return Ok(None);
    }
    let options = LogReadOptions::forward_from(after.next())
        .query(query.clone())
        .limit(1);
    let mut rest = Rest::new(reader.clone(), database.clone(), options);
    rest.cursor = Some(rest.begin(head));
    let page = rest.next_page().await?;
    let first = page.and_then(|mut page| page.front_mut()?.next());
    Ok(first.transpose()?.map(|event| event.position))
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
    head: DatabaseHead,
    /// Up to here every event is looked at; what comes behind is found by an index.
    scanned: Position,
    /// Where the blocks go on that follow each other, once they are read.
    blocks: Option<Blocks>,
    /// What an index has of the query, once it is used.
    found: Option<Found>,
}

struct Blocks {
    next: Option<Scan>,
    segments: VecDeque<Segment>,
}

/// The segments of a page, and of each the versions from and to which it is read.
type Segments = Vec<(Segment, (Version, Version))>;

impl Pages for Rest {
    fn may_read_ahead(&self) -> bool {
        self.reader.may_read_ahead()
    }

    async fn next_page(&mut self) -> Result<Option<VecDeque<Piece>>> {
        let mut cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => self.begin(&self.reader.database_head(&self.database).await?),
        };
        let direction = self.options.direction;
        while self.left > 0 && !cursor.is_done(direction) {
            let page = if cursor.expected <= cursor.scanned {
                self.scan(&mut cursor).await?
            } else {
                self.find(&mut cursor).await?
            };
            let mut pieces = self.pieces(page).await?;
            if !self.options.query.is_all() {
                pieces = self.matching(pieces)?;
            }
            if !pieces.is_empty() {
                self.cursor = Some(cursor);
                return Ok(Some(pieces));
            }
            // Nothing in it matches: others have their turn before the next page.
            tokio::task::yield_now().await;
        }
        Ok(None)
    }
}

impl Rest {
    fn new(reader: Reader, database: Database, options: LogReadOptions) -> Self {
        Self {
            reader,
            database,
            left: options.limit.unwrap_or(u64::MAX),
            options,
            cursor: None,
        }
    }

    fn begin(&self, head: &DatabaseHead) -> Cursor {
        let (from, end) = (self.options.from, Position::new(head.position));
        Cursor {
            expected: match self.options.direction {
                Direction::Forward => from.max(Position::FIRST),
                Direction::Backward => from.min(end),
            },
            head: *head,
            scanned: if self.options.query.is_all() {
                Position::MAX
            } else {
                query::scanned_up_to(&self.options.query, head)
            },
            blocks: None,
            found: None,
        }
    }

    /// The next page of events that follow each other.
    async fn scan(&mut self, cursor: &mut Cursor) -> Result<Segments> {
        let direction = self.options.direction;
        // What does not match is not counted, so that more is looked at than is wanted.
        let is_all = self.options.query.is_all();
        let mut blocks = match cursor.blocks.take() {
            Some(blocks) => blocks,
            None => self.first_blocks(cursor).await?,
        };
        if blocks.segments.is_empty() {
            self.load(cursor, &mut blocks).await?;
        }
        let mut page = Vec::new();
        let most = |left| if is_all { left } else { u64::MAX };
        let mut room = (self.options.page_size as u64).min(most(self.left));
        let mut bytes = 0;
        while room > 0 && bytes < STORED_BYTES && !cursor.is_done(direction) {
            let Some(segment) = blocks.segments.pop_front() else {
                break;
            };
            if !segment.has(cursor.expected) {
                return Err(self.missing(cursor));
            }
            let wanted = cursor.pass(&segment, direction, most(self.left));
            let events = wanted.1.get() - wanted.0.get() + 1;
            if is_all {
                self.left -= events;
            }
            room = room.saturating_sub(events);
            if is_all || self.may_match(&segment) {
                bytes += segment.stored_bytes();
                page.push((segment, wanted));
            }
        }
        cursor.blocks = Some(blocks);
        Ok(page)
    }

    /// Finds the block with the first position that is wanted.
    async fn first_blocks(&self, cursor: &Cursor) -> Result<Blocks> {
        let (expected, head) = (cursor.expected, cursor.end());
        let blocks = |first, last| keys::log_blocks(&self.database, first, last);
        let next = match self.options.direction {
            Direction::Forward => blocks(expected, head),
            Direction::Backward if expected == head => blocks(Position::ZERO, head).reverse(),
            Direction::Backward => {
                // The block that has the position ends behind it.
                let page = self.reader.scan(blocks(expected, head).max_items(1)).await?;
                let key = page.entries.first().and_then(|entry| keys::number_of(&entry.key));
                let last = Position::new(key.unwrap_or_default());
                blocks(Position::ZERO, last).reverse()
            }
        };
        Ok(Blocks {
            next: Some(next),
            segments: VecDeque::new(),
        })
    }

    /// Whether the query asks for events of the segment's category.
    fn may_match(&self, segment: &Segment) -> bool {
        let mut items = self.options.query.items().iter();
        items.any(|item| item.matches_category(segment.stream.category()))
    }

    /// The events of `pieces` that match the query, as far as they are wanted.
    fn matching(&mut self, pieces: VecDeque<Piece>) -> Result<VecDeque<Piece>> {
        let mut events: Vec<RecordedEvent> = Vec::new();
        for mut piece in pieces {
            while let Some(event) = piece.next() {
                let event = event?;
                if self.left > 0 && self.options.query.matches(&event) {
                    self.left -= 1;
                    events.push(event);
                }
            }
        }
        let page = (!events.is_empty()).then(|| Piece::Decoded(events.into_iter()));
        Ok(page.into_iter().collect())
    }

    /// Reads the next blocks; there must be one that continues the log.
    async fn load(&self, cursor: &Cursor, blocks: &mut Blocks) -> Result<()> {
        let direction = self.options.direction;
        while let Some(scan) = blocks.next.take() {
            let page = self
                .reader
                .scan(page_of(scan, self.options.page_size as u64))
                .await?;
            blocks.next = page.next;
            for entry in &page.entries {
                let segments = open_block(&entry.key, &entry.value)?;
                match direction {
                    Direction::Forward => blocks.segments.extend(segments),
                    Direction::Backward => blocks.segments.extend(segments.into_iter().rev()),
                }
            }
            // The first block may begin, or in a backward read end, before what is wanted.
            let expected = cursor.expected;
            let is_passed = |segment: &Segment| match direction {
                Direction::Forward => segment.last_position() < expected,
                Direction::Backward => segment.position > expected,
            };
            while blocks.segments.front().is_some_and(is_passed) {
                blocks.segments.pop_front();
            }
            if !blocks.segments.is_empty() {
                return Ok(());
            }
        }
        Err(self.missing(cursor))
    }

    /// The events of `page`: of each segment those from and to the given versions.
    async fn pieces(&self, page: Segments) -> Result<VecDeque<Piece>> {
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
        let mut pieces = VecDeque::with_capacity(page.len());
        for (mut segment, wanted) in page {
            let run = match mem::replace(&mut segment.run, Place::Removed) {
                Place::Copied(run) => Some(*run),
                Place::Stored { .. } => {
                    let (key, value) = stored.next().expect("each of them was read");
                    match value {
                        Some(value) => Some(open_stored(key, &value, &segment)?),
                        None => {
                            self.check_removed(key, &segment).await?;
                            None
                        }
                    }
                }
                Place::Removed => None,
            };
            pieces.push_back(match run {
                Some(mut run) => {
                    run.select(wanted.0, wanted.1)?;
                    Piece::new(run, self.options.direction)?
                }
                None => Piece::removed(&segment, wanted, self.options.direction),
            });
        }
        Ok(pieces)
    }

    /// Makes sure that the run of `segment`, which is not under `key`, was removed since its block was read, and not lost.
    async fn check_removed(&self, key: &Bytes, segment: &Segment) -> Result<()> {
        let block = keys::log_blocks(&self.database, segment.position, Position::MAX).max_items(1);
        let page = self.reader.scan(block).await?;
        for entry in &page.entries {
            let is_removed =
                |now: &Segment| now.position == segment.position && matches!(now.run, Place::Removed);
            if open_block(&entry.key, &entry.value)?.iter().any(is_removed) {
                return Ok(());
            }
        }
        Err(record::missing(key))
    }

    fn missing(&self, cursor: &Cursor) -> Error {
        record::missing(&keys::log_block(&self.database, cursor.expected))
    }
}

/// The run that `segment` names. What the log says of it must be what it says itself.
pub(crate) fn open_stored(key: &Bytes, value: &Bytes, segment: &Segment) -> Result<Run> {
    let run = Run::open(key, value, segment.stream.clone())?;
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
    fn has(&self, position: Position) -> bool {
        (self.position..=self.last_position()).contains(&position)
    }

    /// What has to be read of it beside its block.
    fn stored_bytes(&self) -> u64 {
        match self.run {
            Place::Stored { bytes } => bytes,
            Place::Copied(_) | Place::Removed => 0,
        }
    }

    fn first_version(&self) -> Version {
        Version::new(self.last_version.get() - (self.events - 1))
    }

    /// The position of its event of this version.
    pub(crate) fn position_of(&self, version: Version) -> Position {
        self.position
            .advanced_by(version.get() - self.first_version().get())
    }

    /// The versions of its events from one position to another.
    fn versions(&self, first: Position, last: Position) -> (Version, Version) {
        let first_version = self.first_version().get();
        let version =
            |position: Position| Version::new(first_version + (position.get() - self.position.get()));
        (version(first), version(last))
    }

    fn last_position(&self) -> Position {
        Position::new(self.position.get() + self.events - 1)
    }
}

impl Cursor {
    /// The end of the log when the read began.
    fn end(&self) -> Position {
        Position::new(self.head.position)
    }

    fn is_done(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.expected > self.end(),
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
        segment.versions(first, last)
    }
}
