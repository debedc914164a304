//! Opening a stream that is held: how long it waits, and who gets it.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    Clock, Database, Error, EventStore, EventStoreExt, EventStoreProviderExt, OpenOptions, Result,
};
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{Bench, OPEN, SESSION, TICK, numbered, refused, stream_id};

/// A zero open time-out fails at once when the stream is held.
pub async fn open_without_waiting_fails_at_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let _held = bench.session(&stream_id("a")).await;
    let start = bench.clock.now();
    // The clock moves only if the call sleeps.
    let stream = stream_id("a");
    let opened = bench.clock.drive(bench.try_session(&stream)).await;
    refused!(opened, Error::OpenStoreFailed { .. });
    assert_eq!(bench.clock.now(), start, "it waited");
}

/// Opening a held stream fails when the open time-out is over: not before, and not later.
pub async fn open_waits_for_the_open_timeout_and_not_longer(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let _held = bench.session(&stream).await;
    for timeout in [None, Some(Duration::from_secs(7)), Some(Duration::from_millis(1))] {
        let start = bench.clock.now();
        let mut options = OpenOptions::default();
        options.open_timeout = timeout;
        let opened = bench.provider.open_with(bench.log.database(), &stream, options);
        let result = bench.clock.drive(opened).await;
        refused!(result, Error::OpenStoreFailed { .. });
        assert_eq!(bench.clock.now().saturating_since(start), timeout.unwrap_or(OPEN));
    }
}

/// The error says who held the stream, and until when.
pub async fn open_store_failed_names_the_holder(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let options = OpenOptions::default().owner("the importer");
    let held = bench
        .provider
        .open_with(&Database::default(), &stream, options)
        .await
        .expect("opened");
    match bench.try_session(&stream).await {
        Err(Error::OpenStoreFailed { stream: of, held_by }) => {
            assert_eq!(of, stream);
            assert_eq!(
                (held_by.session, held_by.until),
                (held.session().id, held.session().expires_at)
            );
            assert_eq!(held_by.owner, "the importer");
        }
        other => panic!("{other:?} does not say who holds the stream"),
    }
    bench
        .session(&stream_id("b"))
        .await
        .close()
        .await
        .expect("closed");
    let _unnamed = bench.session(&stream_id("b")).await;
    match bench.try_session(&stream_id("b")).await {
        Err(Error::OpenStoreFailed { held_by, .. }) => {
            assert!(!held_by.owner.is_empty(), "somebody holds it")
        }
        other => panic!("{other:?} does not say who holds the stream"),
    }
}

/// A waiting open gets the stream as soon as the holder closes, without the clock moving to its end.
pub async fn waiting_open_gets_the_stream_on_close(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let held = bench.session(&stream).await;
    let start = bench.clock.now();
    let waiting = open_in_task(&bench, "a", OPEN);
    bench.clock.sleepers(1).await;
    held.close().await.expect("closed");
    let opened = waiting.await.expect("the task ends").expect("opened");
    assert_eq!(bench.clock.now(), start);
    opened
        .append(numbered(1))
        .await
        .expect("the new session holds the stream");
}

/// A waiting open gets the stream when the holder's time is over, if that is before its own.
pub async fn waiting_open_gets_the_stream_on_expiry(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let held = bench.session(&stream).await;
    let expires_at = held.session().expires_at;
    let waiting = open_in_task(&bench, "a", SESSION * 2);
    let opened = bench
        .clock
        .drive(waiting)
        .await
        .expect("the task ends")
        .expect("opened");
    assert!(
        bench.clock.now() >= expires_at,
        "opened while the stream was held"
    );
    assert!(bench.clock.now().saturating_since(expires_at) <= Duration::from_secs(1));
    opened
        .append(numbered(1))
        .await
        .expect("the new session holds the stream");
    refused!(held.append(numbered(1)).await, Error::InvalidStoreSession { .. });
}

/// A holder that renews while others wait keeps the stream.
pub async fn renewed_session_is_not_taken_over(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let held = bench.session(&stream_id("a")).await;
    let waiting = open_in_task(&bench, "a", SESSION + OPEN);
    bench.clock.sleepers(1).await;
    bench.clock.advance(SESSION - TICK);
    held.renew(None).await.expect("renewed in time");
    let result = bench.clock.drive(waiting).await.expect("the task ends");
    refused!(result, Error::OpenStoreFailed { .. });
    held.append(numbered(1))
        .await
        .expect("the session holds the stream");
}

/// Of many that wait for one stream one gets it at a time, and each gets it in the end.
pub async fn of_many_waiting_opens_each_gets_the_stream_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let held = bench.session(&stream_id("a")).await;
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let provider = Arc::clone(&bench.provider);
        waiting.spawn(async move {
            let session = provider.open(&stream_id("a")).await?;
            let version = session.version().await?;
            session.append(numbered(2)).await?;
            // Nobody else wrote between the two calls.
            assert_eq!(session.version().await?, version.advanced_by(2));
            session.close().await
        });
    }
    bench.clock.sleepers(1).await;
    held.close().await.expect("closed");
    while let Some(ended) = waiting.join_next().await {
        let result: Result<()> = ended.expect("the task ends");
        result.expect("each opens within its time-out, which never ends on this clock");
    }
    assert_eq!(bench.events(&stream_id("a")).await.len(), 40);
}

fn open_in_task(
    bench: &Bench<'_>,
    id: &'static str,
    timeout: Duration,
) -> tokio::task::JoinHandle<Result<Box<dyn EventStore>>> {
    let provider = Arc::clone(&bench.provider);
    let database = bench.log.database().clone();
    tokio::spawn(async move {
        let options = OpenOptions::default().open_timeout(timeout);
        provider.open_with(&database, &stream_id(id), options).await
    })
}
