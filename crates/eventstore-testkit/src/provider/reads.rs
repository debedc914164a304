//! That what is read is what was appended, whole, in pages, and without holding all of it.

use eventstore_abstractions::{
    CausationId, Clock, CorrelationId, Error, EventLogExt, EventMessage, EventStoreExt, ExpectedVersion,
    IdempotencyId, LogReadOptions, MessageId, Payload, ReadOptions, Scope, StreamId, Tag, Timestamp, UserId,
    UserSessionId, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, event, refused, sized, stream_id, up_to, versions};

/// A stream that was never written reads as empty, at version 0, and reading does not make it.
pub async fn absent_stream_reads_as_empty(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let before = bench.dump().await;
    let stream = stream_id("absent");
    assert!(bench.events(&stream).await.is_empty());
    assert_eq!(bench.log.version(&stream).await.expect("read"), Version::ZERO);
    let history = bench
        .log
        .read(&stream)
        .await
        .expect("read")
        .collect()
        .await
        .expect("read");
    assert_eq!((history.version(), history.snapshot), (Version::ZERO, None));
    assert!(
        bench
            .log
            .snapshot_versions(&stream)
            .await
            .expect("read")
            .is_empty()
    );
    assert_eq!(bench.dump().await, before);
}

/// Every field of the metadata comes back as it was given, set or not, with the store's own additions beside it.
pub async fn metadata_round_trips(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let messages = [full_message(&stream), event("bare"), empty_metadata()];
    bench
        .log
        .append(&stream, ExpectedVersion::Any, messages.clone())
        .await
        .expect("appended");
    let bench = bench.restart().await;
    let events = bench.events(&stream).await;
    assert_eq!(events.len(), messages.len());
    for (event, message) in events.iter().zip(&messages) {
        assert_eq!(&event.message, message);
        assert_eq!((&event.stream, event.recorded_at), (&stream, bench.clock.now()));
    }
    assert_eq!(bench.all().await, events, "the log gives the same");
}

/// Payloads of every size come back byte for byte, from none at all to what one record can hold.
pub async fn payloads_round_trip(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let limit = bench.max_value_bytes();
    let sizes = [0, 1, 127, 128, 255, 256, 4095, 4096, 65_535, 65_536, limit / 2];
    let sizes = sizes.into_iter().filter(|size| *size <= limit / 2);
    for (index, size) in sizes.enumerate() {
        let stream = stream_id(&format!("size {index}"));
        let message = sized(size);
        let result = bench
            .log
            .append(&stream, ExpectedVersion::NoStream, [message.clone()])
            .await;
        result.unwrap_or_else(|error| panic!("{size} bytes are refused: {error}"));
        let events = bench.events(&stream).await;
        assert!(
            events.len() == 1 && events[0].message == message,
            "{size} bytes come back changed"
        );
    }
}

/// Between half of what a record holds and all of it lies a largest event: it is stored, and above it is refused.
pub async fn largest_event_round_trips(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let limit = bench.max_value_bytes();
    let (mut fits, mut refused) = (limit / 2, limit + 1);
    while refused - fits > limit / 64 {
        let size = fits.midpoint(refused);
        let stream = stream_id(&size.to_string());
        let message = sized(size);
        match bench
            .log
            .append(&stream, ExpectedVersion::NoStream, [message.clone()])
            .await
        {
            Ok(_) => {
                let events = bench.events(&stream).await;
                assert!(
                    events.len() == 1 && events[0].message == message,
                    "{size} bytes come back changed"
                );
                fits = size;
            }
            Err(error) => {
                assert!(
                    matches!(error, Error::InvalidInput { .. }),
                    "{size} bytes: {error:?}"
                );
                assert!(
                    bench.events(&stream).await.is_empty(),
                    "{size} bytes are refused and stored"
                );
                refused = size;
            }
        }
    }
}

/// Pages of every size give the same events; a page size out of range is refused.
pub async fn page_size_changes_nothing_but_the_pages(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for _ in 0..3 {
        bench.append(&stream, 7).await;
        bench.append(&stream_id("other"), 2).await;
    }
    let (events, all) = (bench.events(&stream).await, bench.all().await);
    for page_size in [1, 2, 3, 20, 21, 22, 10_000] {
        let replay = bench
            .log
            .read_stream(&stream, ReadOptions::replay().page_size(page_size))
            .await;
        let read = replay.expect("read").events.collect().await.expect("read");
        assert_eq!(read, events, "pages of {page_size}");
        let read = bench.log.read_all(LogReadOptions::forward().page_size(page_size));
        assert_eq!(read.collect().await.expect("read"), all, "pages of {page_size}");
        let mut read = bench
            .log
            .read_all(LogReadOptions::backward().page_size(page_size))
            .collect()
            .await
            .expect("read");
        read.reverse();
        assert_eq!(read, all, "pages of {page_size}, backward");
    }
    for page_size in [0, 10_001] {
        let result = bench
            .log
            .read_stream(&stream, ReadOptions::replay().page_size(page_size))
            .await;
        refused!(result, Error::InvalidInput { .. });
        let read = bench.log.read_all(LogReadOptions::forward().page_size(page_size));
        refused!(read.collect().await, Error::InvalidInput { .. });
    }
}

