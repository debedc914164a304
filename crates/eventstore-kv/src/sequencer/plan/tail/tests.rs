use eventstore_abstractions::{ContentType, Payload, QueryItem};

use super::*;
use crate::record::open_postings;

const MANY: usize = 1 << 20;

fn tag(name: &str) -> Tag {
    Tag::new(name).expect("valid")
}

fn event(type_name: &str, tags: &[&str]) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, Vec::new());
    let event = EventMessage::new(type_name, payload).expect("valid");
    event.with_tags(tags.iter().map(|name| tag(name)))
}

fn push(tail: &mut Tail, category: &str, first: u64, events: &[(&str, &[&str])]) {
    let stream = StreamId::new(category, "1").expect("valid");
    let events = events.iter().map(|(type_name, tags)| event(type_name, tags));
    tail.push(&stream, Position::new(first), &Arc::new(events.collect()));
}

/// Three appends behind position 10: two events, three, and one.
fn tail() -> Tail {
    let mut tail = Tail::default();
    push(
        &mut tail,
        "case",
        11,
        &[("Opened", &["a"]), ("Noted", &["a", "b"])],
    );
    push(
        &mut tail,
        "desk",
        13,
        &[("Opened", &["b"]), ("Noted", &[]), ("Noted", &["a"])],
    );
    push(&mut tail, "case", 16, &[("Closed", &[])]);
    tail
}

fn types(name: &str) -> QueryItem {
    QueryItem::types([name]).expect("valid")
}

#[test]
fn newest_event_that_matches_is_found_as_a_look_at_each_finds_it() {
    let tail = tail();
    let queries = [
        Query::all(),
        Query::category("case"),
        Query::category("desk"),
        Query::category("other"),
        types("Opened").into(),
        types("Closed").into(),
        types("Other").into(),
        QueryItem::category("desk")
            .or_type(types("Noted").types[0].clone())
            .into(),
        QueryItem::tags([tag("a")]).into(),
        QueryItem::tags([tag("b")]).into(),
        QueryItem::tags([tag("c")]).into(),
        QueryItem::tags([tag("a"), tag("b")]).into(),
        QueryItem::tags([tag("a"), tag("c")]).into(),
        types("Opened").tag(tag("a")).into(),
        QueryItem::category("case").tag(tag("b")).into(),
    ];
    for query in queries {
        for after in 0..18 {
            let matching = (11..=16).rev().map(Position::new).find(|position| {
                let (stream, event) = tail.event(*position);
                position.get() > after && query.matches_message(stream, event)
            });
            assert_eq!(
                tail.find(&query, Position::new(after)),
                matching,
                "{query:?} after {after}"
            );
        }
    }
}

#[test]
fn event_that_any_item_means_is_found() {
    let tail = tail();
    let either = Query::item(QueryItem::tags([tag("c")])).or(QueryItem::tags([tag("b")]));
    assert_eq!(tail.find(&either, Position::ZERO), Some(Position::new(13)));
    let either = Query::item(QueryItem::tags([tag("c")])).or(types("Closed"));
    assert_eq!(tail.find(&either, Position::ZERO), Some(Position::new(16)));
}

/// Which positions are under which name of an index, from the first to the last of each posting, and of which type.
fn postings(
    tail: &Tail,
    head: &DatabaseHead,
    index: Index,
    name: &str,
    most_bytes: usize,
) -> Vec<Vec<(u64, u64, String)>> {
    let database = Database::default();
    let mut records = tail.postings(&database, head, most_bytes);
    records.sort();
    let last = |key: &Bytes| {
        keys::number_of(key)
            .map(Position::new)
            .expect("it has a position")
    };
    let of_name = |(key, _): &&(Bytes, Bytes)| *key == keys::postings(index, &database, name, last(key));
    let opened = records.iter().filter(of_name).map(|(key, value)| {
        let postings = open_postings(key, value).expect("sound");
        let postings = postings
            .iter()
            .rev()
            .map(|it| (it.first.get(), it.last.get(), it.type_name.to_owned()));
        postings.collect()
    });
    opened.collect()
}

