//! Reads the events of one stream, page by page.
//!
//! A read begins at the first event that is kept. What is removed while it goes on is left out, too.

use std::collections::VecDeque;
use std::future;
use std::sync::Arc;

use bytes::Bytes;
use eventstore_abstractions::{
    Database, Direction, Error, EventStream, ReadOptions, Replay, Result, Selection, StreamId, Version,
};
use futures_util::stream;
use kv_core::Scan;

use crate::pages::{Pages, Piece, page_of};
use crate::reader::Reader;
use crate::record::{Run, Runs};
use crate::stream_cache::Beginning;
use crate::{keys, life};

/// Reads `stream` as `options` say: up to the version that it has now.
pub(crate) async fn read(
    reader: Reader,
    database: &Database,
    stream: &StreamId,
    options: ReadOptions,
) -> Result<Replay> {
    options.validate()?;
    let head_key = keys::stream_head(database, stream);
    let head = reader.stream_head_at(database, stream, &head_key).await?;
    let current = Version::new(head.version);
    let kept = life::first_kept(&reader, database, stream, &head).await?;
    let events = |reader, (first, last), direction| Rest {
        head_key: head_key.clone(),
        whole: (direction == Direction::Forward && first == Version::FIRST && last == current)
            .then(Beginning::default),
        reader,
        database: database.clone(),
        stream: stream.clone(),
        first,
        last,
        current,
        direction,
        page_size: options.page_size as u64,
        next: None,
        is_begun: false,
        is_reading: false,
    };
    match options.selection {
        Selection::Slice {
            first,
            last,
            direction,
        } => {
            let range = (first.max(kept), last.min(current));
            Ok(Replay {
                snapshot: None,
                events: events(reader, range, direction).into_events(),
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
            let snapshot = if snapshots && head.has_snapshots {
                let usable = head.first_usable_snapshot(kept);
                reader.snapshot_from(database, stream, usable, last).await?
            } else {
                None
            };
            let first = snapshot.as_ref().map_or(kept, |snapshot| snapshot.version.next());
            Ok(Replay {
                snapshot,
                events: events(reader, (first, last), Direction::Forward).into_events(),
            })
        }
    }
}

/// What is left of a read: events `first` to `last`, both included, every one of which was kept when it began.
struct Rest {
    reader: Reader,
    database: Database,
    stream: StreamId,
    head_key: Bytes,
    /// What was read of the whole stream as long as it may be kept in memory.
    whole: Option<Beginning>,
    first: Version,
    last: Version,
    /// The version of the stream when the read began.
    current: Version,
    direction: Direction,
    page_size: u64,
    /// Where the runs go on.
    next: Option<Scan>,
    is_begun: bool,
    /// Whether `next` is set.
    is_reading: bool,
}

impl Pages for Rest {
    fn may_read_ahead(&self) -> bool {
        self.reader.may_read_ahead()
    }

    /// Every version of the range must be there, unless it was removed meanwhile, so that nothing is skipped.
    async fn next_page(&mut self) -> Result<Option<VecDeque<Piece>>> {
        if !self.is_begun {
            self.is_begun = true;
            if let Some(pieces) = self.cached() {
                return Ok(Some(pieces));
            }
        }
        while self.first <= self.last {
            if !self.is_reading {
                self.is_reading = true;
                self.next = self.begin().await?;
            }
            let pieces = match self.next.take() {
                Some(scan) => self.read(scan).await?,
                None => VecDeque::new(),
            };
            if !pieces.is_empty() {
                return Ok(Some(pieces));
            }
            if let Some(piece) = self.look_again().await? {
                return Ok(Some(VecDeque::from([piece])));
            }
        }
        Ok(None)
    }
}

impl Rest {
    /// A page of `scan`: none when what comes next is not there.
    async fn read(&mut self, scan: Scan) -> Result<VecDeque<Piece>> {
        let begin = self.first;
        let left = self.last.get() - self.first.get() + 1;
        let page = self.reader.scan(page_of(scan, left.min(self.page_size))).await?;
        let mut pieces = VecDeque::with_capacity(page.entries.len());
        for entry in &page.entries {
            if self.first > self.last {
                break;
            }
            let runs = Runs::open(&entry.key, &entry.value, &self.stream)?;
            let goes_on = match self.direction {
                Direction::Forward => self.take_all(runs, &mut pieces)?,
                Direction::Backward => self.take_all(runs.rev(), &mut pieces)?,
            };
            if !goes_on {
                break;
            }
        }
        self.next = page.next;
        // A stream of several pages is too long to be kept.
        if let Some(whole) = self.whole.take().filter(|_| self.first > self.last)
            && let Some(events) = self.reader.cache().keep(&self.head_key, whole)
        {
            return Ok(VecDeque::from([Piece::shared(events, begin, self.last)]));
        }
        Ok(pieces)
    }

    /// Looks for the next event where it should be and is not. Its run may have moved, since the read began, into a record
    /// with those behind it. If it was removed, the read goes on behind all that was.
    async fn look_again(&mut self) -> Result<Option<Piece>> {
        self.is_reading = false;
        let found = self.reader.run(&self.database, &self.stream, self.wanted());
        if let Some(run) = found.await? {
            return self.take(run).map(Some);
        }
        let head = self
            .reader
            .stream_head_at(&self.database, &self.stream, &self.head_key)
            .await?;
        self.first = self.first.max(head.first());
        Ok(None)
    }

    /// What is in memory of a forward read.
    fn cached(&mut self) -> Option<VecDeque<Piece>> {
        if self.direction == Direction::Backward || self.first > self.last {
            return None;
        }
        let events = self.reader.cache().events(&self.head_key)?;
        let begin = self.first;
        let end = self.last.min(Version::new(events.len() as u64));
        if begin > end {
            return None;
        }
        self.first = end.next();
        if self.first <= self.last
            && let Some(whole) = &mut self.whole
        {
            // The stream has grown: what is read now is kept behind these.
            *whole = Beginning::of(Arc::clone(&events));
        }
        Some(VecDeque::from([Piece::shared(events, begin, end)]))
    }

    /// The scan of the runs that have the range; `None` when its first one was removed.
    async fn begin(&self) -> Result<Option<Scan>> {
        let runs = |last| keys::runs(&self.database, &self.stream, self.first, last);
        match self.direction {
            // The last of them may be in a record with newer ones by now.
            Direction::Forward => Ok(Some(runs(Version::MAX))),
            Direction::Backward if self.last == self.current => Ok(Some(runs(self.current).reverse())),
            Direction::Backward => {
                let run = self.reader.run(&self.database, &self.stream, self.last).await?;
                Ok(run.map(|run| runs(run.last_of_record()).reverse()))
            }
        }
    }

    /// Adds what the read wants of the next runs, and moves on past it. Says whether they continue the read.
    fn take_all(&mut self, runs: impl Iterator<Item = Run>, pieces: &mut VecDeque<Piece>) -> Result<bool> {
        for run in runs {
            let (first, last) = (run.first_version(), run.last_version());
            let is_passed = match self.direction {
                Direction::Forward => last < self.first,
                Direction::Backward => first > self.last,
            };
            // Records of several runs have others than are wanted.
            if is_passed || self.first > self.last {
                continue;
            }
            if !(first..=last).contains(&self.wanted()) {
                return Ok(false);
            }
            if let Some(whole) = &mut self.whole {
                whole.push(run.clone());
            }
            pieces.push_back(self.take(run)?);
        }
        Ok(true)
    }

    /// What the read wants of `run`, which has the next event, and moves on past it.
    fn take(&mut self, mut run: Run) -> Result<Piece> {
        run.select(self.first, self.last)?;
        match self.direction {
            Direction::Forward => self.first = run.last_version().next(),
            Direction::Backward => self.last = Version::new(run.first_version().get() - 1),
        }
        Piece::new(run, self.direction)
    }

    /// The version that comes next.
    fn wanted(&self) -> Version {
        match self.direction {
            Direction::Forward => self.first,
            Direction::Backward => self.last,
        }
    }
}

/// A stream that yields `error` and ends.
pub(crate) fn failed(error: Error) -> EventStream {
    EventStream::new(stream::once(future::ready(Err(error))))
}
