//! Several processes that write to one database without a pause: each gets its turn. Time is simulated.

mod engine;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use eventstore_abstractions::{
    ContentType, Database, EventLog, EventLogExt, EventMessage, EventStoreProvider, EventStoreProviderExt,
    ExpectedVersion, LogReadOptions, Payload, StreamId, Version,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::engine::{Far, turns};

/// Clients of each process.
const CLIENTS: u64 = 4;
/// Appends of all processes together that are several turns of each.
const APPENDS: u64 = 3_000;
const TICK: Duration = Duration::from_millis(1);
/// Longer than whatever ends takes, in simulated time; a turn is taken for lost before.
const HANGS: Duration = Duration::from_secs(10);

fn event(number: u64) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, number.to_string().into_bytes());
    EventMessage::new("Noted", payload).expect("a valid name")
}

fn stream(process: usize, client: u64) -> StreamId {
    StreamId::new("case", format!("{process}-{client}")).expect("a valid name")
}

/// What processes have written, each through its own clients.
struct Writing {
    appended: Vec<Arc<AtomicU64>>,
    is_over: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Writing {
    fn new() -> Self {
        Self {
            appended: Vec::new(),
            is_over: Arc::default(),
            clients: JoinSet::new(),
        }
    }

    /// Lets the next process append without a pause, to streams of its own.
    fn begin(&mut self, log: &Arc<dyn EventLog>) {
        let process = self.appended.len();
        let appended = Arc::new(AtomicU64::new(0));
        self.appended.push(Arc::clone(&appended));
        for client in 0..CLIENTS {
            let (log, appended) = (Arc::clone(log), Arc::clone(&appended));
            let (is_over, stream) = (Arc::clone(&self.is_over), stream(process, client));
            self.clients.spawn(async move {
                for version in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let expected = ExpectedVersion::Exact(Version::new(version));
                    let done = log.append(&stream, expected, [event(version)]).await;
                    let done = done.unwrap_or_else(|error| panic!("process {process}: {error}"));
                    assert_eq!(done.version.get(), version + 1, "{stream}");
                    appended.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    }

    fn counts(&self) -> Vec<u64> {
        let counts = self.appended.iter().map(|it| it.load(Ordering::SeqCst));
        counts.collect()
    }

    /// Waits until all have appended so many more events together.
    async fn go_on(&mut self, appends: u64) {
        let appends = self.counts().iter().sum::<u64>() + appends;
        while self.counts().iter().sum::<u64>() < appends {
            if let Some(Err(error)) = self.clients.try_join_next() {
                std::panic::resume_unwind(error.into_panic());
            }
            sleep(TICK).await;
        }
    }

    /// Lets all come to their ends, and compares what is stored with what was acknowledged.
    async fn end(mut self, log: &dyn EventLog) -> Vec<u64> {
        self.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        let counts = self.counts();
        let all = log.read_all(LogReadOptions::forward()).collect().await;
        let all = all.expect("the log is read");
        assert_eq!(all.len() as u64, counts.iter().sum::<u64>(), "lost or doubled");
        assert!(
            (1..)
                .zip(&all)
                .all(|(position, it)| it.position.get() == position)
        );
        for (process, count) in counts.iter().enumerate() {
            let mut events = 0;
            for stream in (0..CLIENTS).map(|client| stream(process, client)) {
                let of_stream = all.iter().filter(|it| it.stream == stream);
                for (version, it) in (0..).zip(of_stream) {
                    assert_eq!(
                        (it.version.get(), &it.message.payload),
                        (version + 1, &event(version).payload)
                    );
                    events += 1;
                }
            }
            assert_eq!(events, *count, "process {process}");
        }
        counts
    }
}

#[tokio::test(start_paused = true)]
async fn process_that_is_farther_away_than_its_rivals_gets_its_share() {
    let store = Arc::new(kv_memory::Store::new());
    let (mut writing, mut providers) = (Writing::new(), Vec::new());
    for away_ms in [10, 2, 2] {
        let provider = Far::new(&store, away_ms).open().await;
        writing.begin(&provider.default_log());
        providers.push(provider);
    }
    writing.go_on(APPENDS).await;
    let counts = writing.end(&*providers[1].default_log()).await;
    let least = counts.iter().sum::<u64>() / 3 / 5;
    assert!(counts.iter().all(|count| *count >= least), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn process_that_is_stopped_in_its_turn_loses_it_and_nothing_else() {
    let store = Arc::new(kv_memory::Store::new());
    let (mut writing, mut providers) = (Writing::new(), Vec::new());
    let engines = [1, 2, 3].map(|away_ms| Far::new(&store, away_ms));
    for engine in &engines {
        let provider = engine.open().await;
        writing.begin(&provider.default_log());
        providers.push(provider);
    }
    // It is stopped wherever it is: with a turn, or waiting, or with a commit on its way.
    for round in 0..20 {
        writing.go_on(100 + 17 * round).await;
        engines[0].stop(true);
        writing.go_on(500).await;
        let before = writing.counts()[0];
        engines[0].stop(false);
        let resumed = async {
            while writing.counts()[0] == before {
                writing.go_on(1).await;
            }
        };
        timeout(HANGS, resumed).await.expect("it gets its turn again");
    }
    writing.end(&*providers[1].default_log()).await;
}

#[tokio::test(start_paused = true)]
async fn process_that_waits_for_its_turn_closes() {
    let store = Arc::new(kv_memory::Store::new());
    let (mut writing, mut rivals) = (Writing::new(), Vec::new());
    let engines = [1, 2].map(|away_ms| Far::new(&store, away_ms));
    for engine in &engines {
        let provider = engine.open().await;
        writing.begin(&provider.default_log());
        rivals.push(provider);
    }
    for round in 0..10 {
        let provider = Far::new(&store, 3).open().await;
        writing.go_on(100).await;
        let log = provider.default_log();
        let asked = tokio::spawn(async move {
            let stream = StreamId::new("closed", "late").expect("a valid name");
            log.append(&stream, ExpectedVersion::Any, [event(0)]).await
        });
        sleep(7 * TICK).await;
        // The rivals are alive, or have died with the turn.
        engines.iter().for_each(|it| it.stop(round % 2 == 1));
        let closed = timeout(HANGS, provider.close()).await.expect("it ends");
        closed.expect("it closes");
        asked.await.expect("it ends").expect("what was asked for is done");
        engines.iter().for_each(|it| it.stop(false));
    }
}

#[tokio::test(start_paused = true)]
async fn process_that_gives_up_its_turn_leaves_no_record() {
    let store = Arc::new(kv_memory::Store::new());
    let (mut writing, mut providers) = (Writing::new(), Vec::new());
    for away_ms in [1, 2, 3] {
        let provider = Far::new(&store, away_ms).open().await;
        writing.begin(&provider.default_log());
        providers.push(provider);
    }
    writing.go_on(500).await;
    assert_eq!(turns(&store).await.len(), 1);
    writing.end(&*providers[0].default_log()).await;
    sleep(HANGS).await;
    assert_eq!(turns(&store).await.len(), 0, "nobody writes any more");
}

#[tokio::test(start_paused = true)]
async fn process_without_rivals_writes_no_record() {
    let store = Arc::new(kv_memory::Store::new());
    let (engine, mut writing) = (Far::new(&store, 2), Writing::new());
    let (provider, idle) = (engine.open().await, Far::new(&store, 1).open().await);
    let before = engine.commits();
    writing.begin(&provider.default_log());
    writing.go_on(500).await;
    assert_eq!(turns(&store).await.len(), 0);
    let counts = writing.end(&*idle.default_log()).await;
    let commits = engine.commits() - before;
    assert!(commits <= counts[0], "{commits} commits of {counts:?} appends");
}

#[tokio::test(start_paused = true)]
async fn process_that_is_alone_does_not_read_before_each_commit() {
    let store = Arc::new(kv_memory::Store::new());
    let (engine, mut writing) = (Far::new(&store, 2), Writing::new());
    let provider = engine.open().await;
    writing.begin(&provider.default_log());
    writing.go_on(100).await;
    let (reads, commits) = (engine.reads(), engine.commits());
    writing.go_on(1_000).await;
    let (reads, commits) = (engine.reads() - reads, engine.commits() - commits);
    assert!(
        reads > 0 && reads * 8 < commits,
        "{reads} reads for {commits} commits"
    );
    writing.end(&*provider.default_log()).await;
}

#[tokio::test(start_paused = true)]
async fn process_that_comes_to_one_that_was_alone_is_let_in() {
    for away_ms in [1, 2, 10, 40] {
        let store = Arc::new(kv_memory::Store::new());
        let (engine, mut writing) = (Far::new(&store, 1), Writing::new());
        let first = engine.open().await;
        writing.begin(&first.default_log());
        writing.go_on(200).await;
        let second = Far::new(&store, away_ms).open().await;
        let before = tokio::time::Instant::now();
        let stream = StreamId::new("second", "one").expect("a valid name");
        let log = second.default_log();
        for number in 0..10 {
            let appended = log.append(&stream, ExpectedVersion::Any, [event(number)]).await;
            appended.expect("it is appended");
        }
        // Ten turns of the first, and ten ways there and back.
        let most = Duration::from_millis(10 * (200 + 10 * away_ms));
        assert!(before.elapsed() < most, "{away_ms}: {:?}", before.elapsed());
        second.close().await.expect("it closes");
        writing.is_over.store(true, Ordering::SeqCst);
        while writing.clients.join_next().await.is_some() {}
    }
}

#[tokio::test(start_paused = true)]
async fn answer_without_a_write_is_true_although_another_process_has_written_meanwhile() {
    let store = Arc::new(kv_memory::Store::new());
    let engines = [1, 1].map(|away_ms| Far::new(&store, away_ms));
    let (alone, other) = (engines[0].open().await, engines[1].open().await);
    let (log, others, stream) = (alone.default_log(), other.default_log(), stream(0, 0));
    for number in 0..20 {
        let expected = ExpectedVersion::Exact(Version::new(number));
        log.append(&stream, expected, [event(number)])
            .await
            .expect("appended");
    }
    let appended = others.append(&stream, ExpectedVersion::Any, [event(20)]).await;
    assert_eq!(appended.expect("appended").version, Version::new(21));
    // What the first one knows of the stream would be a conflict.
    let expected = ExpectedVersion::Exact(Version::new(21));
    let appended = log.append(&stream, expected, [event(21)]).await;
    assert_eq!(appended.expect("appended").version, Version::new(22));
}

#[tokio::test(start_paused = true)]
async fn commit_of_another_process_that_has_ended_makes_none_lose() {
    let store = Arc::new(kv_memory::Store::new());
    let engines = [1, 2].map(|away_ms| Far::new(&store, away_ms));
    let (mut processes, stream) = (Vec::new(), stream(0, 0));
    for engine in &engines {
        processes.push((engine, engine.open().await));
    }
    for number in 0..20 {
        for (engine, provider) in &processes {
            // One after the other, or some of each.
            for _ in 0..=number % 4 {
                let (before, log) = (engine.commits(), provider.default_log());
                let appended = log.append(&stream, ExpectedVersion::Any, [event(number)]).await;
                appended.expect("it is appended");
                assert_eq!(engine.commits() - before, 1, "append {number}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn database_without_rivals_does_not_wait_for_the_turn_of_another() {
    let store = Arc::new(kv_memory::Store::new());
    let (mut writing, mut providers) = (Writing::new(), Vec::new());
    let engines = [1, 2].map(|away_ms| Far::new(&store, away_ms));
    for engine in &engines {
        let provider = engine.open().await;
        writing.begin(&provider.default_log());
        providers.push(provider);
    }
    let own = Database::new("own").expect("a valid name");
    let (log, stream) = (providers[1].log(&own), stream(1, 0));
    for number in 0..20 {
        writing.go_on(77).await;
        engines[0].stop(true);
        let before = tokio::time::Instant::now();
        let appended = log.append(&stream, ExpectedVersion::Any, [event(number)]).await;
        assert_eq!(appended.expect("appended").position.get(), number + 1);
        // In simulated time: some calls of the engine, but no turn.
        assert!(
            before.elapsed() < Duration::from_millis(50),
            "{:?}",
            before.elapsed()
        );
        engines[0].stop(false);
    }
    writing.end(&*providers[0].default_log()).await;
}