fn posting(first: u64, last: u64, type_name: &str) -> (u64, u64, String) {
    (first, last, type_name.to_owned())
}

const INDEXED: DatabaseHead = DatabaseHead {
    position: 16,
    revision: 3,
    types_after: Some(0),
    categories_after: Some(0),
};

#[test]
fn postings_of_a_tag_are_apart_where_the_type_or_the_position_is() {
    let tail = tail();
    let of = |name| postings(&tail, &INDEXED, Index::Tags, name, MANY);
    assert_eq!(
        of("a"),
        [[
            posting(11, 11, "Opened"),
            posting(12, 12, "Noted"),
            posting(15, 15, "Noted")
        ]]
    );
    assert_eq!(of("b"), [[posting(12, 12, "Noted"), posting(13, 13, "Opened")]]);
    let mut more = Tail::default();
    push(&mut more, "case", 1, &[("Noted", &["a"]), ("Noted", &["a"])]);
    push(&mut more, "desk", 3, &[("Noted", &["a"])]);
    assert_eq!(
        postings(&more, &INDEXED, Index::Tags, "a", MANY),
        [[posting(1, 3, "Noted")]]
    );
}

#[test]
fn types_and_categories_have_their_events_where_they_are_indexed() {
    let tail = tail();
    let of = |index, name| postings(&tail, &INDEXED, index, name, MANY);
    assert_eq!(
        of(Index::Types, "Opened"),
        [[posting(11, 11, ""), posting(13, 13, "")]]
    );
    assert_eq!(
        of(Index::Types, "Noted"),
        [[posting(12, 12, ""), posting(14, 15, "")]]
    );
    assert_eq!(of(Index::Types, "Closed"), [[posting(16, 16, "")]]);
    assert_eq!(
        of(Index::Categories, "case"),
        [[posting(11, 12, ""), posting(16, 16, "")]]
    );
    assert_eq!(of(Index::Categories, "desk"), [[posting(13, 15, "")]]);
    let none = DatabaseHead {
        types_after: None,
        categories_after: None,
        ..INDEXED
    };
    let without = tail.postings(&Database::default(), &none, MANY);
    assert_eq!(without.len(), 2, "those of the tags");
}

#[test]
fn record_of_postings_is_closed_before_it_is_too_long() {
    let tail = tail();
    let of = |most_bytes| {
        let records = postings(&tail, &INDEXED, Index::Tags, "a", most_bytes);
        records.iter().map(Vec::len).collect::<Vec<_>>()
    };
    let two = Posting {
        first: Position::new(11),
        last: Position::new(11),
        type_name: "Opened",
    };
    let two = two.bytes()
        + Posting {
            type_name: "Noted",
            ..two
        }
        .bytes();
    assert_eq!(of(two), [2, 1]);
    assert_eq!(of(two - 1), [1, 2]);
    assert_eq!(of(0), [1, 1, 1]);

    // However long a record may be.
    let mut long = Tail::default();
    let one = event("Noted", &["a"]);
    let events = (0..2_000).map(|at| {
        if at % 2 == 0 {
            one.clone()
        } else {
            event("Noted", &[])
        }
    });
    let stream = StreamId::new("case", "1").expect("valid");
    long.push(&stream, Position::new(1), &Arc::new(events.collect()));
    let records = postings(&long, &INDEXED, Index::Tags, "a", MANY);
    let each = Posting {
        type_name: "Noted",
        ..Posting {
            first: Position::new(1),
            last: Position::new(1),
            type_name: "",
        }
    };
    let full = MAX_POSTINGS_BYTES / each.bytes();
    assert_eq!(
        records.iter().map(Vec::len).collect::<Vec<_>>(),
        [full, 1_000 - full]
    );
}
