//! Snapshots: kept beside the events, never ahead of them, never instead of them.

use eventstore_abstractions::{
    Clock, CorrelationId, Error, EventStoreExt, RecordedEvent, Scope, Snapshot, StreamId, Timestamp, Version,
};

use super::ProviderHarness;
use super::bench::{
    Bench, SESSION, event, numbered, positions, refused, sized, state, stream_id, text, up_to, versions,
};

/// A snapshot is read back as it was stored, with its whole metadata and the store's time.
pub async fn snapshot_round_trips(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    bench.clock.advance(SESSION);
    let mut message = state(2).with_correlation_id(CorrelationId::new("c").expect("valid"));
    message.metadata.message.schema_version = 9;
    message.metadata.context.received_at = Some(Timestamp::from_micros(5));
    message.metadata.context.scopes = vec![Scope::new("s").expect("valid")];
    bench
        .log
        .snapshot(&stream, Version::new(2), message.clone())
        .await
        .expect("stored");
    let expected = Snapshot::new(Version::new(2), bench.clock.now(), message);
    let bench = bench.restart().await;
    let read = bench
        .log
        .read_snapshot(&stream, Version::new(2))
        .await
        .expect("read");
    assert_eq!(read, Some(expected));
}

/// A snapshot at a version that has one replaces it.
pub async fn snapshot_replaces_the_one_at_its_version(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = with_events(&bench, 3).await;
    for text in ["old", "new"] {
        session
            .snapshot(Version::new(2), event(text))
            .await
            .expect("stored");
    }
    let read = session
        .read_snapshot(Version::new(2))
        .await
        .expect("read")
        .expect("a snapshot");
    assert_eq!(text(&read.message), "new");
    assert_eq!(
        bench.log.snapshot_versions(&stream).await.expect("read"),
        [Version::new(2)]
    );
}

/// No snapshot above the stream's version is accepted, and none is used: not of an empty stream either.
pub async fn snapshot_never_ahead(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 3).await;
    for version in [4, 5, u64::MAX] {
        let result = session.snapshot(Version::new(version), state(version)).await;
        refused!(result, Error::VersionNotFound { .. });
    }
    let absent = bench
        .log
        .snapshot(&stream_id("absent"), Version::FIRST, state(1))
        .await;
    refused!(
        absent,
        Error::VersionNotFound {
            current: Version::ZERO,
            ..
        }
    );
    assert!(session.snapshot_versions().await.expect("read").is_empty());
    let history = session.read().await.expect("read");
    assert_eq!((history.snapshot, versions(&history.events)), (None, up_to(3)));
    session
        .snapshot(Version::new(3), state(3))
        .await
        .expect("a snapshot at the stream's version is stored");
}

/// There is no state at version 0, hence no snapshot.
pub async fn snapshot_at_version_zero_is_invalid(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 1).await;
    refused!(
        session.snapshot(Version::ZERO, state(0)).await,
        Error::InvalidInput { .. }
    );
    assert!(session.snapshot_versions().await.expect("read").is_empty());
}

/// A snapshot that no record can hold is refused by its size.
pub async fn oversized_snapshot_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 1).await;
    let large = sized(bench.max_value_bytes() + 1);
    refused!(
        session.snapshot(Version::FIRST, large).await,
        Error::InvalidInput { .. }
    );
    assert!(session.snapshot_versions().await.expect("read").is_empty());
}

/// A snapshot is no event: it changes neither the version nor the log.
pub async fn snapshot_is_no_event(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 3).await;
    session.snapshot(Version::new(3), state(3)).await.expect("stored");
    assert_eq!(session.version().await.expect("read"), Version::new(3));
    assert_eq!(
        session.append(numbered(1)).await.expect("appended").version,
        Version::new(4)
    );
    assert_eq!(positions(&bench.all().await), up_to(4));
}

