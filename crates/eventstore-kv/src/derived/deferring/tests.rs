use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use eventstore_abstractions::{StreamId, Version};
use kv_core::{Capabilities, Page, Scan};

use super::*;
use crate::derived::DerivedStream;

fn stream(id: impl ToString) -> StreamId {
    StreamId::new("case", id.to_string()).expect("valid")
}

/// The key of a stream's head.
fn head_of(id: impl ToString) -> Bytes {
    keys::stream_head(&Database::default(), &stream(id))
}

fn head() -> Bytes {
    head_of("a")
}

async fn write(deferring: &Deferring<Arc<dyn KeyValueStore>>, key: Bytes, value: &'static str) {
    let written = deferring.commit_straight(Batch::new().put(key, value), Durability::Buffered);
    assert_eq!(written.await.expect("it is written"), Outcome::Applied);
}

#[tokio::test]
async fn head_that_is_written_straight_to_the_engine_is_read_and_remembered_anew() {
    let deferring = over(Arc::new(kv_memory::Store::new())).await;
    let remembered = || deferring.pending.read().stored.get(&head()).cloned();
    for value in ["1", "2"] {
        write(&deferring, head(), value).await;
        assert_eq!(remembered(), None);
        assert_eq!(
            deferring.get(&head()).await.expect("it is read"),
            Some(value.into())
        );
        assert_eq!(remembered(), Some(value.into()));
    }
    // What is no head changes nothing of that.
    write(&deferring, keys::database_head(&Database::default()), "3").await;
    assert_eq!(remembered(), Some("2".into()));
}

async fn over(engine: Arc<dyn KeyValueStore>) -> Deferring<Arc<dyn KeyValueStore>> {
    let opened = Deferring::open(engine, 1 << 20, 10).await;
    opened.expect("it opens")
}

/// The head of a stream that a commit leads to.
fn headed(id: impl ToString) -> DerivedStream {
    DerivedStream {
        head_key: head_of(id),
        is_direct: false,
        head: Some(Bytes::from_static(b"stream")),
        runs: Vec::new(),
    }
}

/// Commits what moves the database to `position` and leads to `streams`.
async fn commit(deferring: &Deferring<Arc<dyn KeyValueStore>>, position: u8, streams: Vec<DerivedStream>) {
    let head_key = keys::database_head(&Database::default());
    let head = Bytes::from(vec![position]);
    let derivation = Derivation {
        database: Database::default(),
        head_key: head_key.clone(),
        head: head.clone(),
        position: position.into(),
        streams,
    };
    let batch = Batch::new().put(head_key, head);
    let committed = deferring.commit_deriving(batch, vec![derivation], Durability::Durable);
    assert_eq!(committed.await.expect("it commits"), Outcome::Applied);
}

/// An engine with the head of a database, and in memory the head of a stream that a later commit has led to.
async fn with_something_pending() -> (Arc<dyn KeyValueStore>, Deferring<Arc<dyn KeyValueStore>>) {
    let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
    let deferring = over(Arc::clone(&engine)).await;
    for position in 1..=2 {
        commit(&deferring, position, vec![headed("a")]).await;
    }
    (engine, deferring)
}

#[tokio::test]
async fn what_is_pending_is_written_only_where_its_database_has_not_moved() {
    let (engine, deferring) = with_something_pending().await;
    deferring.settle_some().await.expect("it is tried");
    let written = engine.get(&head()).await.expect("it is read");
    assert_eq!(written.as_deref(), Some(&b"stream"[..]));
    assert!(deferring.is_settled() && !deferring.doubts.is_any());

    let (engine, deferring) = with_something_pending().await;
    let moved = Batch::new().put(keys::database_head(&Database::default()), "moved");
    let moved = engine.commit(moved, Durability::Durable).await;
    assert_eq!(moved.expect("it commits"), Outcome::Applied);
    deferring.settle_some().await.expect("it is tried");
    assert_eq!(engine.get(&head()).await.expect("it is read"), None);
    assert!(!deferring.is_settled() && deferring.doubts.is_any());
}

