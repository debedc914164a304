//! A consumer in a run: its workers, events that fail and are parked, and what clients do with those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    Clock, Error, EventLog, LogReadOptions, MessageId, Query, RecordedEvent, Result,
};
use eventstore_domain::consumer::{
    Consumer, ConsumerName, ConsumerOptions, Handler, Parked, ParkedEvent, RetryPolicy, handler_fn,
};
use tokio::time::sleep;

use super::bugs::Bug;
use super::client::Client;
use super::followers::{Following, PAUSE};
use super::plan::RETAINED;
use super::world::{World, stream_id};

/// How often an event is tried before it is parked.
const ATTEMPTS: u32 = 3;
/// Parked events that are looked at at a time.
const PAGE: usize = 8;

/// What a consumer has done.
#[derive(Debug, Default)]
pub(super) struct Consumed {
    /// What it has handled, in the order of the first times.
    handled: Vec<MessageId>,
    handled_ids: BTreeSet<MessageId>,
    /// How often events were tried.
    tried: BTreeMap<MessageId, u32>,
    /// Parked events that a replay has tried: those that waited behind another have failed less often than a worker's.
    replayed: BTreeSet<MessageId>,
    /// Parked events that somebody has tried to discard: nobody need handle them.
    discarded: BTreeSet<MessageId>,
}

impl Consumed {
    /// Notes that an event is tried, and says whether it fails: it follows from its id, and from how often it has
    /// failed.
    fn fails(&mut self, id: MessageId, by: By) -> bool {
        if by == By::Replay {
            self.replayed.insert(id);
        }
        let tried = self.tried.entry(id).or_default();
        *tried += 1;
        let failures = match id.as_uuid().as_bytes()[15] % 16 {
            // It is parked, and handled when it is replayed.
            0 => ATTEMPTS,
            // It fails again when it is replayed.
            1 => ATTEMPTS + 1,
            2 => 1,
            _ => 0,
        };
        *tried <= failures
    }

    /// How often an event was tried, and whether a replay has done so.
    fn tries(&self, id: MessageId) -> (u32, bool) {
        let tried = self.tried.get(&id).copied().unwrap_or_default();
        (tried, self.replayed.contains(&id))
    }

    fn needs(&self, id: MessageId) -> bool {
        !self.handled_ids.contains(&id) && !self.discarded.contains(&id)
    }
}

async fn open(log: &Arc<dyn EventLog>, clock: Arc<dyn Clock>, worker: &str) -> Result<Consumer> {
    let options = ConsumerOptions::default()
        .query(Query::category(stream_id(0).category()))
        .partitions(1)
        .lease(Duration::from_millis(200))
        .balance(Duration::from_millis(50))
        .checkpoint_every(2, Duration::from_millis(20))
        .retry(RetryPolicy::attempts(ATTEMPTS).pause(PAUSE))
        .worker(worker)
        .clock(clock);
    Consumer::open(Arc::clone(log), ConsumerName::new("simulated")?, options).await
}

/// Who hands events to the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Worker,
    Replay,
}

fn handler(world: &Arc<World>, by: By, bug: Option<Bug>) -> impl Handler + use<> {
    let world = Arc::clone(world);
    handler_fn(move |event| {
        let world = Arc::clone(&world);
        async move {
            if world.known().consumed.fails(event.message.id(), by) {
                return Err("it fails this time".into());
            }
            if bug == Some(Bug::CheckpointBeforeEffect) {
                // The effect happens when the checkpoint has long been stored.
                tokio::spawn(async move {
                    sleep(PAUSE * 8).await;
                    world.handled(&event);
                });
            } else {
                world.handled(&event);
            }
            Ok(())
        }
    })
}

impl Following {
    async fn consumer(&self) -> Result<Consumer> {
        let worker = format!("worker of {}", self.process);
        open(&self.log, Arc::clone(&self.clock), &worker).await
    }

    pub(super) async fn consume(&self) -> Result<()> {
        let mut running = self
            .consumer()
            .await?
            .start(handler(&self.world, By::Worker, self.bug));
        running.ended().await
    }

