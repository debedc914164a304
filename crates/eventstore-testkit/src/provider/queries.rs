//! Reads of the log by category, type and tags.

use std::fmt::Debug;

use eventstore_abstractions::{
    Access, AppendOptions, Direction, Durability, Error, EventLog, EventLogExt, EventMessage,
    ExpectedVersion, LogReadOptions, MultiAppend, Position, Query, QueryItem, RecordedEvent, Settings,
    StreamId,
};
use fastrand::Rng;

use super::ProviderHarness;
use super::bench::{Bench, numbered, positions, refused, stream_id};
use super::conditions::{tag, tagged};
use crate::seed::Seed;

/// Names that are prefixes of each other, so that what is one too many is found.
const CATEGORIES: [&str; 3] = ["case", "cas", "case 2"];
const TYPES: [&str; 4] = ["Opened", "OpenedAgain", "Closed", "C"];
const TAGS: [&str; 5] = ["a", "a1", "a:1", "b", "c"];
/// What no event can have: as a name in a key it would reach into others.
const IMPOSSIBLE: &str = "case\0";
const APPENDS: usize = 60;
const QUERIES: usize = 60;

fn all_settings() -> [Settings; 4] {
    let none = Settings::default;
    [
        none(),
        none().index_types(),
        none().index_categories(),
        none().index_types().index_categories(),
    ]
}

async fn found(log: &dyn EventLog, query: impl Into<Query>) -> Vec<u64> {
    let events = log.read_all(LogReadOptions::forward().query(query.into()));
    positions(&events.collect().await.expect("the log is read"))
}

/// Whatever is asked for, in either direction, from anywhere, with any limit and page, and with whatever is indexed, is
/// what a look at every event finds.
pub async fn query_reads_agree_with_a_scan(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    for seed in Seed::of_run() {
        let mut rng = seed.rng();
        for settings in all_settings() {
            bench = bench.restart_with(settings).await;
            append_at_random(&*bench.log, &mut rng).await;
            let all = bench.all().await;
            for number in 0..QUERIES {
                let options = random_read(&mut rng, all.len() as u64);
                let context = format!("query {number}, {options:?}; {seed}");
                let read = bench.log.read_all(options.clone()).collect().await;
                let read = read.unwrap_or_else(|error| panic!("{error}: {context}"));
                assert_same(&read, &scanned(&all, &options), &context);
            }
        }
    }
}

fn assert_same(read: &[RecordedEvent], right: &[RecordedEvent], context: &dyn Debug) {
    assert_eq!(positions(read), positions(right), "{context:?}");
    assert!(read == right, "an event differs: {context:?}");
}

/// What the read must find among all events.
fn scanned(all: &[RecordedEvent], options: &LogReadOptions) -> Vec<RecordedEvent> {
    let wanted = all.iter().filter(|event| options.query.matches(event));
    let limit = options.limit.unwrap_or(u64::MAX) as usize;
    match options.direction {
        Direction::Forward => {
            let wanted = wanted.filter(|event| event.position >= options.from);
            wanted.take(limit).cloned().collect()
        }
        Direction::Backward => {
            let wanted = wanted.rev().filter(|event| event.position <= options.from);
            wanted.take(limit).cloned().collect()
        }
    }
}

/// Some appends of some events each, most of them short, to streams of all categories; some go to all of them at once.
async fn append_at_random(log: &dyn EventLog, rng: &mut Rng) {
    for _ in 0..APPENDS {
        let mut categories = CATEGORIES;
        rng.shuffle(&mut categories);
        let streams = if rng.bool() { 1 } else { CATEGORIES.len() };
        let mut append = MultiAppend::new().durability(Durability::Buffered);
        for category in &categories[..streams] {
            let stream = StreamId::new(*category, "s").expect("valid");
            let events = (0..rng.usize(1..6))
                .map(|_| random_event(rng))
                .collect::<Vec<_>>();
            append = append.to(&stream, ExpectedVersion::Any, events);
        }
        log.append_all(append).await.expect("appended");
    }
}

fn random_event(rng: &mut Rng) -> EventMessage {
    let tags = some_of(rng, &TAGS, 3);
    let mut event = tagged(TYPES[rng.usize(..TYPES.len())], &tags);
    if rng.u8(..8) == 0 {
        // Too long to be copied into the log.
        event.payload.bytes = vec![b' '; 5_000].into();
    }
    event
}

/// Up to `most` of `names`, each once.
fn some_of<'a>(rng: &mut Rng, names: &[&'a str], most: usize) -> Vec<&'a str> {
    let mut names = names.to_vec();
    rng.shuffle(&mut names);
    names.truncate(rng.usize(..=most));
    names
}

