//! Works on one partition while its lease lasts.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use eventstore_abstractions::{
    BoxError, Bytes, Changes, Committed, Durability, Error, Position, RecordedEvent, Result, StreamId,
    Timestamp,
};

use super::handler::{Handler, error_text, handle_guarded};
use super::keys::partition_of;
use super::lease::Lease;
use super::records::{Checkpoint, Failure, ParkedEvent};
use super::{Shared, parked};
use crate::following::{Following, Step};
use crate::record::encode;
use crate::running::Stop;

/// How work on a partition ends before it is told to stop.
pub(super) enum Ended {
    /// Another worker has the lease.
    Lost,
    /// The storage failed. The worker takes the partition again if that may pass, and goes on at its checkpoint.
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Whether to go on.
enum Then {
    GoOn,
    Stop,
}

/// Work on one partition.
pub(super) struct Partition {
    shared: Arc<Shared>,
    handler: Arc<dyn Handler>,
    number: u16,
    lease: Lease,
    stop: Stop,
    /// Up to where everything of the partition is handled or parked.
    position: Position,
    /// Up to where that is stored.
    stored: Position,
    /// Events that were handled since then.
    unstored: u64,
    /// When the position first moved since then.
    moved_at: Option<Timestamp>,
    /// Streams that had parked events when this was last looked at. None has that is not among them: only the holder
    /// of the lease parks.
    blocked: HashSet<StreamId>,
}

impl Partition {
    /// Works on the partition `number`, whose lease was taken, until it is told to stop, and gives the lease back.
    pub(super) async fn work(
        shared: Arc<Shared>,
        handler: Arc<dyn Handler>,
        number: u16,
        lease: Lease,
        stop: Stop,
    ) -> Result<(), Ended> {
        let position = shared.checkpoint(number).await?;
        let blocked = parked::streams(&shared, number).await?;
        let mut partition = Self {
            shared,
            handler,
            number,
            lease,
            stop,
            position,
            stored: position,
            unstored: 0,
            moved_at: None,
            blocked,
        };
        partition.follow().await?;
        partition.release().await
    }

    async fn follow(&mut self) -> Result<(), Ended> {
        let query = self.shared.definition.query.clone();
        let mut following = Following::after(&self.shared.log, self.position, query);
        while !self.stop.now() {
            self.keep_up().await?;
            let Some(step) = self.next(&mut following).await else {
                continue;
            };
            match step? {
                Step::Event(event) => {
                    if let Then::Stop = self.take(&event).await? {
                        return Ok(());
                    }
                }
                Step::Passed(position) | Step::CaughtUp(position) => self.move_to(position),
            }
        }
        Ok(())
    }

    /// What comes next; `None` when it is time to stop, or to keep up.
    async fn next(&mut self, following: &mut Following) -> Option<Result<Step>> {
        let due = self.due();
        tokio::select! {
            biased;
            () = self.stop.told() => None,
            step = following.next() => Some(step),
            () = self.shared.sleep_until(due) => None,
        }
    }

    /// When there is something to keep up.
    fn due(&self) -> Timestamp {
        let store_at = self
            .moved_at
            .map(|moved| moved.saturating_add(self.shared.options.checkpoint_time));
        self.shared
            .renew_at(&self.lease)
            .min(store_at.unwrap_or(Timestamp::from_micros(i64::MAX)))
    }

    /// Renews the lease and stores the checkpoint when it is time to.
    async fn keep_up(&mut self) -> Result<(), Ended> {
        let now = self.shared.now();
        if now >= self.due() {
            self.renew_if_due().await?;
            if self.moved_at.is_some() {
                self.store().await?;
            }
        }
        if self.unstored >= self.shared.options.checkpoint_events {
            self.store().await?;
        }
        Ok(())
    }

    /// An event is handled only by who has just made sure of the lease, as far as its clock can tell.
    async fn renew_if_due(&mut self) -> Result<(), Ended> {
        match self.lease.keep(&self.shared).await? {
            true => Ok(()),
            false => Err(Ended::Lost),
        }
    }

    fn move_to(&mut self, position: Position) {
        if position > self.position {
            self.position = position;
            self.moved_at.get_or_insert(self.shared.now());
        }
    }

    async fn store(&mut self) -> Result<(), Ended> {
        if self.position > self.stored {
            let changes = self.checkpointed(self.lease.changes(), self.position);
            // Handled events whose checkpoint is lost with a crash come again.
            self.commit(changes, Durability::Buffered).await?;
        }
        self.is_stored();
        Ok(())
    }

    fn checkpointed(&self, changes: Changes, position: Position) -> Changes {
        let checkpoint = Checkpoint { position };
        changes.put(self.shared.keys.checkpoint(self.number), encode(&checkpoint))
    }

    fn is_stored(&mut self) {
        (self.stored, self.unstored, self.moved_at) = (self.position, 0, None);
    }

