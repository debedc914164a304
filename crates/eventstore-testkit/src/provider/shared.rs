//! Two providers over one shared engine, as in two processes: they are one store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    Clock, Error, EventLogExt, EventStore, EventStoreExt, EventStoreProviderExt, ExpectedVersion,
    LogReadOptions, Position, Version,
};
use kv_core::Outcome;
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{
    Bench, SESSION, event, positions, refused, state, stream_id, texts, unknown, up_to, versions,
};
use crate::fault::Moment;

/// Writers of each provider.
const WRITERS: usize = 8;
const ROUNDS: usize = 24;
/// More reads than any single call needs.
const MAX_READS: usize = 100;
/// Between two looks of a reader.
const REST: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version))
}

/// An expectation is checked against what any provider has committed: neither passes nor fails by
/// what one of them remembers, and of racing appends one wins.
pub async fn expected_version_is_linearizable_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    for round in 0..4 {
        for (writer, other) in [(&one, &two), (&two, &one)] {
            let version = one.log.version(&stream).await.expect("read").get();
            let right = writer.log.append(&stream, exact(version), [event("x")]).await;
            assert_eq!(
                right.expect("appended").version.get(),
                version + 1,
                "round {round}"
            );
            let stale = other.log.append(&stream, exact(version), [event("stale")]).await;
            match stale {
                Err(Error::StoreVersionMismatch { actual, .. }) => assert_eq!(actual.get(), version + 1),
                other => panic!("a stale expectation gave {other:?}"),
            }
        }
    }
    let start = one.events(&stream).await.len() as u64;
    for round in start..start + ROUNDS as u64 {
        let mut racers = JoinSet::new();
        for log in [&one.log, &two.log].repeat(WRITERS / 2) {
            let (log, stream) = (Arc::clone(log), stream.clone());
            racers.spawn(async move { log.append(&stream, exact(round), [event("x")]).await });
        }
        let outcomes = racers.join_all().await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "winners of round {round}");
        let lost = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        lost.for_each(|error| assert!(error.is_conflict(), "{error}"));
    }
    assert_eq!(versions(&two.events(&stream).await), up_to(start + ROUNDS as u64));
}

/// Writers of two providers who append to the same streams get each version once.
pub async fn versions_have_no_gaps_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let mut given = BTreeSet::new();
    for (stream, version) in race(&one, &two).await {
        assert!(
            given.insert((stream.clone(), version)),
            "version {version} of {stream} was given twice"
        );
    }
    let each = (2 * WRITERS * ROUNDS / 2 * 2) as u64;
    for stream in ["s0", "s1"] {
        let stream = stream_id(stream);
        assert_eq!(versions(&one.events(&stream).await), up_to(each));
        assert!(
            given.contains(&(stream.to_string(), each)),
            "the last version of {stream} was given to nobody"
        );
    }
}

/// A reader that follows the log through one provider while two write sees every position once, in
/// order.
pub async fn positions_have_no_gaps_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let total = 2 * WRITERS * ROUNDS * 2;
    let log = one.log.clone();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < total {
            let next = LogReadOptions::forward_from(Position::new(seen.len() as u64 + 1));
            let page = log.read_all(next).collect().await.expect("the log is read");
            seen.extend(positions(&page));
            // A provider that waits for its turn looks after a while: where time is tokio's and stands still until nothing
            // is left to do, a reader that never rests would keep it from passing.
            tokio::time::sleep(REST).await;
        }
        seen
    });
    race(&one, &two).await;
    assert_eq!(reader.await.expect("the reader ends"), up_to(total as u64));
    assert!(
        one.all().await == two.all().await,
        "the providers read different logs"
    );
}

/// Appends of two events to two streams by many writers of both providers, and the versions that
/// they were told.
async fn race(one: &Bench<'_>, two: &Bench<'_>) -> Vec<(String, u64)> {
    let mut writers = JoinSet::new();
    for log in [&one.log, &two.log].repeat(WRITERS) {
        let log = Arc::clone(log);
        writers.spawn(async move {
            let mut given = Vec::new();
            for round in 0..ROUNDS {
                let stream = stream_id(&format!("s{}", round % 2));
                let pair = [event("1"), event("2")];
                let appended = log.append(&stream, ExpectedVersion::Any, pair).await;
                given.push((stream.to_string(), appended.expect("appended").version.get()));
            }
            given
        });
    }
    writers.join_all().await.concat()
}

