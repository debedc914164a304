//! Requests that wait for one commit share the next: each is decided on what those before it lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eventstore_abstractions::{
    Appended, ContentType, Error, EventLog, EventLogExt, EventMessage, EventStoreProviderExt,
    ExpectedVersion, IdempotencyId, MessageId, Payload, Result, Settings, StreamId, Version,
};
use eventstore_kv::{Options, Provider};
use eventstore_testkit::fault::{FaultStore, Moment};
use kv_core::{Batch, Bytes, Capabilities, Durability, KeyValueStore, Outcome, Page, Scan};
use tokio::task::{JoinHandle, yield_now};
use uuid::Uuid;

/// More than the sequencer needs to take what is queued.
const TURNS: usize = 1_000;

fn event(text: &str) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, text.as_bytes().to_vec());
    EventMessage::new("Noted", payload).expect("a valid name")
}

fn command(text: &str, id: &str) -> EventMessage {
    event(text).with_idempotency_id(IdempotencyId::new(id).expect("a valid id"))
}

/// An event whose id does not tell its time.
fn unsorted(number: u128) -> EventMessage {
    let mut event = event("unsorted");
    event.metadata.message.id = MessageId::from_uuid(Uuid::from_u128(number));
    event
}

fn stream() -> StreamId {
    StreamId::new("case", "a").expect("a valid name")
}

async fn open(engine: Arc<FaultStore>) -> Arc<dyn EventLog> {
    let options = Options::default().single_threaded();
    let provider = Provider::open_with(engine, Settings::default(), options).await;
    provider.expect("it opens").default_log()
}

/// Queues a task for each append, has them decided while a commit before them waits, and gives what each was told, how
/// many commits they took, and the version of the stream then.
async fn together(appends: Vec<Vec<EventMessage>>) -> (Vec<Result<Appended>>, u64, Version) {
    let engine = FaultStore::new(Arc::new(kv_memory::Store::new()));
    let log = open(Arc::clone(&engine)).await;
    let append = |events: Vec<EventMessage>| -> JoinHandle<Result<Appended>> {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.append(&stream(), ExpectedVersion::Any, events).await })
    };
    let mut gate = engine.hold_next_commit(Moment::BeforeApplying);
    let first = append(vec![event("first")]);
    gate.reached().await;
    let before = engine.commits();
    let tasks: Vec<_> = appends.into_iter().map(append).collect();
    for _ in 0..TURNS {
        yield_now().await;
    }
    gate.release();
    first.await.expect("the task ends").expect("it is appended");
    let mut told = Vec::new();
    for task in tasks {
        told.push(task.await.expect("the task ends"));
    }
    let version = log.version(&stream()).await.expect("it is read");
    (told, engine.commits() - before, version)
}

#[tokio::test]
async fn appends_to_one_stream_share_a_commit() {
    // That none of them is a retry is known without looking at what is stored, whatever their ids.
    let appends = vec![
        vec![event("1")],
        vec![unsorted(1)],
        vec![unsorted(2), event("2")],
        vec![command("3", "c"), command("4", "c")],
        vec![command("5", "d")],
    ];
    let (told, commits, version) = together(appends).await;
    let versions: Vec<_> = told
        .into_iter()
        .map(|told| told.expect("it is appended").version.get())
        .collect();
    assert_eq!((versions, commits), (vec![2, 3, 5, 7, 8], 1));
    assert_eq!(version.get(), 8);
}

#[tokio::test]
async fn retry_of_what_waits_is_recognised() {
    for events in [
        vec![event("1"), event("2")],
        vec![unsorted(1)],
        vec![event("1"), unsorted(1)],
    ] {
        let (told, _, version) = together(vec![events.clone(), events.clone()]).await;
        let told: Vec<_> = told.into_iter().map(|told| told.expect("it is done")).collect();
        assert_eq!(told[0], told[1]);
        assert_eq!(version.get(), 1 + events.len() as u64);
    }
}

#[tokio::test]
async fn command_that_runs_again_while_it_waits_is_recognised() {
    let run = || vec![command("1", "c"), command("2", "c")];
    let (told, _, version) = together(vec![run(), run()]).await;
    let told: Vec<_> = told.into_iter().map(|told| told.expect("it is done")).collect();
    assert_eq!(told[0], told[1]);
    assert_eq!(version.get(), 3);
}

#[tokio::test]
async fn id_of_what_waits_is_refused_with_other_content() {
    let (told, _, version) = together(vec![vec![command("1", "c")], vec![command("2", "c")]]).await;
    let [
        Ok(first),
        Err(Error::DuplicateIdempotencyId { version: used, .. }),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((first.version, *used), (version, version));
}

#[tokio::test]
async fn read_that_fails_is_told_and_not_tried_again() {
    let engine = FaultStore::new(Arc::new(kv_memory::Store::new()));
    let log = open(Arc::clone(&engine)).await;
    engine.fail_next_read(kv_core::Error::unavailable("it cannot be read now", "a fault"));
    let append = async || {
        log.append(&stream(), ExpectedVersion::NoStream, [event("1")])
            .await
    };
    let refused = append().await;
    assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
    assert_eq!(append().await.expect("it is appended").version.get(), 1);
}

/// An engine in memory to which somebody else is always first, once it is told so.
#[derive(Debug)]
struct Losing {
    store: kv_memory::Store,
    loses: Arc<AtomicBool>,
}

#[async_trait]
impl KeyValueStore for Losing {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn get(&self, key: &[u8]) -> kv_core::Result<Option<Bytes>> {
        self.store.get(key).await
    }

    async fn scan(&self, scan: Scan) -> kv_core::Result<Page> {
        self.store.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> kv_core::Result<Outcome> {
        if self.loses.load(Ordering::SeqCst) {
            return Ok(Outcome::ConditionFailed { condition: 0 });
        }
        self.store.commit(batch, durability).await
    }

    async fn close(&self) -> kv_core::Result<()> {
        self.store.close().await
    }
}

#[tokio::test]
async fn commit_that_always_loses_is_given_up() {
    let loses = Arc::new(AtomicBool::new(false));
    let losing = Losing {
        store: kv_memory::Store::new(),
        loses: Arc::clone(&loses),
    };
    let engine = FaultStore::new(Arc::new(losing));
    let log = open(Arc::clone(&engine)).await;
    let append = async || log.append(&stream(), ExpectedVersion::Any, [event("1")]).await;
    // It is tried as often each time.
    for _ in 0..2 {
        loses.store(true, Ordering::SeqCst);
        let before = engine.commits();
        let refused = append().await;
        assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
        assert_eq!(engine.commits() - before, 64);
        loses.store(false, Ordering::SeqCst);
        append().await.expect("it is appended");
    }
}
