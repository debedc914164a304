//! What the simulation has found about commits that land after their callers were told that nobody knows.

use std::sync::Arc;

use eventstore_abstractions::{
    ContentType, Database, EventLog, EventLogExt, EventMessage, EventStoreProvider, EventStoreProviderExt,
    ExpectedVersion, IdempotencyId, Payload, Settings, StreamId,
};
use eventstore_testkit::fault::FaultStore;
use kv_core::{Error, KeyValueStore, Outcome};

fn event(text: &str) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, text.as_bytes().to_vec());
    EventMessage::new("Noted", payload).expect("a valid name")
}

async fn open(engine: &Arc<FaultStore>) -> Arc<dyn EventLog> {
    open_provider(engine).await.default_log()
}

async fn open_provider(engine: &Arc<FaultStore>) -> Arc<dyn EventStoreProvider> {
    let options = eventstore_kv::Options::default().single_threaded();
    let engine = Arc::clone(engine) as Arc<dyn KeyValueStore>;
    let provider = eventstore_kv::Provider::open_with(engine, Settings::default(), options).await;
    Arc::new(provider.expect("it opens"))
}

fn stream() -> StreamId {
    StreamId::new("case", "a").expect("a valid name")
}

/// The commit lands between the read of the stream's head and that of the ids: the two are of different moments.
#[tokio::test]
async fn retry_that_overlaps_a_straggler_is_recognised() {
    let engine = FaultStore::new(Arc::new(kv_memory::Store::new()));
    let (log, stream) = (open(&engine).await, stream());
    let appended = log.append(&stream, ExpectedVersion::Any, [event("before")]).await;
    appended.expect("it is appended");

    let id = IdempotencyId::new("command").expect("a valid id");
    let command = event("command").with_idempotency_id(id);
    let straggler = engine.detach_next_commit(Error::outcome_unknown("no answer", "time-out"));
    let tried = log.append(&stream, ExpectedVersion::Any, [command.clone()]).await;
    assert!(tried.is_err_and(|error| error.outcome_unknown()));

    // The heads of the database and of the stream are read, then the ids.
    let mut gate = engine.hold_read_after(2);
    let retry = tokio::spawn(async move { log.append(&stream, ExpectedVersion::Any, [command]).await });
    gate.reached().await;
    assert_eq!(straggler.land().await.expect("it lands"), Outcome::Applied);
    gate.release();
    let appended = retry.await.expect("the task ends").expect("it was done before");
    assert_eq!((appended.version.get(), appended.position.get()), (2, 2));
}

/// What is known of a stream must not outlive what is known of its database: the head of the database tells whether
/// the stream has moved.
#[tokio::test]
async fn stream_that_was_read_while_its_database_was_not_is_read_again() {
    let engine = FaultStore::new(Arc::new(kv_memory::Store::new()));
    let (log, stream) = (open(&engine).await, stream());
    let straggler = engine.detach_next_commit(Error::outcome_unknown("no answer", "time-out"));
    let tried = log.append(&stream, ExpectedVersion::Any, [event("first")]).await;
    assert!(tried.is_err_and(|error| error.outcome_unknown()));

    // The head of the database is absent, and whether that is right cannot be seen; the stream is read.
    engine.fail_read_after(1, Error::unavailable("it cannot be read now", "a fault"));
    let tried = log.append(&stream, ExpectedVersion::Any, [event("never")]).await;
    assert!(matches!(
        tried,
        Err(eventstore_abstractions::Error::Unavailable { .. })
    ));
    assert_eq!(straggler.land().await.expect("it lands"), Outcome::Applied);

    let appended = log.append(&stream, ExpectedVersion::Any, [event("second")]).await;
    let appended = appended.expect("it is appended");
    assert_eq!((appended.version.get(), appended.position.get()), (2, 2));
}

/// An answer that writes nothing is true of one moment: as long as a commit to its database may still land, the head is
/// compared once more, whatever other databases do meanwhile.
#[tokio::test]
async fn conflict_is_compared_with_the_head_until_nothing_is_in_doubt() {
    let engine = FaultStore::new(Arc::new(kv_memory::Store::new()));
    let (provider, stream) = (open_provider(&engine).await, stream());
    let other = provider.log(&Database::new("other").expect("a valid name"));
    let log = provider.default_log();
    let append = async |log: &Arc<dyn EventLog>| {
        let appended = log.append(&stream, ExpectedVersion::Any, [event("it")]).await;
        appended.expect("it is appended");
    };
    let commits_of_a_conflict = async || {
        let before = engine.commits();
        let refused = log
            .append(&stream, ExpectedVersion::NoStream, [event("never")])
            .await;
        assert!(matches!(
            refused,
            Err(eventstore_abstractions::Error::StoreVersionMismatch { .. })
        ));
        engine.commits() - before
    };
    append(&log).await;
    assert_eq!(commits_of_a_conflict().await, 0);

    let straggler = engine.detach_next_commit(Error::outcome_unknown("no answer", "time-out"));
    let tried = log.append(&stream, ExpectedVersion::Any, [event("late")]).await;
    assert!(tried.is_err_and(|error| error.outcome_unknown()));
    append(&other).await;
    assert_eq!(commits_of_a_conflict().await, 1);

    // A commit that lands leaves none before it that still could.
    append(&log).await;
    assert_eq!(commits_of_a_conflict().await, 0);
    let late = straggler.land().await.expect("it is told");
    assert!(matches!(late, Outcome::ConditionFailed { .. }));
}