/// A session of one provider keeps the other from writing, and from opening the stream; a provider
/// that opens meanwhile ends no session; reads go on everywhere.
pub async fn held_stream_refuses_writes_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    two.note(&stream, "1").await;
    let session = one.session(&stream).await;
    let held_id = session.session().id;
    let two = two.crash().await;
    match two.log.append(&stream, ExpectedVersion::Any, [event("x")]).await {
        Err(Error::StreamHeld { held_by, .. }) => assert_eq!(held_by.session, held_id),
        other => panic!("a write past a session of another provider gave {other:?}"),
    }
    match two.try_session(&stream).await {
        Err(Error::OpenStoreFailed { held_by, .. }) => assert_eq!(held_by.session, held_id),
        other => panic!("a stream that another provider holds gave {other:?}"),
    }
    session.append([event("2")]).await.expect("the session goes on");
    assert_eq!(texts(&two.events(&stream).await), ["1", "2"]);
    session.close().await.expect("closed");
    let next = two.try_session(&stream).await.expect("the stream is free");
    assert_eq!(next.version().await.expect("read"), Version::new(2));
}

/// An open that waits for a session of another provider gets the stream when that one closes.
pub async fn waiting_open_gets_the_stream_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    let held = one.session(&stream).await;
    let waiting = tokio::spawn({
        let (provider, stream) = (Arc::clone(&two.provider), stream.clone());
        async move { provider.open(&stream).await }
    });
    two.clock.sleepers(1).await;
    held.close().await.expect("closed");
    let opened = two.clock.drive(waiting).await.expect("the task ends");
    let opened = opened.expect("the stream is free before the open time-out");
    opened.append([event("x")]).await.expect("appended");
}

/// A session that another provider has taken over never writes, not even where its own clock says
/// that it is live, and not with a write that was on its way when it was taken over.
pub async fn stale_session_cannot_write_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    let stale = one.session(&stream).await;
    stale.append([event("1")]).await.expect("appended");
    let mut gate = one.engine.hold_next_commit(Moment::BeforeApplying);
    let overtaken = tokio::spawn(async move { (stale.append([event("overtaken")]).await, stale) });
    gate.reached().await;
    two.clock.advance(SESSION);
    let holder = two.try_session(&stream).await.expect("its time is over");
    gate.release();
    let (outcome, stale) = overtaken.await.expect("the task ends");
    refused!(outcome, Error::InvalidStoreSession { .. });
    assert!(holder.session().fencing_token > stale.session().fencing_token);
    let writes = [
        stale.append([event("stale")]).await.map(drop),
        stale.snapshot(Version::FIRST, state(1)).await,
        stale.clear_snapshots().await,
        stale.renew(None).await.map(drop),
    ];
    for write in writes {
        refused!(write, Error::InvalidStoreSession { .. });
    }
    refused!(stale.read().await, Error::InvalidStoreSession { .. });
    stale.close().await.expect("closing a stale session is no error");
    holder
        .append([event("2")])
        .await
        .expect("the holder holds the stream");
    holder.close().await.expect("closed");
    assert_eq!(texts(&one.events(&stream).await), ["1", "2"]);
    assert!(one.log.snapshot_versions(&stream).await.expect("read").is_empty());
}

/// A write that the other provider let pass a session whose time was over there ends that session
/// for good.
pub async fn expired_session_stays_expired_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    let session = one.session(&stream).await;
    session.append([event("1")]).await.expect("appended");
    two.clock.advance(SESSION);
    two.note(&stream, "between").await;
    refused!(
        session.append([event("stale")]).await,
        Error::StoreSessionExpired { .. }
    );
    refused!(session.renew(None).await, Error::StoreSessionExpired { .. });
    assert_eq!(texts(&one.events(&stream).await), ["1", "between"]);
}

/// The same messages through two providers are applied once: at the same time, one after the other,
/// and where one of them does not know what became of its commit.
pub async fn idempotent_append_applies_once_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let (raced, told) = (stream_id("raced"), event("told"));
    let message = event("once");
    let mut racers = JoinSet::new();
    for log in [&one.log, &two.log].repeat(WRITERS) {
        let (log, stream, message) = (Arc::clone(log), raced.clone(), message.clone());
        racers.spawn(async move { log.append(&stream, ExpectedVersion::NoStream, [message]).await });
    }
    let mut outcomes = BTreeSet::new();
    for outcome in racers.join_all().await {
        let outcome = outcome.expect("appended or recognised");
        outcomes.insert((outcome.version, outcome.position));
    }
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    let changed = event("other").with_message_id(message.id());
    for bench in [&one, &two] {
        let again = bench
            .log
            .append(&raced, ExpectedVersion::Any, [changed.clone()])
            .await;
        refused!(again, Error::DuplicateIdempotencyId { .. });
    }
    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        let stream = stream_id(&format!("{moment:?}"));
        one.engine.fail_next_commit(moment, unknown());
        let lost = one
            .log
            .append(&stream, ExpectedVersion::NoStream, [told.clone()])
            .await;
        refused!(lost, Error::OutcomeUnknown { .. });
        for bench in [&two, &one] {
            let retry = bench
                .log
                .append(&stream, ExpectedVersion::NoStream, [told.clone()])
                .await;
            assert_eq!(
                retry.expect("appended or recognised").version,
                Version::FIRST,
                "{moment:?}"
            );
        }
        assert_eq!(texts(&one.events(&stream).await), ["told"]);
    }
}

