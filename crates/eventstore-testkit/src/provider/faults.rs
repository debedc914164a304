//! Commits and reads that fail: what is told, what is stored, and that the store goes on with the
//! truth.

use std::future::{Future, poll_fn};
use std::task::Poll;

use eventstore_abstractions::{
    Appended, Error, EventLogExt, EventMessage, EventStoreExt, ExpectedVersion, IdempotencyId, Result,
    StreamId, Version,
};
use kv_core::Outcome;

use super::ProviderHarness;
use super::bench::{
    Bench, SESSION, event, positions, refused, state, stream_id, texts, unavailable, unknown, up_to, versions,
};
use crate::fault::{Gate, Moment};

/// Callers of one group; they fit into every queue.
const CALLERS: usize = 16;
/// More reads than any single call needs.
const MAX_READS: usize = 100;

const fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version))
}

async fn append(bench: &Bench<'_>, stream: &StreamId, at: u64, events: &[EventMessage]) -> Result<Appended> {
    bench.log.append(stream, exact(at), events.to_vec()).await
}

/// A commit that fails cleanly is told as such and writes nothing, whatever it was for; the next
/// call works.
pub async fn failed_append_writes_nothing_when_its_commit_fails(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 1).await;
    let before = bench.dump().await;
    let fail = || {
        bench
            .engine
            .fail_next_commit(Moment::BeforeApplying, unavailable());
    };
    fail();
    let appended = append(&bench, &stream, 1, &[event("x"), event("y")]).await;
    refused!(appended, Error::Unavailable { .. });
    fail();
    let taken = bench.log.snapshot(&stream, Version::FIRST, state(1)).await;
    refused!(taken, Error::Unavailable { .. });
    fail();
    refused!(bench.try_session(&stream).await, Error::Unavailable { .. });
    assert!(
        bench.dump().await == before,
        "a commit that failed wrote something"
    );

    let next = append(&bench, &stream, 1, &[event("next")])
        .await
        .expect("appended");
    assert_eq!((next.version.get(), next.position.get()), (2, 2));
    bench.snapshot(&stream, 2).await;
    bench.try_session(&stream).await.expect("nobody holds the stream");
    assert_eq!(texts(&bench.events(&stream).await), ["event 1", "next"]);
}

/// A write whose end is not known is told as such, never as a success or a clean failure; the
/// writes after it are decided by what is stored.
pub async fn write_after_an_unknown_outcome_follows_what_is_stored(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for (moment, stored, not_stored) in [(Moment::BeforeApplying, 1, 3), (Moment::AfterApplying, 3, 1)] {
        let (stream, other) = (stream_id(&format!("{moment:?}")), stream_id("other"));
        let before = bench.note(&stream, "1").await;
        bench.engine.fail_next_commit(moment, unknown());
        let lost = append(&bench, &stream, 1, &[event("2"), event("3")]).await;
        refused!(lost, Error::OutcomeUnknown { .. });

        let elsewhere = bench.note(&other, "x").await;
        assert_eq!(
            elsewhere.position.get() - before.position.get(),
            stored,
            "{moment:?}"
        );
        let version = bench.log.version(&stream).await.expect("read");
        assert_eq!(version.get(), stored, "{moment:?}");
        let stale = append(&bench, &stream, not_stored, &[event("stale")]).await;
        refused!(stale, Error::StoreVersionMismatch { .. });
        let next = append(&bench, &stream, stored, &[event("next")]).await;
        assert_eq!(next.expect("appended").version.get(), stored + 1, "{moment:?}");
        assert_eq!(versions(&bench.events(&stream).await), up_to(stored + 1));
        let all = positions(&bench.all().await);
        assert_eq!(all, up_to(all.len() as u64), "{moment:?}");
    }
}

