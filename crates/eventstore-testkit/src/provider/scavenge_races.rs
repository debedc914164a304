//! Scavenges while others read, write and scavenge.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use eventstore_abstractions::{
    Deletion, EventLog, EventLogExt, EventStream, ExpectedVersion, LogReadOptions, ReadOptions,
    RecordedEvent, Retention, StreamId, Version,
};
use tokio::task::{JoinSet, yield_now};

use super::ProviderHarness;
use super::bench::{Bench, all, event, events, positions, sized, stream_id, text, texts, up_to, versions};
use super::life::{delete, from_to, retain};
use super::scavenges::{append_secrets, scavenge};
use crate::fault::Moment;

/// A read that has begun goes on when events vanish under it: it leaves out those of a stream, and tells in the log that
/// they were removed.
pub async fn read_goes_on_behind_what_is_removed(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    append_secrets(&bench, &stream, 40).await;
    let read = async |options: ReadOptions| {
        let replay = bench.log.read_stream(&stream, options.page_size(1)).await;
        begun(replay.expect("begun").events).await
    };
    let (first, forward) = read(ReadOptions::replay()).await;
    let (last, backward) = read(ReadOptions::backward()).await;
    let (_, ahead) = begun(bench.log.read_all(LogReadOptions::forward().page_size(1))).await;
    let (_, behind) = begun(bench.log.read_all(LogReadOptions::backward().page_size(1))).await;
    assert_eq!((first, last), (1, 40));
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(30)),
    )
    .await;
    assert_eq!(scavenge(&*bench.log, 100).await, 29);
    // Some events may have been read before they were removed.
    let forward = versions(&forward.collect().await.expect("what is removed is no error"));
    assert!(
        forward.is_sorted() && forward.ends_with(&from_to(30, 40)),
        "{forward:?}"
    );
    assert!(forward.len() < 39, "none was left out");
    let mut backward = versions(&backward.collect().await.expect("what is removed is no error"));
    backward.reverse();
    assert_eq!(backward, from_to(30, 39));
    let ahead = ahead.collect().await.expect("what is removed is no error");
    let behind = behind.collect().await.expect("what is removed is no error");
    assert_eq!(positions(&ahead), from_to(2, 40));
    assert!(positions(&behind).into_iter().rev().eq(1..=39));
    for event in ahead.iter().chain(&behind) {
        let is_whole = text(&event.message).starts_with(&format!("secret {}", event.version));
        assert!(
            is_whole || (event.is_removed() && event.version.get() < 30),
            "{event:?}"
        );
    }
    let is_removed = |events: &[RecordedEvent]| events.iter().any(RecordedEvent::is_removed);
    assert!(is_removed(&ahead) && is_removed(&behind));
}

/// The version of the first event, and the rest of the read.
async fn begun(mut events: EventStream) -> (u64, EventStream) {
    let first = events.next().await.expect("there is one").expect("read");
    (first.version.get(), events)
}

const READERS: usize = 3;

/// While a stream is truncated and scavenged, every read ends without an error and has every event that is kept at its
/// end, and the log has every position.
pub async fn reads_race_with_scavenge(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    const LAST: u64 = 240;
    const REMOVED: u64 = 200;
    for _ in 0..LAST / 10 {
        bench.append(&stream, 8).await;
        // Those are not copied into the log.
        let large = [sized(3_000), sized(3_000)];
        bench
            .log
            .append(&stream, ExpectedVersion::Any, large)
            .await
            .expect("appended");
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let readers = (0..READERS).map(|reader| {
        let (log, stream, is_over) = (bench.log.clone(), stream.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut is_last = false;
            while !is_last {
                is_last = is_over.load(Ordering::SeqCst);
                match reader {
                    0 => read_log_in_race(&*log, LAST).await,
                    1 => read_stream_in_race(&*log, &stream, LAST, ReadOptions::replay()).await,
                    _ => read_stream_in_race(&*log, &stream, LAST, ReadOptions::backward()).await,
                }
                yield_now().await;
            }
        })
    });
    let readers = readers.collect::<Vec<_>>();
    let mut removed = 0;
    for first in (10..=REMOVED).step_by(10) {
        let retention = Retention::default().truncate_before(Version::new(first + 1));
        retain(&bench, &stream, retention).await;
        removed += bench.log.scavenge(60).await.expect("scavenged").events;
        yield_now().await;
    }
    removed += scavenge(&*bench.log, 1_000).await;
    removed += scavenge(&*bench.log, 1_000).await;
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.expect("no read fails");
    }
    assert_eq!(removed, REMOVED);
    for event in all(&*bench.log).await {
        assert_eq!(event.is_removed(), event.version.get() <= REMOVED);
    }
}

