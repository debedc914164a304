//! Finds the events that may match a query, by the indexes.
//!
//! An index is a list of positions for each name, in the order of the log. An item of a query is looked for in the
//! lists of its names: a position must be in one list of each kind that is used, and the positions of all items
//! together are those of the query. What is found may match and is looked at; what is not found does not match.

mod postings;

use eventstore_abstractions::{
    Access, Database, Direction, Position, Query, QueryItem, Result, StreamId, TypeName,
};

use self::postings::Postings;
use crate::keys::{self, Index};
use crate::reader::Reader;
use crate::record::DatabaseHead;

/// How events that match `query` are found in a database with this head.
pub(crate) fn access(query: &Query, head: &DatabaseHead) -> Access {
    if scanned_up_to(query, head) == Position::ZERO {
        Access::Index
    } else {
        Access::Scan
    }
}

/// Up to this position every event has to be looked at; behind it the indexes have all that may match.
pub(crate) fn scanned_up_to(query: &Query, head: &DatabaseHead) -> Position {
    let items = query.items().iter().map(|item| IndexedBy::of(item, head).1);
    // A query without items means everything.
    Position::new(items.max().unwrap_or(u64::MAX))
}

/// By which of its names an item is looked for.
#[derive(Clone, Copy, Debug)]
enum IndexedBy {
    Tags,
    Types,
    Categories,
    Nothing,
}

impl IndexedBy {
    /// The index for an item, and the position behind which that is complete. Tags say the most, and are always
    /// indexed.
    fn of(item: &QueryItem, head: &DatabaseHead) -> (Self, u64) {
        let has_types = !item.types.is_empty() || !item.type_prefixes.is_empty();
        let types = head.types_after.filter(|_| has_types);
        let categories = head.categories_after.filter(|_| !item.categories.is_empty());
        match (types, categories) {
            _ if !item.tags.is_empty() => (Self::Tags, 0),
            (Some(types), Some(categories)) if categories < types => (Self::Categories, categories),
            (Some(types), _) => (Self::Types, types),
            (None, Some(categories)) => (Self::Categories, categories),
            (None, None) => (Self::Nothing, u64::MAX),
        }
    }
}

/// The positions of the events that may match a query, up to the end of the log.
#[derive(Debug)]
pub(crate) struct Candidates {
    items: Vec<Item>,
    direction: Direction,
}

/// The positions that are in every one of these.
#[derive(Debug)]
struct Item {
    all_of: Vec<AnyOf>,
}

/// The positions that are in any of these.
#[derive(Debug)]
struct AnyOf {
    lists: Vec<Postings>,
}

impl Candidates {
    /// Those of `query`, whose every item is indexed. The log ends at `head`.
    pub(crate) async fn of(
        reader: &Reader,
        database: &Database,
        head: &DatabaseHead,
        query: &Query,
        direction: Direction,
    ) -> Result<Self> {
        let mut items = Vec::with_capacity(query.items().len());
        for item in query.items() {
            let list = |index, name: &str| {
                Postings::new(
                    reader,
                    database,
                    (index, name),
                    Position::new(head.position),
                    direction,
                )
            };
            let all_of = match IndexedBy::of(item, head).0 {
                IndexedBy::Tags => {
                    let lists = item.tags.iter().map(|tag| {
                        let list = list(Index::Tags, tag.as_str()).of_types(item);
                        AnyOf { lists: vec![list] }
                    });
                    lists.collect()
                }
                IndexedBy::Types => {
                    let names = types(reader, database, item).await?;
                    let lists = names.iter().map(|name| list(Index::Types, name)).collect();
                    vec![AnyOf { lists }]
                }
                IndexedBy::Categories => {
                    let names = item.categories.iter().filter(|name| is_category(name));
                    let lists = names.map(|name| list(Index::Categories, name)).collect();
                    vec![AnyOf { lists }]
                }
                IndexedBy::Nothing => unreachable!("what is not indexed is not looked for in an index"),
            };
            items.push(Item { all_of });
        }
        Ok(Self { items, direction })
    }

    /// The first candidate from `at` on, in the direction of the read. Positions must be asked for in that direction,
    /// too.
    pub(crate) async fn seek(&mut self, at: Position) -> Result<Option<Position>> {
        let mut nearest = None;
        for item in &mut self.items {
            nearest = nearer(self.direction, nearest, item.seek(self.direction, at).await?);
        }
        Ok(nearest)
    }
}

impl Item {
    async fn seek(&mut self, direction: Direction, at: Position) -> Result<Option<Position>> {
        let mut at = at;
        let mut agreeing = 0;
        // Round by round, until all have the same position.
        while agreeing < self.all_of.len() {
            agreeing = 0;
            for any_of in &mut self.all_of {
                match any_of.seek(direction, at).await? {
                    None => return Ok(None),
                    Some(found) if found == at => agreeing += 1,
                    Some(found) => {
                        at = found;
                        agreeing = 1;
                    }
                }
            }
        }
        Ok(Some(at))
    }
}

impl AnyOf {
    async fn seek(&mut self, direction: Direction, at: Position) -> Result<Option<Position>> {
        let mut nearest = None;
        for list in &mut self.lists {
            nearest = nearer(direction, nearest, list.seek(at).await?);
        }
        Ok(nearest)
    }
}

/// Of two positions the one that comes first.
fn nearer(direction: Direction, one: Option<Position>, other: Option<Position>) -> Option<Position> {
    match (one, other) {
        (Some(one), Some(other)) => Some(match direction {
            Direction::Forward => one.min(other),
            Direction::Backward => one.max(other),
        }),
        (one, other) => one.or(other),
    }
}

/// The names of the types that an item asks for, by name or by what they begin with, as far as there are events.
async fn types(reader: &Reader, database: &Database, item: &QueryItem) -> Result<Vec<String>> {
    let mut names: Vec<String> = item.types.iter().map(|name| name.as_str().to_owned()).collect();
    for prefix in item.type_prefixes.iter().filter(|prefix| is_type_prefix(prefix)) {
        let mut after: Option<String> = None;
        loop {
            let scan = keys::postings_of_prefix(Index::Types, database, prefix, after.as_deref());
            let page = reader.scan(scan.max_items(1)).await?;
            let Some(entry) = page.entries.first() else { break };
            let Some(name) = keys::name_of_postings(&entry.key) else {
                break;
            };
            names.push(name.to_owned());
            after = Some(name.to_owned());
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Whether a stream can have it: others have no key.
fn is_category(name: &str) -> bool {
    StreamId::new(name, "any").is_ok()
}

/// Whether the name of a type can begin so.
fn is_type_prefix(prefix: &str) -> bool {
    prefix.is_empty() || TypeName::new(prefix).is_ok()
}
