//! Reads the events of one stream, page by page.

use std::future;

use eventstore_abstractions::{
    Database, Direction, Error, EventStream, ReadOptions, RecordedEvent, Replay, Result, Selection, StreamId,
    Version,
};
use futures_util::stream::{self, TryStreamExt};
use kv_core::Scan;

use crate::keys;
use crate::reader::Reader;
use crate::record::{self, decode_event};

/// Reads `stream` as `options` say: up to the version that it has now.
pub(crate) async fn read(
    reader: Reader,
    database: &Database,
    stream: &StreamId,
    options: ReadOptions,
) -> Result<Replay> {
    options.validate()?;
    let current = Version::new(reader.stream_head(database, stream).await?.version);
    let range = |first, last, direction| Range {
        database: database.clone(),
        stream: stream.clone(),
        first,
        last,
        direction,
        page_size: options.page_size,
    };
    match options.selection {
        Selection::Slice {
            first,
            last,
            direction,
        } => {
            let (first, last) = (first.max(Version::FIRST), last.min(current));
            Ok(Replay {
                snapshot: None,
                events: range(first, last, direction).events(reader),
            })
        }
        Selection::Replay {
            as_of: Some(version), ..
        } if version > current => Err(Error::VersionNotFound {
            stream: stream.clone(),
            version,
            current,
        }),
        Selection::Replay { as_of, snapshots } => {
            let last = as_of.unwrap_or(current);
            let snapshot = if snapshots {
                reader.snapshot(database, stream, last).await?
            } else {
                None
            };
            let first = snapshot
                .as_ref()
                .map_or(Version::FIRST, |snapshot| snapshot.version.next());
            Ok(Replay {
                snapshot,
                events: range(first, last, Direction::Forward).events(reader),
            })
        }
    }
}

/// Events `first` to `last`, both included, every one of which exists.
#[derive(Debug)]
struct Range {
    database: Database,
    stream: StreamId,
    first: Version,
    last: Version,
    direction: Direction,
    page_size: usize,
}

/// What is left of a read.
struct Rest {
    reader: Reader,
    range: Range,
    /// The version that the next record must have.
    expected: Version,
    next: Option<Scan>,
}

impl Range {
    fn events(self, reader: Reader) -> EventStream {
        let scan =
            keys::events(&self.database, &self.stream, self.first, self.last).max_items(self.page_size);
        let (scan, expected) = match self.direction {
            Direction::Forward => (scan, self.first),
            Direction::Backward => (scan.reverse(), self.last),
        };
        let next = (self.first <= self.last).then_some(scan);
        let rest = Rest {
            reader,
            range: self,
            expected,
            next,
        };
        let pages = stream::try_unfold(rest, |mut rest| async move {
            Ok(rest
                .page()
                .await?
                .map(|events| (stream::iter(events.into_iter().map(Ok)), rest)))
        });
        EventStream::new(pages.try_flatten())
    }
}

impl Rest {
    /// The next page, or `None` at the end. Every version of the range must be there, so that nothing is skipped.
    async fn page(&mut self) -> Result<Option<Vec<RecordedEvent>>> {
        let Some(scan) = self.next.take() else {
            return Ok(None);
        };
        let page = self.reader.scan(scan).await?;
        let mut events = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            if keys::number_of(&entry.key) != Some(self.expected.get()) {
                return Err(self.missing());
            }
            events.push(decode_event(
                &entry.key,
                &entry.value,
                &self.range.stream,
                self.expected,
            )?);
            self.expected = match self.range.direction {
                Direction::Forward => self.expected.next(),
                Direction::Backward => Version::new(self.expected.get() - 1),
            };
        }
        self.next = page.next;
        if self.next.is_none() && self.is_incomplete() {
            return Err(self.missing());
        }
        Ok(Some(events))
    }

    fn is_incomplete(&self) -> bool {
        match self.range.direction {
            Direction::Forward => self.expected <= self.range.last,
            Direction::Backward => self.expected >= self.range.first,
        }
    }

    fn missing(&self) -> Error {
        record::missing(&keys::event(
            &self.range.database,
            &self.range.stream,
            self.expected,
        ))
    }
}

/// A stream that yields `error` and ends.
pub(crate) fn failed(error: Error) -> EventStream {
    EventStream::new(stream::once(future::ready(Err(error))))
}
