//! Durable consumers over the provider: at least once, in the order of each stream, fenced, nothing stuck.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{BoxError, Clock, EventLog, Position, RecordedEvent};
use eventstore_domain::consumer::{
    Begin, Consumer, ConsumerName, ConsumerOptions, ConsumerStatus, Handler, Parked, RetryPolicy, WhenHeld,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore};

use super::ProviderHarness;
use super::bench::{Bench, SESSION, append, stream_id, text};
use crate::clock::ManualClock;

/// How often workers look for each other.
const BALANCE: Duration = Duration::from_secs(1);
/// Tries until what a worker does in the background is taken for missing.
const MAX_TRIES: usize = 10_000;

/// The consumer of the cases: four partitions, a checkpoint after each event, one attempt.
async fn consumer(log: &Arc<dyn EventLog>, clock: &Arc<ManualClock>) -> Consumer {
    let options = ConsumerOptions::default()
        .partitions(4)
        .checkpoint_every(1, BALANCE)
        .balance(BALANCE)
        .lease(SESSION)
        .retry(RetryPolicy::attempts(1))
        .clock(Arc::clone(clock) as Arc<dyn Clock>);
    let name = ConsumerName::new("case").expect("a valid name");
    let opened = Consumer::open(Arc::clone(log), name, options).await;
    opened.expect("the consumer is opened")
}

/// Sends what it handles; fails an event whose payload is `fails`.
struct Sender {
    handled: UnboundedSender<RecordedEvent>,
    fails: Option<&'static str>,
}

#[async_trait]
impl Handler for Sender {
    async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError> {
        if self.fails == Some(&*text(&event.message)) {
            return Err("it is to fail".into());
        }
        Ok(self.handled.send(event.clone())?)
    }
}

fn sender() -> (Sender, UnboundedReceiver<RecordedEvent>) {
    let (handled, receiver) = unbounded_channel();
    (Sender { handled, fails: None }, receiver)
}

/// The streams' ids and versions of the next `count` events that are handled.
async fn next(handled: &mut UnboundedReceiver<RecordedEvent>, count: usize) -> Vec<(String, u64)> {
    let mut next = Vec::new();
    for _ in 0..count {
        let event = handled.recv().await.expect("the handler is there");
        next.push((event.stream.id().to_owned(), event.version.get()));
    }
    next
}

fn of(stream: &str, versions: impl IntoIterator<Item = u64>) -> Vec<(String, u64)> {
    versions
        .into_iter()
        .map(|version| (stream.to_owned(), version))
        .collect()
}

/// Waits until the status of `consumer` is as it should be.
async fn until(consumer: &Consumer, what: &str, is_so: impl Fn(&ConsumerStatus) -> bool) {
    for _ in 0..MAX_TRIES {
        if is_so(&consumer.status().await.expect("the status is read")) {
            return;
        }
        // Whoever has to do with it gets a turn; each try reads the engine many times, so that time passes.
        tokio::task::yield_now().await;
    }
    panic!("it never came to be that {what}");
}

fn checkpoints(status: &ConsumerStatus) -> Vec<Position> {
    status
        .partitions
        .iter()
        .map(|partition| partition.checkpoint)
        .collect()
}

/// Two workers share the streams while events are appended: each event is handled, none before the one below it in its
/// stream, and nothing lags behind in the end.
pub async fn consumer_hands_out_each_event_at_least_once_in_stream_order(harness: &dyn ProviderHarness) {
    const STREAMS: u64 = 12;
    const ROUNDS: u64 = 10;
    let bench = Bench::open(harness).await;
    let consumer = consumer(&bench.log, &bench.clock).await;
    let (handled, mut receiver) = unbounded_channel();
    let start = || {
        consumer.start(Sender {
            handled: handled.clone(),
            fails: None,
        })
    };
    let (first, second) = (start(), start());
    for _ in 0..ROUNDS {
        for stream in 0..STREAMS {
            bench.append(&stream_id(&format!("s{stream}")), 3).await;
        }
        // Time to balance.
        bench.clock.advance(BALANCE);
    }
    let (mut seen, mut versions) = (BTreeSet::new(), BTreeMap::<_, u64>::new());
    while (seen.len() as u64) < STREAMS * ROUNDS * 3 {
        let Ok(event) = receiver.try_recv() else {
            // One worker may have given a partition back after the other looked for it: that takes another balance.
            bench.clock.advance(BALANCE);
            consumer.status().await.expect("the status is read");
            tokio::task::yield_now().await;
            continue;
        };
        let (highest, version) = (versions.entry(event.stream).or_default(), event.version.get());
        assert!(version <= *highest + 1, "version {version} came after {highest}");
        *highest = version.max(*highest);
        seen.insert(event.position);
    }
    for worker in [first, second] {
        worker.stop().await.expect("the worker stops");
    }
    // Partitions that moved last may still be with nobody: one worker brings them to the end.
    let last = start();
    until(&consumer, "nothing lags behind", |status| {
        bench.clock.advance(BALANCE);
        status.lag() == 0
    })
    .await;
    last.stop().await.expect("the worker stops");
}

