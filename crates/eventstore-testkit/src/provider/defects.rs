//! The defects of the system that this one follows, one regression case each, by their numbers.

use std::time::Duration;

use eventstore_abstractions::{
    Clock, Error, EventLogExt, EventStoreExt, ExpectedVersion, IdempotencyId, OpenOptions, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, OPEN, SESSION, event, refused, state, stream_id, texts, up_to, versions};

/// Far ahead of any wall clock.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// 1: a message without a sequence number did not advance the version, and was overwritten or lost.
pub async fn defect_01_message_without_sequence_number_is_kept(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = bench.session(&stream_id("a")).await;
    store
        .append([
            event("1"),
            event("2").with_sequence_number(Version::new(2)),
            event("3"),
        ])
        .await
        .expect("appended");
    store.append([event("4")]).await.expect("appended");
    assert_eq!(
        texts(&store.read_without_snapshots().await.expect("read")),
        ["1", "2", "3", "4"]
    );
}

/// 2: an add of several events that failed left a part of them.
pub async fn defect_02_failed_append_leaves_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = bench.session(&stream_id("a")).await;
    let wrong = event("3").with_sequence_number(Version::new(9));
    refused!(
        store.append([event("1"), event("2"), wrong]).await,
        Error::StoreVersionMismatch { .. }
    );
    assert_eq!(store.version().await.expect("read"), Version::ZERO);
    assert!(bench.all().await.is_empty());
}

/// 3: nothing fenced the write of a session whose time was over.
pub async fn defect_03_stale_session_is_fenced(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let stale = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    let holder = bench.session(&stream).await;
    refused!(
        stale.append([event("late")]).await,
        Error::InvalidStoreSession { .. }
    );
    holder.append([event("1")]).await.expect("the holder writes");
    assert_eq!(texts(&bench.events(&stream).await), ["1"]);
    // Two processes could hold one stream.
    bench.provider.close().await.expect("closed");
    drop((stale, holder, bench));
    let (first, second) = Bench::pair(harness).await;
    let stream = stream_id("b");
    let _holder = first.session(&stream).await;
    refused!(second.try_session(&stream).await, Error::OpenStoreFailed { .. });
}

/// 4: a live session was stolen, an expired one was refused, and the open time-out was ignored.
pub async fn defect_04_live_session_is_not_stolen_and_an_expired_one_is_replaced(
    harness: &dyn ProviderHarness,
) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let live = bench.session(&stream).await;
    let at_once = OpenOptions::default().open_timeout(Duration::ZERO);
    let database = &bench.provider.settings().database;
    let refused = bench.provider.open_with(database, &stream, at_once.clone()).await;
    refused!(refused, Error::OpenStoreFailed { .. });
    let begun = bench.clock.now();
    let patient = OpenOptions::default().open_timeout(OPEN);
    let waited = bench.provider.open_with(database, &stream, patient);
    refused!(bench.clock.drive(waited).await, Error::OpenStoreFailed { .. });
    assert_eq!(bench.clock.now().saturating_since(begun), OPEN);
    live.append([event("1")]).await.expect("the session goes on");
    bench.clock.advance(SESSION);
    bench
        .provider
        .open_with(database, &stream, at_once)
        .await
        .expect("an expired session is replaced");
}

/// 5: close removed the lock of another owner.
pub async fn defect_05_close_releases_only_its_own_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let stale = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    let holder = bench.session(&stream).await;
    stale.close().await.expect("closed");
    holder
        .append([event("1")])
        .await
        .expect("the holder still holds the stream");
}

/// 6: expiry was compared with the wall clock in one place and the injected clock in another. The injected clock is
/// behind the wall clock first, and then far ahead of it.
pub async fn defect_06_expiry_follows_the_injected_clock(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for stream in ["behind", "ahead"].map(stream_id) {
        let store = bench.session(&stream).await;
        assert_eq!(
            store.session().expires_at,
            bench.clock.now().saturating_add(SESSION)
        );
        store.append([event("in time")]).await.expect("the session lasts");
        refused!(bench.try_session(&stream).await, Error::OpenStoreFailed { .. });
        bench.clock.advance(SESSION);
        refused!(store.version().await, Error::StoreSessionExpired { .. });
        refused!(
            store.append([event("late")]).await,
            Error::StoreSessionExpired { .. }
        );
        bench.clock.advance(CENTURY);
    }
}

/// 7: after the first snapshot the default read failed.
pub async fn defect_07_read_after_the_first_snapshot_works(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = bench.session(&stream_id("a")).await;
    store.append([event("1")]).await.expect("appended");
    store.snapshot(Version::FIRST, state(1)).await.expect("taken");
    let history = store.read().await.expect("read");
    assert_eq!((history.snapshot.is_some(), history.events.len()), (true, 0));
}

