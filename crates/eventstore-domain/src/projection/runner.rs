//! Decides which generations are run, and swaps them.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{Bytes, Changes, Committed, Durability, Error, EventLog, Position, Result};

use super::follow::{Follow, Until};
use super::generation::{Checkpoint, GENERATIONS, Generation, Generations, Made};
use super::store::Store;
use super::{Projection, ProjectorOptions};
use crate::record::encode;
use crate::running::Stop;

/// How often it is looked whether another process has begun a build or made a swap.
const LOOK: Duration = Duration::from_secs(1);
/// How long to wait after a failure that may pass.
const PAUSE: Duration = Duration::from_millis(100);
/// Keys of an old generation that are deleted in one commit: some backends accept about a hundred.
const PAGE: usize = 100;

/// A projection on a log.
pub(super) struct Runner {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) projection: Box<dyn Projection>,
    pub(super) options: ProjectorOptions,
    pub(super) store: Arc<Store>,
}

/// How work on the generations ended, so that they are to be looked at again.
enum Ended {
    /// The build has caught up.
    CaughtUp(Made),
    Changed,
}

impl Runner {
    /// Runs until it is told to stop.
    pub(super) async fn run(&self, mut stop: Stop) -> Result<()> {
        // It can be dropped anywhere: what is not committed is done again.
        tokio::select! {
            biased;
            ended = self.work() => ended,
            () = stop.told() => Ok(()),
        }
    }

