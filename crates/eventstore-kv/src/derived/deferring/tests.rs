use std::sync::Arc;

use eventstore_abstractions::StreamId;

use super::*;
use crate::derived::DerivedStream;

/// The key of a stream's head.
fn head() -> Bytes {
    let stream = StreamId::new("case", "a").expect("valid");
    keys::stream_head(&Database::default(), &stream)
}

async fn write(deferring: &Deferring<Arc<dyn KeyValueStore>>, key: Bytes, value: &'static str) {
    let written = deferring.commit_straight(Batch::new().put(key, value), Durability::Buffered);
    assert_eq!(written.await.expect("it is written"), Outcome::Applied);
}

#[tokio::test]
async fn head_that_is_written_straight_to_the_engine_is_read_and_remembered_anew() {
    let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
    let deferring = Deferring::open(engine, 1 << 20, 10).await.expect("it opens");
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

/// An engine with the head of a database, and in memory the head of a stream that a later commit has led to.
async fn with_something_pending() -> (Arc<dyn KeyValueStore>, Deferring<Arc<dyn KeyValueStore>>) {
    let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
    let deferring = Deferring::open(Arc::clone(&engine), 1 << 20, 10)
        .await
        .expect("it opens");
    for position in 1..=2 {
        let (head_key, head) = (
            keys::database_head(&Database::default()),
            Bytes::from(vec![position]),
        );
        let derivation = Derivation {
            database: Database::default(),
            head_key: head_key.clone(),
            head: head.clone(),
            position: position.into(),
            streams: vec![DerivedStream {
                head_key: self::head(),
                is_direct: false,
                head: Some(Bytes::from_static(b"stream")),
                runs: Vec::new(),
            }],
        };
        let batch = Batch::new().put(head_key, head);
        let committed = deferring.commit_deriving(batch, vec![derivation], Durability::Durable);
        assert_eq!(committed.await.expect("it commits"), Outcome::Applied);
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