    async fn commit(&self, changes: Changes, durability: Durability) -> Result<(), Ended> {
        match self.shared.namespace.commit(changes, durability).await? {
            Committed::Applied => Ok(()),
            Committed::Conflict => Err(Ended::Lost),
        }
    }

    /// Stores the checkpoint and gives the lease back, in one commit.
    async fn release(self) -> Result<(), Ended> {
        let changes = self.checkpointed(self.lease.changes(), self.position);
        let changes = self.lease.release(changes);
        self.commit(changes, Durability::Buffered).await
    }

    /// Handles or parks `event`, if it is one of the partition.
    async fn take(&mut self, event: &RecordedEvent) -> Result<Then, Ended> {
        let mine = partition_of(&event.stream, self.shared.definition.partitions) == self.number;
        if mine && !event.is_removed() && !self.parked_behind(event).await? {
            match self.handle(event).await? {
                Outcome::Handled => self.unstored += 1,
                Outcome::Failed(failure) => self.park(event, failure).await?,
                Outcome::Stopped => return Ok(Then::Stop),
            }
        }
        self.move_to(event.position);
        Ok(Then::GoOn)
    }

    /// Handles `event`, as often as the policy says.
    async fn handle(&mut self, event: &RecordedEvent) -> Result<Outcome, Ended> {
        let policy = self.shared.options.retry;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Err(error) = self.attempt(event).await? else {
                return Ok(Outcome::Handled);
            };
            if attempts >= policy.attempts {
                let error = error_text(&error);
                return Ok(Outcome::Failed(Failure { error, attempts }));
            }
            if let Then::Stop = self.pause(policy.pause_after(attempts)).await? {
                return Ok(Outcome::Stopped);
            }
        }
    }

    /// Handles `event` once, and keeps the lease meanwhile.
    async fn attempt(&mut self, event: &RecordedEvent) -> Result<Result<(), BoxError>, Ended> {
        self.renew_if_due().await?;
        let (shared, handler) = (Arc::clone(&self.shared), Arc::clone(&self.handler));
        let mut handling = pin!(handle_guarded(&*handler, event));
        loop {
            tokio::select! {
                biased;
                outcome = &mut handling => return Ok(outcome),
                () = shared.sleep_until(shared.renew_at(&self.lease)) => self.renew_if_due().await?,
            }
        }
    }

    /// Waits before the next attempt, and keeps the lease meanwhile.
    async fn pause(&mut self, pause: std::time::Duration) -> Result<Then, Ended> {
        let shared = Arc::clone(&self.shared);
        let end = shared.now().saturating_add(pause);
        while shared.now() < end {
            let renew_at = shared.renew_at(&self.lease);
            tokio::select! {
                biased;
                () = self.stop.told() => return Ok(Then::Stop),
                () = shared.sleep_until(end.min(renew_at)) => self.renew_if_due().await?,
            }
        }
        Ok(Then::GoOn)
    }

    /// Parks `event`, which failed. The checkpoint moves past it in the same commit.
    async fn park(&mut self, event: &RecordedEvent, failure: Failure) -> Result<(), Ended> {
        let changes = self.parking(event, Some(failure));
        self.commit(changes, Durability::Durable).await?;
        self.move_to(event.position);
        self.is_stored();
        self.blocked.insert(event.stream.clone());
        Ok(())
    }

    /// Parks `event` if an earlier one of its stream is parked, so that the stream stays in order.
    async fn parked_behind(&mut self, event: &RecordedEvent) -> Result<bool, Ended> {
        if !self.blocked.contains(&event.stream) {
            return Ok(false);
        }
        self.renew_if_due().await?;
        while let Some((key, earlier)) = parked::any_of(&self.shared, self.number, &event.stream).await? {
            // The earlier one must still be there: once it is replayed, nobody looks for one that waits behind it.
            let changes = self.parking(event, None).require_equals(key, earlier);
            match self.shared.namespace.commit(changes, Durability::Durable).await? {
                Committed::Applied => {
                    self.move_to(event.position);
                    self.is_stored();
                    return Ok(true);
                }
                Committed::Conflict if self.lease.is_held(&*self.shared.namespace).await? => {}
                Committed::Conflict => return Err(Ended::Lost),
            }
        }
        self.blocked.remove(&event.stream);
        Ok(false)
    }

    fn parking(&self, event: &RecordedEvent, failure: Option<Failure>) -> Changes {
        let parked = ParkedEvent {
            partition: self.number,
            stream: event.stream.clone(),
            version: event.version,
            position: event.position,
            failure,
            parked_at: self.shared.now(),
        };
        let key: Bytes = self
            .shared
            .keys
            .parked_event(self.number, &event.stream, event.position);
        self.checkpointed(self.lease.changes(), event.position)
            .put(key, encode(&parked))
    }
}

/// What became of an event.
enum Outcome {
    Handled,
    Failed(Failure),
    /// It was to be tried again when it was time to stop.
    Stopped,
}
