//! Which events a read selects: as of a version, a slice, with and without snapshots, both ways.

use eventstore_abstractions::{
    Direction, Error, EventStore, EventStoreExt, History, ReadOptions, RecordedEvent, Selection, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, refused, state, stream_id, text, up_to, versions};

/// A stream of ten events with snapshots at 3 and 7, and a session on it.
async fn ten_events(bench: &Bench<'_>) -> Box<dyn EventStore> {
    let stream = stream_id("ten");
    bench.append(&stream, 10).await;
    bench.snapshot(&stream, 7).await;
    bench.snapshot(&stream, 3).await;
    bench.session(&stream).await
}

/// What a history is made of: the version of its snapshot, 0 for none, and of its events.
fn parts(history: &History) -> (u64, Vec<u64>) {
    let snapshot = history
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.version.get());
    (snapshot, versions(&history.events))
}

/// The default read is the newest snapshot and the events after it.
pub async fn read_begins_at_the_newest_snapshot(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = ten_events(&bench).await;
    let history = store.read().await.expect("read");
    assert_eq!(parts(&history), (7, vec![8, 9, 10]));
    let snapshot = history.snapshot.as_ref().expect("a snapshot");
    assert_eq!(text(&snapshot.message), text(&state(7)));
    assert_eq!(history.version(), Version::new(10));
    let free = bench
        .log
        .read_stream(store.stream(), ReadOptions::replay())
        .await
        .expect("read");
    assert_eq!(
        free.collect().await.expect("read"),
        history,
        "the log reads the same"
    );
}

/// A read of a stream without snapshots, or that leaves them out, gives every event from version 1.
pub async fn read_without_snapshots_gives_every_event(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = ten_events(&bench).await;
    assert_eq!(
        versions(&store.read_without_snapshots().await.expect("read")),
        up_to(10)
    );
    let plain = stream_id("plain");
    bench.append(&plain, 4).await;
    let history = bench.session(&plain).await.read().await.expect("read");
    assert_eq!(parts(&history), (0, up_to(4)));
}

/// The state as of a version is the newest snapshot not above it and the events up to it.
pub async fn read_as_of_uses_the_newest_snapshot_not_above(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = ten_events(&bench).await;
    for (version, snapshot, events) in [
        (0, 0, vec![]),
        (2, 0, vec![1, 2]),
        (3, 3, vec![]),
        (6, 3, vec![4, 5, 6]),
        (7, 7, vec![]),
        (8, 7, vec![8]),
        (10, 7, vec![8, 9, 10]),
    ] {
        let history = store.read_as_of(Version::new(version)).await.expect("read");
        assert_eq!(parts(&history), (snapshot, events), "as of {version}");
        let plain = ReadOptions::as_of(Version::new(version)).without_snapshots();
        let history = store
            .read_with(plain)
            .await
            .expect("read")
            .collect()
            .await
            .expect("read");
        assert_eq!(
            parts(&history),
            (0, up_to(version)),
            "as of {version} without snapshots"
        );
    }
}

/// The state as of a version that the stream has not reached is an error that names both versions.
pub async fn read_as_of_a_version_above_the_head_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = ten_events(&bench).await;
    let at = |version| ReadOptions::as_of(Version::new(version));
    for options in [at(11), at(u64::MAX), at(11).without_snapshots()] {
        let Error::VersionNotFound {
            stream,
            version,
            current,
        } = refused!(store.read_with(options).await, Error::VersionNotFound { .. })
        else {
            unreachable!("just matched")
        };
        assert_eq!((&stream, current), (store.stream(), Version::new(10)));
        assert!(version > current);
    }
    let absent = bench.log.read_stream(&stream_id("absent"), at(1)).await;
    refused!(
        absent,
        Error::VersionNotFound {
            current: Version::ZERO,
            ..
        }
    );
}

/// A slice has both its ends; what is out of range is left out without an error.
pub async fn slice_is_inclusive_and_never_out_of_range(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = ten_events(&bench).await;
    for (first, last, expected) in slices() {
        let read = store
            .read_slice(Version::new(first), Version::new(last))
            .await
            .expect("read");
        assert_eq!(versions(&read), expected, "slice {first} to {last}");
    }
    let absent = ReadOptions::slice(Version::FIRST, Version::MAX);
    let replay = bench
        .log
        .read_stream(&stream_id("absent"), absent)
        .await
        .expect("read");
    assert!(replay.events.collect().await.expect("read").is_empty());
}

/// A slice may be read newest event first, and so may the whole stream; neither has a snapshot.
pub async fn backward_slice_is_the_slice_in_reverse(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let store = ten_events(&bench).await;
    for (first, last, mut expected) in slices() {
        let mut options = ReadOptions::backward().page_size(3);
        options.selection = Selection::Slice {
            first: Version::new(first),
            last: Version::new(last),
            direction: Direction::Backward,
        };
        expected.reverse();
        assert_eq!(
            versions(&collect(&*store, options).await),
            expected,
            "slice {last} to {first}"
        );
    }
    let mut whole = up_to(10);
    whole.reverse();
    assert_eq!(versions(&collect(&*store, ReadOptions::backward()).await), whole);
}

fn slices() -> [(u64, u64, Vec<u64>); 10] {
    [
        (1, 10, up_to(10)),
        (1, 1, vec![1]),
        (10, 10, vec![10]),
        (4, 6, vec![4, 5, 6]),
        (0, 2, vec![1, 2]),
        (9, 99, vec![9, 10]),
        (0, u64::MAX, up_to(10)),
        (11, 20, vec![]),
        (6, 4, vec![]),
        (0, 0, vec![]),
    ]
}

async fn collect(store: &dyn EventStore, options: ReadOptions) -> Vec<RecordedEvent> {
    let replay = store.read_with(options).await.expect("read");
    assert_eq!(replay.snapshot, None);
    replay.events.collect().await.expect("read")
}