    async fn work(&self) -> Result<()> {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(error) if error.is_retryable() => {
                    let end = self.store.clock.now().saturating_add(PAUSE);
                    self.store.clock.sleep_until(end).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Follows with the generations that there are, until something about them changes.
    async fn step(&self) -> Result<()> {
        let (generations, stored) = self.prepare().await?;
        match self.follow(&generations, &stored).await? {
            // Nothing here follows with the old one any more: it stands still while the two are swapped.
            Ended::CaughtUp(building) => self.swap(building).await,
            Ended::Changed => Ok(()),
        }
    }

    async fn follow(&self, generations: &Generations, stored: &Bytes) -> Result<Ended> {
        let version = self.projection.version();
        let live = Some(generations.live).filter(|live| live.version == version);
        let building = generations
            .building
            .filter(|building| building.version == version);
        tokio::select! {
            biased;
            ended = self.follow_with(live, Until::Over) => ended.map(|()| Ended::Changed),
            ended = self.follow_with(building, Until::CaughtUp) => {
                ended?;
                Ok(building.map_or(Ended::Changed, Ended::CaughtUp))
            }
            ended = self.delete(generations) => ended.map(|()| Ended::Changed),
            ended = self.change(stored) => ended.map(|()| Ended::Changed),
        }
    }

    async fn follow_with(&self, made: Option<Made>, until: Until) -> Result<()> {
        match made {
            Some(made) => {
                Follow::new(self, made.generation, until).run().await?;
                self.store.check(made.generation).await
            }
            None => std::future::pending().await,
        }
    }

    /// Returns when the generations are other ones than `stored`.
    async fn change(&self, stored: &Bytes) -> Result<()> {
        let mut told = self.store.changed();
        // It may have been told between the read and now.
        told.mark_changed();
        loop {
            let look = self.store.clock.now().saturating_add(LOOK);
            tokio::select! {
                biased;
                _ = told.changed() => {}
                () = self.store.clock.sleep_until(look) => {}
            }
            let now = self.store.namespace.get(GENERATIONS).await?;
            if now.as_ref() != Some(stored) {
                return Ok(());
            }
        }
    }

    /// The generations that there are, with one of this version among them.
    pub(super) async fn prepare(&self) -> Result<(Generations, Bytes)> {
        let version = self.projection.version();
        loop {
            let read = self.store.generations().await?;
            let Some((generations, stored)) = read else {
                // A conflict is somebody else who was first: it is read, and decided on, next.
                let _ = self.begin(version).await?;
                continue;
            };
            let newest = generations.building.unwrap_or(generations.live).version;
            let mine = |made: &Made| made.version == version;
            if mine(&generations.live) || generations.building.as_ref().is_some_and(mine) {
                return Ok((generations, stored));
            }
            if version < newest {
                return Err(Error::invalid(format!(
                    "projection {} is at version {newest}, and this code is version {version}: run the newer code, or \
                     go back to this one with Projector::rebuild_lower",
                    self.store.name
                )));
            }
            // Whether or not somebody else was first, it is read again.
            let _ = self.begin_build(generations, stored).await?;
        }
    }

    /// Makes the first generation, which is live at once.
    async fn begin(&self, version: u32) -> Result<Committed> {
        let first = Generation::FIRST;
        let generations = Generations {
            live: Made {
                generation: first,
                version,
            },
            building: None,
            over: Vec::new(),
            next: first.next(),
        };
        let changes = Changes::new()
            .require_absent(GENERATIONS)
            .put(GENERATIONS, encode(&generations))
            .put(first.checkpoint(), at_start());
        self.commit(changes).await
    }

    pub(super) async fn rebuild(&self) -> Result<()> {
        loop {
            let Some((generations, stored)) = self.store.generations().await? else {
                let _ = self.begin(self.projection.version()).await?;
                continue;
            };
            if self.begin_build(generations, stored).await? == Committed::Applied {
                return Ok(());
            }
        }
    }

    /// Begins a generation beside the live one, in place of one that is being built.
    async fn begin_build(&self, mut generations: Generations, stored: Bytes) -> Result<Committed> {
        let generation = generations.next;
        let mut changes = Changes::new().require_equals(GENERATIONS, stored);
        if let Some(given_up) = generations.building {
            // Without its checkpoint nobody goes on with it.
            changes = changes.delete(given_up.generation.checkpoint());
            generations.over.push(given_up.generation);
        }
        generations.building = Some(Made {
            generation,
            version: self.projection.version(),
        });
        generations.next = generation.next();
        let changes = changes
            .put(generation.checkpoint(), at_start())
            .put(GENERATIONS, encode(&generations));
        self.commit(changes).await
    }

    /// Makes `building` the live generation, once it is not behind the one that is.
    async fn swap(&self, building: Made) -> Result<()> {
        loop {
            let Some((mut generations, stored)) = self.store.generations().await? else {
                return Ok(());
            };
            if generations.building != Some(building) {
                return Ok(());
            }
            let old = generations.live.generation;
            let Some((new_checkpoint, new_stored)) = self.store.checkpoint(building.generation).await? else {
                return Ok(());
            };
            // Whoever has read the old one must not read less in the new one.
            let old_read = self.store.checkpoint(old).await?;
            let old_position = old_read.as_ref().map(|(checkpoint, _)| checkpoint.position);
            if old_position.is_some_and(|old| old > new_checkpoint.position) {
                self.follow_with(Some(building), Until::CaughtUp).await?;
                continue;
            }
            generations.live = building;
            generations.building = None;
            generations.over.push(old);
            let changes = Changes::new()
                .require_equals(GENERATIONS, stored)
                .require_equals(building.generation.checkpoint(), new_stored)
                .require(old.checkpoint(), old_read.map(|(_, stored)| stored))
                .delete(old.checkpoint())
                .put(GENERATIONS, encode(&generations));
            if self.commit(changes).await? == Committed::Applied {
                return Ok(());
            }
        }
    }

    /// Deletes the state of the generations that are over, a page at a time, and then forgets them. Whoever runs the
    /// projection next goes on where this ends.
    async fn delete(&self, generations: &Generations) -> Result<()> {
        let Some(over) = generations.over.first() else {
            return std::future::pending().await;
        };
        let prefix = over.prefix(b"");
        loop {
            let page = self.store.namespace.scan(&prefix, None, PAGE).await?;
            if page.is_empty() {
                break;
            }
            let changes = page
                .into_iter()
                .fold(Changes::new(), |changes, (key, _)| changes.delete(key));
            // It requires nothing.
            let _ = self.store.namespace.commit(changes, Durability::Buffered).await?;
        }
        let Some((mut now, stored)) = self.store.generations().await? else {
            return Ok(());
        };
        now.over.retain(|generation| generation != over);
        let changes = Changes::new()
            .require_equals(GENERATIONS, stored)
            .put(GENERATIONS, encode(&now));
        // After a conflict it is looked at again.
        let _ = self.commit(changes).await?;
        Ok(())
    }

    /// Commits a change of the generations.
    async fn commit(&self, changes: Changes) -> Result<Committed> {
        let committed = self.store.namespace.commit(changes, Durability::Durable).await;
        self.store.tell_changed();
        committed
    }
}

fn at_start() -> Bytes {
    encode(&Checkpoint {
        position: Position::ZERO,
    })
}
