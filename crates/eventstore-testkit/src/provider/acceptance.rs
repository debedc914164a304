//! The acceptance figures of the contract, without a stopwatch: what is read is counted, since a figure in seconds says
//! more of the machine than of the store. What 1,000 events take is measured by the benchmarks.
//!
//! Two of them are cases elsewhere: [`session_ends_to_the_moment`] (a stream is free right after its
//! session's time-out) and [`expected_version_is_linearizable`] (every version conflict is detected).
//!
//! [`session_ends_to_the_moment`]: super::stale::session_ends_to_the_moment
//! [`expected_version_is_linearizable`]: super::races::expected_version_is_linearizable

use std::collections::BTreeMap;
use std::sync::Arc;

use eventstore_abstractions::{
    Appended, CorrelationId, Error, EventLog, EventLogExt, EventMessage, EventStoreExt, EventStoreProvider,
    EventStoreProviderExt, ExpectedVersion, RecordedEvent, Result, Scope, StreamId,
};
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{Bench, event, events, positions, sized, state, stream_id, text, texts, up_to, versions};

const WRITERS: usize = 16;
/// Operations of each writer: more than 1,000 in all.
const ROUNDS: usize = 80;
const SHARED_STREAMS: usize = 3;

/// 1,000 events, appended one by one and in batches, come back equal to the last byte and field,
/// after a restart too.
pub async fn thousand_events_are_read_back_equal(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let messages: Vec<EventMessage> = (0..1_000).map(distinct).collect();
    let session = bench.session(&stream).await;
    let mut rest = &messages[..];
    for count in [1, 2, 3, 5, 8, 13, 100].into_iter().cycle() {
        let (part, after) = rest.split_at(rest.len().min(count));
        if part.is_empty() {
            break;
        }
        session.append(part.to_vec()).await.expect("appended");
        rest = after;
    }
    session.close().await.expect("closed");
    let bench = bench.restart().await;
    for read in [bench.events(&stream).await, bench.all().await] {
        assert_eq!((versions(&read), positions(&read)), (up_to(1_000), up_to(1_000)));
        let differs = read
            .iter()
            .zip(&messages)
            .find(|(event, message)| event.message != **message);
        assert!(differs.is_none(), "{differs:?} come back changed");
    }
}

/// A message like no other.
fn distinct(number: usize) -> EventMessage {
    let mut message = sized(number * 7 % 1_500)
        .with_correlation_id(CorrelationId::new(format!("request {number}")).expect("a valid id"));
    message.metadata.message.schema_version = number as u32;
    let scopes = (0..number % 3).map(|scope| Scope::new(format!("scope {scope}")).expect("a valid scope"));
    message.metadata.context.scopes = scopes.collect();
    message
}

/// Where snapshots were taken on the way, loading a stream of more than 10,000 events reads at most
/// a fifth of the bytes that it reads without them.
pub async fn snapshots_cut_a_load_by_four_fifths(harness: &dyn ProviderHarness) {
    let stream = stream_id("a");
    let bench = Bench::open(harness).await.filled(&stream, 10_500).await;
    let session = bench.session(&stream).await;
    session
        .snapshot_all(1_000, |_, _| Ok(sized(1_000)))
        .await
        .expect("taken");
    bench.meter.take();
    assert_eq!(
        session.read_without_snapshots().await.expect("read").len(),
        10_500
    );
    let whole = bench.meter.take();
    let history = session.read().await.expect("read");
    let load = bench.meter.take();
    let snapshot = history.snapshot.as_ref().expect("a snapshot is used");
    assert_eq!(
        (snapshot.version.get(), history.version().get()),
        (10_000, 10_500)
    );
    assert!(
        load.bytes * 5 <= whole.bytes,
        "a load takes {load:?}, and {whole:?} without snapshots"
    );
}