/// The versions of snapshots are listed in ascending order, whatever the order in which they were taken.
pub async fn snapshot_versions_are_ascending(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 300).await;
    assert_eq!(snapshot_versions(&bench).await, [0; 0]);
    assert_eq!(
        session.last_snapshot_version().await.expect("read"),
        Version::ZERO
    );
    for version in [256, 9, 10, 300, 2, 255, 100] {
        session
            .snapshot(Version::new(version), state(version))
            .await
            .expect("stored");
    }
    assert_eq!(snapshot_versions(&bench).await, [2, 9, 10, 100, 255, 256, 300]);
    assert_eq!(
        session.last_snapshot_version().await.expect("read"),
        Version::new(300)
    );
}

/// The snapshot for a version is the newest that is not above it.
pub async fn newest_snapshot_not_above_is_read(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 10).await;
    assert_eq!(session.read_snapshot(Version::MAX).await.expect("read"), None);
    for version in [7, 3] {
        session
            .snapshot(Version::new(version), state(version))
            .await
            .expect("stored");
    }
    for (version, expected) in [
        (0, None),
        (2, None),
        (3, Some(3)),
        (6, Some(3)),
        (7, Some(7)),
        (10, Some(7)),
        (u64::MAX, Some(7)),
    ] {
        let read = session.read_snapshot(Version::new(version)).await.expect("read");
        assert_eq!(
            read.as_ref().map(|snapshot| snapshot.version.get()),
            expected,
            "for version {version}"
        );
        assert_eq!(
            read.map(|read| text(&read.message)),
            expected.map(|version| text(&state(version)))
        );
    }
}

/// Clearing a snapshot removes that one from every list and read, and leaves the others.
pub async fn cleared_snapshot_is_gone(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_snapshots(&bench, &[2, 4, 6]).await;
    session.clear_snapshot(Version::new(4)).await.expect("cleared");
    assert_eq!(snapshot_versions(&bench).await, [2, 6]);
    session.clear_snapshot(Version::new(6)).await.expect("cleared");
    assert_eq!(
        session.last_snapshot_version().await.expect("read"),
        Version::new(2)
    );
    assert_eq!(
        versions(&session.read().await.expect("read").events),
        [3, 4, 5, 6]
    );
    bench
        .log
        .clear_snapshot(&stream_id("other"), Version::FIRST)
        .await
        .expect_err("another stream has none");
}

/// Clearing a snapshot that is not there is an error that names the version.
pub async fn clearing_an_absent_snapshot_is_an_error(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_snapshots(&bench, &[2]).await;
    for absent in [0, 1, 3, 99] {
        let result = session.clear_snapshot(Version::new(absent)).await;
        match result {
            Err(Error::SnapshotVersionNotFound { stream, version }) => {
                assert_eq!((stream, version), (stream_id("a"), Version::new(absent)));
            }
            other => panic!("{other:?} does not name the absent snapshot"),
        }
    }
    session.clear_snapshot(Version::new(2)).await.expect("cleared");
    refused!(
        session.clear_snapshot(Version::new(2)).await,
        Error::SnapshotVersionNotFound { .. }
    );
}

/// Clearing all removes the snapshots of the stream, of no other, and no event; there may be none.
pub async fn clearing_all_leaves_none(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let neighbours = [
        StreamId::new("case", "a "),
        StreamId::new("case", "b"),
        StreamId::new("cas", "ea"),
    ];
    let neighbours = neighbours.map(|stream| stream.expect("valid"));
    for stream in &neighbours {
        bench.append(stream, 1).await;
        bench.snapshot(stream, 1).await;
    }
    let session = with_snapshots(&bench, &[1, 3, 6]).await;
    session.clear_snapshots().await.expect("cleared");
    session
        .clear_snapshots()
        .await
        .expect("clearing none is no error");
    assert_eq!(snapshot_versions(&bench).await, [0; 0]);
    assert_eq!(versions(&session.read().await.expect("read").events), up_to(6));
    for stream in &neighbours {
        assert_eq!(
            bench.log.snapshot_versions(stream).await.expect("read"),
            [Version::FIRST]
        );
    }
}