/// The same messages after an unknown outcome give the first outcome and are there once, whether
/// the first try was applied or not; so does the same command with new messages.
pub async fn retry_after_an_unknown_outcome_applies_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let command =
        |text: &str| event(text).with_idempotency_id(IdempotencyId::new("run").expect("a valid id"));
    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        let stream = stream_id(&format!("messages {moment:?}"));
        let messages = [event("1"), event("2")];
        bench.engine.fail_next_commit(moment, unknown());
        refused!(
            append(&bench, &stream, 0, &messages).await,
            Error::OutcomeUnknown { .. }
        );
        let retry = append(&bench, &stream, 0, &messages).await;
        let retry = retry.expect("appended or recognised");
        assert_eq!((retry.version.get(), retry.events), (2, 2), "{moment:?}");
        assert_eq!(
            append(&bench, &stream, 0, &messages).await.expect("recognised"),
            retry
        );

        let stream = stream_id(&format!("command {moment:?}"));
        bench.engine.fail_next_commit(moment, unknown());
        refused!(
            append(&bench, &stream, 0, &[command("1"), command("2")]).await,
            Error::OutcomeUnknown { .. }
        );
        let retry = append(&bench, &stream, 0, &[command("1"), command("2")]).await;
        assert_eq!(
            retry.expect("appended or recognised").version.get(),
            2,
            "{moment:?}"
        );
        assert_eq!(texts(&bench.events(&stream).await), ["1", "2"], "{moment:?}");
    }
    assert_eq!(positions(&bench.all().await), up_to(8));
}

/// A commit that was given up and is still on its way lands before the next one, or never: a retry
/// finds it, or applies once.
pub async fn straggling_commit_lands_first_or_never(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let messages = [event("1"), event("2")];
    // Too late: another append was committed in between.
    let late = stream_id("late");
    let straggler = bench.engine.detach_next_commit(unknown());
    refused!(
        append(&bench, &late, 0, &messages).await,
        Error::OutcomeUnknown { .. }
    );
    bench.note(&late, "first").await;
    let landed = straggler.land().await.expect("the engine answers");
    assert!(
        matches!(landed, Outcome::ConditionFailed { .. }),
        "a commit landed after another that did not know of it"
    );
    let retry = bench
        .log
        .append(&late, ExpectedVersion::Any, messages.clone())
        .await;
    assert_eq!(retry.expect("appended").version.get(), 3);
    assert_eq!(texts(&bench.events(&late).await), ["first", "1", "2"]);

    // In time, but only after the next append has read what is stored.
    let early = stream_id("early");
    let straggler = bench.engine.detach_next_commit(unknown());
    refused!(
        append(&bench, &early, 0, &messages).await,
        Error::OutcomeUnknown { .. }
    );
    let mut gate = bench.engine.hold_next_commit(Moment::BeforeApplying);
    let next = tokio::spawn({
        let (log, early) = (bench.log.clone(), early.clone());
        async move { log.append(&early, ExpectedVersion::Any, [event("next")]).await }
    });
    gate.reached().await;
    assert_eq!(
        straggler.land().await.expect("the engine answers"),
        Outcome::Applied
    );
    gate.release();
    let next = next.await.expect("the task ends").expect("appended");
    assert_eq!(next.version.get(), 3, "it follows what landed before it");
    let retry = append(&bench, &early, 0, &messages).await.expect("recognised");
    assert_eq!((retry.version.get(), retry.events), (2, 2));
    assert_eq!(texts(&bench.events(&early).await), ["1", "2", "next"]);
    assert_eq!(positions(&bench.all().await), up_to(6));
}

/// Whichever read fails when the store looks for the truth after an unknown outcome, the caller is
/// told that the storage failed: never that another writer was first, and never a wrong outcome.
pub async fn failing_reread_is_no_conflict(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        for reads in 0.. {
            assert!(reads < MAX_READS, "an append reads {MAX_READS} times");
            let stream = stream_id(&format!("{moment:?} {reads}"));
            bench.note(&stream, "1").await;
            let messages = [event("2")];
            bench.engine.fail_next_commit(moment, unknown());
            refused!(
                append(&bench, &stream, 1, &messages).await,
                Error::OutcomeUnknown { .. }
            );
            bench.engine.fail_read_after(reads, unavailable());
            let retry = append(&bench, &stream, 1, &messages).await;
            let unharmed = bench.engine.forget_faults() == 1;
            match retry {
                Ok(appended) => assert_eq!(appended.version.get(), 2, "{stream}"),
                Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. }) if !unharmed => {}
                Err(error) => panic!("{stream}: {error:?}"),
            }
            let again = append(&bench, &stream, 1, &messages).await;
            assert_eq!(
                again.expect("recognised or appended").version.get(),
                2,
                "{stream}"
            );
            assert_eq!(texts(&bench.events(&stream).await), ["1", "2"], "{stream}");
            if unharmed {
                break;
            }
        }
    }
}

