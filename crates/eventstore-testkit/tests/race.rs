//! Many writers, and readers and consumers who follow them and restart at random: over a million events none is skipped,
//! none comes twice, and none is out of order. A subscription that takes a counter of positions for the truth fails the
//! same check.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use eventstore_abstractions::{
    AppendOptions, ContentType, Durability, EventLog, EventLogExt, EventMessage, EventStoreProvider,
    EventStoreProviderExt, ExpectedVersion, LogReadOptions, Notice, Payload, Position, Query, RecordedEvent,
    Settings, StreamId, SubscribeFrom, SubscribeOptions, Subscription, Version,
};
use eventstore_domain::consumer::{Consumer, ConsumerName, ConsumerOptions, handler_fn};
use eventstore_testkit::seed::Seed;
use futures_util::stream as streams;
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;

const WRITERS: u64 = 64;
const CATEGORIES: u64 = 4;
/// Streams of each category.
const STREAMS: u64 = 50;
const BATCH: usize = 50;
/// More threads than a test machine may have cores, so that tasks are interrupted at any point.
const THREADS: usize = 4;
/// The type of the event that is appended when all writers are done.
const END: &str = "End";

/// What is raced: a log, how it is followed, and where a counter says that it ends.
#[derive(Clone)]
struct Race {
    log: Arc<dyn EventLog>,
    follow: fn(&Race, SubscribeOptions) -> Subscription,
    /// The positions that were given out to writers, as a store would count that gives them out before the commit.
    given_out: Arc<AtomicU64>,
    seed: Seed,
}

impl Race {
    async fn new(
        follow: fn(&Race, SubscribeOptions) -> Subscription,
        seed: Seed,
    ) -> (Self, Arc<dyn EventStoreProvider>) {
        let engine = Arc::new(kv_memory::Store::new());
        let provider = eventstore_kv::Provider::open(engine, Settings::default()).await;
        let provider: Arc<dyn EventStoreProvider> = Arc::new(provider.expect("it opens"));
        let race = Self {
            log: provider.default_log(),
            follow,
            given_out: Arc::default(),
            seed,
        };
        (race, provider)
    }

    fn rng(&self, of: u64) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed.number() ^ of.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Appends `batches` times to streams of its choice.
    async fn write(self, writer: u64, batches: u64) {
        let mut rng = self.rng(writer);
        let options = AppendOptions::default().durability(Durability::Buffered);
        for _ in 0..batches {
            let stream = stream(rng.u64(..CATEGORIES), rng.u64(..STREAMS));
            let events = (0..BATCH).map(|_| event("Raced")).collect();
            self.given_out.fetch_add(BATCH as u64, Ordering::SeqCst);
            let appended = self.log.append_with(&stream, events, options).await;
            appended.expect("it is appended");
        }
    }

    /// Follows as `options` say until the end is seen, restarting after about `patience` events each time: how many
    /// events were seen, or what was wrong with them.
    async fn read(
        self,
        options: SubscribeOptions,
        patience: Option<u64>,
        reader: u64,
    ) -> Result<u64, String> {
        let mut rng = self.rng(!reader);
        let mut check = Check::new(&options);
        loop {
            let mut options = options.clone();
            options.from = SubscribeFrom::After(check.last);
            let mut subscription = (self.follow)(&self, options);
            let mut left = patience.map_or(u64::MAX, |patience| rng.u64(1..=2 * patience));
            while left > 0 {
                let event = subscription.next_event().await.ok_or("it ended")?;
                let event = event.map_err(|error| error.to_string())?;
                check.see(&event)?;
                if event.message.type_name() == END {
                    return Ok(check.seen);
                }
                left -= 1;
            }
        }
    }
}

/// What the workers of a consumer handle between them.
#[derive(Default)]
struct Handled {
    versions: Mutex<HashMap<StreamId, Version>>,
    events: AtomicU64,
    wrong: OnceLock<String>,
}