/// After more than 1,000 operations of all kinds at the same time, what was acknowledged is there,
/// whole and once, and nothing else is; no read on the way shows a part of an append.
pub async fn concurrent_operations_corrupt_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let provider = Arc::clone(&bench.provider);
        writers.spawn(async move { operations(&*provider, writer).await });
    }
    let tried = writers.join_all().await.concat();
    let conflicts = tried.iter().filter(|it| it.appended.is_none()).count();
    assert!(conflicts < tried.len(), "no append succeeded");
    let bench = bench.restart().await;
    let log = bench.all().await;
    assert_eq!(positions(&log), up_to(log.len() as u64));
    let mut streams: BTreeMap<StreamId, Vec<RecordedEvent>> = BTreeMap::new();
    for event in log {
        streams.entry(event.stream.clone()).or_default().push(event);
    }
    for (stream, of_log) in &streams {
        assert_whole(of_log);
        assert!(
            *of_log == bench.events(stream).await,
            "the log and {stream} differ"
        );
        for version in bench.log.snapshot_versions(stream).await.expect("read") {
            let read = bench.log.read_snapshot(stream, version).await.expect("read");
            let read = read.expect("a listed snapshot is there");
            assert_eq!(
                text(&read.message),
                text(&state(version.get())),
                "a snapshot of {stream}"
            );
        }
    }
    let mut stored = 0;
    for Tried {
        stream,
        texts: tried,
        appended,
    } in &tried
    {
        let Some(appended) = appended else { continue };
        let first = (appended.version.get() - appended.events) as usize;
        let there = &streams[stream][first..appended.version.get() as usize];
        assert_eq!(texts(there), *tried, "what was acknowledged of {stream}");
        assert_eq!(there.last().map(|event| event.position), Some(appended.position));
        stored += there.len();
    }
    let all: usize = streams.values().map(Vec::len).sum();
    assert_eq!(all, stored, "there are events that were never acknowledged");
}

/// An append that was tried, and its outcome unless another writer was first.
#[derive(Clone, Debug)]
struct Tried {
    stream: StreamId,
    texts: Vec<String>,
    appended: Option<Appended>,
}

async fn operations(provider: &dyn EventStoreProvider, writer: usize) -> Vec<Tried> {
    let log = provider.default_log();
    let mut tried = Vec::new();
    for round in 0..ROUNDS {
        let shared = stream_id(&format!("shared {}", round % SHARED_STREAMS));
        let name = format!("{writer}.{round}");
        match (writer + round) % 4 {
            0 => tried.push(append(&*log, &shared, ExpectedVersion::Any, &name).await),
            1 => {
                let version = log.version(&shared).await.expect("read");
                tried.push(append(&*log, &shared, ExpectedVersion::Exact(version), &name).await);
            }
            2 => {
                let read = events(&*log, &shared).await;
                assert_whole(&read);
                if let Some(last) = read.last() {
                    let (version, state) = (last.version, state(last.version.get()));
                    log.snapshot(&shared, version, state).await.expect("stored");
                }
            }
            _ => {
                let own = stream_id(&format!("own {writer}"));
                let session = provider.open(&own).await.expect("nobody else's stream");
                let messages = parts(&name);
                let appended = session.append(messages.clone()).await.expect("appended");
                session.close().await.expect("closed");
                tried.push(Tried::new(&own, &messages, Ok(appended)));
            }
        }
    }
    tried
}

async fn append(log: &dyn EventLog, stream: &StreamId, expected: ExpectedVersion, name: &str) -> Tried {
    let messages = parts(name);
    let appended = log.append(stream, expected, messages.clone()).await;
    Tried::new(stream, &messages, appended)
}

impl Tried {
    fn new(stream: &StreamId, messages: &[EventMessage], appended: Result<Appended>) -> Self {
        let appended = match appended {
            Ok(appended) => Some(appended),
            Err(Error::StoreVersionMismatch { .. }) => None,
            Err(error) => panic!("an append to {stream} failed: {error}"),
        };
        let (stream, texts) = (stream.clone(), messages.iter().map(text).collect());
        Self {
            stream,
            texts,
            appended,
        }
    }
}

/// Three events that say which parts they are, and of what.
fn parts(name: &str) -> Vec<EventMessage> {
    (1..=3).map(|part| event(&format!("{name} {part}"))).collect()
}

/// Asserts that the events are versions 1, 2, 3 … and every append's three parts side by side.
fn assert_whole(events: &[RecordedEvent]) {
    assert_eq!(versions(events), up_to(events.len() as u64));
    for append in texts(events).chunks(3) {
        let name = append[0].trim_end_matches(" 1");
        assert_eq!(
            append,
            parts(name).iter().map(text).collect::<Vec<_>>(),
            "part of an append"
        );
    }
}
