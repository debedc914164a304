//! The log of a database: every event once, in order, from both ends.

use eventstore_abstractions::{Error, EventLog, LogReadOptions, Position};

use super::ProviderHarness;
use super::bench::{Bench, append, positions, refused, stream_id, up_to};

async fn read(log: &dyn EventLog, options: LogReadOptions) -> Vec<u64> {
    positions(&log.read_all(options).collect().await.expect("the log is read"))
}

/// A log of 30 events in three streams: appends of 1, 2, 3, 4 and again.
async fn filled(bench: &Bench<'_>) {
    for (round, count) in [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4].into_iter().enumerate() {
        bench.append(&stream_id(&format!("s{}", round % 3)), count).await;
    }
}

/// Forward, backward, from any position and with any limit and page, the log is the same sequence.
pub async fn log_reads_from_anywhere_both_ways(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    filled(&bench).await;
    let log = &*bench.log;
    let all = up_to(30);
    for from in [0, 1, 2, 3, 15, 29, 30, 31, u64::MAX] {
        let position = Position::new(from);
        let (ahead, behind): (Vec<u64>, Vec<u64>) = (
            all.iter().copied().filter(|it| *it >= from).collect(),
            all.iter().rev().copied().filter(|it| *it <= from).collect(),
        );
        for page in [1, 2, 7, 1_000] {
            let forward = LogReadOptions::forward_from(position).page_size(page);
            assert_eq!(
                read(log, forward.clone()).await,
                ahead,
                "forward from {from} by {page}"
            );
            let backward = LogReadOptions::backward_from(position).page_size(page);
            assert_eq!(
                read(log, backward).await,
                behind,
                "backward from {from} by {page}"
            );
            let limited = read(log, forward.limit(5)).await;
            assert_eq!(
                limited,
                ahead[..ahead.len().min(5)],
                "5 forward from {from} by {page}"
            );
        }
    }
    assert_eq!(log.head().await.expect("read"), Position::new(30));
}

/// What the log shows is what the streams hold, event for event.
pub async fn log_and_streams_agree(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    filled(&bench).await;
    let all = bench.all().await;
    for stream in ["s0", "s1", "s2"].map(stream_id) {
        let of_log: Vec<_> = all
            .iter()
            .filter(|event| event.stream == stream)
            .cloned()
            .collect();
        assert!(of_log == bench.events(&stream).await, "{stream} differs");
    }
}

/// Each database counts its own positions.
pub async fn databases_have_their_own_positions(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let other = bench.database("other");
    bench.append(&stream_id("a"), 3).await;
    let appended = append(&*other, &stream_id("a"), 2).await;
    assert_eq!(appended.position, Position::new(2));
    assert_eq!(read(&*other, LogReadOptions::forward()).await, [1, 2]);
    assert_eq!(
        read(&*bench.database("third"), LogReadOptions::backward()).await,
        [0; 0]
    );
}

/// A read of the log ends where the log ended when it began.
pub async fn log_read_ends_where_it_began(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    bench.append(&stream_id("a"), 3).await;
    let mut events = bench.log.read_all(LogReadOptions::forward().page_size(1));
    let first = events.next().await.expect("an event").expect("read");
    bench.append(&stream_id("a"), 3).await;
    let mut seen = vec![first];
    while let Some(event) = events.next().await {
        seen.push(event.expect("read"));
    }
    assert_eq!(positions(&seen), [1, 2, 3]);
}

/// A page of no events, or of more than are possible, is refused.
pub async fn impossible_page_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    for size in [0, usize::MAX] {
        let read = bench
            .log
            .read_all(LogReadOptions::forward().page_size(size))
            .collect()
            .await;
        refused!(read, Error::InvalidInput { .. });
    }
}
