//! Random operations, compared with a store that is too plain to be wrong.

mod plain;
mod reads;
mod way;
mod writes;

use std::fmt::Debug;
use std::sync::Arc;

use eventstore_abstractions::{Clock, EventLog, EventMessage, OpenOptions, Result, StreamId, Version};
use fastrand::Rng;
use kv_core::KeyValueStore;

use self::plain::{Answer, Caller, Plain};
use self::way::{Opened, Way};
use super::ProviderHarness;
use super::bench::{Bench, SESSION, TICK, kind, stream_id};
use crate::seed::Seed;

const OPERATIONS: usize = 500;
/// Databases and streams are few, so that operations meet each other's.
const DATABASES: usize = 2;
const STREAMS: [&str; 3] = ["a", "a ", "b"];
/// Sessions that are kept, live or not; older ones are dropped.
const MAX_SESSIONS: usize = 8;

/// Any sequence of appends, reads, snapshots and sessions, with time passing and providers closed
/// or dropped in between, does what it does to lists and maps in memory. The seeds that are always
/// run found something once, or are the first ones; one more is new in each run.
pub async fn random_operations_match_a_plain_store(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    for seed in Seed::of_run() {
        let mut run = Run::new(seed);
        for operation in 0..OPERATIONS {
            run.context = format!("at operation {operation}; {seed}");
            if run.rng.usize(..OPERATIONS) < 4 {
                bench = run.reopen(bench).await;
            } else {
                run.operation(&bench).await;
            }
        }
        run.context = format!("at the end; {seed}");
        run.check_everything(&bench).await;
    }
}

/// The two stores, as far as the cases' random choices have brought them.
struct Run {
    rng: Rng,
    /// Where in the sequence of operations this is, and how to play it again.
    context: String,
    databases: Vec<String>,
    models: Vec<Plain>,
    sessions: Vec<Opened>,
    /// Appends that were tried, for tries again.
    tried: Vec<(Place, Vec<EventMessage>)>,
}

/// A database, by its number, and a stream in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    database: usize,
    stream: StreamId,
}

impl Run {
    fn new(seed: Seed) -> Self {
        // Databases are independent, so that each seed has its own: what others left does not
        // change its course.
        let names = (0..DATABASES).map(|number| format!("{seed} {number}"));
        Self {
            rng: seed.rng(),
            context: seed.to_string(),
            databases: names.collect(),
            models: (0..DATABASES).map(|_| Plain::default()).collect(),
            sessions: Vec::new(),
            tried: Vec::new(),
        }
    }

    async fn operation(&mut self, bench: &Bench<'_>) {
        match self.rng.u8(..32) {
            0..10 => self.append(bench).await,
            10..13 => self.snapshot(bench).await,
            13 => self.clear(bench).await,
            14..17 => self.open(bench).await,
            17 => self.renew(bench).await,
            18 => self.close().await,
            19 | 20 => {
                let steps = [TICK, SESSION / 3, SESSION];
                bench.clock.advance(steps[self.rng.usize(..steps.len())]);
            }
            21..25 => self.check_stream(bench).await,
            25..27 => self.check_log(bench).await,
            27 | 28 => self.check_append(bench).await,
            _ => self.check_snapshots(bench).await,
        }
    }

