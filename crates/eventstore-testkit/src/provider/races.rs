//! Many at once: no gap, no double, one winner.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use eventstore_abstractions::{Error, EventLogExt, ExpectedVersion, LogReadOptions, Position, Version};
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{Bench, event, positions, stream_id, up_to, versions};

const WRITERS: usize = 16;
const ROUNDS: usize = 64;

async fn all_of<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    tasks.collect::<JoinSet<_>>().join_all().await
}

/// Writers who append to the same streams at the same time get each version once.
pub async fn versions_have_no_gaps(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let writers = (0..WRITERS).map(|_| {
        let log = bench.log.clone();
        async move {
            let mut acknowledged = Vec::new();
            for round in 0..ROUNDS {
                let stream = stream_id(&format!("s{}", round % 4));
                let appended = log
                    .append(&stream, ExpectedVersion::Any, [event("1"), event("2")])
                    .await;
                acknowledged.push((stream, appended.expect("appended").version));
            }
            acknowledged
        }
    });
    let mut seen: BTreeMap<_, BTreeSet<Version>> = BTreeMap::new();
    for (stream, version) in all_of(writers).await.into_iter().flatten() {
        assert!(
            seen.entry(stream).or_default().insert(version),
            "version {version} was given twice"
        );
    }
    let each = (WRITERS * ROUNDS / 4 * 2) as u64;
    for stream in seen.keys() {
        assert_eq!(versions(&bench.events(stream).await), up_to(each));
    }
}

/// A reader that follows the log while many write sees every position once, in order, and none behind it.
pub async fn positions_have_no_gaps(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let total = (WRITERS * ROUNDS) as u64;
    let log = bench.log.clone();
    let reader = tokio::spawn(async move {
        let mut seen = Vec::new();
        while (seen.len() as u64) < total {
            let next = Position::new(seen.len() as u64 + 1);
            let page = log
                .read_all(LogReadOptions::forward_from(next))
                .collect()
                .await
                .expect("the log is read");
            seen.extend(positions(&page));
            tokio::task::yield_now().await;
        }
        seen
    });
    let writers = (0..WRITERS).map(|writer| {
        let log = bench.log.clone();
        async move {
            for _ in 0..ROUNDS {
                let stream = stream_id(&format!("w{writer}"));
                log.append(&stream, ExpectedVersion::Any, [event("x")])
                    .await
                    .expect("appended");
            }
        }
    });
    all_of(writers).await;
    assert_eq!(reader.await.expect("the reader ends"), up_to(total));
    assert_eq!(positions(&bench.all().await), up_to(total));
}

/// Of those who expect the same version one wins, each time; the others are told the version that there is.
pub async fn expected_version_is_linearizable(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for round in 0..ROUNDS as u64 {
        let racers = (0..WRITERS).map(|_| {
            let (log, stream) = (bench.log.clone(), stream.clone());
            let expected = ExpectedVersion::Exact(Version::new(round));
            async move { log.append(&stream, expected, [event("x")]).await }
        });
        let mut winners = 0;
        for outcome in all_of(racers).await {
            match outcome {
                Ok(appended) => {
                    assert_eq!(appended.version.get(), round + 1);
                    winners += 1;
                }
                Err(Error::StoreVersionMismatch { actual, .. }) => assert_eq!(actual.get(), round + 1),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners, 1, "winners of round {round}");
    }
    assert_eq!(versions(&bench.events(&stream).await), up_to(ROUNDS as u64));
}
