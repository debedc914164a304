//! Sessions that are over: closed, expired or taken over. None of them writes.

use std::time::Duration;

use eventstore_abstractions::{
    Clock, Error, EventStore, EventStoreExt, ExpectedVersion, IdempotencyKey, MessageId, OpenOptions,
    ReadOptions, Result, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, SESSION, TICK, event, kind, refused, sized, state, stream_id};

/// Every operation of a store, by name, with how it ended.
async fn every_operation(store: &dyn EventStore) -> Vec<(&'static str, Result<()>)> {
    let one = Version::FIRST;
    let key = IdempotencyKey::from(MessageId::generate());
    vec![
        ("append", store.append([event("x")]).await.map(drop)),
        ("empty append", store.append([]).await.map(drop)),
        ("read", store.read().await.map(drop)),
        (
            "read_with",
            store.read_with(ReadOptions::as_of(one)).await.map(drop),
        ),
        ("read_slice", store.read_slice(one, one).await.map(drop)),
        ("version", store.version().await.map(drop)),
        ("find_append", store.find_append(&key).await.map(drop)),
        ("snapshot", store.snapshot(one, state(1)).await),
        ("read_snapshot", store.read_snapshot(one).await.map(drop)),
        (
            "last_snapshot_version",
            store.last_snapshot_version().await.map(drop),
        ),
        ("snapshot_versions", store.snapshot_versions().await.map(drop)),
        (
            "snapshot_all",
            store.snapshot_all(1, |_, _| Ok(state(1))).await.map(drop),
        ),
        ("clear_snapshot", store.clear_snapshot(one).await),
        ("clear_snapshots", store.clear_snapshots().await),
        ("renew", store.renew(None).await.map(drop)),
    ]
}

/// A stream with an event, a snapshot, and a session.
async fn held(bench: &Bench<'_>) -> Box<dyn EventStore> {
    let stream = stream_id("a");
    bench.append(&stream, 1).await;
    bench.snapshot(&stream, 1).await;
    bench.session(&stream).await
}

async fn unchanged(bench: &Bench<'_>) {
    assert_eq!(bench.events(&stream_id("a")).await.len(), 1);
    let snapshots = bench.log.snapshot_versions(&stream_id("a")).await.expect("read");
    assert_eq!(snapshots, [Version::FIRST]);
}

/// After close every operation fails with `StoreNotOpen`, and does nothing.
pub async fn closed_store_refuses_every_operation(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = held(&bench).await;
    store.close().await.expect("closed");
    for (name, result) in every_operation(&*store).await {
        assert!(
            matches!(result, Err(Error::StoreNotOpen { .. })),
            "{name}: {result:?}"
        );
    }
    unchanged(&bench).await;
}

