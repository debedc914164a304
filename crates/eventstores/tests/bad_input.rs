//! Whatever a caller gets wrong is an error that says what is right, and nothing is written.
#![cfg(feature = "memory")]

use std::sync::Arc;
use std::time::Duration;

use eventstores::{
    ContentType, ContextMetadata, Database, Error, EventLog, EventLogExt, EventMessage, EventStoreExt,
    EventStoreProvider, EventStoreProviderExt, ExpectedVersion, IdempotencyId, LogReadOptions, MessageId,
    OpenOptions, Payload, ReadOptions, Scope, StreamId, Timestamp, Version,
};

/// More than any backend keeps in one record.
const TOO_LARGE: usize = 17 << 20;

/// A provider whose stream `alice` has two events and a snapshot at 1.
async fn provider() -> Arc<dyn EventStoreProvider> {
    let provider = eventstores::connect("memory:").await.expect("it opens");
    let log = provider.default_log();
    let appended = log
        .append(&alice(), ExpectedVersion::Any, [event(1), event(2)])
        .await;
    appended.expect("appended");
    log.snapshot(&alice(), Version::FIRST, event(1))
        .await
        .expect("stored");
    provider
}

fn alice() -> StreamId {
    StreamId::new("account", "alice").expect("a valid name")
}

fn event(number: u64) -> EventMessage {
    EventMessage::json("Noted", &number).expect("it encodes")
}

fn large() -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, vec![7; TOO_LARGE]);
    EventMessage::new("Large", payload).expect("a valid type name")
}

/// Asserts that a call was refused with a text that has `remedy` in it.
#[track_caller]
fn refused<T>(result: Result<T, Error>, remedy: &str) {
    let Err(error) = result else {
        panic!("accepted, and not refused with {remedy:?}");
    };
    assert!(error.to_string().contains(remedy), "no {remedy:?} in: {error}");
}

/// Asserts that the store has what [`provider`] put there and nothing else.
async fn check_unchanged(log: &dyn EventLog) {
    assert_eq!(log.head().await.expect("read").get(), 2);
    let snapshots = log.snapshot_versions(&alice()).await.expect("read");
    assert_eq!(snapshots, [Version::FIRST]);
    let newest = log.read_snapshot(&alice(), Version::MAX).await.expect("read");
    assert_eq!(newest.expect("it is there").message.payload, event(1).payload);
}

#[test]
fn bad_names_say_what_is_possible() {
    let long = |bytes: usize| "n".repeat(bytes + 1);
    for (text, remedy) in [
        (String::new(), "give it at least one character"),
        (long(StreamId::MAX_ID_BYTES), "shorten it"),
        ("a\0b".to_owned(), "control character U+0000; remove it"),
        ("a\u{9f}".to_owned(), "control character U+009F; remove it"),
    ] {
        refused(StreamId::new(text.clone(), "id"), remedy);
        refused(StreamId::new("category", text.clone()), remedy);
        refused(Database::new(text.clone()), remedy);
        refused(IdempotencyId::new(text), remedy);
    }
    refused("me".parse::<MessageId>(), "write a UUID");
    refused("noon".parse::<Timestamp>(), "write it like 2026-");
}

#[tokio::test]
async fn bad_appends_say_what_is_possible_and_write_nothing() {
    let log = provider().await.default_log();
    let other = StreamId::new("account", "bob").expect("a valid name");
    let mut elsewhere = event(3);
    elsewhere.metadata.context.partition_id = Some(Database::new("other").expect("a valid name"));
    let mut scoped = event(3);
    let scope = Scope::new("audit").expect("a valid scope");
    scoped.metadata.context.scopes = vec![scope; ContextMetadata::MAX_SCOPES + 1];
    let twice = event(3);
    let many = (0..8).map(|_| {
        let payload = Payload::new(ContentType::OCTET_STREAM, vec![7; TOO_LARGE / 2]);
        EventMessage::new("Large", payload).expect("a valid type name")
    });
    for (events, remedy) in [
        (
            vec![large()],
            "make the payload smaller, or keep large content elsewhere",
        ),
        (many.collect(), "split it into several appends"),
        (vec![event(3).with_domain(other)], "write it to its own stream"),
        (vec![elsewhere], "write it to its own database"),
        (vec![scoped], "at most 64 are possible; use fewer"),
        (vec![twice.clone(), twice], "give each event its own"),
        (
            vec![event(3).with_sequence_number(Version::ZERO)],
            "versions start at 1",
        ),
        (
            vec![event(3).with_sequence_number(Version::new(9))],
            "read it again and decide anew",
        ),
    ] {
        let events = [vec![event(3)], events].concat();
        refused(log.append(&alice(), ExpectedVersion::Any, events).await, remedy);
    }
    for expected in [ExpectedVersion::NoStream, Version::new(9).into()] {
        let result = log.append(&alice(), expected, [event(3)]).await;
        refused(result, "it is at version 2; read it again and decide anew");
    }
    let absent = StreamId::new("account", "absent").expect("a valid name");
    let result = log.append(&absent, ExpectedVersion::StreamExists, []).await;
    refused(result, "it has no events; read it again");
    check_unchanged(&*log).await;
}

