//! What a projection promises.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    Changes, Committed, Durability, Error, EventLog, Position, Query, RecordedEvent, Result,
};
use eventstore_domain::Running;
use eventstore_domain::projection::{Projection, ProjectionName, Projector, ProjectorOptions, Reader, View};
use parking_lot::Mutex;
use support::*;

/// Sums up the numbers of each stream, and counts its events: an event that is lost or applied twice is seen.
#[derive(Default)]
struct Sums {
    version: AtomicU32,
    /// Adds this to each number: what another version of the code would do.
    bonus: AtomicU64,
    applied: AtomicU64,
    /// Fails at this position.
    cursed: AtomicU64,
    category: Option<&'static str>,
}

impl Sums {
    fn version(version: u32, bonus: u64) -> Arc<Self> {
        let sums = Self::default();
        sums.version.store(version, Ordering::SeqCst);
        sums.bonus.store(bonus, Ordering::SeqCst);
        Arc::new(sums)
    }
}

#[async_trait]
impl Projection for Sums {
    fn name(&self) -> &str {
        "sums"
    }

    fn version(&self) -> u32 {
        self.version.load(Ordering::SeqCst)
    }

    fn query(&self) -> Query {
        self.category.map_or(Query::all(), Query::category)
    }

    async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        self.applied.fetch_add(1, Ordering::SeqCst);
        let id = event.stream.id();
        let (count, sum): (u64, u64) = view.get_json(id).await?.unwrap_or_default();
        let number: u64 = serde_json::from_slice(&event.message.payload.bytes).expect("a number");
        view.put_json(id, &(count + 1, sum + number + self.bonus.load(Ordering::SeqCst)))?;
        if self.cursed.load(Ordering::SeqCst) == event.position.get() {
            return Err(Error::application("cursed"));
        }
        Ok(())
    }
}

fn few(clock: &Arc<TokioClock>) -> ProjectorOptions {
    ProjectorOptions::default().commit_events(7).clock(clock.clone())
}

async fn projector(log: &Arc<dyn EventLog>, sums: &Arc<Sums>, clock: &Arc<TokioClock>) -> Projector {
    let projector = Projector::open(Arc::clone(log), Arc::clone(sums), few(clock)).await;
    projector.expect("it opens")
}

/// Count and sum of the stream `id`.
async fn sum(reader: &Reader, id: &str) -> Option<(u64, u64)> {
    reader.get_json(id).await.expect("read")
}

async fn wait(reader: &Reader, position: Position) {
    let waited = tokio::time::timeout(Duration::from_secs(10_000), reader.wait_for(position)).await;
    waited.expect("it comes there").expect("read");
}

#[tokio::test(start_paused = true)]
async fn state_follows_the_log() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    append(&*log, "a", 20).await;
    let projector = projector(&log, &sums, &clock).await;
    let reader = projector.reader();
    assert_eq!(sum(&reader, "a").await, None, "it is readable from the beginning");
    let running = projector.start();
    append(&*log, "b", 3).await;
    wait(&reader, append(&*log, "a", 10).await.position).await;
    assert_eq!(sum(&reader, "a").await, Some((30, 465)));
    assert_eq!(sum(&reader, "b").await, Some((3, 6)));
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn wait_for_gives_read_your_writes() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    let projector = projector(&log, &sums, &clock).await;
    let running = projector.start();
    // As another process would: it is told nothing, and looks.
    let name = ProjectionName::new("sums").expect("a valid name");
    let elsewhere = Reader::open(&*log, &name).expect("opened");
    for number in 1..=50 {
        let appended = append(&*log, "a", 1).await;
        let reader = if number % 2 == 0 {
            &elsewhere
        } else {
            &projector.reader()
        };
        wait(reader, appended.position).await;
        assert_eq!(sum(reader, "a").await.map(|it| it.0), Some(number));
    }
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn wait_for_returns_when_no_event_matches() {
    let (log, clock) = (log().await, TokioClock::new());
    let sums = Arc::new(Sums {
        category: Some("order"),
        ..Sums::default()
    });
    let projector = projector(&log, &sums, &clock).await;
    let running = projector.start();
    for _ in 0..3 {
        let appended = append(&*log, "a", 5).await;
        wait(&projector.reader(), appended.position).await;
    }
    assert_eq!(sums.applied.load(Ordering::SeqCst), 0);
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn wait_for_waits_while_nobody_runs_the_projection() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    let projector = projector(&log, &sums, &clock).await;
    let appended = append(&*log, "a", 1).await;
    let reader = projector.reader();
    let waited = tokio::time::timeout(Duration::from_secs(100), reader.wait_for(appended.position)).await;
    assert!(waited.is_err());
    let running = projector.start();
    wait(&reader, appended.position).await;
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn projection_resumes_at_its_checkpoint() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    let projector = projector(&log, &sums, &clock).await;
    for round in 1..=3 {
        let running = projector.start();
        wait(&projector.reader(), append(&*log, "a", 10).await.position).await;
        running.stop().await.expect("it stops");
        assert_eq!(sums.applied.load(Ordering::SeqCst), round * 10);
    }
}