fn random_read(rng: &mut Rng, events: u64) -> LogReadOptions {
    let items = (0..rng.usize(1..4)).map(|_| random_item(rng));
    let query = items.fold(Query::all(), Query::or);
    let from = match rng.u8(..4) {
        0 => Position::MAX,
        1 => Position::ZERO,
        _ => Position::new(rng.u64(..events + 2)),
    };
    let mut options = if rng.bool() {
        LogReadOptions::forward_from(from)
    } else {
        LogReadOptions::backward_from(from)
    };
    options = options.query(query).page_size(rng.usize(1..40));
    if rng.bool() {
        options = options.limit(rng.u64(..20));
    }
    options
}

fn random_item(rng: &mut Rng) -> QueryItem {
    let mut item = QueryItem::default();
    if rng.u8(..3) == 0 {
        let impossible = (rng.u8(..8) == 0).then_some(IMPOSSIBLE);
        let names = some_of(rng, &CATEGORIES, 2).into_iter().chain(impossible);
        item.categories = names.map(str::to_owned).collect();
    }
    if rng.u8(..3) == 0 {
        item = some_of(rng, &TYPES, 2).into_iter().fold(item, |item, name| {
            item.or_type(eventstore_abstractions::TypeName::new(name).expect("valid"))
        });
    }
    if rng.u8(..4) == 0 {
        let prefixes = ["", "Open", "C", "Cl", "x", "Opened\0"];
        item = item.or_type_prefix(prefixes[rng.usize(..prefixes.len())]);
    }
    let tags = some_of(rng, &TAGS, 3);
    if rng.bool() {
        tags.into_iter().map(tag).fold(item, QueryItem::tag)
    } else {
        item
    }
}

/// A query is said to be a scan exactly where no index has all of its items.
pub async fn explain_says_where_it_scans(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    let types = || QueryItem::types(["T"]).expect("valid");
    let tags = || QueryItem::tags([tag("a")]);
    let queries = [
        Query::item(tags()),
        Query::item(types().tag(tag("a"))),
        Query::item(types()),
        Query::item(QueryItem::type_prefix("T")),
        Query::item(QueryItem::category("case")),
        Query::item(types()).or(QueryItem::category("case")),
        Query::item(types().or_category("case")).or(tags()),
        Query::all(),
    ];
    let indexed = [
        [true, true, false, false, false, false, false, false],
        [true, true, true, true, false, false, true, false],
        [true, true, false, false, true, false, true, false],
        [true, true, true, true, true, true, true, false],
    ];
    for (number, (settings, indexed)) in all_settings().into_iter().zip(indexed).enumerate() {
        bench = bench.restart_with(settings).await;
        let log = bench.database(&format!("d{number}"));
        log.append(&stream_id("s"), ExpectedVersion::Any, [tagged("T", &["a"])])
            .await
            .expect("appended");
        for (query, is_indexed) in queries.iter().zip(indexed) {
            let access = log.explain(query).await.expect("explained");
            assert_eq!(access == Access::Index, is_indexed, "{number}: {query:?}");
        }
    }
    // An index that was turned on late does not have the events before it.
    let late = bench.database("d0");
    late.append(&stream_id("s"), ExpectedVersion::Any, [tagged("T", &["a"])])
        .await
        .expect("appended");
    let access = late.explain(&Query::item(types())).await;
    assert_eq!(access.expect("explained"), Access::Scan);
}

/// Whenever an index is turned on, off, and on again, a query finds everything.
pub async fn index_turned_on_later_misses_nothing(harness: &dyn ProviderHarness) {
    let [none, types, categories, both] = all_settings();
    let mut bench = Bench::open(harness).await;
    let mut total = 0;
    for (round, settings) in [none.clone(), types, categories, both.clone(), none, both]
        .into_iter()
        .enumerate()
    {
        bench = bench.restart_with(settings).await;
        for number in 0..3 {
            let stream = stream_id(&format!("{round} {number}"));
            let events = [tagged("T", &["a"]), tagged("U", &[])];
            bench
                .log
                .append(&stream, ExpectedVersion::Any, events)
                .await
                .expect("appended");
            total += 2;
        }
        let of_type = found(&*bench.log, QueryItem::types(["T"]).expect("valid")).await;
        assert_eq!(
            of_type,
            (1..=total).step_by(2).collect::<Vec<_>>(),
            "round {round}"
        );
        let of_category = found(&*bench.log, QueryItem::category("case")).await;
        assert_eq!(of_category, (1..=total).collect::<Vec<_>>(), "round {round}");
        let mut back = LogReadOptions::backward().page_size(2);
        back = back.query(QueryItem::type_prefix("U").into());
        let back = bench.log.read_all(back).collect().await.expect("read");
        assert_eq!(
            positions(&back),
            (1..=total).rev().step_by(2).collect::<Vec<_>>(),
            "round {round}"
        );
    }
}

