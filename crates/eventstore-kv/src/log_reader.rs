//! Reads the log of a database, page by page.
//!
//! The log has an entry per append: which events of which stream it wrote. A page takes as many events as fit from
//! the entries, in order, and reads them in one call to the engine.

use std::collections::VecDeque;

use bytes::Bytes;
use eventstore_abstractions::{
    Database, Direction, Error, EventStream, LogReadOptions, Position, RecordedEvent, Result, StreamId,
    Version,
};
use futures_util::stream::{self, TryStreamExt};
use kv_core::{Entry, Scan};

use crate::error::open_error;
use crate::keys;
use crate::reader::Reader;
use crate::record::{self, LogEntry, Record, decode_event};
use crate::stream_reader::failed;

/// Bytes of records of one page, about: the sizes of the events of one append are averaged.
const PAGE_BYTES: u64 = 4 << 20;

/// Reads the log as `options` say, up to where it ends when the first event is asked for.
pub(crate) fn read(reader: Reader, database: Database, options: LogReadOptions) -> EventStream {
    if let Err(error) = options.validate() {
        return failed(error);
    }
    let rest = Rest {
        reader,
        database,
        options,
        cursor: None,
        left: options.limit.unwrap_or(u64::MAX),
    };
    let pages = stream::try_unfold(rest, |mut rest| async move {
        Ok(rest
            .page()
            .await?
            .map(|events| (stream::iter(events.into_iter().map(Ok)), rest)))
    });
    EventStream::new(pages.try_flatten())
}

/// What is left of a read.
struct Rest {
    reader: Reader,
    database: Database,
    options: LogReadOptions,
    /// Set once the end of the log is known.
    cursor: Option<Cursor>,
    left: u64,
}

struct Cursor {
    /// The position that comes next; 0 when a backward read is done.
    expected: Position,
    /// The end of the log when the read began.
    head: Position,
    next: Option<Scan>,
    runs: VecDeque<Run>,
}

/// The events of one append.
struct Run {
    stream: StreamId,
    first_position: u64,
    first_version: u64,
    events: u64,
    bytes: u64,
}

/// One event to be read.
struct Wanted {
    key: Bytes,
    stream: StreamId,
    version: Version,
    position: Position,
}

impl Rest {
    async fn page(&mut self) -> Result<Option<Vec<RecordedEvent>>> {
        let mut cursor = match self.cursor.take() {
            Some(cursor) => cursor,
            None => self.begin().await?,
        };
        let mut wanted = Vec::new();
        let mut bytes = 0;
        while self.left > 0 && wanted.len() < self.options.page_size && bytes < PAGE_BYTES {
            if cursor.is_done(self.options.direction) {
                break;
            }
            match cursor.take(self.options.direction) {
                Some((stream, version, event_bytes)) => {
                    let key = keys::event(&self.database, &stream, version);
                    wanted.push(Wanted {
                        key,
                        stream,
                        version,
                        position: cursor.expected,
                    });
                    cursor.advance(self.options.direction);
                    bytes += event_bytes;
                    self.left -= 1;
                }
                None if wanted.is_empty() => self.load_runs(&mut cursor).await?,
                None => break,
            }
        }
        self.cursor = Some(cursor);
        if wanted.is_empty() {
            Ok(None)
        } else {
            self.events(wanted).await.map(Some)
        }
    }

    /// Finds the entry with the first position that is wanted.
    async fn begin(&self) -> Result<Cursor> {
        let head = Position::new(self.reader.database_head(&self.database).await?.position);
        let (first, direction) = (self.options.from.max(Position::FIRST), self.options.direction);
        let expected = match direction {
            Direction::Forward => first,
            Direction::Backward => self.options.from.min(head),
        };
        let mut cursor = Cursor {
            expected,
            head,
            next: None,
            runs: VecDeque::new(),
        };
        if cursor.is_done(direction) {
            return Ok(cursor);
        }
        // The entry of the first event may begin before it.
        let before = keys::log_entries(&self.database, Position::ZERO, expected).reverse();
        cursor.next = Some(match direction {
            Direction::Backward => before,
            Direction::Forward => {
                let page = self.reader.scan(before.max_items(1)).await?;
                let entry = page.entries.first().and_then(|entry| keys::number_of(&entry.key));
                let start = Position::new(entry.unwrap_or_default());
                keys::log_entries(&self.database, start, head)
            }
        });
        Ok(cursor)
    }

