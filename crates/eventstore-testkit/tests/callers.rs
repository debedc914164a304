//! Who serves a request: a lone caller its own, on its thread, and the sequencer's loop those of several.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    Appended, Clock, ContentType, Error, EventLog, EventLogExt, EventMessage, EventStoreProvider,
    EventStoreProviderExt, ExpectedVersion, Notice, Payload, Result, Settings, StreamId, SubscribeOptions,
    Timestamp, Version,
};
use eventstore_kv::{Options, Provider, SystemClock};
use eventstore_testkit::fault::{FaultStore, Gate, Moment};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, poll_immediate};
use kv_core::{KeyValueStore, Outcome};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// After so many appends, each of which has met nobody, the store expects no other caller.
const LONELY: u64 = 20;
/// Longer than anything that ends takes.
const HANGS: Duration = Duration::from_secs(30);
/// As long as whatever is not held takes, nearly always.
const SOON: Duration = Duration::from_secs(1);

/// A clock that knows which thread has looked at it last: the one that decides requests.
#[derive(Debug)]
struct Witness(Mutex<ThreadId>);

#[async_trait]
impl Clock for Witness {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = thread::current().id();
        SystemClock.now()
    }

    async fn sleep_until(&self, time: Timestamp) {
        SystemClock.sleep_until(time).await;
    }
}

impl Witness {
    fn is_here(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == thread::current().id()
    }
}

struct Store {
    engine: Arc<FaultStore>,
    log: Arc<dyn EventLog>,
    provider: Arc<Provider>,
    clock: Arc<Witness>,
}

impl Store {
    async fn open() -> Self {
        Self::open_with(Options::default()).await
    }

    async fn open_with(options: Options) -> Self {
        let engine = FaultStore::new(Arc::new(kv_memory::Store::new()));
        let clock = Arc::new(Witness(Mutex::new(thread::current().id())));
        let options = options.clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let provider = Provider::open_with(
            Arc::clone(&engine) as Arc<dyn KeyValueStore>,
            Settings::default(),
            options,
        );
        let provider = Arc::new(provider.await.expect("it opens"));
        Self {
            log: Arc::clone(&provider).default_log(),
            engine,
            provider,
            clock,
        }
    }

    /// A store that has had one caller so far, in a task of its own.
    async fn with_a_lone_caller() -> Self {
        let store = Self::open().await;
        for _ in 0..LONELY {
            store.append().await.expect("it is appended");
        }
        store
    }

    async fn append(&self) -> Result<Appended> {
        self.append_to("a", ExpectedVersion::Any).await
    }

    async fn append_to(&self, stream: &str, expected: ExpectedVersion) -> Result<Appended> {
        let stream = StreamId::new("case", stream).expect("a valid name");
        let payload = Payload::new(ContentType::OCTET_STREAM, b"payload".to_vec());
        let event = EventMessage::new("Noted", payload).expect("a valid name");
        self.log.append(&stream, expected, [event]).await
    }

    /// How many events there are, after all of them were read.
    async fn count(&self) -> u64 {
        let replay = self.log.read(&stream()).await.expect("it is read");
        let history = replay.collect().await.expect("it is read");
        history.events.len() as u64
    }
}

fn stream() -> StreamId {
    StreamId::new("case", "a").expect("a valid name")
}

fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be built")
}

/// Lets pass what waits at a gate, as soon as it has come.
async fn passed(mut gate: Gate) {
    gate.reached().await;
    gate.release();
}

/// Runs in a task of a runtime with several threads, for at most half a minute.
fn in_a_task(case: impl Future<Output = ()> + Send + 'static) {
    let runtime = runtime();
    let case = runtime.spawn(async { tokio::time::timeout(HANGS, case).await });
    let ended = runtime.block_on(case).expect("the case does not fail");
    ended.expect("nothing waits for ever");
}

#[test]
fn lone_caller_is_served_on_its_own_thread() {
    in_a_task(async {
        let store = Store::with_a_lone_caller().await;
        let mut here = 0;
        for _ in 0..10 * LONELY {
            store.append().await.expect("it is appended");
            here += usize::from(store.clock.is_here());
        }
        assert!(here > 0, "never in {} appends", 10 * LONELY);
        assert_eq!(store.count().await, 11 * LONELY);
    });
}

