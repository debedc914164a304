//! What a plan appends to a database: for conditions, which look for it before it is stored, and for the indexes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use eventstore_abstractions::{Database, EventMessage, Position, Query, StreamId, Tag};

use crate::keys::{self, Index};
use crate::record::{DatabaseHead, Posting, seal_postings};

/// A record of postings is closed at about so many bytes, as blocks and runs are.
const MAX_POSTINGS_BYTES: usize = 16 << 10;

/// The events that a plan appends to a database, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Tail {
    parts: Vec<Part>,
    /// The positions of the events that have a tag.
    tags: HashMap<Tag, Vec<Position>>,
}

/// What one append gives to one stream.
#[derive(Debug)]
struct Part {
    first: Position,
    stream: StreamId,
    events: Arc<Vec<EventMessage>>,
}

impl Part {
    fn last(&self) -> Position {
        self.first.advanced_by(self.events.len() as u64 - 1)
    }
}

impl Tail {
    /// Adds events, of which there is at least one, from the position `first` on.
    pub(super) fn push(&mut self, stream: &StreamId, first: Position, events: &Arc<Vec<EventMessage>>) {
        let mut position = first;
        for event in events.iter() {
            for tag in &event.metadata.context.tags {
                match self.tags.get_mut(tag) {
                    Some(positions) => positions.push(position),
                    None => drop(self.tags.insert(tag.clone(), vec![position])),
                }
            }
            position = position.next();
        }
        self.parts.push(Part {
            first,
            stream: stream.clone(),
            events: Arc::clone(events),
        });
    }

    /// The position of an event behind `after` that matches `query`.
    pub(super) fn find(&self, query: &Query, after: Position) -> Option<Position> {
        let newest = self.parts.last()?.last();
        if newest <= after {
            return None;
        }
        if query.is_all() {
            return Some(newest);
        }
        query
            .items()
            .iter()
            .find_map(|item| {
                let (tag, _) = item
                    .tags
                    .iter()
                    .map(|tag| (tag, self.tags.get(tag).map_or(0, Vec::len)))
                    .min_by_key(|(_, events)| *events)?;
                let positions = self.tags.get(tag)?.iter().rev();
                let mut positions = positions.take_while(|position| **position > after);
                positions
                    .find(|position| {
                        let (stream, event) = self.event(**position);
                        item.matches(stream, event)
                    })
                    .copied()
            })
            .or_else(|| self.find_untagged(query, after))
    }

    /// Looks at every event, for the items of `query` that say nothing of tags.
    fn find_untagged(&self, query: &Query, after: Position) -> Option<Position> {
        let items = || query.items().iter().filter(|item| item.tags.is_empty());
        items().next()?;
        let parts = self.parts.iter().rev().take_while(|part| part.last() > after);
        for part in parts {
            let items = items().filter(|item| item.matches_category(part.stream.category()));
            let items = items.collect::<Vec<_>>();
            let matches =
                |event: &EventMessage| items.iter().any(|item| item.matches_type(event.type_name()));
            let found = part.events.iter().rposition(matches);
            let position = found.map(|at| part.first.advanced_by(at as u64));
            if let Some(position) = position.filter(|position| *position > after) {
                return Some(position);
            }
        }
        None
    }

    /// The event at a position that is in the plan.
    fn event(&self, position: Position) -> (&StreamId, &EventMessage) {
        let part = &self.parts[self.parts.partition_point(|part| part.first <= position) - 1];
        (
            &part.stream,
            &part.events[(position.get() - part.first.get()) as usize],
        )
    }

    /// The records of all postings, no larger than `most_bytes`, and their keys.
    pub(super) fn postings(
        &self,
        database: &Database,
        head: &DatabaseHead,
        most_bytes: usize,
    ) -> Vec<(Bytes, Bytes)> {
        let mut records = Records {
            database,
            most_bytes: most_bytes.min(MAX_POSTINGS_BYTES),
            done: Vec::new(),
        };
        for (tag, positions) in &self.tags {
            let mut postings = Vec::with_capacity(positions.len());
            for position in positions {
                let (_, event) = self.event(*position);
                add(&mut postings, *position, *position, event.type_name());
            }
            records.add(Index::Tags, tag.as_str(), &postings);
        }
        if head.types_after.is_some() {
            records.add_all(Index::Types, self.by_type());
        }
        if head.categories_after.is_some() {
            records.add_all(Index::Categories, self.by_category());
        }
        records.done
    }

    fn by_type(&self) -> HashMap<&str, Vec<Posting<'static>>> {
        let mut types = HashMap::<_, Vec<_>>::new();
        for part in &self.parts {
            let mut position = part.first;
            for event in part.events.iter() {
                add(
                    types.entry(event.type_name()).or_default(),
                    position,
                    position,
                    "",
                );
                position = position.next();
            }
        }
        types
    }

    fn by_category(&self) -> HashMap<&str, Vec<Posting<'static>>> {
        let mut categories = HashMap::<_, Vec<_>>::new();
        for part in &self.parts {
            add(
                categories.entry(part.stream.category()).or_default(),
                part.first,
                part.last(),
                "",
            );
        }
        categories
    }
}

/// Adds the events from `first` to `last`: to the posting before, where that ends just before them and is of one type
/// with them.
fn add<'a>(postings: &mut Vec<Posting<'a>>, first: Position, last: Position, type_name: &'a str) {
    match postings.last_mut() {
        Some(before) if before.last.next() == first && before.type_name == type_name => before.last = last,
        _ => postings.push(Posting {
            first,
            last,
            type_name,
        }),
    }
}

struct Records<'a> {
    database: &'a Database,
    most_bytes: usize,
    done: Vec<(Bytes, Bytes)>,
}

impl Records<'_> {
    fn add_all(&mut self, index: Index, names: HashMap<&str, Vec<Posting<'_>>>) {
        for (name, postings) in names {
            self.add(index, name, &postings);
        }
    }

    fn add(&mut self, index: Index, name: &str, postings: &[Posting<'_>]) {
        let mut left = postings;
        while !left.is_empty() {
            let mut bytes = 0;
            let fitting = left.iter().take_while(|posting| {
                bytes += posting.bytes();
                bytes <= self.most_bytes
            });
            let (record, rest) = left.split_at(fitting.count().max(1));
            let last = record.last().expect("there is at least one").last;
            let key = keys::postings(index, self.database, name, last);
            let value = seal_postings(&key, record);
            self.done.push((key, value));
            left = rest;
        }
    }
}

#[cfg(test)]
mod tests;
