//! Appends, reads, snapshots and subscriptions on every backend whose feature is on: `cargo xtask bench --backend fjall`.
//!
//! Each backend gets a new directory, or new memory, per group. An append is durable where the backend is.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use eventstores::{
    EventLog, EventLogExt, EventMessage, EventStoreProvider, EventStoreProviderExt, ExpectedVersion,
    LogReadOptions, Payload, ReadOptions, Result, StreamId, SubscribeOptions, Subscription, Version,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The backends of this build, by scheme.
const BACKENDS: &[&str] = &[
    #[cfg(feature = "memory")]
    "memory",
    #[cfg(feature = "sled")]
    "sled",
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "redb")]
    "redb",
    #[cfg(feature = "lmdb")]
    "lmdb",
];

const PAYLOAD_BYTES: usize = 256;
const BATCH: u64 = 100;
const CLIENTS: u64 = 16;
const SHORT_STREAM: u64 = 1_000;
const LONG_STREAM: u64 = 10_000;
/// The snapshot of the long stream leaves this many events to replay.
const AFTER_SNAPSHOT: u64 = 100;

/// A new store of one backend, on a runtime of its own.
struct Bench {
    runtime: Runtime,
    provider: Arc<dyn EventStoreProvider>,
    log: Arc<dyn EventLog>,
    /// Streams made so far: a number makes a name that was not used before.
    streams: AtomicU64,
    /// Removed when the bench is over; the memory backend leaves it empty.
    _directory: tempfile::TempDir,
}

impl Bench {
    fn open(backend: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let url = match backend {
            "memory" => "memory:".to_owned(),
            _ => format!("{backend}:{}", directory.path().display()),
        };
        let runtime = Runtime::new().expect("a runtime can be made");
        let provider = runtime
            .block_on(eventstores::connect(&url))
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        Self {
            log: provider.default_log(),
            runtime,
            provider,
            streams: AtomicU64::new(0),
            _directory: directory,
        }
    }

    fn new_stream(&self) -> StreamId {
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        StreamId::new("bench", number.to_string()).expect("a number is a valid name")
    }

    /// A stream with as many events, appended in batches.
    fn stream_of(&self, count: u64) -> StreamId {
        let stream = self.new_stream();
        self.runtime.block_on(async {
            for _ in 0..count.div_ceil(BATCH) {
                let events = events(BATCH.min(count));
                done(self.log.append(&stream, ExpectedVersion::Any, events).await);
            }
        });
        stream
    }

    fn snapshot(&self, stream: &StreamId, version: Version) {
        let snapshot = events(1).remove(0);
        done(
            self.runtime
                .block_on(self.log.snapshot(stream, version, snapshot)),
        );
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        done(self.runtime.block_on(self.provider.close()));
    }
}

fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("the store failed: {error}"))
}

/// New events, each with an id of its own.
fn events(count: u64) -> Vec<EventMessage> {
    let payload = Payload::new(eventstores::ContentType::OCTET_STREAM, vec![7; PAYLOAD_BYTES]);
    let event = || EventMessage::new("Measured", payload.clone());
    (0..count).map(|_| event().expect("a valid type name")).collect()
}