/// 8: the fold was called twice with an empty list, and snapshots that were taken at once raced on the list of them.
pub async fn defect_08_fold_is_called_once_per_snapshot_with_its_events(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = bench.session(&stream_id("a")).await;
    store
        .append(
            (1..=7)
                .map(|number| event(&number.to_string()))
                .collect::<Vec<_>>(),
        )
        .await
        .expect("appended");
    let mut calls = Vec::new();
    let fold = |before: Option<&eventstore_abstractions::Snapshot>,
                since: &[eventstore_abstractions::RecordedEvent]| {
        calls.push((before.map(|snapshot| snapshot.version.get()), versions(since)));
        Ok(state(0))
    };
    assert_eq!(store.snapshot_all(3, fold).await.expect("taken"), 2);
    assert_eq!(calls, [(None, vec![1, 2, 3]), (Some(3), vec![4, 5, 6])]);
    // Snapshots raced on the list of them.
    store.close().await.expect("closed");
    let taking = (1..=7).map(|version| bench.snapshot(store.stream(), version));
    futures_util::future::join_all(taking).await;
    let listed = bench.log.snapshot_versions(store.stream()).await;
    assert_eq!(
        listed.expect("read"),
        (1..=7).map(Version::new).collect::<Vec<_>>()
    );
}

/// 9: the state as of a version could use a snapshot newer than it.
pub async fn defect_09_state_as_of_a_version_uses_no_newer_snapshot(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 5).await;
    bench.snapshot(&stream, 4).await;
    let store = bench.session(&stream).await;
    let history = store.read_as_of(Version::new(3)).await.expect("read");
    assert!(history.snapshot.is_none());
    assert_eq!(versions(&history.events), up_to(3));
}

/// 10: a snapshot that was cleared stayed in the list.
pub async fn defect_10_cleared_snapshot_leaves_the_list(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    bench.snapshot(&stream, 2).await;
    let store = bench.session(&stream).await;
    store.clear_snapshot(Version::new(2)).await.expect("cleared");
    assert!(store.snapshot_versions().await.expect("read").is_empty());
    assert_eq!(store.last_snapshot_version().await.expect("read"), Version::ZERO);
}

/// 11: the version was found by probing key by key.
pub async fn defect_11_version_costs_the_same_however_long_the_stream(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (short, long) = (stream_id("short"), stream_id("long"));
    bench.append(&short, 1).await;
    let bench = bench.filled(&long, 2_000).await.settled().await;
    let mut cost = Vec::new();
    for stream in [&short, &long] {
        bench.meter.take();
        bench.log.version(stream).await.expect("read");
        cost.push(bench.meter.take());
    }
    assert_eq!(cost[0].calls, cost[1].calls);
    // The names and the numbers differ by a few bytes.
    assert!(cost[1].bytes < cost[0].bytes + 16, "{cost:?}");
    // Each append found it so, too: by a provider that has just been opened, and remembers nothing.
    let mut bench = bench;
    let mut cost = Vec::new();
    for stream in [&short, &long] {
        bench = bench.crash().await;
        bench.meter.take();
        bench.append(stream, 1).await;
        cost.push(bench.meter.take());
    }
    assert_eq!(cost[0].calls, cost[1].calls);
    assert!(cost[1].bytes < cost[0].bytes + 16, "{cost:?}");
}

/// 12: idempotency ids were never checked.
pub async fn defect_12_idempotency_ids_are_checked(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let keyed = |text| event(text).with_idempotency_id(IdempotencyId::new("once").expect("a valid id"));
    let first = bench
        .log
        .append(&stream, ExpectedVersion::Any, [keyed("1")])
        .await
        .expect("appended");
    let again = bench
        .log
        .append(&stream, ExpectedVersion::Any, [keyed("1")])
        .await
        .expect("recognised");
    assert_eq!(again, first);
    let other = bench
        .log
        .append(&stream, ExpectedVersion::Any, [keyed("2")])
        .await;
    refused!(other, Error::DuplicateIdempotencyId { .. });
}

/// 13: nobody could read a stream while a session was open on it.
pub async fn defect_13_readers_need_no_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let store = bench.session(&stream).await;
    store.append([event("1")]).await.expect("appended");
    assert_eq!(texts(&bench.events(&stream).await), ["1"]);
    assert_eq!(bench.log.version(&stream).await.expect("read"), Version::FIRST);
}
