//! What a consumer promises.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{BoxError, Clock, EventLog, Position, Query, RecordedEvent};
use eventstore_domain::Running;
use eventstore_domain::consumer::{
    Begin, Consumer, ConsumerName, ConsumerOptions, Handler, Parked, RetryPolicy, WhenHeld, handler_fn,
};
use parking_lot::Mutex;
use support::*;
use tokio::sync::{Notify, Semaphore};

/// Twice the lease of the tests, in which a lost worker is certainly noticed.
const LEASE: Duration = Duration::from_secs(30);

fn at_once(options: ConsumerOptions, attempts: u32) -> ConsumerOptions {
    options.retry(RetryPolicy::attempts(attempts).pause(Duration::from_millis(1)))
}

/// Which worker has each partition that somebody has.
async fn holders(consumer: &Consumer) -> Vec<String> {
    let status = consumer.status().await.expect("read");
    let holders = status.partitions.into_iter().filter_map(|it| it.holder);
    holders.map(|holder| holder.worker).collect()
}

async fn shares(consumer: &Consumer) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for holder in holders(consumer).await {
        *shares.entry(holder).or_default() += 1;
    }
    shares
}

async fn checkpoint(consumer: &Consumer) -> u64 {
    consumer.status().await.expect("read").checkpoint().get()
}