#[tokio::test]
async fn what_is_read_together_is_found_in_memory_and_in_the_engine() {
    let (engine, deferring) = with_something_pending().await;
    let written = Batch::new().put(head_of("b"), "written");
    let written = engine.commit(written, Durability::Durable).await;
    assert_eq!(written.expect("it commits"), Outcome::Applied);
    let heads = ["c", "a", "b", "d", "a"].map(head_of);
    let found = deferring.get_many(&heads).await.expect("they are read");
    let (pending, written) = (Some("stream".into()), Some("written".into()));
    assert_eq!(found, [None, pending.clone(), written, None, pending]);
}

/// An engine in memory to which somebody else is first now and then when what was put off is written, which is so one part
/// at a time.
#[derive(Debug)]
struct Contested {
    store: kv_memory::Store,
    /// Which of these tries succeed, counted from 0.
    succeeds: fn(usize) -> bool,
    tries: AtomicUsize,
}

#[async_trait]
impl KeyValueStore for Contested {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_batch_operations: 1,
            ..self.store.capabilities()
        }
    }

    async fn get(&self, key: &[u8]) -> kv_core::Result<Option<Bytes>> {
        self.store.get(key).await
    }

    async fn scan(&self, scan: Scan) -> kv_core::Result<Page> {
        self.store.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> kv_core::Result<Outcome> {
        let is_put_off = durability == Durability::Buffered;
        if is_put_off && !(self.succeeds)(self.tries.fetch_add(1, Ordering::SeqCst)) {
            return Ok(Outcome::ConditionFailed { condition: 0 });
        }
        self.store.commit(batch, durability).await
    }

    async fn close(&self) -> kv_core::Result<()> {
        self.store.close().await
    }
}

/// Writes more parts than there are tries for one, and says how often that was tried.
async fn settled(succeeds: fn(usize) -> bool) -> (kv_core::Result<()>, usize) {
    let engine = Arc::new(Contested {
        store: kv_memory::Store::new(),
        succeeds,
        tries: AtomicUsize::new(0),
    });
    let deferring = over(Arc::clone(&engine) as Arc<dyn KeyValueStore>).await;
    for position in 1..=100 {
        commit(&deferring, position, vec![headed(position)]).await;
    }
    let settled = deferring.settle().await;
    (settled, engine.tries.load(Ordering::SeqCst))
}

#[tokio::test]
async fn writing_goes_on_as_long_as_it_gets_on() {
    let (settled, tries) = settled(|at| at % 2 == 1).await;
    settled.expect("each of the 99 parts is written at the second try");
    assert_eq!(tries, 198);
}

#[tokio::test]
async fn writing_that_does_not_get_on_is_given_up() {
    let (settled, tries) = settled(|at| at >= 1_000).await;
    let refused = settled.expect_err("somebody else is always first");
    assert!(matches!(&refused, Error::Unavailable { .. }), "{refused}");
    assert_eq!(tries, MAX_ATTEMPTS);
}

#[tokio::test]
async fn commit_that_adds_to_too_much_writes_twice_as_many_of_the_oldest() {
    let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
    let mut deferring = over(Arc::clone(&engine)).await;
    for position in 1..=20 {
        commit(&deferring, position, vec![headed(position)]).await;
    }
    deferring.max_bytes = 0;
    let added = [("a", 2), ("b", 1)].map(|(id, runs)| DerivedStream {
        runs: (1..=runs)
            .map(|version| {
                let key = keys::run(&Database::default(), &stream(id), Version::new(version));
                (key, Bytes::from_static(b"run"))
            })
            .collect(),
        ..headed(id)
    });
    commit(&deferring, 21, added.into()).await;
    let mut written = Vec::new();
    for position in 1..=20 {
        if engine
            .get(&head_of(position))
            .await
            .expect("it is read")
            .is_some()
        {
            written.push(position);
        }
    }
    // Two heads and three runs were added; the first commit to a database puts nothing off.
    assert_eq!(written, (2..=11).collect::<Vec<_>>());
}