/// After its time every operation of a session fails with `StoreSessionExpired`, and does nothing.
pub async fn expired_session_refuses_every_operation(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = held(&bench).await;
    bench.clock.advance(SESSION);
    let session = store.session();
    for (name, result) in every_operation(&*store).await {
        match result {
            Err(Error::StoreSessionExpired {
                session: id,
                expired_at,
                ..
            }) => {
                assert_eq!((id, expired_at), (session.id, session.expires_at), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    unchanged(&bench).await;
}

/// When another session holds the stream every operation fails with `InvalidStoreSession`, and does
/// nothing.
pub async fn overtaken_session_refuses_every_operation(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = held(&bench).await;
    bench.clock.advance(SESSION);
    let next = bench.session(&stream_id("a")).await;
    for (name, result) in every_operation(&*store).await {
        match result {
            Err(Error::InvalidStoreSession { session, held_by, .. }) => {
                assert_eq!(
                    (session, held_by.session),
                    (store.session().id, next.session().id),
                    "{name}"
                );
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    unchanged(&bench).await;
}

/// The session is checked before what is asked of it: with arguments that are wrong in themselves,
/// too, the error says that the session is over, and a session that is not gets to know what is
/// wrong.
pub async fn session_is_checked_before_the_arguments(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = held(&bench).await;
    assert_eq!(wrong_calls(&bench, &*store).await, ["InvalidInput"; 6]);
    bench.clock.advance(SESSION);
    assert_eq!(wrong_calls(&bench, &*store).await, ["StoreSessionExpired"; 6]);
    let _next = bench.session(&stream_id("a")).await;
    assert_eq!(wrong_calls(&bench, &*store).await, ["InvalidStoreSession"; 6]);
    store.close().await.expect("closed");
    assert_eq!(wrong_calls(&bench, &*store).await, ["StoreNotOpen"; 6]);
    unchanged(&bench).await;
}

/// How calls end whose arguments are wrong.
async fn wrong_calls(bench: &Bench<'_>, store: &dyn EventStore) -> [&'static str; 6] {
    let elsewhere = event("x").with_domain(stream_id("b"));
    let ended = [
        store.append([elsewhere]).await.map(drop),
        store.append([sized(bench.max_value_bytes() + 1)]).await.map(drop),
        store.snapshot(Version::ZERO, state(0)).await,
        store.renew(Some(Duration::ZERO)).await.map(drop),
        store
            .read_with(ReadOptions::replay().page_size(0))
            .await
            .map(drop),
        store.snapshot_all(0, |_, _| Ok(state(0))).await.map(drop),
    ];
    ended.map(|result| kind(&result.expect_err("the call is wrong")))
}

/// A session works until its last moment, and at its end at most one session writes.
pub async fn session_ends_to_the_moment(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let first = bench.session(&stream).await;
    bench.clock.advance(SESSION - TICK);
    refused!(bench.try_session(&stream).await, Error::OpenStoreFailed { .. });
    first
        .append([event("in time")])
        .await
        .expect("the session has a moment left");
    bench.clock.advance(TICK);
    refused!(
        first.append([event("late")]).await,
        Error::StoreSessionExpired { .. }
    );
    let second = bench.try_session(&stream).await.expect("the stream is free");
    second.append([event("next")]).await.expect("appended");
    assert_eq!(bench.events(&stream).await.len(), 2);
}

/// A session that was taken over never writes: not after the next one has written, closed, or
/// expired in its turn.
pub async fn stale_session_cannot_write(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let stale = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    let next = bench.session(&stream).await;
    assert!(next.session().fencing_token > stale.session().fencing_token);
    refused!(
        stale.append([event("stale")]).await,
        Error::InvalidStoreSession { .. }
    );
    next.append([event("next")]).await.expect("appended");
    refused!(
        stale.snapshot(Version::FIRST, state(1)).await,
        Error::InvalidStoreSession { .. }
    );
    next.close().await.expect("closed");
    assert!(stale.append([event("stale")]).await.is_err());
    assert!(stale.renew(None).await.is_err());
    let last = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    assert!(stale.append([event("stale")]).await.is_err());
    assert!(last.append([event("stale")]).await.is_err());
    assert_eq!(bench.events(&stream).await.len(), 1);
    assert!(
        bench
            .log
            .snapshot_versions(&stream)
            .await
            .expect("read")
            .is_empty()
    );
}

/// A session that the clock ended does not come back to life when a write without a session came in
/// between.
pub async fn expired_session_stays_expired(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let stale = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    bench.note(&stream, "between").await;
    refused!(stale.renew(None).await, Error::StoreSessionExpired { .. });
    bench
        .clock
        .jump_to(stale.session().expires_at.saturating_add(SESSION));
    assert!(stale.append([event("stale")]).await.is_err());
    assert_eq!(bench.events(&stream).await.len(), 1);
}

/// Closing or dropping a session that was taken over leaves the stream to who holds it.
pub async fn close_of_a_stale_session_leaves_the_holder(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let (closed, options) = (bench.session(&stream).await, OpenOptions::default());
    bench.clock.advance(SESSION);
    let dropped = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    let opened = bench
        .provider
        .open_with(bench.log.database(), &stream, options)
        .await;
    let holder = opened.expect("the stream is free");
    closed.close().await.expect("closing a stale session is no error");
    drop((closed, dropped));
    // Every one of these is a commit, so that a release in the background has had its time.
    for _ in 0..20 {
        holder
            .append([event("held")])
            .await
            .expect("the holder holds the stream");
    }
    refused!(bench.try_session(&stream).await, Error::OpenStoreFailed { .. });
}

/// The check of a write is part of its commit: a session whose time ends while its write waits does
/// not write after the next one.
pub async fn write_that_is_overtaken_is_fenced(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let stale = bench.session(&stream).await;
    bench.clock.advance(SESSION - TICK);
    let mut gate = bench
        .engine
        .hold_next_commit(crate::fault::Moment::BeforeApplying);
    let write = tokio::spawn(async move { (stale.append([event("late")]).await, stale) });
    gate.reached().await;
    bench.clock.advance(SESSION);
    let open = tokio::spawn({
        let provider = std::sync::Arc::clone(&bench.provider);
        async move {
            use eventstore_abstractions::EventStoreProviderExt;
            provider.open(&stream_id("a")).await
        }
    });
    gate.release();
    let (late, stale) = write.await.expect("the task ends");
    let next = bench
        .clock
        .drive(open)
        .await
        .expect("the task ends")
        .expect("the stream is free");
    let seen = next.version().await.expect("read");
    assert_eq!(
        late.is_ok(),
        seen == Version::FIRST,
        "{late:?}, and the next session is at {seen}"
    );
    assert!(stale.append([event("later")]).await.is_err());
    assert_eq!(next.version().await.expect("read"), seen);
}

/// A clock that jumps forward or back neither loses data nor lets two sessions write to one stream.
pub async fn clock_jumps_are_safe(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (stream, day) = (stream_id("a"), Duration::from_secs(24 * 60 * 60));
    let start = bench.clock.now();
    let mut stale: Vec<Box<dyn EventStore>> = Vec::new();
    let mut written = 0;
    for round in 0..6 {
        bench.clock.jump_to(start.saturating_add(day * (round + 1)));
        let session = bench.session(&stream).await;
        for jump in [
            start,
            start.saturating_add(day * round),
            session.session().expires_at,
        ] {
            for old in &stale {
                assert!(
                    old.append([event("stale")]).await.is_err(),
                    "two sessions write to one stream"
                );
                assert!(old.session().fencing_token < session.session().fencing_token);
            }
            if session.append([event("held")]).await.is_ok() {
                written += 1;
            }
            bench.clock.jump_to(jump);
        }
        stale.push(session);
        assert_eq!(bench.events(&stream).await.len(), written);
    }
    assert!(written >= 6, "each session wrote while the clock stood still");
    // A session that is opened at an earlier time than those before it comes after them all the same.
    let last = stale.last().expect("several were opened");
    last.close().await.expect("closed");
    bench.clock.jump_to(start);
    let next = bench.try_session(&stream).await.expect("the stream is free");
    assert!(
        next.session().fencing_token > last.session().fencing_token,
        "a token went back with the clock"
    );
    drop(next);
    let bench = bench.restart().await;
    assert_eq!(bench.events(&stream).await.len(), written);
}

/// A clock that jumps back does not end a session, nor does it free the stream.
pub async fn clock_that_jumps_back_keeps_the_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    bench
        .clock
        .jump_to(eventstore_abstractions::Timestamp::from_micros(0));
    session
        .append([event("x")])
        .await
        .expect("the session holds the stream");
    refused!(bench.try_session(&stream).await, Error::OpenStoreFailed { .. });
    let options = eventstore_abstractions::AppendOptions::expecting(ExpectedVersion::Any);
    let free = bench.log.append_with(&stream, vec![event("x")], options).await;
    refused!(free, Error::StreamHeld { .. });
}
