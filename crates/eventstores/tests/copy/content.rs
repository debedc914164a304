//! A store that has some of everything, and all that can be read of one.

use std::sync::Arc;

use eventstore_testkit::seed::{SEED_VARIABLE, Seed};
use eventstores::{
    AppendOptions, Changes, Committed, ContentType, Database, Deletion, Durability, Error, EventLog,
    EventLogExt, EventMessage, EventStoreProvider, ExpectedVersion, IdempotencyId, LogReadOptions, MessageId,
    MultiAppend, NamespaceName, Payload, Query, QueryItem, ReadOptions, Retention, Settings, StreamId, Tag,
    Version,
};
use fastrand::Rng;
use kv_core::{Bytes, KeyValueStore, Scan};

const DATABASES: [&str; 2] = ["EventStores", "tenant-2"];
const STREAMS: usize = 12;
const APPENDS: usize = 60;
const NAMESPACES: [&str; 2] = ["balances", "totals"];
const TAGS: [&str; 3] = ["customer:1", "customer:2", "country:eu"];

/// The start of what is random, and how to play the same again.
pub(crate) fn seed() -> (u64, Seed) {
    let given = std::env::var(SEED_VARIABLE);
    let number = given.map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    (number, Seed::new(number))
}

/// Settings with every index, so that their records are copied, too.
pub(crate) fn settings() -> Settings {
    Settings::default().index_types().index_categories()
}

/// The stream that nobody removes anything of.
pub(crate) fn kept() -> StreamId {
    StreamId::new("account", "kept").expect("a valid name")
}

/// The message that `kept` begins with. Its id tells no time, so that there is an entry for it.
pub(crate) fn first_message() -> EventMessage {
    let id = MessageId::from_uuid(uuid::Uuid::from_u128(7));
    message("Opened", b"kept").with_message_id(id)
}

fn message(name: &str, payload: &[u8]) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, payload.to_vec());
    EventMessage::new(name, payload).expect("a valid name")
}

fn stream(number: usize) -> StreamId {
    let category = if number.is_multiple_of(3) {
        "order"
    } else {
        "account"
    };
    StreamId::new(category, format!("number {number}")).expect("a valid name")
}

fn log(provider: &dyn EventStoreProvider, database: &str) -> Arc<dyn EventLog> {
    provider.log(&Database::new(database).expect("a valid name"))
}

/// Fills a store with random content: events of all sizes, in runs of several, by several at once and out of order;
/// snapshots, retentions, deletions, values beside the events; and a scavenge.
pub(crate) async fn fill(provider: &dyn EventStoreProvider, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    for database in DATABASES {
        let log = log(provider, database);
        append(&*log, &kept(), vec![first_message()]).await;
        for number in 0..APPENDS {
            let events = (0..rng.usize(1..6)).map(|_| random_message(&mut rng, number));
            let events = events.collect::<Vec<_>>();
            append(&*log, &stream(rng.usize(..STREAMS)), events).await;
        }
        let both = MultiAppend::new()
            .to(&kept(), ExpectedVersion::Any, vec![message("Both", b"1")])
            .to(&stream(0), ExpectedVersion::Any, vec![message("Both", b"2")]);
        log.append_all(both).await.expect("it appends");
        end_lives(&*log, &mut rng).await;
        for name in NAMESPACES {
            let namespace = log.namespace(&NamespaceName::new(name).expect("a valid name"));
            let changes = (0..40).fold(Changes::new(), |changes, number: u32| {
                changes.put(vec![number as u8, 0xff], number.to_string())
            });
            let committed = namespace.commit(changes, Durability::Durable).await;
            assert_eq!(committed.expect("it commits"), Committed::Applied);
        }
        while !log.scavenge(50).await.expect("it scavenges").is_complete {}
    }
}

fn random_message(rng: &mut Rng, number: usize) -> EventMessage {
    // Some are so large that the log only names them.
    let bytes = if rng.u8(..8) == 0 { 6_000 } else { rng.usize(..500) };
    let payload = std::iter::repeat_with(|| rng.u8(..)).take(bytes);
    let payload = payload.collect::<Vec<_>>();
    let tags = TAGS.iter().filter(|_| rng.bool());
    let tags = tags.map(|tag| Tag::new(*tag).expect("a valid tag"));
    let tags = tags.collect::<Vec<_>>();
    let message = message(["Deposited", "Withdrawn"][rng.usize(..2)], &payload).with_tags(tags);
    match rng.u8(..4) {
        0 => message.with_message_id(MessageId::from_uuid(uuid::Uuid::from_u128(rng.u128(..)))),
        1 => message.with_idempotency_id(
            IdempotencyId::new(format!("{number}-{}", rng.u64(..))).expect("a valid id"),
        ),
        _ => message,
    }
}

