//! Appends and reads in any order, against lists in memory.
#![no_main]

use std::sync::LazyLock;

use eventstores::{
    ContentType, EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, LogReadOptions, Payload,
    ReadOptions, StreamId, Version, connect,
};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
});

const STREAMS: usize = 3;

libfuzzer_sys::fuzz_target!(|steps: &[u8]| RUNTIME.block_on(run(steps)));

/// Four bytes are a step: what is done, to which stream, and two numbers.
async fn run(steps: &[u8]) {
    let provider = connect("memory:").await.expect("memory");
    let log = provider.default_log();
    let mut streams: [Vec<EventMessage>; STREAMS] = Default::default();
    let mut all: Vec<EventMessage> = Vec::new();
    for &[what, stream, one, two] in steps.as_chunks::<4>().0 {
        let at = usize::from(stream) % STREAMS;
        let (id, events) = (self::stream(at), &mut streams[at]);
        let version = events.len() as u64;
        match what % 4 {
            0 | 1 => {
                let expected = match one % 4 {
                    0 => ExpectedVersion::Any,
                    1 => ExpectedVersion::NoStream,
                    2 => ExpectedVersion::StreamExists,
                    _ => ExpectedVersion::Exact(Version::new(u64::from(one / 4))),
                };
                let new: Vec<_> = (0..two % 5).map(|number| message(number, two)).collect();
                let appended = log.append(&id, expected, new.clone()).await;
                assert_eq!(
                    appended.is_ok(),
                    expected.accepts(Version::new(version)),
                    "{appended:?}"
                );
                if appended.is_ok() {
                    events.extend(new.clone());
                    all.extend(new);
                }
            }
            2 => {
                let (first, last) = (u64::from(one % 32).max(1), u64::from(two % 32));
                let options = ReadOptions::slice(Version::new(first), Version::new(last));
                let Ok(replay) = log.read_stream(&id, options).await else {
                    continue;
                };
                let found = replay.events.collect().await.expect("readable");
                let wanted = events
                    .iter()
                    .enumerate()
                    .map(|(at, event)| (at as u64 + 1, event));
                let wanted: Vec<_> = wanted.filter(|(at, _)| (first..=last).contains(at)).collect();
                let found: Vec<_> = found.iter().map(|it| (it.version.get(), &it.message)).collect();
                assert_eq!(found, wanted);
            }
            _ => {
                let is_backward = one % 2 == 1;
                let options = if is_backward {
                    LogReadOptions::backward()
                } else {
                    LogReadOptions::forward()
                };
                let found = log.read_all(options).collect().await.expect("readable");
                let mut found: Vec<_> = found.iter().map(|it| &it.message).collect();
                if is_backward {
                    found.reverse();
                }
                assert_eq!(found, all.iter().collect::<Vec<_>>());
            }
        }
    }
}

fn stream(number: usize) -> StreamId {
    StreamId::new("fuzz", ["a", "a ", "aa"][number]).expect("a valid name")
}

fn message(number: u8, size: u8) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, vec![number; usize::from(size) * 40]);
    EventMessage::new("Written", payload).expect("a valid name")
}
