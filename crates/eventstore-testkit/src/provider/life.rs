//! What is kept of a stream: retention and deletion, as readers and writers see them.

use std::time::Duration;

use eventstore_abstractions::{
    Deletion, Error, ExpectedVersion, History, LogReadOptions, ReadOptions, Retention, StreamId, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, TICK, refused, state, stream_id, texts, up_to, versions};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The versions from `first` to `last`.
pub(super) fn from_to(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

pub(super) async fn retain(bench: &Bench<'_>, stream: &StreamId, retention: Retention) {
    let set = bench.log.set_retention(stream, retention).await;
    set.expect("the retention is set");
}

pub(super) async fn delete(bench: &Bench<'_>, stream: &StreamId, deletion: Deletion) {
    let deleted = bench
        .log
        .delete_stream(stream, ExpectedVersion::Any, deletion)
        .await;
    deleted.expect("the stream is deleted");
}

pub(super) async fn read(bench: &Bench<'_>, options: ReadOptions) -> History {
    let replay = bench.log.read_stream(&stream_id("a"), options).await;
    replay
        .expect("the stream is read")
        .collect()
        .await
        .expect("its events are read")
}

/// The versions that are read of the stream, the same in every way, and the first one that it says is kept.
pub(super) async fn kept(bench: &Bench<'_>) -> (Vec<u64>, u64) {
    let read_versions = async |options| versions(&read(bench, options).await.events);
    let whole = read_versions(ReadOptions::replay().without_snapshots()).await;
    let all = (Version::FIRST, Version::MAX);
    for page in [1, 3, 1_000] {
        let forward = ReadOptions::slice(all.0, all.1).page_size(page);
        assert_eq!(read_versions(forward).await, whole, "by {page}");
        let mut backward = read_versions(ReadOptions::backward().page_size(page)).await;
        backward.reverse();
        assert_eq!(backward, whole, "backward by {page}");
    }
    let info = bench.log.stream_info(&stream_id("a")).await.expect("known");
    (whole, info.first.get())
}

/// What a retention leaves out is not read any more, from the moment it is set, and as the stream grows or time goes
/// on: by version, by count, by age, and by all of them together.
pub async fn retention_hides_events_at_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    // Event n was recorded when n - 1 hours had passed.
    for _ in 0..10 {
        bench.append(&stream, 1).await;
        bench.clock.advance(HOUR);
    }
    assert_eq!(kept(&bench).await, (up_to(10), 1));
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(3)),
    )
    .await;
    assert_eq!(kept(&bench).await, (from_to(3, 10), 3));
    retain(&bench, &stream, Retention::default().max_count(7)).await;
    assert_eq!(kept(&bench).await, (from_to(4, 10), 4));
    bench.append(&stream, 1).await;
    assert_eq!(kept(&bench).await, (from_to(5, 11), 5));
    // Event 7 was recorded 4 hours ago.
    retain(&bench, &stream, Retention::default().max_age(4 * HOUR)).await;
    assert_eq!(kept(&bench).await, (from_to(7, 11), 7));
    bench.clock.advance(TICK);
    assert_eq!(kept(&bench).await, (from_to(8, 11), 8));
    let all = Retention::default()
        .max_age(4 * HOUR)
        .max_count(3)
        .truncate_before(Version::new(2));
    retain(&bench, &stream, all).await;
    assert_eq!(
        kept(&bench).await,
        (from_to(9, 11), 9),
        "the count leaves out most"
    );
    let info = bench.log.stream_info(&stream).await.expect("known");
    assert_eq!(
        (info.version, info.retention, info.deleted),
        (Version::new(11), all, None)
    );
    bench.clock.advance(2 * HOUR);
    assert_eq!(
        kept(&bench).await,
        (from_to(10, 11), 10),
        "the age leaves out most"
    );
    bench.clock.advance(24 * HOUR);
    assert_eq!(kept(&bench).await, (vec![], 12), "all are too old");
    bench.append(&stream, 1).await;
    assert_eq!(kept(&bench).await, (vec![12], 12));
}

/// A read that begins below the first event that is kept begins there, without an error; one that ends below is empty.
pub async fn reads_after_truncation_start_at_the_first_kept(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 6).await;
    bench.append(&stream, 6).await;
    // In the middle of what was appended at once.
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(9)),
    )
    .await;
    let slice = |first, last| ReadOptions::slice(Version::new(first), Version::new(last));
    let as_of = |version| ReadOptions::as_of(Version::new(version));
    for (options, expected) in [
        (slice(1, 12), from_to(9, 12)),
        (slice(3, 10), from_to(9, 10)),
        (slice(11, 12), from_to(11, 12)),
        (slice(1, 8), vec![]),
        (as_of(12), from_to(9, 12)),
        (as_of(10), from_to(9, 10)),
        (as_of(8), vec![]),
        (as_of(1), vec![]),
    ] {
        let history = read(&bench, options).await;
        assert_eq!(versions(&history.events), expected, "{options:?}");
    }
    assert_eq!(bench.log.version(&stream).await.expect("read"), Version::new(12));
    // The log has them until they are removed.
    assert_eq!(versions(&bench.all().await), up_to(12));
}

