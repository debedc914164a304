//! Applies events to one generation, many in one commit.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use eventstore_abstractions::{Bytes, Changes, Committed, Position, RecordedEvent, Result};

use super::generation::{Checkpoint, Generation};
use super::runner::Runner;
use super::view::{View, Writes, write};
use crate::following::{Following, Step};
use crate::record::encode;

/// How long a generation is followed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until it is over.
    Over,
    /// Until it has caught up with the log, or is over.
    CaughtUp,
}

/// Work on a generation.
pub(super) struct Follow<'a> {
    runner: &'a Runner,
    generation: Generation,
    until: Until,
    /// The checkpoint as it is stored: every commit requires it.
    stored: Bytes,
    /// Up to where it says that events are applied.
    checkpoint: Position,
    /// Up to where they are, what they have written, how many there are, and how many bytes it is.
    position: Position,
    writes: Writes,
    events: usize,
    bytes: usize,
}

impl<'a> Follow<'a> {
    pub(super) fn new(runner: &'a Runner, generation: Generation, until: Until) -> Self {
        Self {
            runner,
            generation,
            until,
            stored: Bytes::new(),
            checkpoint: Position::ZERO,
            position: Position::ZERO,
            writes: Writes::new(),
            events: 0,
            bytes: 0,
        }
    }

    /// Follows the log. A commit that was refused, because another runner was first, is nothing to report: it begins
    /// again at the checkpoint that is stored then.
    pub(super) async fn run(mut self) -> Result<()> {
        while let Some((checkpoint, stored)) = self.runner.store.checkpoint(self.generation).await? {
            self.stored = stored;
            (self.checkpoint, self.position) = (checkpoint.position, checkpoint.position);
            self.forget();
            if self.follow().await? == Committed::Applied {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Follows until a commit is refused, or until it is over.
    async fn follow(&mut self) -> Result<Committed> {
        let query = self.runner.projection.query();
        let mut following = Following::after(&self.runner.log, self.position, query);
        // Before that, a pause in what comes is a page that is read: it is no reason to commit little.
        let mut caught_up = false;
        loop {
            let committed = match next(&mut following, caught_up && self.position > self.checkpoint).await {
                Some(step) => match step? {
                    Step::Event(event) => self.take(&event).await?,
                    Step::Passed(position) => self.pass(position).await?,
                    Step::CaughtUp(position) => {
                        caught_up = true;
                        self.position = self.position.max(position);
                        let committed = self.commit().await?;
                        if committed == Committed::Applied && self.until == Until::CaughtUp {
                            return Ok(committed);
                        }
                        committed
                    }
                },
                None => self.commit().await?,
            };
            if committed == Committed::Conflict {
                return Ok(committed);
            }
        }
    }

    /// Applies `event`.
    async fn take(&mut self, event: &RecordedEvent) -> Result<Committed> {
        if !event.is_removed() {
            let namespace = &*self.runner.store.namespace;
            let mut view = View::new(namespace, self.generation, &self.writes);
            let applied = self.runner.projection.apply(event, &mut view).await;
            let written = view.written;
            if let Err(error) = applied {
                // What came before it is good. After a conflict the error comes again, or not.
                return match self.commit().await? {
                    Committed::Applied => Err(error),
                    Committed::Conflict => Ok(Committed::Conflict),
                };
            }
            if self.events > 0 && self.writes.len() + written.len() > self.runner.options.commit_keys {
                // What this event has written does not fit beside what came before it.
                let committed = self.commit().await?;
                if committed == Committed::Conflict {
                    return Ok(committed);
                }
            }
            let bytes =
                |(key, value): (&Bytes, &Option<Bytes>)| key.len() + value.as_ref().map_or(0, Bytes::len);
            self.bytes += written.iter().map(bytes).sum::<usize>();
            self.writes.extend(written);
        }
        self.pass(event.position).await
    }

    /// Moves past what is at `position`, and commits when it is much.
    async fn pass(&mut self, position: Position) -> Result<Committed> {
        self.position = position;
        self.events += 1;
        let options = &self.runner.options;
        if self.events >= options.commit_events || self.bytes >= options.commit_bytes {
            return self.commit().await;
        }
        Ok(Committed::Applied)
    }

    /// Commits what was written together with the checkpoint, if the checkpoint is as it was read.
    async fn commit(&mut self) -> Result<Committed> {
        if self.position == self.checkpoint {
            return Ok(Committed::Applied);
        }
        let (key, position) = (self.generation.checkpoint(), self.position);
        let stored = encode(&Checkpoint { position });
        let changes = Changes::new()
            .require_equals(key.clone(), self.stored.clone())
            .put(key, stored.clone());
        let changes = write(changes, std::mem::take(&mut self.writes));
        let store = &self.runner.store;
        let committed = store
            .namespace
            .commit(changes, self.runner.options.durability)
            .await?;
        if committed == Committed::Applied {
            (self.stored, self.checkpoint) = (stored, position);
            self.forget();
            store.tell_moved();
        }
        Ok(committed)
    }

    fn forget(&mut self) {
        self.writes.clear();
        (self.events, self.bytes) = (0, 0);
    }
}

/// What comes next; with `at_once`, `None` when nothing is there yet.
async fn next(following: &mut Following, at_once: bool) -> Option<Result<Step>> {
    let mut next = pin!(following.next());
    let step = poll_fn(|context| match next.as_mut().poll(context) {
        Poll::Ready(step) => Poll::Ready(Some(step)),
        Poll::Pending if at_once => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    step.await
}
