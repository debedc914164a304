//! Appends to several streams at once: all of it or nothing.

use eventstore_abstractions::{
    Appended, Error, EventLogExt, ExpectedVersion, IdempotencyId, MultiAppend, MultiAppended, Position,
    Version,
};

use kv_core::KeyValueStore;

use super::ProviderHarness;
use super::bench::{Bench, event, numbered, positions, refused, sized, stream_id, texts, unknown, up_to};
use crate::fault::Moment;

const fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version))
}

fn appended(version: u64, position: u64, events: u64) -> Appended {
    Appended::new(Version::new(version), Position::new(position), events)
}

/// Events of any number to any number of streams are one commit.
pub async fn multi_append_is_one_commit(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let streams = ["a", "b", "c"].map(stream_id);
    let all = |append: MultiAppend, stream| append.to(stream, ExpectedVersion::NoStream, numbered(100));
    let append = streams.iter().fold(MultiAppend::new(), all);
    let before = bench.engine.commits();
    bench.log.append_all(append).await.expect("appended");
    assert_eq!(bench.engine.commits() - before, 1);
    for stream in &streams {
        assert_eq!(bench.events(stream).await.len(), 100);
    }
    assert_eq!(positions(&bench.all().await), up_to(300));
}

/// Positions are given in the order in which streams are named, and each stream is told its own outcome.
pub async fn multi_append_positions_follow_the_order_given(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(stream_id);
    bench.append(&d, 1).await;
    let append = MultiAppend::new()
        .to(&c, ExpectedVersion::NoStream, ["c1", "c2"].map(event))
        .require(&d, exact(1))
        .to(&a, ExpectedVersion::Any, [event("a1")])
        .to(&b, ExpectedVersion::Any, [event("b1")]);
    let told = bench.log.append_all(append).await.expect("appended");
    let outcomes = [(2, 3, 2), (1, 3, 0), (1, 4, 1), (1, 5, 1)];
    let outcomes = outcomes.map(|(version, position, events)| appended(version, position, events));
    assert_eq!(told, MultiAppended::new(outcomes.to_vec(), Position::new(5)));
    assert_eq!(texts(&bench.all().await)[1..], ["c1", "c2", "a1", "b1"]);
}

/// Where one stream is not as expected, nothing is written to any.
pub async fn failed_multi_append_writes_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    bench.append(&a, 1).await;
    let before = bench.dump().await;
    for (one, other) in [(exact(1), exact(1)), (exact(0), exact(0))] {
        let append = MultiAppend::new()
            .to(&a, one, [event("a")])
            .to(&b, other, [event("b")]);
        let error = refused!(
            bench.log.append_all(append).await,
            Error::StoreVersionMismatch { .. }
        );
        assert!(error.is_conflict());
    }
    let numbered = event("a").with_sequence_number(Version::new(3));
    let append = MultiAppend::new().to(&b, ExpectedVersion::Any, [event("b")]).to(
        &a,
        ExpectedVersion::Any,
        [numbered],
    );
    refused!(
        bench.log.append_all(append).await,
        Error::StoreVersionMismatch { .. }
    );
    assert!(bench.dump().await == before, "a refused append left something");
}

/// A stream that is not written must be as required all the same.
pub async fn multi_append_checks_streams_not_written(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    bench.append(&b, 2).await;
    for expected in [exact(1), exact(3), ExpectedVersion::NoStream] {
        let append = MultiAppend::new()
            .to(&a, ExpectedVersion::Any, [event("a")])
            .require(&b, expected);
        match bench.log.append_all(append).await {
            Err(Error::StoreVersionMismatch { stream, actual, .. }) => {
                assert_eq!((stream, actual.get()), (b.clone(), 2));
            }
            other => panic!("{expected:?} of a stream at version 2 gave {other:?}"),
        }
    }
    let append = MultiAppend::new()
        .to(&a, ExpectedVersion::NoStream, [event("a")])
        .require(&b, exact(2));
    bench.log.append_all(append).await.expect("it is as required");
    assert_eq!(bench.all().await.len(), 3);
}

/// A stream that is named twice is refused, and so is an append that names none.
pub async fn stream_named_twice_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let a = stream_id("a");
    let twice = MultiAppend::new()
        .to(&a, ExpectedVersion::Any, [event("1")])
        .require(&a, ExpectedVersion::NoStream);
    for append in [twice, MultiAppend::new()] {
        refused!(bench.log.append_all(append).await, Error::InvalidInput { .. });
    }
    assert!(bench.all().await.is_empty());
}

