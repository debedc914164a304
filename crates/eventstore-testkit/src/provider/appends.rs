//! What an append returns, and what it refuses without a trace.

use std::sync::Arc;

use eventstore_abstractions::{
    AppendOptions, Appended, ContextMetadata, Database, Durability, Error, EventLogExt, EventMessage,
    EventStoreExt, ExpectedVersion, MessageId, Position, Scope, StreamId, Version,
};

use kv_core::KeyValueStore;

use super::ProviderHarness;
use super::bench::{
    Bench, all, append, event, numbered, positions, refused, sized, stream_id, texts, up_to, versions,
};

/// An append returns the stream's new version, the position of its last event, and how many events it appended.
pub async fn append_returns_version_position_and_count(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    assert_eq!(bench.append(&stream_id("a"), 3).await, appended(3, 3, 3));
    assert_eq!(bench.append(&stream_id("b"), 2).await, appended(2, 5, 2));
    let session = bench.session(&stream_id("a")).await;
    assert_eq!(
        session.append(numbered(1)).await.expect("appended"),
        appended(4, 6, 1)
    );
}

/// Events are stored in the order of the list, numbered 1, 2, 3 … over all appends to their stream.
pub async fn events_are_numbered_in_the_order_appended(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for part in [["a", "b"], ["c", "d"], ["e", "f"]] {
        let events = part.map(event);
        bench
            .log
            .append(&stream, ExpectedVersion::Any, events)
            .await
            .expect("appended");
    }
    let events = bench.events(&stream).await;
    assert_eq!(versions(&events), up_to(6));
    assert_eq!(texts(&events), ["a", "b", "c", "d", "e", "f"]);
}

/// An append without events returns the current version and changes nothing.
pub async fn empty_append_returns_the_current_version(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    bench.append(&a, 2).await;
    assert_eq!(bench.append(&a, 0).await, appended(2, 2, 0));
    assert_eq!(bench.append(&b, 0).await, appended(0, 2, 0));
    let session = bench.session(&a).await;
    assert_eq!(
        session.append([]).await.expect("accepted").version,
        Version::new(2)
    );
    assert_eq!(bench.all().await.len(), 2);
}

/// An append without events is refused like any other when its expectation does not hold.
pub async fn empty_append_checks_the_expectation(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let result = bench.log.append(&stream, ExpectedVersion::StreamExists, []).await;
    refused!(result, Error::StoreVersionMismatch { .. });
    bench.append(&stream, 1).await;
    let result = bench
        .log
        .append(&stream, ExpectedVersion::Exact(Version::new(2)), [])
        .await;
    refused!(result, Error::StoreVersionMismatch { .. });
}

/// An append of any number of events is one commit: no partial write can exist.
pub async fn append_is_one_commit(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 1).await;
    let before = bench.engine.commits();
    let count = bench.many_events(1000);
    bench.append(&stream, count).await;
    assert_eq!(bench.engine.commits() - before, 1);
    assert_eq!(versions(&bench.events(&stream).await), up_to(1 + count as u64));
}

/// A buffered append is read at once, like a durable one.
pub async fn buffered_append_is_read_at_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let options = AppendOptions::default().durability(Durability::Buffered);
    let result = bench.log.append_with(&stream, numbered(2), options).await;
    assert_eq!(result.expect("appended"), appended(2, 2, 2));
    assert_eq!(bench.events(&stream).await.len(), 2);
    assert_eq!(
        bench.log.head().await.expect("the head is read"),
        Position::new(2)
    );
}

/// A message that is addressed to another stream or database is refused; one addressed to its own is stored.
pub async fn message_addressed_elsewhere_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let log = &bench.log;
    let result = log
        .append(
            &stream,
            ExpectedVersion::Any,
            [event("x").with_domain(stream_id("b"))],
        )
        .await;
    refused!(result, Error::InvalidInput { .. });
    let result = log
        .append(
            &stream,
            ExpectedVersion::Any,
            [event("x"), in_database("elsewhere")],
        )
        .await;
    refused!(result, Error::InvalidInput { .. });
    let session = bench.session(&stream).await;
    refused!(
        session.append([in_database("elsewhere")]).await,
        Error::InvalidInput { .. }
    );
    session.close().await.expect("closed");
    assert!(bench.all().await.is_empty());

    let own = [
        event("x").with_domain(stream.clone()),
        in_database(log.database().as_str()),
    ];
    assert_eq!(
        log.append(&stream, ExpectedVersion::Any, own)
            .await
            .expect("appended")
            .events,
        2
    );
}

/// A message with more scopes than allowed is refused; one with as many as allowed is stored.
pub async fn too_many_scopes_are_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let most = with_scopes(ContextMetadata::MAX_SCOPES);
    bench
        .log
        .append(&stream, ExpectedVersion::Any, [most])
        .await
        .expect("appended");
    let more = with_scopes(ContextMetadata::MAX_SCOPES + 1);
    let result = bench.log.append(&stream, ExpectedVersion::Any, [more]).await;
    refused!(result, Error::InvalidInput { .. });
    assert_eq!(bench.events(&stream).await.len(), 1);
}