impl Handled {
    /// Each stream comes in order, whichever worker has it at the time, and nothing twice: all of them stop in order.
    fn see(&self, event: &RecordedEvent) {
        let mut versions = self.versions.lock();
        let version = versions.entry(event.stream.clone()).or_default();
        if event.version != version.next() {
            let (now, stream) = (event.version, &event.stream);
            let _ = self.wrong.set(format!(
                "a consumer had version {now} of {stream} after {version}"
            ));
        }
        *version = event.version;
        self.events.fetch_add(1, Ordering::SeqCst);
    }
}

/// Two workers of one consumer that stop and start again at random until it has handled `total` events.
async fn consume(race: Race, total: u64) -> Result<u64, String> {
    let handled = Arc::new(Handled::default());
    let workers = (0..2).map(|worker| work(race.clone(), worker, total, Arc::clone(&handled)));
    workers.collect::<JoinSet<_>>().join_all().await;
    match handled.wrong.get() {
        Some(wrong) => Err(wrong.clone()),
        None => Ok(handled.events.load(Ordering::SeqCst)),
    }
}

async fn work(race: Race, worker: u64, total: u64, handled: Arc<Handled>) {
    let mut rng = race.rng(1_000 + worker);
    let options = ConsumerOptions::default()
        .partitions(4)
        .checkpoint_every(1_000, Duration::from_millis(50))
        .balance(Duration::from_millis(20))
        .worker(format!("worker {worker}"));
    let name = ConsumerName::new("raced").expect("a valid name");
    let consumer = Consumer::open(Arc::clone(&race.log), name, options).await;
    let consumer = consumer.expect("the consumer is opened");
    while handled.events.load(Ordering::SeqCst) < total && handled.wrong.get().is_none() {
        let seen = Arc::clone(&handled);
        let running = consumer.start(handler_fn(move |event| {
            seen.see(&event);
            std::future::ready(Ok(()))
        }));
        // It restarts when some were handled, by whichever worker, or after a while: the other one may have everything.
        let enough = handled.events.load(Ordering::SeqCst) + rng.u64(1..=total / 5);
        for _ in 0..50 {
            let events = handled.events.load(Ordering::SeqCst);
            if events >= enough.min(total) {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        running.stop().await.expect("it stops in order");
    }
}

/// What was seen so far.
struct Check {
    /// Whether every event of the log must be seen: then positions have no gaps.
    is_all: bool,
    last: Position,
    versions: HashMap<StreamId, Version>,
    seen: u64,
}

impl Check {
    fn new(options: &SubscribeOptions) -> Self {
        Self {
            is_all: options.query.is_all() && options.stream.is_none(),
            last: Position::ZERO,
            versions: HashMap::new(),
            seen: 0,
        }
    }

    fn see(&mut self, event: &RecordedEvent) -> Result<(), String> {
        let (last, position) = (self.last, event.position);
        if position <= last || (self.is_all && position != last.next()) {
            return Err(format!("position {position} came after {last}"));
        }
        let version = self.versions.entry(event.stream.clone()).or_default();
        if event.version != version.next() {
            return Err(format!(
                "version {} of {} came after {version}",
                event.version, event.stream
            ));
        }
        (self.last, *version) = (position, event.version);
        self.seen += 1;
        Ok(())
    }
}

/// Runs writers and readers: how many events each reader has seen. Whoever is to take part in the race is added here.
async fn run(race: &Race, batches: u64) -> Result<Vec<u64>, String> {
    // Log, category and stream; each straight on, and restarting.
    let kinds = [
        SubscribeOptions::from_start(),
        SubscribeOptions::from_start().query(Query::category("c0")),
        SubscribeOptions::from_start().stream(stream(0, 0)),
    ];
    let kinds = kinds
        .into_iter()
        .flat_map(|kind| [(kind.clone(), None), (kind, Some(20_000))]);
    let readers = (0..)
        .zip(kinds)
        .map(|(reader, (options, patience))| tokio::spawn(race.clone().read(options, patience, reader)));
    let readers: Vec<_> = readers.collect();
    let total = WRITERS * batches * BATCH as u64 + 1;
    let consumer = tokio::spawn(consume(race.clone(), total));
    let writers = (0..WRITERS).map(|writer| race.clone().write(writer, batches));
    writers.collect::<JoinSet<_>>().join_all().await;
    let end = race
        .log
        .append(&stream(0, 0), ExpectedVersion::Any, [event(END)])
        .await;
    end.expect("it is appended");
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await.expect("the task ends")?);
    }
    seen.push(consumer.await.expect("the task ends")?);
    Ok(seen)
}