async fn read_stream_in_race(log: &dyn EventLog, stream: &StreamId, last: u64, options: ReadOptions) {
    let replay = log
        .read_stream(stream, options.page_size(7))
        .await
        .expect("begun");
    let read = versions(
        &replay
            .events
            .collect()
            .await
            .expect("what is removed is no error"),
    );
    let first = log.stream_info(stream).await.expect("known").first.get();
    let seen: BTreeSet<u64> = read.iter().copied().collect();
    assert_eq!(seen.len(), read.len(), "{read:?} has an event twice");
    assert!(
        read.is_sorted() || read.iter().rev().is_sorted(),
        "{read:?} has no order"
    );
    let missed = (first..=last).find(|version| !seen.contains(version));
    assert_eq!(missed, None, "from {first} on all are kept; read were {read:?}");
}

async fn read_log_in_race(log: &dyn EventLog, last: u64) {
    let read = log
        .read_all(LogReadOptions::forward().page_size(7))
        .collect()
        .await;
    let read = read.expect("what is removed is no error");
    assert_eq!(positions(&read), up_to(last));
    assert_eq!(versions(&read), up_to(last));
    let first = log.stream_info(&read[0].stream).await.expect("known").first.get();
    let too_many = read
        .iter()
        .find(|event| event.is_removed() && event.version.get() >= first);
    assert_eq!(too_many, None, "from {first} on all are kept");
}

const WRITERS: u64 = 4;
const ROUNDS: u64 = 40;

/// While many append to streams that keep their newest events, and scavenges run, no append fails or is lost, versions and
/// positions have no gaps, and the newest events are kept.
pub async fn append_races_with_scavenge(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let streams: Vec<_> = (0..WRITERS)
        .map(|writer| stream_id(&format!("w{writer}")))
        .collect();
    for stream in &streams {
        retain(&bench, stream, Retention::default().max_count(5)).await;
    }
    let writers = streams.iter().map(|stream| {
        let (log, stream) = (bench.log.clone(), stream.clone());
        async move {
            for round in 1..=ROUNDS {
                let expected = ExpectedVersion::Exact(Version::new(round - 1));
                let message = event(&format!("{stream} {round}"));
                log.append(&stream, expected, [message]).await.expect("appended");
                let read = texts(&events(&*log, &stream).await);
                let kept = (1.max(round.saturating_sub(4))..=round).map(|round| format!("{stream} {round}"));
                assert_eq!(read, kept.collect::<Vec<_>>());
            }
        }
    });
    let mut writers: JoinSet<_> = writers.collect();
    let mut removed = 0;
    while !writers.is_empty() {
        removed += bench.log.scavenge(25).await.expect("scavenged").events;
        if let Some(ended) = writers.try_join_next() {
            ended.expect("no append fails");
        }
        yield_now().await;
    }
    removed += scavenge(&*bench.log, 50).await;
    removed += scavenge(&*bench.log, 50).await;
    assert_eq!(removed, WRITERS * (ROUNDS - 5));
    let log = all(&*bench.log).await;
    assert_eq!(positions(&log), up_to(WRITERS * ROUNDS));
    for event in log {
        assert_eq!(event.is_removed(), event.version.get() <= ROUNDS - 5);
        let said = format!("{} {}", event.stream, event.version);
        assert!(event.is_removed() || text(&event.message) == said);
    }
}

/// Of several scavenges at once, in several processes too, each event is removed by one.
pub async fn scavenges_race_with_each_other(harness: &dyn ProviderHarness) {
    let (one, other) = Bench::pair(harness).await;
    let stream = stream_id("a");
    one.append(&stream, 4).await;
    append_secrets(&one, &stream, 4).await;
    delete(&one, &stream, Deletion::Soft).await;
    // One has read the first block and is about to rewrite it, as the other one does all of it.
    let mut gate = one.engine.hold_next_commit(Moment::BeforeApplying);
    let log = one.log.clone();
    let first = tokio::spawn(async move { scavenge(&*log, 100).await });
    gate.reached().await;
    let second = scavenge(&*other.log, 100).await;
    gate.release();
    let first = first.await.expect("no scavenge fails");
    assert_eq!((first, second), (0, 8));
    assert!(one.all().await.iter().all(RecordedEvent::is_removed));
}