/// More snapshots than one page or commit would hold are listed and cleared too.
pub async fn many_snapshots_are_listed_and_cleared(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for _ in 0..3 {
        bench.append(&stream, 200).await;
    }
    let session = bench.session(&stream).await;
    let taken = session.snapshot_all(1, |_, _| Ok(state(1))).await.expect("taken");
    assert_eq!(taken, 600);
    assert_eq!(snapshot_versions(&bench).await, up_to(600));
    session.clear_snapshots().await.expect("cleared");
    assert_eq!(snapshot_versions(&bench).await, [0; 0]);
}

/// Snapshots at intervals stand at the interval, twice the interval and so on, and each state is folded from the one
/// before it and the events since.
pub async fn snapshot_all_folds_state_and_events(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 11).await;
    let taken = session.snapshot_all(3, sum).await.expect("taken");
    assert_eq!((taken, snapshot_versions(&bench).await), (3, vec![3, 6, 9]));
    for (version, sum) in [(3, 6), (6, 21), (9, 45)] {
        let read = session
            .read_snapshot(Version::new(version))
            .await
            .expect("read")
            .expect("a snapshot");
        assert_eq!(text(&read.message), sum.to_string(), "at {version}");
    }
    // Fewer events than the interval: nothing to take.
    assert_eq!(session.snapshot_all(12, sum).await.expect("none taken"), 0);
}

/// Taking all snapshots reads every event about once, however many snapshots there are.
pub async fn snapshot_all_reads_every_event_once(harness: &dyn ProviderHarness) {
    // Too many for a store to have them all in memory.
    let bench = Bench::open(harness).await.filled(&stream_id("a"), 6000).await;
    let session = bench.session(&stream_id("a")).await;
    bench.meter.take();
    bench.events(&stream_id("a")).await;
    let whole = bench.meter.take().bytes;
    let mut folded = 0;
    let fold = |_: Option<&Snapshot>, since: &[RecordedEvent]| {
        folded += since.len();
        Ok(state(1))
    };
    session.snapshot_all(60, fold).await.expect("taken");
    let bytes = bench.meter.take().bytes;
    assert_eq!(folded, 6000);
    assert!(
        bytes < whole * 3,
        "{bytes} bytes were read; all events have {whole}"
    );
}

/// An interval of 0 is an error, and takes nothing.
pub async fn snapshot_interval_of_zero_is_invalid(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 3).await;
    refused!(session.snapshot_all(0, sum).await, Error::InvalidInput { .. });
    assert_eq!(snapshot_versions(&bench).await, [0; 0]);
}

/// A fold that fails ends the taking with its error; snapshots taken before stay.
pub async fn failing_fold_keeps_what_was_taken(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = with_events(&bench, 9).await;
    let failing = |before: Option<&Snapshot>, since: &[RecordedEvent]| {
        if since.iter().any(|event| event.version.get() == 5) {
            return Err(Error::application("cannot fold event 5"));
        }
        sum(before, since)
    };
    refused!(session.snapshot_all(3, failing).await, Error::Application { .. });
    assert_eq!(snapshot_versions(&bench).await, [3]);
}

/// Adds the versions of the events to what the snapshot before them says.
fn sum(
    before: Option<&Snapshot>,
    since: &[RecordedEvent],
) -> eventstore_abstractions::Result<eventstore_abstractions::EventMessage> {
    let before = before.map_or(0, |snapshot| {
        text(&snapshot.message).parse::<u64>().expect("a number")
    });
    Ok(event(&(before + versions(since).iter().sum::<u64>()).to_string()))
}

async fn with_events(bench: &Bench<'_>, count: usize) -> Box<dyn eventstore_abstractions::EventStore> {
    bench.append(&stream_id("a"), count).await;
    bench.session(&stream_id("a")).await
}

async fn with_snapshots(bench: &Bench<'_>, versions: &[u64]) -> Box<dyn eventstore_abstractions::EventStore> {
    let session = with_events(bench, 6).await;
    for version in versions {
        session
            .snapshot(Version::new(*version), state(*version))
            .await
            .expect("stored");
    }
    session
}

async fn snapshot_versions(bench: &Bench<'_>) -> Vec<u64> {
    let versions = bench.log.snapshot_versions(&stream_id("a")).await.expect("read");
    versions.into_iter().map(Version::get).collect()
}