#[tokio::test]
async fn empty_append_writes_nothing() {
    let log = provider().await.default_log();
    let appended = log.append(&alice(), ExpectedVersion::Any, []).await;
    assert_eq!(appended.expect("accepted").version, Version::new(2));
    check_unchanged(&*log).await;
}

#[tokio::test]
async fn bad_snapshots_say_what_is_possible_and_write_nothing() {
    let log = provider().await.default_log();
    let (above, absent) = (
        Version::new(3),
        StreamId::new("account", "absent").expect("a valid name"),
    );
    refused(
        log.snapshot(&alice(), above, event(3)).await,
        "it is at version 2; use one that it has",
    );
    refused(
        log.snapshot(&absent, Version::FIRST, event(3)).await,
        "it has no events; use one",
    );
    refused(
        log.snapshot(&alice(), Version::ZERO, event(3)).await,
        "versions start at 1",
    );
    refused(
        log.snapshot(&alice(), Version::FIRST, large()).await,
        "make the payload smaller",
    );
    refused(
        log.clear_snapshot(&alice(), above).await,
        "ask for the versions that there are",
    );
    check_unchanged(&*log).await;
}

#[tokio::test]
async fn bad_reads_say_what_is_possible() {
    let log = provider().await.default_log();
    for pages in [0, 10_001] {
        let options = ReadOptions::replay().page_size(pages);
        refused(log.read_stream(&alice(), options).await, "use 1 to 10000");
        let options = LogReadOptions::forward().page_size(pages);
        refused(log.read_all(options).collect().await, "use 1 to 10000");
    }
    let above = ReadOptions::as_of(Version::new(3));
    refused(
        log.read_stream(&alice(), above).await,
        "it is at version 2; use one that it has",
    );
    let absent = IdempotencyId::new("absent").expect("a valid id").into();
    refused(
        log.find_append(&alice(), &absent).await,
        "the append that used it did not happen",
    );
}

#[tokio::test]
async fn bad_sessions_say_what_is_possible_and_write_nothing() {
    let provider = provider().await;
    let log = provider.default_log();
    let open = async |options: OpenOptions| provider.open_with(log.database(), &alice(), options).await;
    let options = OpenOptions::default;
    refused(open(options().owner("")).await, "give it at least one character");
    refused(open(options().owner("n".repeat(256))).await, "shorten it");
    refused(
        open(options().session_timeout(Duration::ZERO)).await,
        "use 10ms to 86400s",
    );
    refused(
        open(options().open_timeout(Duration::MAX)).await,
        "use at most 3600s",
    );
    refused(provider.open_for(&event(3).metadata).await, "with_domain");

    let store = provider.open(&alice()).await.expect("the stream is free");
    refused(store.snapshot_all(0, |_, _| Ok(event(0))).await, "use 1 or more");
    refused(store.renew(Some(Duration::MAX)).await, "use 10ms to 86400s");
    let no_wait = options().open_timeout(Duration::ZERO);
    refused(open(no_wait).await, "try later or with a longer open time-out");
    let result = log.append(&alice(), ExpectedVersion::Any, [event(3)]).await;
    refused(result, "open a session to write to it, or try later");
    store.close().await.expect("closed");
    refused(store.append([event(3)]).await, "open it again");
    check_unchanged(&*log).await;
}
