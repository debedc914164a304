//! What an append may expect of its stream, and that the expectation is checked inside the commit.

use eventstore_abstractions::{
    AppendOptions, Error, EventLogExt, EventStoreExt, ExpectedVersion, StreamId, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, event, refused, stream_id, texts};

const EXACT: fn(u64) -> ExpectedVersion = |version| ExpectedVersion::Exact(Version::new(version));

/// Whether a stream of each of the lengths 0 to 3 takes an append with this expectation.
async fn accepted_at(bench: &Bench<'_>, expected: ExpectedVersion) -> Vec<u64> {
    let mut accepted = Vec::new();
    for length in 0..4 {
        let stream = stream_id(&format!("{expected} {length}"));
        bench.append(&stream, length).await;
        match bench.log.append(&stream, expected, [event("x")]).await {
            Ok(_) => accepted.push(length as u64),
            Err(error) => assert!(error.is_conflict(), "{error:?}"),
        }
        let grown = bench.events(&stream).await.len() - length;
        assert_eq!(
            grown == 1,
            accepted.last() == Some(&(length as u64)),
            "what is stored is what was said"
        );
    }
    accepted
}

/// `Any` accepts a stream at every version.
pub async fn any_version_is_accepted(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    assert_eq!(accepted_at(&bench, ExpectedVersion::Any).await, [0, 1, 2, 3]);
}

/// `NoStream` accepts only a stream without events.
pub async fn no_stream_accepts_an_empty_stream_only(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    assert_eq!(accepted_at(&bench, ExpectedVersion::NoStream).await, [0]);
}

/// `StreamExists` accepts only a stream with events; a session alone does not make one.
pub async fn stream_exists_accepts_streams_with_events_only(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    assert_eq!(
        accepted_at(&bench, ExpectedVersion::StreamExists).await,
        [1, 2, 3]
    );
    let opened = stream_id("opened");
    bench.session(&opened).await.close().await.expect("closed");
    let result = bench
        .log
        .append(&opened, ExpectedVersion::StreamExists, [event("x")])
        .await;
    refused!(result, Error::StoreVersionMismatch { .. });
}

/// `Exact` accepts only the stream at that version; `Exact(0)` is a stream without events.
pub async fn exact_accepts_that_version_only(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for version in 0..4 {
        assert_eq!(accepted_at(&bench, EXACT(version)).await, [version]);
    }
    assert_eq!(
        accepted_at(&bench, ExpectedVersion::Exact(Version::MAX)).await,
        [0; 0]
    );
}

/// A session's append checks its expectation too.
pub async fn session_append_checks_the_expectation(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 2).await;
    let session = bench.session(&stream).await;
    let result = session
        .append_with(vec![event("x")], AppendOptions::expecting(EXACT(1)))
        .await;
    refused!(result, Error::StoreVersionMismatch { .. });
    let result = session
        .append_with(vec![event("x")], AppendOptions::expecting(EXACT(2)))
        .await;
    assert_eq!(result.expect("appended").version, Version::new(3));
}

/// A conflict names the stream, what was expected, and the version that the stream has.
pub async fn mismatch_names_stream_expected_and_actual(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    for expected in [ExpectedVersion::NoStream, EXACT(2), EXACT(4)] {
        let result = bench.log.append(&stream, expected, [event("x")]).await;
        assert_mismatch(result.expect_err("refused"), &stream, expected, 3);
    }
}

/// A message's sequence number is the version that it gets, for each message of an append.
pub async fn sequence_number_that_matches_is_accepted(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 2).await;
    let events = [numbered_at("c", 3), event("d"), numbered_at("e", 5)];
    bench
        .log
        .append(&stream, ExpectedVersion::Any, events)
        .await
        .expect("appended");
    assert_eq!(texts(&bench.events(&stream).await[2..]), ["c", "d", "e"]);
}

/// A message whose sequence number is not the version that it would get is a conflict for the whole append.
pub async fn sequence_number_must_match(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 2).await;
    for (events, expected, actual) in [
        (vec![numbered_at("x", 2)], 1, 2),
        (vec![numbered_at("x", 4)], 3, 2),
        (vec![event("x"), numbered_at("y", 3)], 2, 3),
        (vec![numbered_at("x", 3), numbered_at("y", 5)], 4, 3),
        (vec![numbered_at("x", 3), event("y"), numbered_at("z", 1)], 0, 4),
    ] {
        let result = bench.log.append(&stream, ExpectedVersion::Any, events).await;
        assert_mismatch(result.expect_err("refused"), &stream, EXACT(expected), actual);
        assert_eq!(bench.events(&stream).await.len(), 2, "nothing is written");
    }
    let session = bench.session(&stream).await;
    refused!(
        session.append([event("x"), numbered_at("y", 9)]).await,
        Error::StoreVersionMismatch { .. }
    );
    assert_eq!(session.version().await.expect("read"), Version::new(2));
}

fn numbered_at(text: &str, version: u64) -> eventstore_abstractions::EventMessage {
    event(text).with_sequence_number(Version::new(version))
}

fn assert_mismatch(error: Error, in_stream: &StreamId, wanted: ExpectedVersion, at: u64) {
    match error {
        Error::StoreVersionMismatch {
            stream,
            expected,
            actual,
        } => {
            assert_eq!((&stream, expected, actual), (in_stream, wanted, Version::new(at)));
        }
        other => panic!("{other:?} is not a version mismatch"),
    }
}