    /// Reads the next page of log entries; there must be one that continues the log.
    async fn load_runs(&self, cursor: &mut Cursor) -> Result<()> {
        while let Some(scan) = cursor.next.take() {
            let page = self.reader.scan(scan).await?;
            cursor.next = page.next;
            for entry in &page.entries {
                cursor.runs.push_back(Run::open(entry)?);
            }
            if !cursor.runs.is_empty() {
                return Ok(());
            }
        }
        Err(self.missing(cursor))
    }

    async fn events(&self, wanted: Vec<Wanted>) -> Result<Vec<RecordedEvent>> {
        let keys = wanted.iter().map(|wanted| wanted.key.clone()).collect::<Vec<_>>();
        let values = self.reader.get_many(&keys).await.map_err(open_error)?;
        let mut events = Vec::with_capacity(wanted.len());
        for (wanted, value) in wanted.into_iter().zip(values) {
            let value = value.ok_or_else(|| record::missing(&wanted.key))?;
            let event = decode_event(&wanted.key, &value, &wanted.stream, wanted.version)?;
            if event.position != wanted.position {
                let (log, own) = (wanted.position, event.position);
                let what = format!("the log has it at position {log} and the event says {own}");
                return Err(record::contradiction(&wanted.key, what));
            }
            events.push(event);
        }
        Ok(events)
    }

    fn missing(&self, cursor: &Cursor) -> Error {
        record::missing(&keys::log_entry(&self.database, cursor.expected))
    }
}

impl Cursor {
    fn is_done(&self, direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.expected > self.head,
            Direction::Backward => self.expected == Position::ZERO,
        }
    }

    fn advance(&mut self, direction: Direction) {
        self.expected = match direction {
            Direction::Forward => self.expected.next(),
            Direction::Backward => Position::new(self.expected.get() - 1),
        };
    }

    /// The event at the expected position and about how many bytes it has, or `None` when the loaded runs do not
    /// have it.
    fn take(&mut self, direction: Direction) -> Option<(StreamId, Version, u64)> {
        let position = self.expected.get();
        while let Some(run) = self.runs.front() {
            let last_position = run.first_position + (run.events - 1);
            if (run.first_position..=last_position).contains(&position) {
                let version = run.first_version + (position - run.first_position);
                return Some((run.stream.clone(), Version::new(version), run.bytes / run.events));
            }
            let passed = match direction {
                Direction::Forward => last_position < position,
                Direction::Backward => run.first_position > position,
            };
            if !passed {
                // There is a hole before this run: without a run that has the position it is reported as missing.
                self.runs.clear();
                self.next = None;
                return None;
            }
            self.runs.pop_front();
        }
        None
    }
}

impl Run {
    fn open(entry: &Entry) -> Result<Self> {
        let record = LogEntry::open(&entry.key, &entry.value)?;
        let share = |text: &str| entry.value.slice_ref(text.as_bytes());
        let stream = StreamId::from_bytes(share(record.category), share(record.id))
            .map_err(|error| record::contradiction(&entry.key, error))?;
        let first_position = keys::number_of(&entry.key).unwrap_or_default();
        let in_range = first_position.checked_add(record.events).is_some() && record.events > 0;
        if !in_range {
            return Err(record::contradiction(
                &entry.key,
                "its number of events is not possible",
            ));
        }
        let (first_version, events, bytes) = (record.first_version, record.events, record.bytes);
        Ok(Self {
            stream,
            first_position,
            first_version,
            events,
            bytes,
        })
    }
}
