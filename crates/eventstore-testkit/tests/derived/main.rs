//! What can be derived from the log, and is written later.

mod bundles;
mod late;
mod openings;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, ContentType, Deletion, Direction, Error, EventLog, EventLogExt, EventMessage,
    EventStoreProvider, EventStoreProviderExt, ExpectedVersion, MultiAppend, Payload, ReadOptions, Retention,
    Selection, Settings, StreamId, Version,
};
use eventstore_kv::{Options, Provider};
use eventstore_testkit::clock::ManualClock;
use eventstore_testkit::fault::{FaultStore, Moment};
use kv_core::{Batch, Bytes, Capabilities, Durability, Entry, KeyValueStore, Outcome, Page, Scan};

const DATABASE_HEAD: u8 = 0x10;
const LOG_BLOCK: u8 = 0x11;
const STREAM_HEAD: u8 = 0x12;
const RUN: u8 = 0x13;
const SETTLED: u8 = 0x1c;

/// An engine in memory that says that it keeps everything, which it does as long as the test holds it.
#[derive(Debug)]
struct Kept(kv_memory::Store);

#[async_trait]
impl KeyValueStore for Kept {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            ..self.0.capabilities()
        }
    }

    async fn get(&self, key: &[u8]) -> kv_core::Result<Option<Bytes>> {
        self.0.get(key).await
    }

    async fn scan(&self, scan: Scan) -> kv_core::Result<Page> {
        self.0.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> kv_core::Result<Outcome> {
        self.0.commit(batch, durability).await
    }

    /// It stays open: what is in it is looked at.
    async fn close(&self) -> kv_core::Result<()> {
        Ok(())
    }
}

fn engine() -> Arc<FaultStore> {
    FaultStore::new(Arc::new(Kept(kv_memory::Store::new())))
}

async fn try_open(engine: &Arc<FaultStore>, max_deferred_bytes: usize) -> Result<Provider, Error> {
    // A clock that stands still: nothing is written because nobody has asked for anything for a while.
    let clock = Arc::new(ManualClock::default());
    let options = Options::default()
        .max_deferred_bytes(max_deferred_bytes)
        .clock(clock);
    let engine = Arc::clone(engine) as Arc<dyn KeyValueStore>;
    Provider::open_with(engine, Settings::default(), options).await
}

/// A provider that writes later what it can, and its log.
async fn open(engine: &Arc<FaultStore>) -> (Provider, Arc<dyn EventLog>) {
    let provider = try_open(engine, 1 << 20).await.expect("it opens");
    let log = provider.default_log();
    (provider, log)
}

fn event(text: &str) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, text.as_bytes().to_vec());
    EventMessage::new("Noted", payload).expect("a valid name")
}

fn stream(id: &str) -> StreamId {
    StreamId::new("case", id).expect("a valid name")
}

async fn append(log: &dyn EventLog, id: &str, texts: &[&str]) -> u64 {
    let events = texts.iter().map(|text| event(text));
    let appended = log.append(&stream(id), ExpectedVersion::Any, events).await;
    appended.expect("it is appended").version.get()
}

/// The texts of the events of a stream, read one page for each.
async fn texts(log: &dyn EventLog, id: &str) -> Vec<String> {
    let replay = log
        .read_stream(
            &stream(id),
            ReadOptions::replay().without_snapshots().page_size(1),
        )
        .await;
    let events = replay
        .expect("it is read")
        .collect()
        .await
        .expect("it is read")
        .events;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
    events
        .iter()
        .map(|event| text(&event.message.payload.bytes))
        .collect()
}

async fn stored(engine: &FaultStore, space: u8) -> Vec<Entry> {
    let page = engine
        .inner()
        .scan(Scan::prefix(vec![space]).max_items(usize::MAX))
        .await;
    page.expect("the engine is read").entries
}

#[tokio::test]
async fn heads_and_short_runs_are_read_before_they_are_written() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    append(&*log, "a", &["1"]).await;
    append(&*log, "a", &["2", "3"]).await;
    append(&*log, "b", &["4"]).await;
    // The first commit to a database has everything.
    assert_eq!(
        (
            stored(&engine, RUN).await.len(),
            stored(&engine, STREAM_HEAD).await.len()
        ),
        (1, 1)
    );
    assert_eq!(texts(&*log, "a").await, ["1", "2", "3"]);
    assert_eq!(texts(&*log, "b").await, ["4"]);
    let event = log
        .read_stream(&stream("a"), ReadOptions::slice(Version::new(3), Version::new(3)))
        .await;
    assert_eq!(
        event.expect("read").collect().await.expect("read").events.len(),
        1
    );
    provider.close().await.expect("it closes");
    assert_eq!(
        (
            stored(&engine, RUN).await.len(),
            stored(&engine, STREAM_HEAD).await.len()
        ),
        (3, 2)
    );
}

#[tokio::test]
async fn more_than_is_allowed_is_written_with_later_commits() {
    let engine = engine();
    let provider = try_open(&engine, 4_000).await.expect("it opens");
    let log = provider.default_log();
    for round in 0..100 {
        append(&*log, &format!("s{}", round % 10), &["event"]).await;
    }
    let runs = stored(&engine, RUN).await.len();
    assert!((60..100).contains(&runs), "{runs} runs are stored");
    drop((provider, log));
    let (_provider, log) = open(&engine).await;
    for id in 0..10 {
        assert_eq!(texts(&*log, &format!("s{id}")).await.len(), 10);
    }
}

#[tokio::test]
async fn nothing_is_written_later_where_nothing_may_be() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    append(&*log, "a", &["1"]).await;
    append(&*log, "a", &["2"]).await;
    drop((provider, log));
    let provider = try_open(&engine, 0).await.expect("it opens");
    assert!(stored(&engine, SETTLED).await.is_empty());
    let log = provider.default_log();
    append(&*log, "a", &["3"]).await;
    assert_eq!(stored(&engine, RUN).await.len(), 3);
    drop((provider, log));
    let (_provider, log) = open(&engine).await;
    assert_eq!(texts(&*log, "a").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn buffered_append_that_was_derived_and_not_kept_is_gone_as_a_whole() {
    let engine = engine();
    let (_provider, log) = open(&engine).await;
    append(&*log, "a", &["1"]).await;
    engine.fail_next_commit(
        Moment::BeforeApplying,
        kv_core::Error::unavailable("the disk is full", "a fault"),
    );
    let options = AppendOptions::default().durability(eventstore_abstractions::Durability::Buffered);
    let refused = log.append_with(&stream("a"), vec![event("2")], options).await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert_eq!(texts(&*log, "a").await, ["1"]);
    assert_eq!(append(&*log, "a", &["2"]).await, 2);
}

#[tokio::test]
async fn copy_of_a_store_that_was_not_closed_has_everything() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    for text in ["1", "2", "3"] {
        append(&*log, "a", &[text]).await;
    }
    drop((provider, log));
    let target = Arc::new(kv_memory::Store::new());
    let copied = eventstore_kv::copy(&*engine, &*target)
        .await
        .expect("it is copied");
    assert_eq!((copied.streams, copied.events), (1, 3));
    let opened = Provider::open(target, Settings::default())
        .await
        .expect("it opens");
    assert_eq!(texts(&*opened.default_log(), "a").await, ["1", "2", "3"]);
}
