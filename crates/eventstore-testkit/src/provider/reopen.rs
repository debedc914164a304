//! What was acknowledged is there after a restart, and what a call leaves behind when its future is
//! dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use eventstore_abstractions::{
    AppendOptions, Durability, Error, EventLogExt, EventStoreExt, ExpectedVersion, Version,
};
use kv_core::KeyValueStore;

use super::ProviderHarness;
use super::bench::{Bench, SESSION, event, positions, refused, stream_id, texts, unknown, up_to, versions};
use crate::fault::Moment;

/// Acknowledged events, snapshots and positions survive a close, and a provider that is dropped
/// without one. The provider says whether they survive the process, too.
pub async fn acked_is_kept(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    let durable = bench.engine.capabilities().durable;
    assert_eq!(bench.provider.is_durable(), durable);
    let stream = stream_id("a");
    for round in 1..=4u64 {
        bench.note(&stream, &format!("event {round}")).await;
        bench.snapshot(&stream, round).await;
        bench = if round % 2 == 0 {
            bench.restart().await
        } else {
            bench.crash().await
        };
        assert_eq!(versions(&bench.events(&stream).await), up_to(round));
        assert_eq!(positions(&bench.all().await), up_to(round));
        let snapshots = bench.log.snapshot_versions(&stream).await.expect("read");
        assert_eq!(snapshots.len() as u64, round);
    }
}

/// What is acknowledged as durable rests on a durable commit: of its own, or, where an append is
/// recognised that was buffered before or whose sync failed, of one that came after.
pub async fn acked_is_kept_by_a_durable_commit(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let synced = |what: &str| assert!(!bench.engine.has_unsynced(), "{what} can be lost in a power cut");
    let buffered = AppendOptions::default().durability(Durability::Buffered);
    let message = event("known");
    bench.note(&stream, "1").await;
    synced("an append");
    bench
        .log
        .append_with(&stream, vec![message.clone()], buffered)
        .await
        .expect("appended");
    bench
        .log
        .append(&stream, ExpectedVersion::Any, [message])
        .await
        .expect("recognised");
    synced("an append that was buffered before");
    let message = event("told");
    bench.engine.fail_next_commit(Moment::AfterApplying, unknown());
    let lost = bench
        .log
        .append(&stream, ExpectedVersion::Any, [message.clone()])
        .await;
    refused!(lost, Error::OutcomeUnknown { .. });
    bench
        .log
        .append(&stream, ExpectedVersion::Any, [message])
        .await
        .expect("recognised");
    synced("an append whose sync failed before");
    bench.snapshot(&stream, 1).await;
    bench.snapshot(&stream, 2).await;
    synced("a snapshot");
    bench
        .log
        .clear_snapshot(&stream, Version::FIRST)
        .await
        .expect("cleared");
    synced("the removal of a snapshot");
    bench.log.clear_snapshots(&stream).await.expect("cleared");
    synced("the removal of all snapshots");
    let session = bench.session(&stream).await;
    synced("a fencing token");
    session.append([event("x")]).await.expect("appended");
    synced("a session's append");
}

/// A restart ends the sessions of the process that is gone: its streams are free at once. Where the engine is shared
/// nobody can tell that process from one that is slow, and they are free when the sessions expire.
pub async fn restart_frees_held_streams(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    let token = session.session().fencing_token;
    session.append([event("1")]).await.expect("appended");
    std::mem::forget(session);
    let bench = bench.restart().await;
    if bench.engine.capabilities().shared {
        refused!(bench.try_session(&stream).await, Error::OpenStoreFailed { .. });
        bench.clock.advance(SESSION);
    }
    let session = bench.try_session(&stream).await;
    let session = session.expect("no session outlives its process, or its time");
    assert!(
        session.session().fencing_token > token,
        "a fencing token was given out twice"
    );
}

/// An append whose future is dropped at any point happened whole, or not at all, and the next one
/// works.
pub async fn dropped_future_is_safe(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for polls in 0..50 {
        {
            let log = bench.log.clone();
            let events = [event("first"), event("second")];
            let mut append = pin!(log.append(&stream, ExpectedVersion::Any, events));
            for _ in 0..polls % 5 {
                let done = poll_fn(|context| Poll::Ready(append.as_mut().poll(context).is_ready()));
                if done.await {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        bench.note(&stream, "after").await;
    }
    let events = bench.events(&stream).await;
    assert_eq!(versions(&events), up_to(events.len() as u64));
    let texts = texts(&events);
    let firsts = texts.iter().filter(|text| *text == "first").count();
    let whole = texts
        .windows(2)
        .filter(|pair| pair[0] == "first" && pair[1] == "second")
        .count();
    assert_eq!(firsts, whole, "an append was applied in part");
    assert_eq!(
        bench.log.version(&stream).await.expect("read"),
        Version::new(events.len() as u64)
    );
}