    /// Ends the provider and opens the next one: what was acknowledged is there, and no session is. A shared engine cannot
    /// know that its process has ended: there sessions last for their time.
    async fn reopen<'a>(&mut self, bench: Bench<'a>) -> Bench<'a> {
        let sessions = std::mem::take(&mut self.sessions);
        if bench.engine.capabilities().shared {
            // Dropping them would release their streams, sooner or later; a process that ends does not.
            std::mem::forget(sessions);
        } else {
            drop(sessions);
            self.models.iter_mut().for_each(Plain::restart);
        }
        if self.rng.bool() {
            bench.restart().await
        } else {
            bench.crash().await
        }
    }

    async fn open(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let options = OpenOptions::default().open_timeout(std::time::Duration::ZERO);
        let log = self.log(bench, place.database);
        let opened = bench
            .provider
            .open_with(log.database(), &place.stream, options)
            .await;
        let now = bench.clock.now();
        let session = opened.as_ref().ok().map(|store| store.session());
        let expected = self.models[place.database].open(&place.stream, now, session);
        if let Some(session) = session {
            let until = now.saturating_add(SESSION);
            assert_eq!(session.expires_at, until, "end of a session {}", self.context);
        }
        let opened = opened.map(|store| {
            let (place, store) = (place.clone(), Arc::from(store));
            self.sessions.push(Opened {
                place,
                store,
                closed: false,
            });
        });
        self.compare("open", &place, opened, expected);
        if self.sessions.len() > MAX_SESSIONS {
            self.drop_one_that_is_over(bench);
        }
    }

    /// Drops a session that no longer holds its stream: one that does would release it in the
    /// background. Those that expired are more telling than those that were closed.
    fn drop_one_that_is_over(&mut self, bench: &Bench<'_>) {
        let now = bench.clock.now();
        let expired = |opened: &Opened| opened.store.session().expires_at <= now;
        let closed = self.sessions.iter().position(|opened| opened.closed);
        if let Some(at) = closed.or_else(|| self.sessions.iter().position(expired)) {
            self.sessions.remove(at);
        }
    }

    async fn renew(&mut self, bench: &Bench<'_>) {
        let Some(at) = self.any_session() else { return };
        let opened = self.sessions[at].clone();
        let timeout = [None, Some(SESSION * 2), Some(SESSION / 2)][self.rng.usize(..3)];
        let until = bench.clock.now().saturating_add(timeout.unwrap_or(SESSION));
        let (place, store) = (opened.place.clone(), Arc::clone(&opened.store));
        let answer = self.write_answer(bench, &place, &Way::Session(opened), |model, caller| {
            model.renew(&place.stream, caller, until)
        });
        let renewed = store.renew(timeout).await;
        self.compare("renew", &place, renewed, answer);
    }

    async fn close(&mut self) {
        let Some(at) = self.any_session() else { return };
        self.sessions[at].closed = true;
        let Opened { place, store, .. } = self.sessions[at].clone();
        self.models[place.database].close(&place.stream, store.session().id);
        self.compare("close", &place, store.close().await, Ok(()));
    }

    fn log(&self, bench: &Bench<'_>, database: usize) -> Arc<dyn EventLog> {
        bench.database(&self.databases[database])
    }

    fn compare<T: PartialEq + Debug>(&self, what: &str, place: &Place, got: Result<T>, answer: Answer<T>) {
        let (context, database) = (&self.context, &self.databases[place.database]);
        let same = match (&got, &answer) {
            (Ok(got), Ok(answer)) => got == answer,
            (Err(error), Err(answer)) => kind(error) == *answer,
            _ => false,
        };
        assert!(
            same,
            "{what} of {} in {database} gave {got:?}, not {answer:?}, {context}",
            place.stream
        );
    }

    /// What the model says to a write.
    fn write_answer<T>(
        &mut self,
        bench: &Bench<'_>,
        place: &Place,
        way: &Way,
        model: impl FnOnce(&mut Plain, Caller) -> Answer<T>,
    ) -> Answer<T> {
        let session = match way {
            Way::Session(Opened { closed: true, .. }) => return Err("StoreNotOpen"),
            Way::Session(opened) => Some(opened.store.session().id),
            Way::Log(_) => None,
        };
        let now = bench.clock.now();
        model(&mut self.models[place.database], Caller { session, now })
    }

    /// What the model says to a read: it needs no session, but one that is used must be live.
    fn read_answer<T>(
        &mut self,
        bench: &Bench<'_>,
        place: &Place,
        way: &Way,
        model: impl FnOnce(&mut Plain) -> Answer<T>,
    ) -> Answer<T> {
        self.write_answer(bench, place, way, |plain, caller| {
            if caller.session.is_some() {
                plain.check(&place.stream, caller)?;
            }
            model(plain)
        })
    }

    /// Through what a stream is reached: a session that was opened on it at some time, or none.
    fn way(&mut self, bench: &Bench<'_>, place: &Place) -> Way {
        let of_stream = self.sessions.iter().filter(|opened| opened.place == *place);
        let mut sessions: Vec<Opened> = of_stream.cloned().collect();
        match self.rng.usize(..=sessions.len()) {
            at if at < sessions.len() => Way::Session(sessions.swap_remove(at)),
            _ => Way::Log(self.log(bench, place.database)),
        }
    }

    /// A version that the stream has, or one just above.
    fn version_near(&mut self, place: &Place) -> Version {
        let version = self.models[place.database].version(&place.stream);
        Version::new(self.rng.u64(..version + 3))
    }

    fn place(&mut self) -> Place {
        Place {
            database: self.rng.usize(..DATABASES),
            stream: stream_id(STREAMS[self.rng.usize(..STREAMS.len())]),
        }
    }

    fn any_session(&mut self) -> Option<usize> {
        let count = self.sessions.len();
        (count > 0).then(|| self.rng.usize(..count))
    }
}