/// The sum that the numbers 1 to `count` have, and how many they are.
fn of_numbers(count: u64) -> Option<(u64, u64)> {
    Some((count, count * (count + 1) / 2))
}

#[tokio::test(start_paused = true)]
async fn checkpoint_and_effects_are_one_commit() {
    for seed in [1, 2, fastrand::u64(..)] {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
        let failing = Arc::new(AtomicBool::new(true));
        let plan = {
            let (failing, random) = (failing.clone(), Mutex::new(random.fork()));
            move |_: &_| {
                let faults = [Fault::Before, Fault::UnknownBefore, Fault::UnknownAfter];
                let fault = faults.get(random.lock().usize(..8)).copied();
                fault.filter(|_| failing.load(Ordering::SeqCst))
            }
        };
        let faulty = Faulty::over(&log, plan);
        let right = projector(&log, &sums, &clock).await;
        let wrong = projector(&faulty, &sums, &clock).await;
        // Two runners at a time, each of which is lost now and then.
        let mut runners: [Option<Running>; 2] = [None, None];
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for round in 0..400 {
            let id = format!("s{}", random.u32(..5));
            let count = random.u64(1..5);
            append(&*log, &id, count).await;
            *counts.entry(id).or_default() += count;
            let runner = &mut runners[round % 2];
            if random.u32(..4) == 0 {
                *runner = None;
            } else if runner.is_none() {
                *runner = Some(wrong.start());
            }
            for _ in 0..random.u32(..30) {
                tokio::task::yield_now().await;
            }
            // At every moment the state is that of the checkpoint: of whole events, and of none twice.
            let name = "$projection/sums".try_into().expect("a valid name");
            if let Some(value) = log.namespace(&name).get(b"g\0\0\0\x01s1").await.expect("read") {
                let (count, sum): (u64, u64) = serde_json::from_slice(&value).expect("JSON");
                assert_eq!(Some((count, sum)), of_numbers(count));
            }
        }
        failing.store(false, Ordering::SeqCst);
        runners = [Some(wrong.start()), Some(right.start())];
        wait(&right.reader(), log.head().await.expect("read")).await;
        for (id, count) in counts {
            assert_eq!(sum(&right.reader(), &id).await, of_numbers(count), "{id}");
        }
        drop(runners);
    }
}

