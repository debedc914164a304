//! What the tests share: a log, a clock that follows tokio's, faults, and handlers that keep what they saw.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod fake;
mod faulty;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, BoxError, Clock, Durability, EventLog, EventMessage, EventStoreProviderExt,
    Position, RecordedEvent, Settings, StreamId, Timestamp,
};
use eventstore_domain::consumer::{Consumer, ConsumerName, ConsumerOptions, Handler};
use parking_lot::Mutex;
use tokio::time::Instant;

pub(crate) use faulty::{Fault, Faulty, Held};

/// An empty log: a small one with tiny pages that yields a lot, or in the tests over memory that of a provider.
pub(crate) async fn log() -> Arc<dyn EventLog> {
    if env!("CARGO_CRATE_NAME") != "over_memory" {
        return Arc::new(fake::Log::default());
    }
    // Without threads, so that tokio's time stands still while there is something to do.
    let options = eventstore_kv::Options::default().single_threaded();
    let engine = Arc::new(kv_memory::Store::new());
    let provider = eventstore_kv::Provider::open_with(engine, Settings::default(), options).await;
    provider.expect("memory opens").default_log()
}

/// A clock that moves with tokio's, which the tests pause: it moves on when nothing is left to do.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000).saturating_add(self.0.elapsed())
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        loop {
            let left = deadline.saturating_since(self.now());
            if left.is_zero() {
                return;
            }
            // The timer has a resolution of 1 ms, and the clock one of 1 µs.
            tokio::time::sleep(left.max(Duration::from_millis(1))).await;
        }
    }
}

pub(crate) fn stream(id: &str) -> StreamId {
    StreamId::new("account", id).expect("a valid id")
}

pub(crate) fn event(number: u64) -> EventMessage {
    EventMessage::json("Noted", &number).expect("a number is JSON")
}

/// Appends `count` events to the stream `id`: their payloads are their versions.
pub(crate) async fn append(log: &dyn EventLog, id: &str, count: u64) -> Appended {
    let stream = stream(id);
    let version = log.version(&stream).await.expect("read").get();
    let events = (1..=count).map(|number| event(version + number)).collect();
    let options = AppendOptions::default().durability(Durability::Buffered);
    log.append_with(&stream, events, options).await.expect("appended")
}

/// The options of the tests: four partitions, and a checkpoint after each event.
pub(crate) fn options(clock: &Arc<TokioClock>) -> ConsumerOptions {
    ConsumerOptions::default()
        .partitions(4)
        .checkpoint_every(1, Duration::from_millis(10))
        .clock(clock.clone())
}

pub(crate) fn name() -> ConsumerName {
    ConsumerName::new("mailer").expect("a valid name")
}

pub(crate) async fn consumer(log: &Arc<dyn EventLog>, options: ConsumerOptions) -> Consumer {
    let consumer = Consumer::open(Arc::clone(log), name(), options).await;
    consumer.expect("the consumer opens")
}

/// Waits until `done`, while tokio's time goes on.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    for _ in 0..100_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be that {what}");
}

/// Waits until the consumer has no lag, as far as it has stored that.
pub(crate) async fn no_lag(consumer: &Consumer) {
    until("nothing lags behind", || async {
        consumer.status().await.expect("read").lag() == 0
    })
    .await;
}

/// Keeps the events that it has handled, and fails those that it is told to.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) seen: Mutex<Vec<RecordedEvent>>,
    /// How often each of these events is still to fail.
    pub(crate) failing: Mutex<Vec<(StreamId, u64, u32)>>,
    /// Attempts, failed ones included.
    pub(crate) attempts: Mutex<Vec<Position>>,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Fails the event of `stream` at `version` so many times.
    pub(crate) fn fail(&self, id: &str, version: u64, times: u32) {
        self.failing.lock().push((stream(id), version, times));
    }

    /// Streams and versions in the order in which they were handled.
    pub(crate) fn versions(&self, id: &str) -> Vec<u64> {
        let (seen, stream) = (self.seen.lock(), stream(id));
        let of_stream = seen.iter().filter(|event| event.stream == stream);
        of_stream.map(|event| event.version.get()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError> {
        self.attempts.lock().push(event.position);
        tokio::task::yield_now().await;
        for (stream, version, times) in self.failing.lock().iter_mut() {
            if *stream == event.stream && *version == event.version.get() && *times > 0 {
                *times -= 1;
                return Err(format!("{stream} at {version} is cursed").into());
            }
        }
        self.seen.lock().push(event.clone());
        Ok(())
    }
}