#[test]
fn calls_of_one_task_find_one_another() {
    in_a_task(async {
        let store = Store::with_a_lone_caller().await;
        let before = store.engine.commits();
        // Until this one has come to its end all others are queued.
        let gate = store.engine.hold_next_commit(Moment::BeforeApplying);
        let calls = join_all((0..100).map(|_| store.append()));
        let (appended, ()) = tokio::join!(calls, passed(gate));
        assert!(appended.iter().all(Result::is_ok));
        let commits = store.engine.commits() - before;
        assert!(commits < 50, "{commits} commits for 100 appends");
        assert_eq!(store.count().await, LONELY + 100);
    });
}

/// The commit goes on only when another future of the same task does.
#[test]
fn caller_does_not_wait_for_its_own_task() {
    in_a_task(async {
        let store = Store::with_a_lone_caller().await;
        for _ in 0..50 {
            let gate = store.engine.hold_next_commit(Moment::AfterApplying);
            let (appended, ()) = tokio::join!(store.append(), passed(gate));
            appended.expect("it is appended");
        }
        assert_eq!(store.count().await, LONELY + 50);
    });
}

#[test]
fn caller_may_go_away_while_it_is_served() {
    in_a_task(async {
        let store = Store::with_a_lone_caller().await;
        for _ in 0..50 {
            let mut gate = store.engine.hold_next_commit(Moment::BeforeApplying);
            tokio::select! {
                biased;
                _ = store.append() => unreachable!("it is held"),
                () = gate.reached() => {}
            }
            gate.release();
        }
        // It comes after those that nobody waits for.
        store.append().await.expect("it is appended");
        assert_eq!(store.count().await, LONELY + 51);
    });
}

#[test]
fn caller_need_not_be_a_task_of_a_thread_pool() {
    let runtime = runtime();
    let store = runtime.block_on(Store::with_a_lone_caller());
    runtime.block_on(LocalSet::new().run_until(async {
        for _ in 0..2 * LONELY {
            store.append().await.expect("it is appended");
        }
    }));
    let alone = Builder::new_current_thread().build().expect("a runtime");
    alone.block_on(async {
        for _ in 0..2 * LONELY {
            store.append().await.expect("it is appended");
        }
        assert_eq!(store.count().await, 5 * LONELY);
    });
}

#[test]
fn store_outlives_the_runtime_that_opened_it() {
    let first = runtime();
    let store = first.block_on(Store::with_a_lone_caller());
    drop(first);
    runtime().block_on(async {
        for _ in 0..2 * LONELY {
            store.append().await.expect("it is appended");
        }
        assert_eq!(store.count().await, 3 * LONELY);
        store.provider.close().await.expect("it closes");
        assert!(matches!(store.append().await, Err(Error::ProviderClosed)));
    });
}

/// Whoever else waits is served, and what was under way is there once or not at all.
#[test]
fn store_outlives_a_runtime_that_ends_in_the_middle_of_a_commit() {
    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        let first = runtime();
        let store = Arc::new(first.block_on(Store::with_a_lone_caller()));
        let mut gate = store.engine.hold_next_commit(moment);
        let call = first.spawn({
            let store = Arc::clone(&store);
            async move { store.append().await }
        });
        let second = runtime();
        second.block_on(gate.reached());
        let other = second.spawn({
            let store = Arc::clone(&store);
            async move { store.append().await }
        });
        first.shutdown_background();
        let told = second.block_on(call);
        // It has ended with its runtime, or has seen that nobody will answer.
        assert!(told.map_or(true, |told| told.is_err_and(|error| error.outcome_unknown())));
        gate.release();
        let other = second.block_on(other).expect("it does not panic");
        let other = other.expect("it is appended");
        second.block_on(async {
            let last = store.append().await.expect("it is appended");
            assert_eq!(last.version.get(), other.version.get() + 1);
            let stored = store.count().await;
            assert_eq!(stored, last.version.get(), "versions have no gaps");
            let least = if moment == Moment::AfterApplying { 3 } else { 2 };
            assert!((LONELY + least..=LONELY + 3).contains(&stored), "{stored}");
        });
    }
}