#[tokio::test(start_paused = true)]
async fn removed_event_is_not_applied_and_moves_the_checkpoint() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    let log = Faulty::removing(&log, [2, 5]);
    let appended = append(&*log, "a", 5).await;
    let projector = projector(&log, &sums, &clock).await;
    let running = projector.start();
    wait(&projector.reader(), appended.position).await;
    assert_eq!(sum(&projector.reader(), "a").await, Some((3, 1 + 3 + 4)));
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn event_that_cannot_be_applied_stops_the_runner_behind_what_came_before() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    append(&*log, "a", 10).await;
    sums.cursed.store(4, Ordering::SeqCst);
    let projector = projector(&log, &sums, &clock).await;
    let ended = projector.start().ended().await;
    assert_eq!(ended.expect_err("it cannot go on").to_string(), "cursed");
    let reader = projector.reader();
    assert_eq!(
        sum(&reader, "a").await,
        of_numbers(3),
        "nothing of the event is stored"
    );
    assert_eq!(reader.position().await.expect("read"), Position::new(3));
    sums.cursed.store(0, Ordering::SeqCst);
    let running = projector.start();
    wait(&reader, Position::new(10)).await;
    assert_eq!(sum(&reader, "a").await, of_numbers(10));
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn projection_rebuild_swaps_at_once() {
    for seed in 0..20 {
        println!("seed {seed}");
        rebuild_beside_a_live_one(seed).await;
    }
}

async fn rebuild_beside_a_live_one(seed: u64) {
    const FIRST: u64 = 100;
    const LAST: u64 = 300;
    let (log, clock) = (log().await, TokioClock::new());
    let (old, new) = (Sums::version(1, 0), Sums::version(2, 1_000));
    append(&*log, "a", FIRST).await;
    let old_projector = projector(&log, &old, &clock).await;
    let mut old_running = old_projector.start();
    let reader = old_projector.reader();
    wait(&reader, Position::new(FIRST)).await;

    // The new one is built while the old one goes on, faster, and events are appended all the time.
    let slow = Faulty::slow(&log, seed);
    let new_projector = projector(&slow, &new, &clock).await;
    assert_eq!(reader.generation().await.expect("read"), 1);
    let new_running = new_projector.start();
    let (mut position, mut swapped) = (Position::ZERO, false);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in FIRST..LAST {
        append(&*log, "a", 1).await;
        for _ in 0..random.u32(..8) {
            tokio::task::yield_now().await;
        }
        let (count, sum) = sum(&reader, "a").await.expect("there is always one state");
        let bonus = sum - count * (count + 1) / 2;
        assert!(
            bonus == 0 && !swapped || bonus == count * 1_000,
            "a whole state, old or new: {count} {sum}"
        );
        swapped |= bonus > 0;
        let now = reader.position().await.expect("read");
        assert!(now >= position, "readers never go back: {position} to {now}");
        position = now;
    }
    until("it is swapped", || async {
        reader.generation().await.expect("read") == 2
    })
    .await;
    wait(&reader, Position::new(LAST)).await;
    let (count, expected) = of_numbers(LAST).expect("there are some");
    assert_eq!(sum(&reader, "a").await, Some((count, expected + 1_000 * count)));

    // The old code does not build its own state again.
    let ended = old_running.ended().await.expect_err("it is superseded");
    assert!(
        ended
            .to_string()
            .contains("is at version 2, and this code is version 1"),
        "{ended}"
    );
    let opened = Projector::open(Arc::clone(&log), Arc::clone(&old), few(&clock)).await;
    assert!(
        opened
            .expect_err("must be refused")
            .to_string()
            .contains("rebuild_lower")
    );

    // What is left is the new state, its checkpoint and what says which is which.
    until("the old state is deleted", || async {
        keys(&*log).await.len() == 3
    })
    .await;
    new_running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn missing_checkpoint_is_reported() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    let projector = projector(&log, &sums, &clock).await;
    let namespace = log.namespace(&"$projection/sums".try_into().expect("a valid name"));
    let changes = Changes::new().delete(&b"c\0\0\0\x01"[..]);
    let committed = namespace.commit(changes, Durability::Durable).await;
    assert_eq!(committed.expect("committed"), Committed::Applied);
    let ended = projector
        .start()
        .ended()
        .await
        .expect_err("it has nothing to go on with");
    assert!(matches!(ended, Error::Corrupt { .. }), "{ended:?}");
    assert!(matches!(
        projector.reader().position().await,
        Err(Error::Corrupt { .. })
    ));
}