/// When the commit that carries the appends of many callers fails, each of them is told how, and
/// what they are told is what is stored.
pub async fn every_caller_of_a_failed_commit_is_told(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let cases = [
        ("clean", Moment::BeforeApplying, unavailable()),
        ("unknown, absent", Moment::BeforeApplying, unknown()),
        ("unknown, stored", Moment::AfterApplying, unknown()),
    ];
    for (what, moment, error) in cases {
        let names = (0..CALLERS).map(|caller| stream_id(&format!("{what} {caller}")));
        let streams: Vec<StreamId> = names.collect();
        let messages: Vec<EventMessage> = (0..CALLERS).map(|_| event(what)).collect();
        let mut gate = bench.engine.hold_next_commit(Moment::BeforeApplying);
        bench.engine.fail_next_commit(moment, error);
        let first = tokio::spawn({
            let (log, first) = (bench.log.clone(), stream_id(&format!("{what} first")));
            async move { log.append(&first, exact(0), [event("first")]).await }
        });
        gate.reached().await;
        let calls = streams.iter().zip(&messages);
        let calls = calls.map(|(stream, message)| append(&bench, stream, 0, std::slice::from_ref(message)));
        let outcomes = all_begun_behind(gate, calls).await;
        first
            .await
            .expect("the task ends")
            .expect("the first commit succeeds");
        assert!(outcomes.iter().any(Result::is_err), "{what}: nobody is told");
        for (stream, outcome) in streams.iter().zip(&outcomes) {
            let stored = bench.events(stream).await.len();
            match outcome {
                Ok(appended) => assert_eq!((appended.version.get(), stored), (1, 1), "{stream}"),
                Err(Error::Unavailable { .. }) => assert_eq!((what, stored), ("clean", 0), "{stream}"),
                Err(Error::OutcomeUnknown { .. }) => assert_ne!(what, "clean", "{stream}"),
                Err(error) => panic!("{stream}: {error}"),
            }
        }
        for (stream, message) in streams.iter().zip(&messages) {
            let retry = append(&bench, stream, 0, std::slice::from_ref(message)).await;
            assert_eq!(
                retry.expect("recognised or appended").version.get(),
                1,
                "{stream}"
            );
        }
    }
    assert_eq!(positions(&bench.all().await), up_to(3 * (CALLERS as u64 + 1)));
}

/// An open whose outcome is not known does not keep its stream beyond the time that its session
/// would have had.
pub async fn open_with_an_unknown_outcome_frees_the_stream_in_time(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        let stream = stream_id(&format!("{moment:?}"));
        bench.engine.fail_next_commit(moment, unknown());
        refused!(bench.try_session(&stream).await, Error::OutcomeUnknown { .. });
        bench.clock.advance(SESSION);
        let session = bench.try_session(&stream).await.expect("the stream is free");
        session.append([event("1")]).await.expect("appended");
        session.close().await.expect("closed");
        // What is still released in the background must not take the next fault.
        bench = bench.restart().await;
    }
}

/// Begins all `calls` before the commit that waits at `gate` goes on, so that they wait for it
/// together.
async fn all_begun_behind<T>(gate: Gate, calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut ended: Vec<Option<T>> = calls.iter().map(|_| None).collect();
    let mut gate = Some(gate);
    poll_fn(|context| {
        for (call, ended) in calls.iter_mut().zip(&mut ended) {
            if ended.is_none()
                && let Poll::Ready(outcome) = call.as_mut().poll(context)
            {
                *ended = Some(outcome);
            }
        }
        // Each of them has been begun by the first look at it.
        drop(gate.take());
        if ended.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    ended.into_iter().flatten().collect()
}