    /// Waits until everything is handled that must be, with replays of what is parked, and checks in which order that
    /// was.
    pub(super) async fn drain_consumer(&self) -> std::result::Result<(), String> {
        let told = |error| format!("{error:?}");
        let events = self.kept().await.map_err(told)?;
        let consumer = self.consumer().await.map_err(told)?;
        loop {
            match consumer
                .replay(&Parked::All, &handler(&self.world, By::Replay, self.bug))
                .await
            {
                // Another replay has a lease that has not ended yet.
                Ok(_) | Err(Error::InvalidInput { .. }) => {}
                Err(error) => return Err(told(error)),
            }
            let parked = consumer.parked(&Parked::All, None, PAGE).await.map_err(told)?;
            let needs = |event: &RecordedEvent| self.world.known().consumed.needs(event.message.id());
            if parked.is_empty() && !events.iter().any(needs) {
                break;
            }
            sleep(PAUSE).await;
        }
        self.check_order(&events)
    }

    /// Each stream comes in order the first time, but for what was discarded.
    fn check_order(&self, events: &[RecordedEvent]) -> std::result::Result<(), String> {
        let known = self.world.known();
        let consumed = &known.consumed;
        let place = |event: &RecordedEvent| consumed.handled.iter().position(|id| *id == event.message.id());
        for stream in (0..RETAINED).map(stream_id) {
            let of_stream = events.iter().filter(|event| event.stream == stream);
            let kept = of_stream.filter(|event| !consumed.discarded.contains(&event.message.id()));
            if !kept.map(place).is_sorted() {
                return Err(format!("a consumer has handled events of {stream} out of order"));
            }
        }
        Ok(())
    }
}

impl Client {
    pub(super) async fn replay(&self) {
        let replayed = async {
            let consumer = open(&self.log, Arc::clone(&self.clock) as Arc<dyn Clock>, &self.name).await?;
            consumer
                .replay(&Parked::All, &handler(&self.world, By::Replay, self.bug))
                .await
        };
        match replayed.await {
            Err(Error::InvalidInput { .. }) => self.note("replays what is parked: another does"),
            replayed => self.told(
                "replays what is parked",
                replayed.map(|it| format!("{} handled, {} failed", it.handled, it.failed)),
            ),
        }
    }

    /// Looks at what is parked, and discards the first of it.
    pub(super) async fn discard(&self) {
        let discarded = self.try_discard().await;
        self.told(
            "discards what is parked",
            discarded.map(|done| format!("{done:?}")),
        );
    }

    async fn try_discard(&self) -> Result<Option<bool>> {
        let consumer = open(&self.log, Arc::clone(&self.clock) as Arc<dyn Clock>, &self.name).await?;
        let parked = consumer.parked(&Parked::All, None, PAGE).await?;
        let mut ids = Vec::new();
        for parked in &parked {
            ids.push(self.check_parked(parked).await?);
        }
        let (Some(first), Some(Some(id))) = (parked.first(), ids.first()) else {
            return Ok(None);
        };
        self.world.known().consumed.discarded.insert(*id);
        consumer.discard_event(first).await.map(Some)
    }

    /// Checks that a parked event is what it says, and has failed as often as it says; its id.
    async fn check_parked(&self, parked: &ParkedEvent) -> Result<Option<MessageId>> {
        let options = LogReadOptions::forward_from(parked.position).limit(1);
        let events = self.log.read_all(options).collect().await?;
        let event = events
            .first()
            .filter(|event| event.stream == parked.stream && event.version == parked.version);
        let Some(event) = event else {
            self.world
                .wrong(format!("{parked:?} is parked, and there is {events:?}"));
            return Ok(None);
        };
        let id = event.message.id();
        let (tried, is_replayed) = self.world.known().consumed.tries(id);
        let told = parked.failure.as_ref().map_or(0, |failure| failure.attempts);
        let is_too_early = told > 0 && told < ATTEMPTS && !is_replayed;
        if told > tried || is_too_early {
            self.world
                .wrong(format!("{parked:?} is parked, and was tried {tried} times"));
        }
        Ok(Some(id))
    }
}

impl World {
    /// Notes what a consumer has handled.
    fn handled(&self, event: &RecordedEvent) {
        let checked = {
            let mut known = self.known();
            let id = event.message.id();
            if known.consumed.handled_ids.insert(id) {
                known.consumed.handled.push(id);
            }
            known.check_event(event)
        };
        self.report(checked);
    }
}