async fn keys(log: &dyn EventLog) -> Vec<Vec<u8>> {
    let namespace = log.namespace(&"$projection/sums".try_into().expect("a valid name"));
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = keys.last().cloned();
        let page = namespace.scan(b"", after.as_deref(), 100).await.expect("read");
        if page.is_empty() {
            return keys;
        }
        keys.extend(page.into_iter().map(|(key, _)| key.to_vec()));
    }
}

#[tokio::test(start_paused = true)]
async fn rebuild_of_the_same_version_keeps_the_live_one_up_to_date() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    append(&*log, "a", 100).await;
    let projector = projector(&log, &sums, &clock).await;
    let running = projector.start();
    let reader = projector.reader();
    wait(&reader, Position::new(100)).await;
    for generation in 2..5 {
        projector.rebuild().await.expect("begun");
        let appended = append(&*log, "a", 1).await;
        wait(&reader, appended.position).await;
        assert_eq!(sum(&reader, "a").await, of_numbers(appended.version.get()));
        until("it is swapped", || async {
            reader.generation().await.expect("read") == generation
        })
        .await;
        assert_eq!(sum(&reader, "a").await, of_numbers(appended.version.get()));
    }
    until("the old ones are deleted", || async {
        keys(&*log).await.len() == 3
    })
    .await;
    running.stop().await.expect("it stops");
}

