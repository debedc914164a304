//! Runs that go into one record when they are written.

use super::rest::{REST, on_one_thread};
use super::*;

/// Lets the store write all that it has put off.
async fn settle(clock: &ManualClock) {
    tokio::time::sleep(REST).await;
    clock.advance(REST);
    tokio::time::sleep(REST).await;
}

/// The versions of what is read, from the second event on, of which `between` comes to pass after the first.
async fn versions(log: &dyn EventLog, options: ReadOptions, between: impl Future<Output = ()>) -> Vec<u64> {
    let replay = log.read_stream(&stream("a"), options.page_size(1)).await;
    let mut events = replay.expect("begun").events;
    let first = events.next().await.expect("there is one").expect("it is read");
    between.await;
    let rest = events.collect().await.expect("it is read");
    let versions = rest.iter().map(|event| event.version.get());
    std::iter::once(first.version.get()).chain(versions).collect()
}

#[tokio::test(start_paused = true)]
async fn read_that_has_begun_goes_on_where_its_runs_move_into_one_record() {
    let mut slice_backward = ReadOptions::backward();
    slice_backward.selection = Selection::Slice {
        first: Version::new(2),
        last: Version::new(4),
        direction: Direction::Backward,
    };
    let ways = [
        (ReadOptions::replay(), vec![1, 2, 3, 4, 5]),
        (ReadOptions::backward(), vec![5, 4, 3, 2, 1]),
        (slice_backward, vec![4, 3, 2]),
    ];
    for (options, expected) in ways {
        let (engine, clock, log) = on_one_thread().await;
        append(&*log, "other", &["0"]).await;
        for text in ["1", "2", "3", "4", "5"] {
            append(&*log, "a", &[text]).await;
        }
        let moved = async {
            append(&*log, "a", &["6"]).await;
            append(&*log, "a", &["7"]).await;
            assert_eq!(stored(&engine, RUN).await.len(), 1);
            settle(&clock).await;
            assert_eq!(
                stored(&engine, RUN).await.len(),
                2,
                "all of the stream is in one record"
            );
        };
        assert_eq!(versions(&*log, options, moved).await, expected, "{options:?}");
        let settled = versions(&*log, ReadOptions::backward(), async {}).await;
        assert_eq!(settled, [7, 6, 5, 4, 3, 2, 1]);
    }
}

/// A record has runs that the log comes to behind the point up to which it is settled: they are not derived again, which
/// would put one of them in the place of all.
#[tokio::test]
async fn opening_derives_no_run_that_is_in_a_record_already() {
    for events in [10, 37, 80, 150] {
        let engine = engine();
        let provider = try_open(&engine, 3_000).await.expect("it opens");
        let log = provider.default_log();
        for number in 1..=events {
            let id = format!("s{}", number % 3);
            append(&*log, &id, &[&number.to_string()]).await;
        }
        drop((provider, log));
        for _ in 0..2 {
            let (provider, log) = open(&engine).await;
            for id in 0..3 {
                let own = (1..=events).filter(|number| number % 3 == id);
                let own = own.map(|number| number.to_string()).collect::<Vec<_>>();
                assert_eq!(texts(&*log, &format!("s{id}")).await, own, "of {events} events");
            }
            provider.close().await.expect("it closes");
        }
    }
}

/// Of a record of several runs only those go that are not kept.
#[tokio::test(start_paused = true)]
async fn scavenge_shortens_a_record_of_several_runs() {
    let (engine, clock, log) = on_one_thread().await;
    append(&*log, "other", &["0"]).await;
    for text in ["first", "second", "third", "fourth"] {
        append(&*log, "a", &[text]).await;
    }
    settle(&clock).await;
    let has = async |text: &str| {
        let runs = stored(&engine, RUN).await;
        runs.iter().any(|entry| {
            entry
                .value
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    };
    for (first, kept) in [(2, 3), (3, 2), (5, 0)] {
        let retention = Retention::default().truncate_before(Version::new(first));
        log.set_retention(&stream("a"), retention)
            .await
            .expect("it is set");
        log.scavenge(u64::MAX).await.expect("it is scavenged");
        let left = &["first", "second", "third", "fourth"][4 - kept..];
        assert_eq!(texts(&*log, "a").await, left);
        for text in ["first", "second", "third", "fourth"] {
            assert_eq!(has(text).await, left.contains(&text), "{text}");
        }
    }
    assert_eq!(append(&*log, "a", &["fifth"]).await, 5);
    assert_eq!(texts(&*log, "a").await, ["fifth"]);
}
