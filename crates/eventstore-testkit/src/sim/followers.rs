//! Those who follow the log in a run: a subscription, a consumer, a projection.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    Clock, Error, EventLog, EventStream, LogReadOptions, Position, Query, RecordedEvent, Result,
    SubscribeOptions,
};
use eventstore_domain::projection::{Projection, Projector, ProjectorOptions, View};
use tokio::time::{sleep, timeout};

use super::bugs::{self, Bug};
use super::client::{can_be, kind};
use super::plan::{Follower, RETAINED};
use super::world::{World, stream_id};

/// The pause before somebody who failed begins again.
pub(super) const PAUSE: Duration = Duration::from_millis(5);
/// How long a projection runs before it is built anew.
const REBUILT_EVERY: Duration = Duration::from_millis(40);
/// Simulated time after which somebody who follows has stopped for good.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who follows the log of a process.
#[derive(Clone)]
pub(super) struct Following {
    pub(super) world: Arc<World>,
    pub(super) process: usize,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bug: Option<Bug>,
}

impl Following {
    /// Follows until it is dropped.
    pub(super) async fn run(self, follower: Follower) {
        loop {
            let ended = match follower {
                Follower::Nobody => return,
                Follower::Subscription => self.subscribe().await,
                Follower::Consumer => self.consume().await,
                Follower::Projection => self.project().await,
                Follower::Rebuild => self.rebuild().await,
            };
            if let Err(error) = ended {
                self.world
                    .trace
                    .add(format!("{follower:?} of {}: {}", self.process, kind(&error)));
                if !can_be(&error) {
                    return self.world.wrong(format!("{follower:?} ends with {error:?}"));
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn subscribe(&self) -> Result<()> {
        let seen = self.world.known().seen[self.process].len() as u64;
        let options = SubscribeOptions::after(Position::new(seen));
        let mut subscription = bugs::subscribe(&*self.log, options, self.bug);
        while let Some(event) = subscription.next_event().await {
            self.world.saw(self.process, &event?);
        }
        Ok(())
    }

    async fn project(&self) -> Result<()> {
        self.projector().await?.start().ended().await
    }

    /// Builds the projection anew, and goes on with it for a while: in time for the one that is built to be swapped, or not.
    async fn rebuild(&self) -> Result<()> {
        let projector = self.projector().await?;
        projector.rebuild().await?;
        self.world
            .trace
            .add(format!("Rebuild of {}: begun", self.process));
        projector.run(sleep(REBUILT_EVERY)).await
    }

    async fn projector(&self) -> Result<Projector> {
        let options = ProjectorOptions::default()
            .commit_events(4)
            .clock(Arc::clone(&self.clock));
        Projector::open(Arc::clone(&self.log), Counts, options).await
    }

    /// Lets all kinds of followers come to the end of the log, and checks what they have done.
    pub(super) async fn drain(&self) {
        for follower in [Follower::Subscription, Follower::Consumer, Follower::Projection] {
            let following = tokio::spawn(self.clone().run(follower));
            let drained = async {
                match follower {
                    Follower::Subscription => self.drain_subscription().await,
                    Follower::Consumer => self.drain_consumer().await,
                    _ => self.drain_projection().await,
                }
            };
            match timeout(PATIENCE, drained).await {
                Ok(Ok(())) => {}
                Ok(Err(what)) => self.world.wrong(what),
                Err(_) => self
                    .world
                    .wrong(format!("{follower:?} does not come to the end of the log")),
            }
            following.abort();
        }
    }

    async fn drain_subscription(&self) -> std::result::Result<(), String> {
        loop {
            let (seen, all) = {
                let known = self.world.known();
                (known.seen[self.process].len(), known.log.len())
            };
            if seen >= all {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    async fn drain_projection(&self) -> std::result::Result<(), String> {
        self.check_projection()
            .await
            .map_err(|error| format!("{error:?}"))?
    }

    async fn check_projection(&self) -> Result<std::result::Result<(), String>> {
        let events = self.kept().await?;
        let reader = self.projector().await?.reader();
        reader.wait_for(self.log.head().await?).await?;
        for stream in (0..RETAINED).map(stream_id) {
            let there = events.iter().filter(|event| event.stream == stream).count() as u64;
            let counted: u64 = reader.get_json(stream.id()).await?.unwrap_or(0);
            if counted != there {
                return Ok(Err(format!(
                    "a projection has counted {counted} of {there} events of {stream}"
                )));
            }
        }
        Ok(Ok(()))
    }

    /// The events that nothing is removed of.
    pub(super) async fn kept(&self) -> Result<Vec<RecordedEvent>> {
        let query = Query::category(stream_id(0).category());
        let events: EventStream = self.log.read_all(LogReadOptions::forward().query(query));
        events.collect().await
    }
}

/// Counts the events of each stream.
struct Counts;

#[async_trait]
impl Projection for Counts {
    fn name(&self) -> &str {
        "counts"
    }

    fn query(&self) -> Query {
        Query::category(stream_id(0).category())
    }

    async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        let key = event.stream.id();
        let count: u64 = view.get_json(key).await?.unwrap_or(0);
        view.put_json(key, &(count + 1))
    }
}

/// Whether a read of damaged data ended as it may.
pub(super) fn is_reported(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. } | Error::CannotOpen { .. })
}