/// A consumer goes on at its checkpoint, also after the provider was opened again.
pub async fn consumer_resumes_at_its_checkpoint(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 5).await;
    let (handler, mut handled) = sender();
    let worker = consumer(&bench.log, &bench.clock).await.start(handler);
    assert_eq!(next(&mut handled, 5).await, of("a", 1..=5));
    worker.stop().await.expect("the worker stops");

    let bench = bench.restart().await;
    bench.append(&stream, 3).await;
    let (handler, mut handled) = sender();
    let worker = consumer(&bench.log, &bench.clock).await.start(handler);
    assert_eq!(next(&mut handled, 3).await, of("a", 6..=8));
    worker.stop().await.expect("the worker stops");
    assert!(handled.try_recv().is_err(), "nothing came twice");
}

/// An event that fails is parked with its error and those behind it, other streams go on, and a replay hands them out
/// in order.
pub async fn failing_event_is_parked_and_replayed(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let consumer = consumer(&bench.log, &bench.clock).await;
    for payload in ["1", "bad", "3"] {
        bench.note(&stream_id("a"), payload).await;
    }
    bench.append(&stream_id("b"), 2).await;
    let (mut handler, mut handled) = sender();
    handler.fails = Some("bad");
    let worker = consumer.start(handler);
    let mut first = next(&mut handled, 3).await;
    first.sort();
    assert_eq!(first, [of("a", [1]), of("b", [1, 2])].concat());
    bench.note(&stream_id("a"), "4").await;
    until(&consumer, "all of the stream is parked", |status| {
        status.parked() == 3
    })
    .await;
    worker.stop().await.expect("the worker stops");
    let parked = consumer.parked(&Parked::All, None, 10).await.expect("read");
    let failures = parked
        .iter()
        .map(|it| it.failure.as_ref().map(|failure| failure.error.as_str()));
    assert_eq!(failures.collect::<Vec<_>>(), [Some("it is to fail"), None, None]);

    let (handler, mut handled) = sender();
    let replayed = consumer.replay(&Parked::All, &handler).await.expect("replayed");
    assert_eq!((replayed.handled, replayed.failed), (3, 0));
    assert_eq!(next(&mut handled, 3).await, of("a", 2..=4));
    assert_eq!(consumer.status().await.expect("read").parked(), 0);
}

/// Waits in each event until it is let go.
struct Held {
    inside: Arc<Notify>,
    go: Arc<Semaphore>,
}

#[async_trait]
impl Handler for Held {
    async fn handle(&self, _: &RecordedEvent) -> Result<(), BoxError> {
        self.inside.notify_one();
        self.go.acquire().await?.forget();
        Ok(())
    }
}

/// A worker whose clock stands still does not learn that its partitions went to another: what it stores when it goes on
/// is refused.
pub async fn stale_worker_cannot_move_the_checkpoint(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    append(&*bench.log, &stream_id("a"), 5).await;
    let (inside, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let held = Held {
        inside: Arc::clone(&inside),
        go: Arc::clone(&go),
    };
    let stopped = Arc::new(ManualClock::new());
    let stale = consumer(&bench.log, &stopped).await.start(held);
    inside.notified().await;

    bench.clock.advance(2 * SESSION);
    let second = consumer(&bench.log, &bench.clock).await;
    let (handler, mut handled) = sender();
    let worker = second.start(handler);
    assert_eq!(next(&mut handled, 5).await, of("a", 1..=5));
    worker.stop().await.expect("the worker stops");
    second
        .reset(Begin::After(Position::new(3)), WhenHeld::TakeOver)
        .await
        .expect("reset");
    let before = checkpoints(&second.status().await.expect("read"));

    go.add_permits(1);
    stale.stop().await.expect("the worker stops");
    assert_eq!(checkpoints(&second.status().await.expect("read")), before);
}