fn append(criterion: &mut Criterion) {
    for backend in BACKENDS {
        let bench = Bench::open(backend);
        let log = &bench.log;
        let mut group = criterion.benchmark_group(format!("append/{backend}"));

        for (name, size) in [("one", 1), ("batch of 100", BATCH)] {
            let stream = bench.new_stream();
            group.throughput(Throughput::Elements(size));
            group.bench_function(name, |bencher| {
                bencher.to_async(&bench.runtime).iter_batched(
                    || events(size),
                    async |events| done(log.append(&stream, ExpectedVersion::Any, events).await),
                    BatchSize::SmallInput,
                );
            });
        }

        let streams: Vec<_> = (0..CLIENTS).map(|_| bench.new_stream()).collect();
        group.throughput(Throughput::Elements(CLIENTS));
        group.bench_function("16 at once", |bencher| {
            bencher.to_async(&bench.runtime).iter_batched(
                || events(CLIENTS),
                |events| append_at_once(Arc::clone(log), streams.clone(), events),
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

/// One task per event, each to a stream of its own.
async fn append_at_once(log: Arc<dyn EventLog>, streams: Vec<StreamId>, events: Vec<EventMessage>) {
    let mut tasks = JoinSet::new();
    for (stream, event) in streams.into_iter().zip(events) {
        let log = Arc::clone(&log);
        tasks.spawn(async move { done(log.append(&stream, ExpectedVersion::Any, [event]).await) });
    }
    tasks.join_all().await;
}

fn read(criterion: &mut Criterion) {
    for backend in BACKENDS {
        let bench = Bench::open(backend);
        let log = &bench.log;
        let stream = bench.stream_of(SHORT_STREAM);
        bench.stream_of(LONG_STREAM - SHORT_STREAM);
        let mut group = criterion.benchmark_group(format!("read/{backend}"));

        group.throughput(Throughput::Elements(SHORT_STREAM));
        group.bench_function("stream of 1,000", |bencher| {
            bencher.to_async(&bench.runtime).iter(async || {
                let mut events = done(log.read_stream(&stream, ReadOptions::replay()).await).events;
                let mut count = 0;
                while let Some(event) = events.next().await {
                    black_box(done(event));
                    count += 1;
                }
                assert_eq!(count, SHORT_STREAM);
            });
        });
        group.throughput(Throughput::Elements(LONG_STREAM));
        group.bench_function("log of 10,000", |bencher| {
            bencher.to_async(&bench.runtime).iter(async || {
                let mut events = log.read_all(LogReadOptions::forward());
                let mut count = 0;
                while let Some(event) = events.next().await {
                    black_box(done(event));
                    count += 1;
                }
                assert_eq!(count, LONG_STREAM);
            });
        });
        group.finish();
    }
}

fn snapshot(criterion: &mut Criterion) {
    for backend in BACKENDS {
        let bench = Bench::open(backend);
        let log = &bench.log;
        let stream = bench.stream_of(LONG_STREAM);
        let version = Version::new(LONG_STREAM - AFTER_SNAPSHOT);
        bench.snapshot(&stream, version);
        let mut group = criterion.benchmark_group(format!("snapshot/{backend}"));

        group.bench_function("write", |bencher| {
            bencher.to_async(&bench.runtime).iter_batched(
                || events(1).remove(0),
                async |snapshot| done(log.snapshot(&stream, version, snapshot).await),
                BatchSize::SmallInput,
            );
        });
        for (name, options, replayed) in [
            ("replay 10,000 with it", ReadOptions::replay(), AFTER_SNAPSHOT),
            (
                "replay 10,000 without it",
                ReadOptions::replay().without_snapshots(),
                LONG_STREAM,
            ),
        ] {
            group.bench_function(name, |bencher| {
                bencher.to_async(&bench.runtime).iter(async || {
                    let history = done(done(log.read_stream(&stream, options).await).collect().await);
                    assert_eq!(history.events.len() as u64, replayed);
                });
            });
        }
        group.finish();
    }
}

/// What is measured of a subscriber that has an event before its append was acknowledged: criterion takes no zero.
const AT_ONCE: Duration = Duration::from_nanos(1);

/// From the acknowledgement of an append to when the last subscriber has the event.
fn live(criterion: &mut Criterion) {
    for backend in BACKENDS {
        let bench = Bench::open(backend);
        let log = &bench.log;
        let stream = bench.new_stream();
        let mut group = criterion.benchmark_group(format!("live/{backend}"));
        for subscribers in [1, 100] {
            let (received, mut receipts) = mpsc::unbounded_channel();
            let mut following = JoinSet::new();
            for _ in 0..subscribers {
                let subscription = log.subscribe(SubscribeOptions::from_end());
                following.spawn_on(follow(subscription, received.clone()), bench.runtime.handle());
            }
            group.bench_function(format!("{subscribers} subscribers"), |bencher| {
                bencher.iter_custom(|iterations| {
                    bench.runtime.block_on(async {
                        let mut total = Duration::ZERO;
                        for _ in 0..iterations {
                            done(log.append(&stream, ExpectedVersion::Any, events(1)).await);
                            let acknowledged = now();
                            let mut last = acknowledged;
                            for _ in 0..subscribers {
                                last = last.max(receipts.recv().await.expect("each of them follows"));
                            }
                            total += (last - acknowledged).max(AT_ONCE);
                        }
                        total
                    })
                });
            });
        }
        group.finish();
    }
}

/// Says when each event was received.
async fn follow(mut subscription: Subscription, received: mpsc::UnboundedSender<Instant>) {
    while let Some(event) = subscription.next_event().await {
        done(event);
        if received.send(now()).is_err() {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> Instant {
    Instant::now()
}

criterion_group!(benches, append, read, snapshot, live);
criterion_main!(benches);