#[tokio::test(start_paused = true)]
async fn rebuild_and_deletion_go_on_where_a_lost_runner_left_them() {
    let (log, clock, sums) = (log().await, TokioClock::new(), Sums::version(1, 0));
    for id in 0..50 {
        append(&*log, &format!("s{id}"), 3).await;
    }
    let projector = projector(&log, &sums, &clock).await;
    let running = projector.start();
    wait(&projector.reader(), Position::new(150)).await;
    running.stop().await.expect("it stops");
    projector.rebuild().await.expect("begun");
    // Each runner gets a little further: the time in which it is lost is another one each time.
    let mut rounds = 0;
    while keys(&*log).await.len() != 52 || projector.reader().generation().await.expect("read") != 2 {
        let running = projector.start();
        for _ in 0..rounds {
            tokio::task::yield_now().await;
        }
        drop(running);
        rounds += 1;
        for id in [0, 49] {
            let sum = sum(&projector.reader(), &format!("s{id}")).await;
            assert_eq!(sum, of_numbers(3), "after {rounds} rounds");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn older_code_goes_back_on_purpose() {
    let (log, clock) = (log().await, TokioClock::new());
    append(&*log, "a", 10).await;
    let newer = projector(&log, &Sums::version(2, 1_000), &clock).await;
    let running = newer.start();
    wait(&newer.reader(), Position::new(10)).await;
    running.stop().await.expect("it stops");
    let older = Projector::rebuild_lower(Arc::clone(&log), Sums::version(1, 0), few(&clock)).await;
    let older = older.expect("begun");
    let reader = older.reader();
    assert_eq!(sum(&reader, "a").await, Some((10, 55 + 10_000)));
    let running = older.start();
    until("it is swapped", || async {
        sum(&reader, "a").await == of_numbers(10)
    })
    .await;
    running.stop().await.expect("it stops");
}

/// What is done to the view, checked against a map.
struct Model(Mutex<BTreeMap<String, String>>, Mutex<fastrand::Rng>);

#[async_trait]
impl Projection for Model {
    fn name(&self) -> &str {
        "model"
    }

    async fn apply(&self, _: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        for _ in 0..5 {
            let (key, value, what) = {
                let mut random = self.1.lock();
                (
                    format!("{:02}", random.u32(..40)),
                    random.u32(..).to_string(),
                    random.u32(..4),
                )
            };
            match what {
                0 => {
                    view.delete(&key)?;
                    self.0.lock().remove(&key);
                }
                1 => {
                    view.put(&key, value.clone())?;
                    self.0.lock().insert(key, value);
                }
                2 => {
                    let got = view
                        .get(&key)
                        .await?
                        .map(|it| String::from_utf8_lossy(&it).into_owned());
                    assert_eq!(got, self.0.lock().get(&key).cloned());
                }
                _ => {
                    let (prefix, limit) = (&key[..1], 1 + value.len());
                    let after = (value.len() % 2 == 0).then_some(&*key);
                    let got = view
                        .scan(prefix.as_bytes(), after.map(str::as_bytes), limit)
                        .await?;
                    let got: Vec<_> = got
                        .iter()
                        .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
                        .collect();
                    let expected: Vec<_> = self
                        .0
                        .lock()
                        .keys()
                        .filter(|it| it.starts_with(prefix) && after.is_none_or(|after| it.as_str() > after))
                        .take(limit)
                        .cloned()
                        .collect();
                    assert_eq!(got, expected);
                }
            }
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn view_reads_what_was_written_before() {
    let (log, clock) = (log().await, TokioClock::new());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let model = Arc::new(Model(
        Mutex::default(),
        Mutex::new(fastrand::Rng::with_seed(seed)),
    ));
    let appended = append(&*log, "a", 1_000).await;
    let projector = Projector::open(log, model.clone(), few(&clock))
        .await
        .expect("opened");
    let running = projector.start();
    let reader = projector.reader();
    wait(&reader, appended.position).await;
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone());
        let page = reader
            .scan(b"", after.as_deref().map(str::as_bytes), 7)
            .await
            .expect("read");
        if page.is_empty() {
            break;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found.extend(page.iter().map(|(key, value)| (text(key), text(value))));
    }
    assert_eq!(found, model.0.lock().clone().into_iter().collect::<Vec<_>>());
    running.stop().await.expect("it stops");
}

/// Writes as many keys for each event as it is told.
struct Wide(usize);

#[async_trait]
impl Projection for Wide {
    fn name(&self) -> &str {
        "wide"
    }

    async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        (0..self.0).try_for_each(|number| view.put(format!("{}/{number}", event.position), "value"))
    }
}

#[tokio::test(start_paused = true)]
async fn commits_are_bounded_in_keys() {
    let (log, clock, most) = (log().await, TokioClock::new(), Arc::new(AtomicU64::new(0)));
    let seen = most.clone();
    let log = Faulty::over(&log, move |changes| {
        seen.fetch_max(changes.writes.len() as u64, Ordering::SeqCst);
        None
    });
    let appended = append(&*log, "a", 50).await;
    let options = ProjectorOptions::default().commit_keys(20).clock(clock.clone());
    let projector = Projector::open(Arc::clone(&log), Wide(7), options)
        .await
        .expect("opened");
    let running = projector.start();
    wait(&projector.reader(), appended.position).await;
    running.stop().await.expect("it stops");
    // The checkpoint is one more.
    assert_eq!(most.load(Ordering::SeqCst), 15);
    for position in 1..=50 {
        let written = projector.reader().get(format!("{position}/6")).await;
        assert!(written.expect("read").is_some(), "{position}");
    }
}

/// Writes under the key that it is told.
struct Keyed(usize);

#[async_trait]
impl Projection for Keyed {
    fn name(&self) -> &str {
        "keyed"
    }

    async fn apply(&self, _: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        view.put(vec![b'k'; self.0], "value")
    }
}

#[tokio::test(start_paused = true)]
async fn key_that_is_empty_or_too_long_is_refused() {
    let (log, clock) = (log().await, TokioClock::new());
    append(&*log, "a", 1).await;
    for (bytes, expected) in [
        (0, "is empty"),
        (View::MAX_KEY_BYTES + 1, "at most 250 are allowed"),
    ] {
        let projector = Projector::open(Arc::clone(&log), Keyed(bytes), few(&clock))
            .await
            .expect("opened");
        let ended = projector.start().ended().await.expect_err("it cannot go on");
        assert!(ended.to_string().contains(expected), "{ended}");
    }
    let projector = Projector::open(log, Keyed(View::MAX_KEY_BYTES), few(&clock))
        .await
        .expect("opened");
    let running = projector.start();
    wait(&projector.reader(), Position::FIRST).await;
    assert!(projector.reader().get("").await.is_err());
    running.stop().await.expect("it stops");
}
