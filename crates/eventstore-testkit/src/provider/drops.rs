//! Calls that nobody waits for any more: what they began happens whole or not at all, and the store
//! goes on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use eventstore_abstractions::{
    EventLog, EventLogExt, EventStoreExt, EventStoreProviderExt, ExpectedVersion, StreamId,
};
use tokio::task::JoinHandle;

use super::ProviderHarness;
use super::bench::{Bench, event, positions, state, stream_id, texts, up_to, versions};
use crate::fault::Moment;

const MOMENTS: [Moment; 2] = [Moment::BeforeApplying, Moment::AfterApplying];

/// Begins a call and drops it: whatever it needs, it has been looked at once.
async fn begun_and_dropped<T>(call: impl Future<Output = T>) {
    let mut call = pin!(call);
    poll_fn(|context| {
        let _ = call.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Ends a task in the middle, and waits until all that it held is dropped.
async fn cut_off<T>(task: JoinHandle<T>) {
    task.abort();
    assert!(
        task.await.is_err_and(|error| error.is_cancelled()),
        "the task had ended before"
    );
}

fn append_in_task(log: &Arc<dyn EventLog>, stream: &StreamId, texts: [&str; 2]) -> JoinHandle<()> {
    let (log, stream, events) = (Arc::clone(log), stream.clone(), texts.map(event));
    tokio::spawn(async move {
        let appended = log.append(&stream, ExpectedVersion::Any, events).await;
        appended.expect("appended");
    })
}

/// The texts of `stream`, which must be whole: `first` and `second` are there both or not at all,
/// side by side, and once.
async fn whole(bench: &Bench<'_>, stream: &StreamId) -> Vec<String> {
    let events = bench.events(stream).await;
    assert_eq!(versions(&events), up_to(events.len() as u64));
    let texts = texts(&events);
    let count = |text: &str| texts.iter().filter(|it| *it == text).count();
    let pairs = texts
        .windows(2)
        .filter(|pair| pair == &["first", "second"])
        .count();
    assert_eq!(
        (count("first"), count("second")),
        (pairs, pairs),
        "an append was applied in part: {texts:?}"
    );
    assert!(pairs <= 1, "an append was applied {pairs} times: {texts:?}");
    let all = positions(&bench.all().await);
    assert_eq!(all, up_to(all.len() as u64));
    texts
}

/// An append, a snapshot and an open that are dropped while they wait for another's commit happen
/// whole or not at all, and those after them go on.
pub async fn dropped_future_is_safe_while_queued(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (busy, stream) = (stream_id("busy"), stream_id("a"));
    bench.note(&stream, "before").await;
    let mut gate = bench.engine.hold_next_commit(Moment::BeforeApplying);
    let held = append_in_task(&bench.log, &busy, ["1", "2"]);
    gate.reached().await;
    let pair = [event("first"), event("second")];
    begun_and_dropped(bench.log.append(&stream, ExpectedVersion::Any, pair)).await;
    begun_and_dropped(bench.log.snapshot(&stream, 1.into(), state(1))).await;
    begun_and_dropped(bench.provider.open(&stream)).await;
    gate.release();
    held.await.expect("what was committed at the time goes on");
    let session = bench.session_soon(&stream).await;
    session.append([event("after")]).await.expect("appended");
    assert_eq!(
        whole(&bench, &stream).await.last().map(String::as_str),
        Some("after")
    );
    let history = session.read().await.expect("read");
    assert_eq!(history.version(), session.version().await.expect("read"));
}

/// An append whose future is dropped during its own commit, before or after it is applied, happens
/// whole or not at all; appends after it neither lose nor double it.
pub async fn dropped_future_is_safe_while_its_commit_is_held(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for moment in MOMENTS {
        let stream = stream_id(&format!("{moment:?}"));
        bench.note(&stream, "before").await;
        let mut gate = bench.engine.hold_next_commit(moment);
        let append = append_in_task(&bench.log, &stream, ["first", "second"]);
        gate.reached().await;
        cut_off(append).await;
        gate.release();
        bench.note(&stream, "after").await;
        let texts = whole(&bench, &stream).await;
        assert_eq!(
            (texts[0].as_str(), texts[texts.len() - 1].as_str()),
            ("before", "after")
        );
        if moment == Moment::AfterApplying {
            assert_eq!(
                texts,
                ["before", "first", "second", "after"],
                "what is applied stays"
            );
        }
    }
}

/// An open that is dropped while its commit is held leaves no session behind that nobody has.
pub async fn dropped_future_is_safe_for_an_open(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for moment in MOMENTS {
        let stream = stream_id(&format!("{moment:?}"));
        let mut gate = bench.engine.hold_next_commit(moment);
        let open = tokio::spawn({
            let (provider, stream) = (Arc::clone(&bench.provider), stream.clone());
            async move { provider.open(&stream).await.map(drop) }
        });
        gate.reached().await;
        cut_off(open).await;
        gate.release();
        let session = bench.session_soon(&stream).await;
        session
            .append([event("x")])
            .await
            .expect("the new session holds the stream");
        session.close().await.expect("closed");
    }
}

/// A session that is dropped in the middle of its append or of its close frees its stream, and the
/// append happens whole or not at all.
pub async fn dropped_future_is_safe_in_a_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for moment in MOMENTS {
        let stream = stream_id(&format!("{moment:?}"));
        let session = bench.session(&stream).await;
        let mut gate = bench.engine.hold_next_commit(moment);
        let append = tokio::spawn(async move { session.append([event("first"), event("second")]).await });
        gate.reached().await;
        cut_off(append).await;
        gate.release();
        let session = bench.session_soon(&stream).await;
        session.append([event("after")]).await.expect("appended");
        assert_eq!(
            whole(&bench, &stream).await.last().map(String::as_str),
            Some("after")
        );

        let mut gate = bench.engine.hold_next_commit(moment);
        let close = tokio::spawn(async move { session.close().await });
        gate.reached().await;
        cut_off(close).await;
        gate.release();
        let session = bench.session_soon(&stream).await;
        session.close().await.expect("closed");
    }
}

/// When the provider is dropped in the middle of a commit, the next one over the same engine finds
/// the append whole or not at all, and a commit that ends late neither doubles nor loses anything.
pub async fn dropped_future_is_safe_when_the_provider_goes_too(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    for moment in MOMENTS {
        let stream = stream_id(&format!("{moment:?}"));
        bench.note(&stream, "before").await;
        let mut gate = bench.engine.hold_next_commit(moment);
        let append = append_in_task(&bench.log, &stream, ["first", "second"]);
        gate.reached().await;
        cut_off(append).await;
        bench = bench.crash().await;
        whole(&bench, &stream).await;
        bench.note(&stream, "between").await;
        bench.note(&stream, "after").await;
        gate.passed().await;
        whole(&bench, &stream).await;
        // What is in memory may hide what is in the engine.
        bench = bench.crash().await;
        let texts = whole(&bench, &stream).await;
        // The dropped append may be decided anew behind the others; theirs are in order all the same.
        let own = texts
            .iter()
            .filter(|text| !["first", "second"].contains(&text.as_str()));
        assert!(own.eq(["before", "between", "after"]), "{texts:?}");
    }
}
