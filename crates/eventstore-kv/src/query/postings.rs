//! One list of an index, read page by page.

use std::collections::VecDeque;

use eventstore_abstractions::{Database, Direction, Position, QueryItem, Result};
use kv_core::Scan;

use crate::keys::{self, Index};
use crate::reader::Reader;
use crate::record::open_postings;

/// Records of the first page of a list: many reads end soon.
const FIRST_ITEMS: usize = 4;
/// Records of a later page; each page has twice as many as the one before.
const MAX_ITEMS: usize = 256;
/// Bytes of a page: a query may have many lists.
const MAX_BYTES: usize = 16 << 10;

/// The positions of the events that have a name.
#[derive(Debug)]
pub(super) struct Postings {
    reader: Reader,
    database: Database,
    index: Index,
    name: String,
    /// Of which types the events have to be, where the list tells it.
    types: Option<QueryItem>,
    direction: Direction,
    /// The end of the log.
    head: Position,
    /// What was read, from the first to the last position each, in the direction of the read.
    spans: VecDeque<(Position, Position)>,
    /// The records that end before here, or in a backward read after here, were read.
    unread: Position,
    is_over: bool,
    items: usize,
}

impl Postings {
    pub(super) fn new(
        reader: &Reader,
        database: &Database,
        (index, name): (Index, &str),
        head: Position,
        direction: Direction,
    ) -> Self {
        Self {
            reader: reader.clone(),
            database: database.clone(),
            index,
            name: name.to_owned(),
            types: None,
            direction,
            head,
            spans: VecDeque::new(),
            unread: match direction {
                Direction::Forward => Position::FIRST,
                Direction::Backward => head,
            },
            is_over: false,
            items: FIRST_ITEMS,
        }
    }

    /// Leaves out events of types that `item` does not ask for.
    pub(super) fn of_types(self, item: &QueryItem) -> Self {
        let mut types = QueryItem::default();
        types.types.clone_from(&item.types);
        types.type_prefixes.clone_from(&item.type_prefixes);
        let types = (!types.is_all()).then_some(types);
        Self { types, ..self }
    }

    /// The first position of the list from `at` on, in the direction of the read.
    pub(super) async fn seek(&mut self, at: Position) -> Result<Option<Position>> {
        loop {
            while let Some((first, last)) = self.spans.front().copied() {
                match self.direction {
                    Direction::Forward if last >= at => return Ok(Some(first.max(at))),
                    Direction::Backward if first <= at => return Ok(Some(last.min(at))),
                    _ => self.spans.pop_front(),
                };
            }
            if self.is_over {
                return Ok(None);
            }
            self.load(at).await?;
            // Pages without a fitting type may be many.
            tokio::task::yield_now().await;
        }
    }

    /// Reads the next page of records that may have `at` or what comes behind it.
    async fn load(&mut self, at: Position) -> Result<()> {
        let scan = match self.direction {
            Direction::Forward => self.records(self.unread.max(at), self.head),
            Direction::Backward => {
                let last = self.last_record(at).await?;
                self.records(Position::ZERO, last).reverse()
            }
        };
        let page = self
            .reader
            .scan(scan.max_items(self.items).max_bytes(MAX_BYTES))
            .await?;
        self.items = (self.items * 2).min(MAX_ITEMS);
        self.is_over = page.next.is_none();
        for entry in &page.entries {
            let mut postings = open_postings(&entry.key, &entry.value)?;
            let last = postings[0].last;
            self.unread = match self.direction {
                Direction::Forward => last.next(),
                Direction::Backward => Position::new(last.get() - 1),
            };
            if let Some(types) = &self.types {
                postings.retain(|posting| types.matches_type(posting.type_name));
            }
            let spans = postings.iter().map(|posting| (posting.first, posting.last));
            match self.direction {
                Direction::Forward => self.spans.extend(spans.rev()),
                Direction::Backward => self.spans.extend(spans),
            }
        }
        Ok(())
    }

    /// Up to where records may have `at` or a position before it.
    async fn last_record(&self, at: Position) -> Result<Position> {
        if at >= self.unread {
            return Ok(self.unread);
        }
        // The record that has the position ends behind it.
        let page = self
            .reader
            .scan(self.records(at, self.unread).max_items(1))
            .await?;
        let last = page.entries.first().and_then(|entry| keys::number_of(&entry.key));
        Ok(last.map_or(at, Position::new))
    }

    fn records(&self, first: Position, last: Position) -> Scan {
        keys::postings_between(self.index, &self.database, &self.name, first, last)
    }
}