fn stream(category: u64, id: u64) -> StreamId {
    StreamId::new(format!("c{category}"), id.to_string()).expect("a valid name")
}

fn event(type_name: &str) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, "");
    EventMessage::new(type_name, payload).expect("a valid name")
}

fn follow(race: &Race, options: SubscribeOptions) -> Subscription {
    race.log.subscribe(options)
}

/// What stores do that give positions out before the commit: it takes the last one that was given out for the end of the
/// log, reads what is there, and goes on behind that end. What is committed later it never sees.
fn follow_the_counter(race: &Race, options: SubscribeOptions) -> Subscription {
    let SubscribeFrom::After(last) = options.from else {
        panic!("the race begins after a position")
    };
    let begin = (race.clone(), options, last, Vec::new().into_iter());
    let followed = streams::unfold(begin, |(race, options, mut last, mut page)| async move {
        loop {
            if let Some(event) = page.next() {
                return Some((Ok(Notice::Event(Box::new(event))), (race, options, last, page)));
            }
            let end = Position::new(race.given_out.load(Ordering::SeqCst));
            let read = race
                .log
                .read_all(LogReadOptions::forward_from(last.next()))
                .collect()
                .await;
            let read = read.expect("it is read");
            last = read.last().map_or(last, |event| event.position).max(end);
            let wanted = read.into_iter().filter(|event| is_wanted(&options, event));
            page = wanted.collect::<Vec<_>>().into_iter();
            yield_now().await;
        }
    });
    Subscription::new(followed)
}

fn is_wanted(options: &SubscribeOptions, event: &RecordedEvent) -> bool {
    let is_of_stream = options
        .stream
        .as_ref()
        .is_none_or(|stream| *stream == event.stream);
    is_of_stream && options.query.matches(event)
}

fn raced<T>(race: impl Future<Output = T>) -> T {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build();
    runtime.expect("a runtime can be built").block_on(race)
}

#[test]
fn million_events_are_seen_once_and_in_order() {
    let seed = Seed::from_env();
    println!("{seed}");
    raced(async {
        let (race, provider) = Race::new(follow, seed).await;
        let batches = 313;
        let seen = run(&race, batches)
            .await
            .unwrap_or_else(|wrong| panic!("{wrong}; {seed}"));
        let total = WRITERS * batches * BATCH as u64;
        assert!(total >= 1_000_000);
        let of_stream = race.log.version(&stream(0, 0)).await.expect("read").get();
        let mut of_category = 0;
        for id in 0..STREAMS {
            of_category += race.log.version(&stream(0, id)).await.expect("read").get();
        }
        // The end is an event, too.
        let all = total + 1;
        assert_eq!(
            seen,
            [all, all, of_category, of_category, of_stream, of_stream, all],
            "{seed}"
        );
        drop(provider);
    });
}

#[test]
fn subscription_that_trusts_a_counter_fails_the_race() {
    let seed = Seed::from_env();
    println!("{seed}");
    raced(async {
        let (race, provider) = Race::new(follow_the_counter, seed).await;
        let wrong = run(&race, 20)
            .await
            .expect_err("it skips what was not committed yet");
        assert!(wrong.contains("came after"), "{wrong}; {seed}");
        drop(provider);
    });
}