/// Whatever another provider commits between two reads of an append, the append is decided by one moment
/// of the store: a retry of what is there by then is recognised, and is no conflict.
pub async fn append_is_decided_at_one_moment_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    for known in [false, true] {
        for reads in 0.. {
            assert!(reads < MAX_READS, "an append reads {MAX_READS} times");
            let stream = stream_id(&format!("{known} {reads}"));
            // What a provider remembers of a stream spares it reads, and must not mislead it.
            if known {
                one.note(&stream, "0").await;
            }
            let (at, message) = (one.log.version(&stream).await.expect("read"), event("1"));
            let mut gate = one.engine.hold_read_after(reads);
            let mut append = tokio::spawn({
                let (log, stream, message) = (one.log.clone(), stream.clone(), message.clone());
                async move { log.append(&stream, ExpectedVersion::Exact(at), [message]).await }
            });
            let unharmed = tokio::select! {
                biased;
                () = gate.reached() => None,
                ended = &mut append => Some(ended),
            };
            let was_held = unharmed.is_none();
            let rival = two
                .log
                .append(&stream, ExpectedVersion::Exact(at), [message])
                .await;
            let rival = rival.expect("it is applied first, or recognised");
            gate.release();
            let appended = match unharmed {
                Some(ended) => ended,
                None => append.await,
            };
            assert_eq!(
                appended.expect("the task ends").expect("recognised"),
                rival,
                "{stream}"
            );
            assert_eq!(rival.version, at.next());
            one.engine.forget_faults();
            if !was_held {
                break;
            }
        }
    }
}

/// A commit that one provider has given up lands before the next one of any provider, or never.
pub async fn straggling_commit_lands_first_or_never_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    let straggler = one.engine.detach_next_commit(unknown());
    let given_up = one
        .log
        .append(&stream, ExpectedVersion::NoStream, [event("late")])
        .await;
    refused!(given_up, Error::OutcomeUnknown { .. });
    two.note(&stream, "first").await;
    let landed = straggler.land().await.expect("the engine answers");
    assert!(
        matches!(landed, Outcome::ConditionFailed { .. }),
        "it wrote over another's append"
    );
    one.note(&stream, "second").await;
    assert_eq!(texts(&two.events(&stream).await), ["first", "second"]);
    assert_eq!(positions(&two.all().await), up_to(2));
}

/// Whatever the clocks of two providers say, and however they jump, no two sessions have one
/// fencing token, and only the session that was opened last writes.
pub async fn clock_jumps_are_safe_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    let stream = stream_id("a");
    let start = one.clock.now();
    let mut sessions: Vec<Box<dyn EventStore>> = Vec::new();
    let mut written = 0;
    for round in 1..=8_u32 {
        let (bench, other) = if round % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        bench.clock.jump_to(start.saturating_add(DAY * round));
        let session = bench
            .try_session(&stream)
            .await
            .expect("all others are over by this clock");
        let token = session.session().fencing_token;
        assert!(
            sessions.iter().all(|older| older.session().fencing_token < token),
            "token {token} of round {round} is not above all before it"
        );
        for jump in [
            start,
            start.saturating_add(DAY * (round - 1)),
            session.session().expires_at,
        ] {
            other.clock.jump_to(jump);
            for older in &sessions {
                let stale = older.append([event("stale")]).await;
                assert!(
                    stale.is_err(),
                    "a session that was taken over wrote in round {round}"
                );
            }
            session
                .append([event("held")])
                .await
                .expect("its own clock stands still");
            written += 1;
        }
        sessions.push(session);
    }
    // A session that is opened at an earlier time than those before it comes after them all the same.
    let last = sessions.last().expect("several were opened");
    last.close().await.expect("closed");
    one.clock.jump_to(start);
    let next = one.try_session(&stream).await.expect("the stream is free");
    assert!(
        next.session().fencing_token > last.session().fencing_token,
        "a token went back with the clock"
    );
    assert_eq!(versions(&one.events(&stream).await), up_to(written));
    assert_eq!(positions(&two.all().await), up_to(written));
}
