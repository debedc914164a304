//! Histories of concurrent calls on real backends can be explained by calls that happen one after the other.

use std::sync::Arc;

use eventstore_abstractions::{
    AppendOptions, ContentType, Durability, Error, EventLog, EventLogExt, EventMessage,
    EventStoreProviderExt, ExpectedVersion, Payload, RecordedEvent, Settings, StreamId, Version,
};
use eventstore_testkit::linear::{Call, History, Told};
use eventstore_testkit::seed::Seed;
use kv_core::KeyValueStore;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

const CALLERS: u64 = 6;
const CALLS: u64 = 30;
/// Streams, of each of which there is a history.
const ROUNDS: u64 = 8;
/// More threads than a test machine may have cores, so that tasks are interrupted at any point.
const THREADS: usize = 4;

fn number(event: &RecordedEvent) -> u64 {
    let text = String::from_utf8_lossy(&event.message.payload.bytes);
    text.parse().expect("its number")
}

/// One caller: appends at the version that it saw last, or at any, and reads.
async fn call(log: Arc<dyn EventLog>, stream: StreamId, history: Arc<History>, caller: u64, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ caller.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut seen = 0;
    for at in 0..CALLS {
        if rng.u8(..4) == 0 {
            let begun = history.begin(Call::Read);
            let read = log
                .read(&stream)
                .await
                .expect("read")
                .collect()
                .await
                .expect("read");
            seen = read.events.len() as u64;
            history.end(begun, Told::Events(read.events.iter().map(number).collect()));
            continue;
        }
        let event = caller * CALLS + at;
        let expected = match rng.u8(..3) {
            0 => ExpectedVersion::Any,
            _ => ExpectedVersion::Exact(Version::new(seen)),
        };
        let payload = Payload::new(ContentType::OCTET_STREAM, event.to_string());
        let message = EventMessage::new("Called", payload).expect("a valid name");
        let begun = history.begin(Call::Append {
            events: vec![event],
            expected,
        });
        let options = AppendOptions::expecting(expected).durability(Durability::Buffered);
        match log.append_with(&stream, vec![message], options).await {
            Ok(appended) => {
                seen = appended.version.get();
                history.end(begun, Told::Appended(seen));
            }
            Err(Error::StoreVersionMismatch { actual, .. }) => {
                seen = actual.get();
                history.end(begun, Told::Conflict(seen));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn assert_linearizable(engine: impl AsyncFnOnce() -> Arc<dyn KeyValueStore>) {
    let seed = Seed::from_env();
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    runtime.expect("a runtime can be built").block_on(async {
        let provider = eventstore_kv::Provider::open(engine().await, Settings::default()).await;
        let log = provider.expect("it opens").default_log();
        for round in 0..ROUNDS {
            let history = Arc::new(History::default());
            let stream = StreamId::new("linear", round.to_string()).expect("a valid name");
            let calls = (0..CALLERS).map(|caller| {
                let (log, history) = (Arc::clone(&log), Arc::clone(&history));
                call(log, stream.clone(), history, caller, seed.number() ^ round)
            });
            calls.collect::<JoinSet<_>>().join_all().await;
            assert_eq!(history.calls() as u64, CALLERS * CALLS);
            history.check().unwrap_or_else(|what| panic!("{what}\n{seed}"));
        }
    });
}

#[test]
fn histories_in_memory_are_linearizable() {
    assert_linearizable(async || Arc::new(kv_memory::Store::new()) as _);
}

#[test]
fn histories_on_fjall_are_linearizable() {
    let directory = tempfile::tempdir().expect("a directory");
    assert_linearizable(async || {
        let opened = kv_fjall::Store::open(directory.path()).await;
        Arc::new(opened.expect("it opens")) as _
    });
}