/// Begins an append on a worker of `first`, where it is served, and gives it away once it has come to `gate`.
fn begun_on(first: &Runtime, store: &Arc<Store>, gate: &mut Gate) -> BoxFuture<'static, Result<Appended>> {
    let store = Arc::clone(store);
    let mut call = async move { store.append_to("new", ExpectedVersion::NoStream).await }.boxed();
    let begun = first.spawn(async move {
        let told = poll_immediate(&mut call).await;
        assert!(told.is_none(), "it is held: {told:?}");
        Some(call)
    });
    let call = first.block_on(begun).expect("it does not panic");
    let call = call.expect("it is given");
    first.block_on(gate.reached());
    call
}

/// Drives a future on this thread, which has no runtime.
fn without_a_runtime<T>(future: impl Future<Output = T>) -> T {
    within(HANGS, future).expect("it does not wait for ever")
}

/// The same, and gives up after some time.
fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..time.as_millis() {
        if let Poll::Ready(ended) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(ended);
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

/// The commit may have happened: that is what its caller is told, and not that the store is closed.
#[test]
fn caller_whose_commit_ends_with_a_runtime_is_told_that_nobody_knows() {
    let first = runtime();
    let store = Arc::new(first.block_on(Store::with_a_lone_caller()));
    let mut gate = store.engine.hold_next_commit(Moment::AfterApplying);
    let call = begun_on(&first, &store, &mut gate);
    first.shutdown_background();
    // Where the loop was just about to look for more, it has the commit, and goes on with it.
    gate.release();
    match without_a_runtime(call) {
        Ok(appended) => assert_eq!(appended.version.get(), 1),
        Err(error) => assert!(error.outcome_unknown(), "{error:?}"),
    }
    runtime().block_on(async {
        // It has, as an answer that writes nothing knows, too.
        let expected = ExpectedVersion::Exact(Version::new(1));
        let next = store.append_to("new", expected).await.expect("it is appended");
        assert_eq!(next.version.get(), 2);
    });
}

/// Nothing is appended afterwards that would wake who follows the log.
#[test]
fn follower_is_told_of_a_commit_that_has_ended_with_a_runtime() {
    let (first, second) = (runtime(), runtime());
    let store = Arc::new(second.block_on(Store::with_a_lone_caller()));
    let mut followed = store.log.subscribe(SubscribeOptions::from_start());
    second.block_on(async { while !matches!(followed.next().await, Some(Ok(Notice::CaughtUp(_)))) {} });
    let mut gate = store.engine.hold_next_commit(Moment::AfterApplying);
    let call = begun_on(&first, &store, &mut gate);
    let next = second.spawn(async move { tokio::time::timeout(HANGS, followed.next_event()).await });
    first.shutdown_background();
    gate.release();
    drop(without_a_runtime(call));
    let next = second.block_on(next).expect("it does not panic");
    let event = next
        .expect("it is told")
        .expect("it goes on")
        .expect("it is read");
    assert_eq!(event.position.get(), LONELY + 1);
}

/// As long as the commit may still land an answer that writes nothing is compared with the head once more.
#[test]
fn commit_that_has_ended_with_a_runtime_may_still_land() {
    let broken_off = || {
        let first = runtime();
        let store = Arc::new(first.block_on(Store::with_a_lone_caller()));
        let mut gate = store.engine.hold_next_commit(Moment::BeforeApplying);
        let call = begun_on(&first, &store, &mut gate);
        first.shutdown_background();
        let mut call = pin!(call);
        let told = within(SOON, call.as_mut());
        // Where the loop was just about to look for more, it has the commit, and goes on with it.
        gate.release();
        let told = told.unwrap_or_else(|| without_a_runtime(call));
        told.is_err_and(|error| error.outcome_unknown()).then_some(store)
    };
    let store = (0..20).find_map(|_| broken_off()).expect("it is broken off");
    runtime().block_on(async {
        for commits in [1, 0] {
            let before = store.engine.commits();
            let refused = store.append_to("a", ExpectedVersion::NoStream).await;
            assert!(matches!(refused, Err(Error::StoreVersionMismatch { .. })));
            assert_eq!(store.engine.commits() - before, commits);
            store.append().await.expect("it is appended");
        }
    });
}

/// Nobody else asks for anything that would wake the loop.
#[test]
fn request_is_served_whose_runtime_ends_before_it_is_decided() {
    let first = runtime();
    let store = Arc::new(first.block_on(Store::with_a_lone_caller()));
    let mut gate = store.engine.hold_read_after(0);
    let call = begun_on(&first, &store, &mut gate);
    first.shutdown_background();
    gate.release();
    let told = without_a_runtime(call);
    assert_eq!(told.expect("it is appended").version.get(), 1);
}

#[test]
fn caller_need_not_have_a_runtime() {
    let runtime = runtime();
    let store = runtime.block_on(Store::with_a_lone_caller());
    let gate = store.engine.hold_next_commit(Moment::BeforeApplying);
    let passed = runtime.spawn(passed(gate));
    without_a_runtime(store.append()).expect("it is appended");
    runtime.block_on(passed).expect("it does not panic");
}

/// What was asked for before the end is done, and what comes behind it is not.
#[test]
fn request_behind_the_end_is_told_that_the_store_is_closed() {
    in_a_task(async {
        let store = Store::open().await;
        let mut gate = store.engine.hold_next_commit(Moment::BeforeApplying);
        let mut held = pin!(store.append());
        assert!(poll_immediate(&mut held).await.is_none(), "it is queued");
        gate.reached().await;
        let mut close = pin!(store.provider.close());
        assert!(poll_immediate(&mut close).await.is_none(), "it is queued");
        let mut behind = pin!(store.append());
        let told = poll_immediate(&mut behind).await;
        assert!(told.is_none(), "it is queued: {told:?}");
        gate.release();
        held.await.expect("it is appended");
        close.await.expect("it closes");
        let told = behind.await;
        assert!(matches!(told, Err(Error::ProviderClosed)), "{told:?}");
    });
}

/// A store that runs on one runtime alone ends with it. What was under way then may have happened.
#[test]
fn store_that_has_ended_with_its_runtime_keeps_nobody_waiting() {
    let first = Builder::new_current_thread().enable_all().build();
    let first = first.expect("a runtime can be built");
    let store = Arc::new(first.block_on(Store::open_with(Options::default().single_threaded())));
    let mut gate = store.engine.hold_next_commit(Moment::AfterApplying);
    let mut held = pin!(store.append());
    let mut behind = pin!(store.append());
    first.block_on(async {
        assert!(poll_immediate(&mut held).await.is_none(), "it is queued");
        gate.reached().await;
        assert!(poll_immediate(&mut behind).await.is_none(), "it is queued");
    });
    drop(first);
    let told = without_a_runtime(held);
    assert!(
        told.as_ref().is_err_and(|error| error.outcome_unknown()),
        "{told:?}"
    );
    for told in [without_a_runtime(behind), without_a_runtime(store.append())] {
        assert!(matches!(told, Err(Error::ProviderClosed)), "{told:?}");
    }
    without_a_runtime(store.provider.close()).expect("it has ended");
}

/// What a straggler has moved is read again, and the loop goes on with the request.
#[test]
fn lone_request_whose_commit_loses_is_decided_anew() {
    // The loop may be awake now and then, and serve it: not each time.
    for _ in 0..10 {
        in_a_task(decided_anew());
    }
}

async fn decided_anew() {
    let store = Store::with_a_lone_caller().await;
    let in_doubt = kv_core::Error::outcome_unknown("no answer", "time-out");
    let straggler = store.engine.detach_next_commit(in_doubt);
    let told = store.append().await;
    assert!(told.is_err_and(|error| error.outcome_unknown()));
    let mut gate = store.engine.hold_next_commit(Moment::BeforeApplying);
    let landed = async {
        gate.reached().await;
        let landed = straggler.land().await.expect("it lands");
        gate.release();
        landed
    };
    let (appended, landed) = tokio::join!(store.append(), landed);
    assert_eq!(landed, Outcome::Applied);
    assert_eq!(appended.expect("it is appended").version.get(), LONELY + 2);
    assert_eq!(store.count().await, LONELY + 2);
}

#[test]
fn store_that_nobody_has_any_more_lets_go_of_its_engine() {
    in_a_task(async {
        let store = Store::open().await;
        store.append().await.expect("it is appended");
        let engine = Arc::downgrade(&store.engine);
        drop(store);
        while engine.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}