async fn parked_versions(consumer: &Consumer, which: &Parked) -> Vec<(String, u64)> {
    let mut versions = Vec::new();
    let mut after = None;
    loop {
        let page = consumer.parked(which, after.as_ref(), 2).await.expect("read");
        let Some(last) = page.last() else {
            return versions;
        };
        after = Some(last.clone());
        versions.extend(
            page.iter()
                .map(|it| (it.stream.id().to_owned(), it.version.get())),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn consumer_hands_out_each_event_at_least_once_in_stream_order() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    for _ in 0..10 {
        for id in ["a", "b", "c", "d", "e"] {
            append(&*log, id, 3).await;
        }
    }
    let consumer = consumer(&log, options(&clock)).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    append(&*log, "a", 5).await;
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    assert_eq!(recorder.versions("a"), (1..=35).collect::<Vec<_>>());
    assert_eq!(recorder.versions("e"), (1..=30).collect::<Vec<_>>());
    assert_eq!(recorder.count(), 155);
}

#[tokio::test(start_paused = true)]
async fn consumer_resumes_at_its_checkpoint() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let consumer = consumer(&log, options(&clock)).await;
    append(&*log, "a", 10).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    append(&*log, "a", 2).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    assert_eq!(recorder.versions("a"), (1..=12).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn stop_stores_the_checkpoint_of_what_was_handled() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let rarely = options(&clock).checkpoint_every(1_000_000, Duration::from_secs(1_000_000));
    let consumer = consumer(&log, rarely).await;
    append(&*log, "a", 10).await;
    let worker = consumer.start(recorder.clone());
    until("all are handled", || async { recorder.count() == 10 }).await;
    assert_eq!(checkpoint(&consumer).await, 0);
    worker.stop().await.expect("it stops");
    assert_eq!(checkpoint(&consumer).await, 10);
    assert_eq!(holders(&consumer).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn checkpoint_is_stored_after_so_many_events_or_so_much_time() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let some = options(&clock)
        .partitions(1)
        .checkpoint_every(4, Duration::from_secs(5));
    let consumer = consumer(&log, some).await;
    append(&*log, "a", 10).await;
    let worker = consumer.start(recorder.clone());
    until("all are handled", || async { recorder.count() == 10 }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(checkpoint(&consumer).await, 8);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(checkpoint(&consumer).await, 10);
    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn consumer_begins_where_it_is_told_to() {
    let (log, clock) = (log().await, TokioClock::new());
    append(&*log, "a", 5).await;
    for (begin, expected) in [
        (Begin::Start, 1),
        (Begin::End, 6),
        (Begin::After(Position::new(3)), 4),
    ] {
        let recorder = Recorder::new();
        let mut options = options(&clock);
        options.begin = begin;
        let name = format!("from {expected}")
            .as_str()
            .try_into()
            .expect("a valid name");
        let consumer = Consumer::create(Arc::clone(&log), name, options)
            .await
            .expect("made");
        // Where it begins was decided when it was made.
        let appended = append(&*log, &format!("b{expected}"), 1).await;
        let worker = consumer.start(recorder.clone());
        no_lag(&consumer).await;
        worker.stop().await.expect("it stops");
        let first = recorder.seen.lock().iter().map(|event| event.position).min();
        let expected = if begin == Begin::End {
            appended.position.get()
        } else {
            expected
        };
        assert_eq!(first, Some(Position::new(expected)), "{begin:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn consumer_takes_the_events_of_its_query_and_moves_past_the_others() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    append(&*log, "a", 5).await;
    let consumer = consumer(&log, options(&clock).query(Query::category("order"))).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    assert_eq!((recorder.count(), checkpoint(&consumer).await), (0, 5));
    append(&*log, "a", 5).await;
    no_lag(&consumer).await;
    assert_eq!((recorder.count(), checkpoint(&consumer).await), (0, 10));
    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn consumer_opened_otherwise_than_it_was_made_is_refused() {
    let (log, clock) = (log().await, TokioClock::new());
    consumer(&log, options(&clock)).await;
    let refused = |options| {
        let log = Arc::clone(&log);
        async move {
            let opened = Consumer::open(log, name(), options).await;
            opened.expect_err("must be refused").to_string()
        }
    };
    assert!(
        refused(options(&clock).partitions(8))
            .await
            .contains("has 4 partitions, not 8")
    );
    assert!(
        refused(options(&clock).query(Query::category("x")))
            .await
            .contains("another query")
    );
    assert!(
        refused(options(&clock).partitions(0))
            .await
            .contains("use 1 to 1024")
    );
    let created = Consumer::create(Arc::clone(&log), name(), options(&clock)).await;
    assert!(
        created
            .expect_err("must be refused")
            .to_string()
            .contains("already")
    );
    // None means: as many as it has.
    let opened = Consumer::open(Arc::clone(&log), name(), ConsumerOptions::default()).await;
    assert_eq!(opened.expect("opened").partitions(), 4);
}

#[tokio::test(start_paused = true)]
async fn workers_share_the_partitions_as_they_come_and_go() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let worker = |name: &str| {
        let (log, options) = (Arc::clone(&log), options(&clock).partitions(7).worker(name));
        let recorder = recorder.clone();
        async move { consumer(&log, options).await.start(recorder) }
    };
    let shown = consumer(&log, options(&clock).partitions(7)).await;
    let a = worker("a").await;
    until("a has all", || async {
        shares(&shown).await == [("a".to_owned(), 7)].into()
    })
    .await;
    let b = worker("b").await;
    let c = worker("c").await;
    let even = || async {
        let shares = shares(&shown).await;
        shares.len() == 3
            && shares.values().all(|share| (2..=3).contains(share))
            && shares.values().sum::<usize>() == 7
    };
    until("all three have their share", even).await;
    append(&*log, "x", 10).await;
    // One goes, and one is lost.
    a.stop().await.expect("it stops");
    drop(b);
    until("c has all", || async {
        shares(&shown).await == [("c".to_owned(), 7)].into()
    })
    .await;
    no_lag(&shown).await;
    assert_eq!(recorder.versions("x"), (1..=10).collect::<Vec<_>>());
    c.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn lost_worker_keeps_its_partitions_for_the_time_of_its_lease() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let first = consumer(&log, options(&clock).worker("first")).await;
    let lost = first.start(recorder.clone());
    until("it has them", || async { holders(&first).await.len() == 4 }).await;
    drop(lost);
    let second = consumer(&log, options(&clock).worker("second")).await;
    let worker = second.start(recorder.clone());
    tokio::time::sleep(LEASE / 2).await;
    assert!(!holders(&first).await.contains(&"second".to_owned()));
    tokio::time::sleep(LEASE).await;
    assert_eq!(shares(&first).await, [("second".to_owned(), 4)].into());
    worker.stop().await.expect("it stops");
}

/// Waits in each event until it is let go.
struct Gate {
    inside: Notify,
    open: Semaphore,
    seen: Mutex<Vec<u64>>,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inside: Notify::new(),
            open: Semaphore::new(0),
            seen: Mutex::default(),
        })
    }
}

#[async_trait]
impl Handler for Gate {
    async fn handle(&self, event: &RecordedEvent) -> Result<(), BoxError> {
        self.inside.notify_one();
        self.open.acquire().await?.forget();
        self.seen.lock().push(event.version.get());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_while_an_event_is_handled() {
    let (log, clock, gate) = (log().await, TokioClock::new(), Gate::new());
    let first = consumer(&log, options(&clock).worker("first")).await;
    append(&*log, "a", 2).await;
    let worker = first.start(gate.clone());
    gate.inside.notified().await;
    let other = consumer(&log, options(&clock).worker("other"))
        .await
        .start(Recorder::new());
    tokio::time::sleep(10 * LEASE).await;
    // Balance has moved the others, at most.
    gate.open.add_permits(2);
    no_lag(&first).await;
    assert_eq!(*gate.seen.lock(), [1, 2]);
    worker.stop().await.expect("it stops");
    other.stop().await.expect("it stops");
}

/// A clock that stands still: whoever has it never learns that its lease is over.
#[derive(Debug)]
struct Stopped(eventstore_abstractions::Timestamp);

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> eventstore_abstractions::Timestamp {
        self.0
    }

    async fn sleep_until(&self, deadline: eventstore_abstractions::Timestamp) {
        if deadline > self.0 {
            std::future::pending::<()>().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stale_worker_cannot_move_the_checkpoint() {
    let (log, clock, gate, recorder) = (log().await, TokioClock::new(), Gate::new(), Recorder::new());
    append(&*log, "a", 3).await;
    let stopped = options(&clock).clock(Arc::new(Stopped(clock.now())));
    let stale = consumer(&log, stopped).await;
    let stale_worker = stale.start(gate.clone());
    gate.inside.notified().await;

    // By another clock its lease is over.
    tokio::time::sleep(2 * LEASE).await;
    let second = consumer(&log, options(&clock)).await;
    let worker = second.start(recorder.clone());
    until("the second has handled all", || async { recorder.count() == 3 }).await;
    no_lag(&second).await;
    second
        .reset(Begin::After(Position::new(1)), WhenHeld::TakeOver)
        .await
        .expect("reset");
    worker.stop().await.expect("it stops");
    let before = second.status().await.expect("read");

    // It handles what it has in hand, and stores nothing.
    gate.open.add_permits(1);
    stale_worker.stop().await.expect("it stops");
    assert_eq!(*gate.seen.lock(), [1]);
    let after = second.status().await.expect("read");
    let checkpoints = |status: &eventstore_domain::consumer::ConsumerStatus| {
        status
            .partitions
            .iter()
            .map(|it| it.checkpoint)
            .collect::<Vec<_>>()
    };
    assert_eq!(checkpoints(&after), checkpoints(&before));
}

#[tokio::test(start_paused = true)]
async fn failing_event_is_tried_again_with_growing_pauses() {
    let (log, clock) = (log().await, TokioClock::new());
    let retry = RetryPolicy::attempts(5)
        .pause(Duration::from_secs(1))
        .longest_pause(Duration::from_secs(3));
    let consumer = consumer(&log, options(&clock).retry(retry)).await;
    append(&*log, "a", 1).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let worker = consumer.start(handler_fn({
        let (times, clock) = (times.clone(), clock.clone());
        move |_| {
            let (times, clock) = (times.clone(), clock.clone());
            async move {
                times.lock().push(clock.now());
                if times.lock().len() < 5 {
                    Err("not yet".into())
                } else {
                    Ok(())
                }
            }
        }
    }));
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    let times = times.lock().clone();
    let pauses = times
        .windows(2)
        .map(|pair| pair[1].saturating_since(pair[0]).as_secs());
    assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 3, 3]);
    assert_eq!(consumer.status().await.expect("read").parked(), 0);
}

#[tokio::test(start_paused = true)]
async fn failing_event_is_parked_and_replayed() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    // One partition: the other stream waits for the attempts, and then goes on.
    let consumer = consumer(&log, at_once(options(&clock).partitions(1), 3)).await;
    recorder.fail("bad", 2, 3);
    append(&*log, "bad", 3).await;
    append(&*log, "good", 3).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    append(&*log, "bad", 1).await;
    no_lag(&consumer).await;
    assert_eq!(recorder.versions("bad"), [1]);
    assert_eq!(recorder.versions("good"), [1, 2, 3]);

    let parked = consumer.parked(&Parked::All, None, 10).await.expect("read");
    let first = &parked[0];
    assert_eq!((first.version.get(), first.position.get()), (2, 2));
    let failure = first.failure.as_ref().expect("it failed");
    assert_eq!(
        (failure.attempts, &*failure.error),
        (3, "account/bad at 2 is cursed")
    );
    assert_eq!(consumer.status().await.expect("read").parked(), 3);
    let of = |versions: &[u64]| {
        versions
            .iter()
            .map(|it| ("bad".to_owned(), *it))
            .collect::<Vec<_>>()
    };
    assert_eq!(parked_versions(&consumer, &Parked::All).await, of(&[2, 3, 4]));
    assert_eq!(parked_versions(&consumer, &Parked::Of(stream("good"))).await, []);

    let replayed = consumer
        .replay(&Parked::Of(stream("bad")), &*recorder)
        .await
        .expect("replayed");
    assert_eq!((replayed.handled, replayed.failed), (3, 0));
    assert_eq!(recorder.versions("bad"), [1, 2, 3, 4]);
    assert_eq!(consumer.status().await.expect("read").parked(), 0);

    // The stream is no longer set aside.
    append(&*log, "bad", 1).await;
    no_lag(&consumer).await;
    assert_eq!(recorder.versions("bad"), [1, 2, 3, 4, 5]);
    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn event_that_fails_again_stays_with_those_behind_it() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let consumer = consumer(&log, at_once(options(&clock).partitions(2), 1)).await;
    for id in ["a", "b", "c"] {
        append(&*log, id, 3).await;
        recorder.fail(id, 1, 1);
    }
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    assert_eq!(recorder.count(), 0);
    recorder.fail("b", 2, 1);
    let replayed = consumer.replay(&Parked::All, &*recorder).await.expect("replayed");
    assert_eq!((replayed.handled, replayed.failed), (7, 1));
    assert_eq!(recorder.versions("a"), [1, 2, 3]);
    assert_eq!(recorder.versions("b"), [1]);
    let parked = consumer.parked(&Parked::All, None, 10).await.expect("read");
    assert_eq!(parked[0].failure.as_ref().expect("it failed").attempts, 1);
    assert!(parked[1].failure.is_none());

    assert!(consumer.discard_event(&parked[0]).await.expect("discarded"));
    assert!(!consumer.discard_event(&parked[0]).await.expect("it is gone"));
    assert_eq!(
        parked_versions(&consumer, &Parked::All).await,
        [("b".to_owned(), 3)]
    );
    assert_eq!(consumer.discard(&Parked::All).await.expect("discarded"), 1);
    assert_eq!(parked_versions(&consumer, &Parked::All).await, []);
    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_replay_is_replayed_behind_it() {
    let (log, clock, recorder, gate) = (log().await, TokioClock::new(), Recorder::new(), Gate::new());
    let consumer = consumer(&log, at_once(options(&clock).partitions(1), 1)).await;
    for id in ["a", "b"] {
        recorder.fail(id, 1, 1);
        append(&*log, id, 1).await;
    }
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    let replay = tokio::spawn({
        let (consumer, gate) = (consumer.clone(), gate.clone());
        async move { consumer.replay(&Parked::All, &*gate).await }
    });
    gate.inside.notified().await;
    let again = consumer.replay(&Parked::All, &*recorder).await;
    assert!(
        again
            .expect_err("must be refused")
            .to_string()
            .contains("being replayed")
    );
    // One of the two streams is in hand, the other comes after it.
    append(&*log, "a", 2).await;
    append(&*log, "b", 2).await;
    no_lag(&consumer).await;
    gate.open.add_permits(6);
    assert_eq!(replay.await.expect("ended").expect("replayed").handled, 6);
    assert_eq!(*gate.seen.lock(), [1, 2, 3, 1, 2, 3]);
    append(&*log, "a", 1).await;
    no_lag(&consumer).await;
    assert_eq!(recorder.versions("a"), [4]);
    worker.stop().await.expect("it stops");
}

/// A consumer whose first event is parked, and which waits before it parks the second behind it. It takes partitions so
/// often.
async fn parking_behind(
    log: &Arc<dyn EventLog>,
    balance: Duration,
    recorder: &Arc<Recorder>,
) -> (Consumer, Running, Arc<Held>) {
    let clock = TokioClock::new();
    // The only changes that require the lease and the event that is parked already.
    let (held_log, held) = Faulty::holding(log, |changes| {
        (changes.requirements.len(), changes.writes.len()) == (2, 2)
    });
    let one = at_once(options(&clock).partitions(1).balance(balance), 1);
    let consumer = consumer(&held_log, one).await;
    recorder.fail("a", 1, 1);
    append(&**log, "a", 2).await;
    let worker = consumer.start(recorder.clone());
    held.came().await;
    (consumer, worker, held)
}

#[tokio::test(start_paused = true)]
async fn event_is_handled_at_once_when_what_it_is_parked_behind_goes() {
    let (log, recorder) = (log().await, Recorder::new());
    // Longer than this test waits: the partition stays with the work that has it.
    let (consumer, worker, held) = parking_behind(&log, Duration::from_secs(1_000_000), &recorder).await;
    assert_eq!(consumer.discard(&Parked::All).await.expect("discarded"), 1);
    held.let_go();
    until("the second is handled", || async {
        recorder.versions("a") == [2]
    })
    .await;
    worker.stop().await.expect("it stops");
    assert_eq!(parked_versions(&consumer, &Parked::All).await, []);
}

#[tokio::test(start_paused = true)]
async fn worker_that_loses_its_lease_while_it_parks_hands_out_nothing_more() {
    let (log, recorder) = (log().await, Recorder::new());
    let (consumer, worker, held) = parking_behind(&log, Duration::from_secs(1), &recorder).await;
    // Nothing is parked then: the second event could be handed out, before the first.
    let reset = consumer.reset(Begin::Start, WhenHeld::TakeOver).await;
    reset.expect("reset");
    held.let_go();
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    assert_eq!(recorder.versions("a"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_handler_is_a_failure() {
    let (log, clock) = (log().await, TokioClock::new());
    let consumer = consumer(&log, at_once(options(&clock), 2)).await;
    append(&*log, "a", 1).await;
    let worker = consumer.start(handler_fn(|event| async move { panic!("no {}", event.version) }));
    no_lag(&consumer).await;
    let parked = consumer.parked(&Parked::All, None, 10).await.expect("read");
    let failure = parked[0].failure.as_ref().expect("it failed");
    assert_eq!(
        (failure.attempts, &*failure.error),
        (2, "the handler panicked: no 1")
    );
    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn event_that_is_being_retried_when_a_worker_stops_comes_again() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let retry = RetryPolicy::attempts(10)
        .pause(Duration::from_secs(1_000))
        .longest_pause(Duration::MAX);
    let consumer = consumer(&log, options(&clock).retry(retry)).await;
    recorder.fail("a", 2, 1);
    append(&*log, "a", 3).await;
    let worker = consumer.start(recorder.clone());
    until("it has failed", || async { recorder.attempts.lock().len() == 2 }).await;
    worker
        .stop()
        .await
        .expect("it stops without waiting for the pause");
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    assert_eq!(recorder.versions("a"), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn reset_begins_anew_and_spares_workers_unless_told_to() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let consumer = consumer(&log, at_once(options(&clock).worker("w1"), 1)).await;
    recorder.fail("b", 1, 1);
    append(&*log, "a", 3).await;
    append(&*log, "b", 2).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    let refused = consumer.reset(Begin::Start, WhenHeld::Refuse).await;
    let text = refused.expect_err("must be refused").to_string();
    assert!(
        text.contains("is held by w1") && text.contains("take over"),
        "{text}"
    );

    consumer
        .reset(Begin::After(Position::new(1)), WhenHeld::TakeOver)
        .await
        .expect("reset");
    assert_eq!(consumer.status().await.expect("read").parked(), 0);
    until("it is handled again", || async {
        recorder.versions("b") == [1, 2]
    })
    .await;
    no_lag(&consumer).await;
    assert_eq!(recorder.versions("a"), [1, 2, 3, 2, 3]);
    worker.stop().await.expect("it stops");

    consumer
        .reset(Begin::Start, WhenHeld::Refuse)
        .await
        .expect("nobody has it");
    assert_eq!(checkpoint(&consumer).await, 0);
    consumer
        .reset(Begin::End, WhenHeld::Refuse)
        .await
        .expect("nobody has it");
    assert_eq!(checkpoint(&consumer).await, 5);
}

#[tokio::test(start_paused = true)]
async fn removed_consumer_is_gone_and_its_workers_end() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let consumer = consumer(&log, at_once(options(&clock), 1)).await;
    recorder.fail("a", 1, 1);
    append(&*log, "a", 300).await;
    let mut worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    assert_eq!(Consumer::list(&*log).await.expect("read"), [name()]);
    let refused = consumer.clone().remove(WhenHeld::Refuse).await;
    assert!(
        refused
            .expect_err("must be refused")
            .to_string()
            .contains("is held by")
    );
    consumer
        .clone()
        .remove(WhenHeld::TakeOver)
        .await
        .expect("removed");
    assert_eq!(Consumer::list(&*log).await.expect("read"), []);
    let ended = worker.ended().await.expect_err("it has nothing to work on");
    assert!(ended.to_string().contains("was removed or made anew"), "{ended}");
    let namespace = log.namespace(&"$consumers".try_into().expect("a valid name"));
    assert_eq!(namespace.scan(b"", None, 10).await.expect("read"), []);
    assert!(
        Consumer::find(Arc::clone(&log), name())
            .await
            .expect("read")
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn removal_that_was_cut_short_is_known_and_can_be_finished() {
    let (log, clock) = (log().await, TokioClock::new());
    drop(consumer(&log, options(&clock)).await);
    let faulty = Faulty::over(&log, |changes| {
        let deletes = changes.writes.iter().any(|(_, value)| value.is_none());
        deletes.then_some(Fault::Before)
    });
    let found = async |log: &Arc<dyn EventLog>| {
        let found = Consumer::find(Arc::clone(log), name()).await;
        found.expect("read").expect("it is there")
    };
    let failed = found(&faulty).await.remove(WhenHeld::Refuse).await;
    assert!(failed.expect_err("nothing can be deleted").is_retryable());
    let refused = Consumer::open(Arc::clone(&log), name(), options(&clock)).await;
    let refused = refused.expect_err("it is half gone").to_string();
    assert!(refused.contains("is being removed"), "{refused}");
    let removed = found(&log).await.remove(WhenHeld::Refuse).await;
    removed.expect("removed");
    assert_eq!(Consumer::list(&*log).await.expect("read"), []);
}

#[tokio::test(start_paused = true)]
async fn consumers_of_names_that_begin_alike_stay_apart() {
    let (log, clock) = (log().await, TokioClock::new());
    let names = ["a", "a b", "ab", "ab/c"].map(|name| ConsumerName::new(name).expect("a valid name"));
    for name in &names {
        let made = Consumer::open(Arc::clone(&log), name.clone(), options(&clock)).await;
        drop(made.expect("opened"));
    }
    assert_eq!(Consumer::list(&*log).await.expect("read"), names);
    let first = Consumer::find(Arc::clone(&log), names[0].clone())
        .await
        .expect("read");
    first
        .expect("it is there")
        .remove(WhenHeld::Refuse)
        .await
        .expect("removed");
    assert_eq!(Consumer::list(&*log).await.expect("read"), names[1..]);
}

#[tokio::test(start_paused = true)]
async fn lag_is_what_is_not_handled() {
    let (log, clock, gate) = (log().await, TokioClock::new(), Gate::new());
    let consumer = consumer(&log, options(&clock).partitions(1)).await;
    append(&*log, "a", 7).await;
    let status = consumer.status().await.expect("read");
    assert_eq!(
        (status.lag(), status.head.get(), status.partitions[0].lag),
        (7, 7, 7)
    );
    let worker = consumer.start(gate.clone());
    gate.open.add_permits(3);
    until("three are handled", || async { checkpoint(&consumer).await == 3 }).await;
    assert_eq!(consumer.status().await.expect("read").lag(), 4);
    gate.open.add_permits(100);
    worker.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn removed_event_is_not_handed_out_and_moves_the_checkpoint() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let log = Faulty::removing(&log, [2, 5]);
    append(&*log, "a", 5).await;
    let consumer = consumer(&log, options(&clock)).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&consumer).await;
    worker.stop().await.expect("it stops");
    assert_eq!(recorder.versions("a"), [1, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_storage_lose_and_disorder_nothing() {
    let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
    let random = Mutex::new(fastrand::Rng::with_seed(7));
    let faulty = Faulty::over(&log, move |_| {
        let faults = [Fault::Before, Fault::UnknownBefore, Fault::UnknownAfter];
        faults.get(random.lock().usize(..12)).copied()
    });
    recorder.fail("s3", 5, 10);
    for _ in 0..10 {
        for id in 0..10 {
            append(&*log, &format!("s{id}"), 3).await;
        }
    }
    let right = consumer(&log, options(&clock)).await;
    let consumer = consumer(&faulty, at_once(options(&clock), 2)).await;
    let worker = consumer.start(recorder.clone());
    no_lag(&right).await;
    // Its end may fail, too.
    drop(worker.stop().await);
    for id in (0..10).filter(|id| *id != 3) {
        check_order(&recorder.versions(&format!("s{id}")), 30);
    }
    check_order(&recorder.versions("s3"), 4);
    assert_eq!(right.status().await.expect("read").parked(), 26);
}

/// Each version comes, and none before the one below it has come.
fn check_order(versions: &[u64], last: u64) {
    let mut highest = 0;
    for version in versions {
        assert!(
            *version <= highest + 1,
            "{version} came before {}: {versions:?}",
            highest + 1
        );
        highest = highest.max(*version);
    }
    assert_eq!(highest, last, "{versions:?}");
}

#[tokio::test(start_paused = true)]
async fn workers_that_restart_at_random_skip_and_disorder_nothing() {
    const STREAMS: u64 = 40;
    const EVENTS: u64 = 300;
    for seed in [1, 2, fastrand::u64(..)] {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
        let mut workers: Vec<Option<Running>> = (0..4).map(|_| None).collect();
        let shown = consumer(&log, options(&clock).partitions(8)).await;
        let mut appended: BTreeMap<u64, u64> = BTreeMap::new();
        for _ in 0..(STREAMS * EVENTS / 10) {
            let stream = random.u64(..STREAMS);
            append(&*log, &format!("s{stream}"), 10).await;
            *appended.entry(stream).or_default() += 10;
            let worker = random.usize(..workers.len());
            match (random.u32(..40), workers[worker].take()) {
                // Lost where it is.
                (0, Some(running)) => drop(running),
                (1, Some(running)) => running.stop().await.expect("it stops"),
                (_, Some(running)) => workers[worker] = Some(running),
                (_, None) => {
                    let mut options = options(&clock)
                        .partitions(8)
                        .lease(Duration::from_secs(2))
                        .balance(Duration::from_millis(200))
                        .worker(format!("w{worker}"));
                    options.checkpoint_events = random.u64(1..50);
                    workers[worker] = Some(consumer(&log, options).await.start(recorder.clone()));
                }
            }
            tokio::time::sleep(Duration::from_millis(random.u64(..40))).await;
        }
        no_lag(&shown).await;
        for worker in workers.into_iter().flatten() {
            worker.stop().await.expect("it stops");
        }
        assert_eq!(appended.values().sum::<u64>(), STREAMS * EVENTS);
        for (stream, count) in appended {
            check_order(&recorder.versions(&format!("s{stream}")), count);
        }
        let handled: BTreeSet<_> = recorder.seen.lock().iter().map(|event| event.position).collect();
        assert_eq!(handled.len() as u64, STREAMS * EVENTS);
    }
}

#[tokio::test(start_paused = true)]
async fn replays_that_race_with_workers_leave_nothing_behind() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (log, clock, recorder) = (log().await, TokioClock::new(), Recorder::new());
        let options = at_once(options(&clock).partitions(1), 1);
        let slow = consumer(&Faulty::slow(&log, seed), options.clone()).await;
        let consumer = consumer(&log, options).await;
        recorder.fail("a", 1, 1);
        append(&*log, "a", 1).await;
        let worker = slow.start(recorder.clone());
        no_lag(&consumer).await;
        let replay = tokio::spawn({
            let (consumer, recorder) = (consumer.clone(), recorder.clone());
            async move { consumer.replay(&Parked::All, &*recorder).await }
        });
        for _ in 0..5 {
            for _ in 0..random.u32(..10) {
                tokio::task::yield_now().await;
            }
            append(&*log, "a", 1).await;
        }
        replay.await.expect("ended").expect("replayed");
        no_lag(&consumer).await;
        worker.stop().await.expect("it stops");
        // What came too late for the replay was handed to the worker: the stream had nothing parked by then.
        assert_eq!(parked_versions(&consumer, &Parked::All).await, [], "seed {seed}");
        assert_eq!(recorder.versions("a"), [1, 2, 3, 4, 5, 6], "seed {seed}");
    }
}