/// An event that no record of the engine can hold is refused by its size, and the stream goes on.
pub async fn oversized_event_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let events = [event("fits"), sized(bench.max_value_bytes() + 1)];
    let result = bench.log.append(&stream, ExpectedVersion::Any, events).await;
    let error = refused!(result, Error::InvalidInput { .. });
    assert!(
        error.to_string().contains("bytes"),
        "{error} does not tell the size"
    );
    assert!(bench.all().await.is_empty());
    assert_eq!(bench.note(&stream, "goes on").await, appended(1, 1, 1));
}

/// An append of more than one commit of the engine can hold is refused whole.
pub async fn oversized_append_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let limits = bench.engine.capabilities();
    let event = sized(limits.max_value_bytes / 2);
    let payload = event.payload.bytes.len();
    let count = limits.max_batch_bytes / payload + 1;
    let events = (0..count).map(|_| event.clone().with_message_id(MessageId::generate()));
    let result = bench
        .log
        .append(&stream, ExpectedVersion::Any, events.collect::<Vec<_>>())
        .await;
    refused!(result, Error::InvalidInput { .. });
    assert_eq!(bench.log.version(&stream).await.expect("read"), Version::ZERO);
    assert_eq!(bench.note(&stream, "goes on").await, appended(1, 1, 1));
}

/// Whatever refuses an append, the engine holds the same bytes as before: no event, no head, no index.
pub async fn failed_append_writes_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (stream, held) = (stream_id("a"), stream_id("held"));
    let known = event("known");
    bench
        .log
        .append(&stream, ExpectedVersion::Any, [known.clone()])
        .await
        .expect("appended");
    let session = bench.session(&held).await;
    let changed = event("other content").with_message_id(known.id());
    let absent = stream_id("absent");
    let refused: Vec<(&str, &StreamId, ExpectedVersion, EventMessage)> = vec![
        ("no stream", &stream, ExpectedVersion::NoStream, event("x")),
        (
            "exact",
            &stream,
            ExpectedVersion::Exact(Version::new(2)),
            event("x"),
        ),
        (
            "sequence number",
            &stream,
            ExpectedVersion::Any,
            event("x").with_sequence_number(Version::new(7)),
        ),
        ("duplicate", &stream, ExpectedVersion::Any, changed),
        (
            "stream",
            &stream,
            ExpectedVersion::Any,
            event("x").with_domain(held.clone()),
        ),
        (
            "database",
            &stream,
            ExpectedVersion::Any,
            in_database("elsewhere"),
        ),
        (
            "size",
            &stream,
            ExpectedVersion::Any,
            sized(bench.max_value_bytes() + 1),
        ),
        (
            "scopes",
            &stream,
            ExpectedVersion::Any,
            with_scopes(ContextMetadata::MAX_SCOPES + 1),
        ),
        ("held", &held, ExpectedVersion::Any, event("x")),
        ("absent", &absent, ExpectedVersion::StreamExists, event("x")),
    ];
    let before = bench.dump().await;
    for (what, stream, expected, last) in refused {
        // What is wrong stands last, after events that could be written.
        let result = bench
            .log
            .append(stream, expected, [event("1"), event("2"), last])
            .await;
        assert!(result.is_err(), "{what}: accepted with {result:?}");
        assert!(
            bench.dump().await == before,
            "{what}: the engine holds something else than before"
        );
    }
    let wrong = event("x").with_sequence_number(Version::new(9));
    assert!(session.append([event("1"), wrong]).await.is_err());
    assert!(
        bench.dump().await == before,
        "session: the engine holds something else than before"
    );
}

/// Streams of one name in two databases are two streams, and each database counts its own positions.
pub async fn databases_are_independent(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let (one, two) = (bench.database("one"), bench.database("two"));
    assert_eq!(append(&*one, &stream, 3).await, appended(3, 3, 3));
    assert_eq!(append(&*two, &stream, 2).await, appended(2, 2, 2));
    assert_eq!(positions(&all(&*one).await), up_to(3));
    assert_eq!(positions(&all(&*two).await), up_to(2));
    assert!(bench.all().await.is_empty());
}

/// A provider that is given invalid settings does not open.
pub async fn settings_are_validated(harness: &dyn ProviderHarness) {
    use eventstore_abstractions::{Clock, Settings};
    let settings = Settings::default().session_timeout(std::time::Duration::ZERO);
    let engine = harness.engine().await.expect("the engine opens");
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::ManualClock::new());
    refused!(
        harness.provider(engine, settings, clock).await,
        Error::InvalidInput { .. }
    );
}

/// The default settings are those of the contract, and the provider says what it was given.
pub async fn settings_have_their_defaults(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let settings = bench.provider.settings();
    assert_eq!(settings.database, Database::default());
    assert_eq!(settings.database.as_str(), "EventStores");
    assert_eq!(settings.session_timeout, super::bench::SESSION);
    assert_eq!(settings.open_timeout, super::bench::OPEN);
    assert_eq!(bench.log.database(), &settings.database);
}

fn appended(version: u64, position: u64, events: u64) -> Appended {
    Appended::new(Version::new(version), Position::new(position), events)
}

fn in_database(name: &str) -> EventMessage {
    let mut message = event("addressed");
    message.metadata.context.partition_id = Some(Database::new(name).expect("a valid name"));
    message
}

fn with_scopes(count: usize) -> EventMessage {
    let mut message = event("scoped");
    message.metadata.context.scopes = (0..count)
        .map(|index| Scope::new(format!("scope {index}")).expect("a valid scope"))
        .collect();
    message
}