async fn append(log: &dyn EventLog, stream: &StreamId, events: Vec<EventMessage>) {
    let appended = log
        .append_with(stream, events, AppendOptions::expecting(ExpectedVersion::Any))
        .await;
    appended.expect("it appends");
}

/// Snapshots, and what ends the lives of events.
async fn end_lives(log: &dyn EventLog, rng: &mut Rng) {
    for number in 0..STREAMS {
        let stream = stream(number);
        let version = log.version(&stream).await.expect("it reads");
        if version == Version::ZERO {
            continue;
        }
        let at = Version::new(rng.u64(1..=version.get()));
        let taken = log.snapshot(&stream, at, message("State", b"so far")).await;
        taken.expect("it is taken");
        let retained = match number % 6 {
            0 => {
                log.set_retention(&stream, Retention::default().max_count(2))
                    .await
            }
            1 => {
                log.set_retention(&stream, Retention::default().truncate_before(at))
                    .await
            }
            2 => {
                log.delete_stream(&stream, ExpectedVersion::Any, Deletion::Soft)
                    .await
            }
            3 => {
                log.delete_stream(&stream, ExpectedVersion::Any, Deletion::Hard)
                    .await
            }
            _ => Ok(()),
        };
        retained.expect("it is retained");
    }
    let taken = log
        .snapshot(&kept(), Version::FIRST, message("State", b"opened"))
        .await;
    taken.expect("it is taken");
}

/// All that can be read of a store, in a form that tells where two differ.
pub(crate) async fn dump(provider: &dyn EventStoreProvider) -> Vec<String> {
    let mut dump = Vec::new();
    for database in DATABASES {
        let log = log(provider, database);
        for query in [Query::all(), tagged(), typed()] {
            let events = log.read_all(LogReadOptions::forward().query(query));
            let events = events.collect().await.expect("it reads");
            dump.extend(events.iter().map(|event| format!("{database}: {event:?}")));
        }
        for stream in (0..STREAMS).map(stream).chain([kept()]) {
            let info = log.stream_info(&stream).await.expect("it reads");
            dump.push(format!("{database}: {info:?}"));
            for options in [ReadOptions::replay(), ReadOptions::backward()] {
                let replay = log.read_stream(&stream, options).await.expect("it reads");
                dump.push(format!(
                    "{database}: {:?}",
                    replay.collect().await.expect("it reads")
                ));
            }
            for version in log.snapshot_versions(&stream).await.expect("it reads") {
                let snapshot = log.read_snapshot(&stream, version).await;
                dump.push(format!("{database}: {:?}", snapshot.expect("it reads")));
            }
        }
        for name in NAMESPACES {
            let namespace = log.namespace(&NamespaceName::new(name).expect("a valid name"));
            let values = namespace.scan(b"", None, 1_000).await.expect("it reads");
            dump.extend(values.iter().map(|value| format!("{database}: {value:?}")));
        }
    }
    dump
}

fn tagged() -> Query {
    Query::item(QueryItem::tags([Tag::new(TAGS[0]).expect("a valid tag")]))
}

fn typed() -> Query {
    Query::item(QueryItem::types(["Deposited"]).expect("a valid name"))
}

/// Appends to a copy of a store that was filled: versions and positions follow those of the original, and what was
/// appended to the original is known.
pub(crate) async fn goes_on(provider: &dyn EventStoreProvider) {
    for database in DATABASES {
        let log = log(provider, database);
        let (position, version) = (
            log.head().await.expect("it reads"),
            log.version(&kept()).await.expect("it reads"),
        );
        let again = log
            .append(&kept(), ExpectedVersion::NoStream, [first_message()])
            .await;
        assert_eq!(again.expect("it is known").version, Version::FIRST);
        let other = message("Opened", b"other").with_message_id(first_message().id());
        let other = log.append(&kept(), ExpectedVersion::Any, [other]).await;
        assert!(
            matches!(other, Err(Error::DuplicateIdempotencyId { .. })),
            "{other:?}"
        );

        let next = log
            .append(&kept(), ExpectedVersion::Exact(version), [message("Next", b"")])
            .await;
        let next = next.expect("it appends");
        assert_eq!((next.version, next.position), (version.next(), position.next()));
    }
}

/// Every record beneath a store.
pub(crate) async fn records(engine: &dyn KeyValueStore) -> Vec<(Bytes, Bytes)> {
    let (mut records, mut next) = (Vec::new(), Some(Scan::range(Bytes::new(), Bytes::new())));
    while let Some(scan) = next {
        let page = engine.scan(scan).await.expect("it reads");
        records.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
        next = page.next;
    }
    records
}