/// A read holds a page, or two while it reads ahead, however long the stream is: its first event costs a small part of
/// the whole, and so do those after it.
pub async fn read_holds_a_bounded_amount_of_memory(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await.filled(&stream_id("a"), 10_000).await;
    let bench = bench.settled().await;
    bench.events(&stream_id("a")).await;
    let whole = bench.meter.take().bytes;
    let replay = bench
        .log
        .read_stream(&stream_id("a"), ReadOptions::replay().page_size(10))
        .await;
    let mut events = replay.expect("read").events;
    assert_eq!(
        events.next().await.expect("an event").expect("read").version,
        Version::FIRST
    );
    let first = bench.meter.take().bytes;
    assert!(
        first * 20 < whole,
        "{first} bytes are read for the first event, and {whole} for all"
    );
    let mut all = bench.log.read_all(LogReadOptions::forward().page_size(10));
    all.next().await.expect("an event").expect("read");
    let first = bench.meter.take().bytes;
    assert!(
        first * 20 < whole,
        "{first} bytes are read for the first event of the log"
    );
    for events in [&mut events, &mut all] {
        for _ in 0..500 {
            events.next().await.expect("an event").expect("read");
        }
        // What is read ahead is not there yet, or it is.
        let some = bench.meter.take().bytes;
        assert!(
            some * 5 < whole,
            "{some} bytes are read for 500 events, and {whole} for all"
        );
    }
}

/// A read ends where the stream ended when it began, however much is appended meanwhile.
pub async fn read_ends_where_it_began(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    let stream_read = bench
        .log
        .read_stream(&stream, ReadOptions::replay().page_size(1))
        .await
        .expect("read");
    let mut log_read = bench.log.read_all(LogReadOptions::forward().page_size(1));
    let first = log_read.next().await.expect("an event").expect("read");
    bench.append(&stream, 3).await;
    assert_eq!(
        versions(&stream_read.events.collect().await.expect("read")),
        up_to(3)
    );
    let rest = log_read.collect().await.expect("read");
    assert_eq!((first.version.get(), versions(&rest)), (1, vec![2, 3]));
    assert_eq!(bench.events(&stream).await.len(), 6);
}

/// A read sees what was acknowledged before it began, through the log and through a session.
pub async fn read_sees_what_was_acknowledged(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    for version in 1..=20 {
        session.append([event("x")]).await.expect("appended");
        assert_eq!(versions(&bench.events(&stream).await), up_to(version));
        assert_eq!(
            versions(&session.read().await.expect("read").events),
            up_to(version)
        );
        assert_eq!(
            bench.log.version(&stream).await.expect("read"),
            Version::new(version)
        );
        assert_eq!(session.version().await.expect("read"), Version::new(version));
        assert_eq!(bench.log.head().await.expect("read").get(), version);
    }
}

/// The version of a stream costs the same however long the stream is, for a provider that has just been opened.
pub async fn version_is_read_in_constant_time(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await.filled(&stream_id("short"), 10).await;
    let bench = bench.filled(&stream_id("long"), 5000).await;
    let bench = bench.settled().await.crash().await;
    let mut costs = Vec::new();
    for name in ["short", "long"] {
        bench.meter.take();
        bench.log.version(&stream_id(name)).await.expect("read");
        costs.push(bench.meter.take());
    }
    assert!(costs[1].calls <= costs[0].calls, "{costs:?}");
    assert!(costs[1].bytes <= costs[0].bytes + 64, "{costs:?}");
}

fn full_message(stream: &StreamId) -> EventMessage {
    let mut message = event("full")
        .with_domain(stream.clone())
        .with_correlation_id(CorrelationId::new("correlation ü").expect("valid"))
        .with_causation_id(CausationId::from(MessageId::generate()))
        .with_user_id(UserId::new("user").expect("valid"))
        .with_idempotency_id(IdempotencyId::new("once").expect("valid"))
        .with_sequence_number(Version::FIRST);
    message.metadata.message.schema_version = u32::MAX;
    message.metadata.message.created_at = Timestamp::from_micros(-1);
    let context = &mut message.metadata.context;
    context.partition_id = Some(eventstore_abstractions::Database::default());
    context.received_at = Some(Timestamp::from_micros(i64::MAX));
    context.session_id = Some(UserSessionId::new("user session").expect("valid"));
    context.scopes = ["b", "a", "b"]
        .map(|scope| Scope::new(scope).expect("valid"))
        .to_vec();
    context.tags = ["b", "a", "ü"].map(|tag| Tag::new(tag).expect("valid")).to_vec();
    message
}

/// Metadata at the other end of its ranges.
fn empty_metadata() -> EventMessage {
    let content_type = eventstore_abstractions::ContentType::new("x").expect("valid");
    let mut message = EventMessage::new("y", Payload::new(content_type, "")).expect("valid");
    message.metadata.message.schema_version = 0;
    message.metadata.message.created_at = Timestamp::from_micros(i64::MIN);
    message
}