/// An append to several streams that is tried again gives its first outcome: with the same messages, with new ones of
/// the same idempotency ids, and where nobody knows what became of the first try.
pub async fn retry_of_a_multi_append_applies_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let to = |name: &str, events: [Vec<_>; 2]| {
        let [a, b] = events;
        MultiAppend::new()
            .to(&stream_id(&format!("{name} a")), ExpectedVersion::NoStream, a)
            .to(&stream_id(&format!("{name} b")), ExpectedVersion::NoStream, b)
    };
    let messages = to("messages", [numbered(3), numbered(2)]);
    let first = bench.log.append_all(messages.clone()).await.expect("appended");
    bench.append(&stream_id("other"), 1).await;
    let again = bench.log.append_all(messages).await;
    assert_eq!(again.expect("recognised"), first);
    let keyed = |text| event(text).with_idempotency_id(IdempotencyId::new("command").expect("valid"));
    let command = || to("command", [vec![keyed("1"), keyed("2")], vec![keyed("3")]]);
    let first = bench.log.append_all(command()).await.expect("appended");
    let again = bench.log.append_all(command()).await;
    assert_eq!(again.expect("recognised"), first);
    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        let lost = to(&format!("{moment:?}"), [numbered(2), numbered(1)]);
        bench.engine.fail_next_commit(moment, unknown());
        let outcome = bench.log.append_all(lost.clone()).await;
        refused!(outcome, Error::OutcomeUnknown { .. });
        let retry = bench.log.append_all(lost.clone()).await;
        let retry = retry.expect("appended or recognised");
        let again = bench.log.append_all(lost).await;
        assert_eq!(again.expect("recognised"), retry, "{moment:?}");
    }
    assert_eq!(bench.all().await.len(), 5 + 1 + 3 + 3 + 3);
}

/// An append whose ids are known in some of its streams only was not done, and cannot be.
pub async fn multi_append_known_in_part_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    let known = event("known");
    let first = bench.log.append(&a, ExpectedVersion::Any, [known.clone()]).await;
    first.expect("appended");
    for order in [[&a, &b], [&b, &a]] {
        let append = order.into_iter().fold(MultiAppend::new(), |append, stream| {
            let event = if *stream == a { known.clone() } else { event("new") };
            append.to(stream, ExpectedVersion::Any, [event])
        });
        match bench.log.append_all(append).await {
            Err(Error::DuplicateIdempotencyId { stream, version, .. }) => {
                assert_eq!((stream, version), (a.clone(), Version::FIRST));
            }
            other => panic!("an append that is known in part gave {other:?}"),
        }
    }
    let changed = event("changed").with_message_id(known.id());
    let append = MultiAppend::new()
        .to(&b, ExpectedVersion::Any, [event("new")])
        .to(&a, ExpectedVersion::Any, [changed]);
    refused!(
        bench.log.append_all(append).await,
        Error::DuplicateIdempotencyId { .. }
    );
    assert_eq!(texts(&bench.all().await), ["known"]);
}

/// A stream that a session holds refuses the whole append; one that is only required may be held.
pub async fn held_stream_refuses_a_multi_append(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    let session = bench.session(&b).await;
    let append = MultiAppend::new().to(&a, ExpectedVersion::Any, [event("a")]).to(
        &b,
        ExpectedVersion::Any,
        [event("b")],
    );
    match bench.log.append_all(append).await {
        Err(Error::StreamHeld { stream, held_by }) => {
            assert_eq!((stream, held_by.session), (b.clone(), session.session().id));
        }
        other => panic!("a write past a session gave {other:?}"),
    }
    assert!(bench.all().await.is_empty(), "a refused append left something");
    let append = MultiAppend::new()
        .to(&a, ExpectedVersion::Any, [event("a")])
        .require(&b, ExpectedVersion::NoStream);
    bench
        .log
        .append_all(append)
        .await
        .expect("the held stream is only read");
}

/// Events that are too many, or too large, for one commit are refused as a whole, over however many streams they are.
pub async fn oversized_multi_append_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let limits = bench.engine.capabilities();
    let bytes = limits.max_value_bytes / 2;
    let events = limits.max_batch_bytes / bytes + 1;
    let append = (0..events).fold(MultiAppend::new(), |append, number| {
        let stream = stream_id(&format!("s{number}"));
        append.to(&stream, ExpectedVersion::Any, [sized(bytes)])
    });
    refused!(bench.log.append_all(append).await, Error::InvalidInput { .. });
    assert!(bench.all().await.is_empty());
}