/// What was not kept once is not kept again, whatever retention is set later.
pub async fn excluded_events_stay_excluded(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for _ in 0..10 {
        bench.append(&stream, 1).await;
        bench.clock.advance(HOUR);
    }
    for (retention, first) in [
        (Retention::default().truncate_before(Version::new(3)), 3),
        (Retention::default(), 3),
        (Retention::default().max_count(6), 5),
        (
            Retention::default().max_count(9).truncate_before(Version::new(2)),
            5,
        ),
        (Retention::default().max_age(3 * HOUR), 8),
        (Retention::default(), 8),
    ] {
        retain(&bench, &stream, retention).await;
        assert_eq!(kept(&bench).await, (from_to(first, 10), first), "{retention:?}");
    }
}

/// A retention that would keep no event for ever is refused, and so is one that would leave out events to come.
pub async fn retention_that_keeps_nothing_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    for retention in [
        Retention::default().max_count(0),
        Retention::default().max_age(Duration::ZERO),
        Retention::default().truncate_before(Version::new(5)),
        Retention::default().truncate_before(Version::MAX),
    ] {
        let set = bench.log.set_retention(&stream, retention).await;
        refused!(set, Error::InvalidInput { .. });
    }
    refused!(bench.log.scavenge(0).await, Error::InvalidInput { .. });
    assert_eq!(kept(&bench).await, (up_to(3), 1));
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(4)),
    )
    .await;
    assert_eq!(kept(&bench).await, (vec![], 4));
    bench.append(&stream, 1).await;
    assert_eq!(kept(&bench).await, (vec![4], 4));
}

/// A replay does not begin with a snapshot when events after it are not kept: the state would lack them.
pub async fn snapshot_below_a_gap_is_not_used(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 10).await;
    for version in [2, 5, 8] {
        bench.snapshot(&stream, version).await;
    }
    let usable = async || {
        let history = read(&bench, ReadOptions::replay()).await;
        let as_of = read(&bench, ReadOptions::as_of(Version::new(7))).await;
        let snapshots = bench.log.snapshot_versions(&stream).await.expect("read");
        let of_seven = bench
            .log
            .read_snapshot(&stream, Version::new(7))
            .await
            .expect("read");
        let version = |history: &History| history.snapshot.as_ref().map_or(0, |it| it.version.get());
        assert_eq!(of_seven.map_or(0, |it| it.version.get()), version(&as_of));
        let snapshots = snapshots.into_iter().map(Version::get).collect::<Vec<_>>();
        (
            version(&history),
            versions(&history.events),
            version(&as_of),
            versions(&as_of.events),
            snapshots,
        )
    };
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(6)),
    )
    .await;
    assert_eq!(
        usable().await,
        (8, vec![9, 10], 5, vec![6, 7], vec![5, 8]),
        "the gap ends at 5"
    );
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(7)),
    )
    .await;
    assert_eq!(usable().await, (8, vec![9, 10], 0, vec![7], vec![8]));
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(10)),
    )
    .await;
    assert_eq!(usable().await, (0, vec![10], 0, vec![], vec![]));
    let late = bench.log.snapshot(&stream, Version::new(8), state(8)).await;
    refused!(late, Error::InvalidInput { .. });
    bench.snapshot(&stream, 9).await;
    assert_eq!(usable().await, (9, vec![10], 0, vec![], vec![9]));
}

/// What is kept, and what was deleted, is the same after a restart and after a crash.
pub async fn retention_survives_reopen(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    let streams = ["a", "soft", "hard"].map(stream_id);
    for stream in &streams {
        bench.append(stream, 5).await;
    }
    let synced = |bench: &Bench<'_>, what| assert!(!bench.engine.has_unsynced(), "{what} can be lost");
    retain(&bench, &streams[0], Retention::default().max_count(2)).await;
    synced(&bench, "a retention");
    delete(&bench, &streams[1], Deletion::Soft).await;
    synced(&bench, "a deletion");
    delete(&bench, &streams[2], Deletion::Hard).await;
    synced(&bench, "a deletion for good");
    for round in 0..2 {
        bench = match round {
            0 => bench.restart().await,
            _ => bench.crash().await,
        };
        assert_eq!(kept(&bench).await, (from_to(4, 5), 4));
        for (stream, deletion) in [(&streams[1], Deletion::Soft), (&streams[2], Deletion::Hard)] {
            let info = bench.log.stream_info(stream).await.expect("known");
            assert_eq!((info.version, info.deleted), (Version::new(5), Some(deletion)));
            assert_eq!(bench.events(stream).await, []);
        }
    }
    bench.append(&streams[0], 1).await;
    assert_eq!(kept(&bench).await, (from_to(5, 6), 5));
    let all = bench
        .log
        .read_all(LogReadOptions::forward())
        .collect()
        .await
        .expect("read");
    assert_eq!(texts(&all).len(), 16);
}