/// A log of 10,000 events of which every hundredth has the tag `rare`, and all have `common`.
async fn filled<'a>(harness: &'a dyn ProviderHarness, settings: Settings) -> Bench<'a> {
    let bench = Bench::open_with(harness, settings).await;
    let options = AppendOptions::default().durability(Durability::Buffered);
    for _ in 0..100 {
        let mut events = numbered(100);
        for event in &mut events {
            event.metadata.context.tags = vec![tag("common")];
        }
        events[50] = tagged("Rare", &["common", "rare"]);
        let appended = bench.log.append_with(&stream_id("s"), events, options).await;
        appended.expect("appended");
    }
    bench.meter.take();
    bench
}

/// A query by an index reads about what matches, and not the whole log.
pub async fn indexed_query_reads_about_what_matches(harness: &dyn ProviderHarness) {
    let bench = filled(harness, Settings::default().index_types()).await;
    bench.all().await;
    let whole = bench.meter.take().bytes;
    let rare = QueryItem::types(["Rare"]).expect("valid");
    for query in [QueryItem::tags([tag("common"), tag("rare")]), rare] {
        let newest = LogReadOptions::backward().query(query.clone().into()).limit(3);
        let newest = bench.log.read_all(newest).collect().await.expect("read");
        assert_eq!(positions(&newest), [9_951, 9_851, 9_751]);
        let read = bench.meter.take().bytes;
        assert!(
            read * 5 < whole,
            "{read} bytes are read for 3 events, and {whole} for all"
        );
        let absent = LogReadOptions::forward().query(query.tag(tag("absent")).into());
        assert_eq!(bench.log.read_all(absent).collect().await.expect("read"), []);
        let read = bench.meter.take().bytes;
        assert!(
            read * 5 < whole,
            "{read} bytes are read for no event, and {whole} for all"
        );
    }
}

/// A read with a query holds a page, as every read does, whether it scans or not.
pub async fn query_read_holds_a_bounded_amount_of_memory(harness: &dyn ProviderHarness) {
    let bench = filled(harness, Settings::default()).await;
    bench.all().await;
    let whole = bench.meter.take().bytes;
    let noted = QueryItem::types(["Noted"]).expect("valid");
    for query in [QueryItem::tags([tag("common")]), noted] {
        let options = LogReadOptions::forward().page_size(10).query(query.into());
        let mut events = bench.log.read_all(options);
        events.next().await.expect("an event").expect("read");
        let first = bench.meter.take().bytes;
        assert!(
            first * 10 < whole,
            "{first} bytes are read for the first event, and {whole} for all"
        );
    }
}

/// A flipped bit in any byte of an index is an error of the query that uses it, never an event less.
pub async fn damaged_index_is_reported(harness: &dyn ProviderHarness) {
    let settings = Settings::default().index_types().index_categories();
    let bench = Bench::open_with(harness, settings).await;
    let events = [tagged("T", &["a"]), tagged("U", &[]), tagged("T", &["a"])];
    let appended = bench
        .log
        .append(&stream_id("s"), ExpectedVersion::Any, events)
        .await;
    appended.expect("appended");
    let queries = [
        QueryItem::tags([tag("a")]),
        QueryItem::types(["T", "U"]).expect("valid"),
        QueryItem::category("case"),
    ];
    let mut flipped = 0;
    for entry in bench.dump().await {
        let Some(at) = [0x18, 0x19, 0x1a].iter().position(|space| entry.key[0] == *space) else {
            continue;
        };
        for byte in 0..entry.value.len() {
            let flip = |value: &mut Vec<u8>| value[byte] ^= 1 << (byte % 8);
            bench.engine.edit(&entry.key, flip).await.expect("edited");
            let options = LogReadOptions::forward().query(queries[at].clone().into());
            let read = bench.log.read_all(options).collect().await;
            refused!(read, Error::Corrupt { .. });
            bench.engine.edit(&entry.key, flip).await.expect("edited back");
            flipped += 1;
        }
    }
    assert!(flipped > 0, "nothing is indexed");
}
