//! The records of a projection.

use std::sync::Arc;

use eventstore_abstractions::{Bytes, Clock, Error, EventLog, Namespace, NamespaceName, Result};
use tokio::sync::watch;

use super::generation::{Checkpoint, GENERATIONS, Generation, Generations, namespace};
use crate::clock::SystemClock;
use crate::names::ProjectionName;
use crate::record::decode;

/// The records of a projection, and what tells that they changed.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) name: ProjectionName,
    pub(super) namespace: Arc<dyn Namespace>,
    pub(super) clock: Arc<dyn Clock>,
    /// Changes when a checkpoint was moved in this process.
    moved: watch::Sender<()>,
    /// Changes when the generations were changed in this process.
    changed: watch::Sender<()>,
}

impl Store {
    pub(super) fn open(log: &dyn EventLog, name: &ProjectionName) -> Result<Self> {
        Self::open_with(log, name, Arc::new(SystemClock))
    }

    pub(super) fn open_with(
        log: &dyn EventLog,
        name: &ProjectionName,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Ok(Self {
            name: name.clone(),
            namespace: log.namespace(&NamespaceName::new(namespace(name))?),
            clock,
            moved: watch::Sender::new(()),
            changed: watch::Sender::new(()),
        })
    }

    /// Which generations there are, also as they are stored.
    pub(super) async fn generations(&self) -> Result<Option<(Generations, Bytes)>> {
        let Some(stored) = self.namespace.get(GENERATIONS).await? else {
            return Ok(None);
        };
        let what = format!("the generations of projection {}", self.name);
        Ok(Some((decode(&what, &stored)?, stored)))
    }

    /// The checkpoint of `generation`, also as it is stored; `None` when the generation is over.
    pub(super) async fn checkpoint(&self, generation: Generation) -> Result<Option<(Checkpoint, Bytes)>> {
        let Some(stored) = self.namespace.get(&generation.checkpoint()).await? else {
            return Ok(None);
        };
        let what = format!("a checkpoint of projection {}", self.name);
        Ok(Some((decode(&what, &stored)?, stored)))
    }

    /// Checks that `generation` has a checkpoint as long as it is in use: what waits for it would go round in circles.
    pub(super) async fn check(&self, generation: Generation) -> Result<()> {
        let checkpoint = self.checkpoint(generation).await?;
        // Read after it: whoever ends a generation deletes its checkpoint in the same commit.
        let generations = self.generations().await?;
        let used = generations.is_some_and(|(generations, _)| {
            let building = generations.building.map(|made| made.generation);
            generations.live.generation == generation || building == Some(generation)
        });
        if used && checkpoint.is_none() {
            return Err(Error::Corrupt {
                reason: format!(
                    "generation {} of projection {} has no checkpoint",
                    generation.number(),
                    self.name
                ),
                source: None,
            });
        }
        Ok(())
    }

    /// Tells that a checkpoint was moved.
    pub(super) fn tell_moved(&self) {
        self.moved.send_replace(());
    }

    /// Changes when a checkpoint was moved in this process.
    pub(super) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Tells that the generations were changed.
    pub(super) fn tell_changed(&self) {
        self.changed.send_replace(());
        self.tell_moved();
    }

    /// Changes when the generations were changed in this process.
    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
