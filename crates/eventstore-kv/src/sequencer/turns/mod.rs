//! Turns of the processes that write to one database of a shared engine.
//!
//! Each commit requires the head that it was decided with, so of two processes that commit at the same time one has
//! done so in vain, and the slower of them always. A record in the store names the one that has its turn, and those that wait for
//! theirs. Who has lost commits in a row comes to it; who sees in it that another has its turn waits; and who has it passes
//! it on, with some later commit of its own. Where nobody loses there is no record, and nothing is written for it.
//!
//! Nothing but speed depends on it: the condition on the head stays what keeps commits in order, and a process that has
//! not seen the record, or does not look at it, only makes others lose.

mod alone;
mod queue;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eventstore_abstractions::{Clock, Database, Result, SessionId, Timestamp};
use kv_core::{Batch, Durability, KeyValueStore, Outcome};
use tokio::time::Instant;

use self::alone::Alone;
use self::queue::ProcessId;
use super::plan::Plan;
use super::request::Queued;
use crate::keys;
use crate::record::{Record, Turn};

/// Losses in a row after which a process comes to the record. One is nothing: two that write now and then meet now and then.
const LOSSES: usize = 2;
/// Commits of one turn at most. Who gets its turn has to read again what it knew of streams, which must pay off.
const TURN_COMMITS: usize = 128;
/// How long a turn takes at most, but for its last commit: what others wait for.
const TURN_TIME: Duration = Duration::from_millis(100);
/// How far two looks at the record are apart for who is next, or twice as far as one takes: looks must not be in the way of
/// who has its turn.
const LOOK: Duration = Duration::from_millis(2);
/// The same for a process that has others before it, and nothing to gain from a look but to see that these are dead.
const FAR_LOOK: Duration = Duration::from_millis(20);
/// How long who has its turn may have nothing to write, and for twice as long at most.
const IDLE: Duration = Duration::from_millis(5);
/// How long a record stays as it is before its holder is taken for dead. A holder that lives changes it after the time of a
/// turn and one commit.
const MIN_PATIENCE: Duration = Duration::from_secs(1);
const MAX_PATIENCE: Duration = Duration::from_secs(8);
/// What counts at most as the time from one look to the next: for a process that was stopped, none has passed.
const MAX_GAP: Duration = Duration::from_millis(100);

/// What this process knows of its turns, and the requests that wait for one.
#[derive(Debug)]
pub(super) struct Turns {
    me: ProcessId,
    clock: Arc<dyn Clock>,
    /// The databases to which others write, too: few.
    rivalries: Vec<Rivalry>,
    /// Those of the others whose heads need not be read each time.
    alone: Alone,
    parked: VecDeque<Queued>,
    next_look: Option<Instant>,
    last_look: Instant,
    patience: Duration,
    /// From whom the last turn was taken that was not given.
    deposed: Option<ProcessId>,
}

/// What is known of the turns of a database.
#[derive(Debug)]
struct Rivalry {
    database: Database,
    key: Bytes,
    /// The record as it was read, or written, last.
    stored: Option<Bytes>,
    turn: Option<Turn>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It commits when it likes, and has lost so often in a row.
    Free { losses: usize },
    /// It does not commit; the record has been the same for so long.
    Waiting { still: Duration },
    /// It has its turn.
    Holding {
        commits: usize,
        since: Timestamp,
        /// Something was committed since the last look.
        is_used: bool,
        /// The plan that grows, or is committed, ends it.
        is_passed: bool,
    },
}

impl Turns {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            me: *SessionId::generate().as_uuid().as_bytes(),
            clock,
            rivalries: Vec::new(),
            alone: Alone::default(),
            parked: VecDeque::new(),
            next_look: None,
            last_look: Instant::now(),
            patience: MIN_PATIENCE,
            deposed: None,
        }
    }

    /// Whether the process may write to the database, whose record was just read. If not, it waits from now on.
    ///
    /// # Errors
    /// The record is damaged.
    pub(super) fn may_write(&mut self, name: &Database, stored: Option<Bytes>) -> Result<bool> {
        if stored.is_none() && self.rivalry(name).is_none() {
            return Ok(true);
        }
        let at = self.rivalry_of(name);
        self.see(at, stored)?;
        let place = self.rivalries[at].place;
        if place == (Place::Free { losses: 0 }) {
            self.rivalries.swap_remove(at);
        }
        let may_write = !matches!(place, Place::Waiting { .. });
        if !may_write {
            self.next_look = Some(Instant::now());
        }
        Ok(may_write)
    }

    /// The head of the database was read with the record, and is as this process has left it, or is not.
    pub(super) fn head_is(&mut self, name: &Database, as_left: bool) {
        if as_left {
            self.alone.confirm(name, self.clock.now());
        } else {
            self.alone.end(name);
        }
    }

    /// Whether nobody else is expected to have written to the database since the last plan, so that its head and the
    /// record need not be read for the next one. It is where the process has found itself alone, or where its turn has begun with a
    /// commit, for as long as a turn: then must be known who waits.
    pub(super) fn trusts(&mut self, name: &Database) -> bool {
        let now = self.clock.now();
        let Some(at) = self.rivalry(name) else {
            return self.alone.trusts(name, now);
        };
        let Place::Holding {
            commits,
            since,
            is_passed,
            ..
        } = &mut self.rivalries[at].place
        else {
            return false;
        };
        *is_passed = *commits + 1 >= TURN_COMMITS || now.saturating_since(*since) >= TURN_TIME;
        *commits > 0 && !*is_passed
    }

    /// Whether requests of the database wait for its turn.
    pub(super) fn waits(&self, name: &Database) -> bool {
        self.rivalry(name)
            .is_some_and(|at| matches!(self.rivalries[at].place, Place::Waiting { .. }))
    }

    /// Takes what waits for a turn out of `waiting`.
    pub(super) fn park(&mut self, waiting: &mut VecDeque<Queued>) {
        let is_waiting = |it: &Rivalry| matches!(it.place, Place::Waiting { .. });
        if !self.rivalries.iter().any(is_waiting) {
            return;
        }
        for request in std::mem::take(waiting) {
            if self.waits(&request.database) {
                self.parked.push_back(request);
            } else {
                waiting.push_back(request);
            }
        }
    }

    /// How many requests wait for a turn.
    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// The requests that wait for a turn, which will not come.
    pub(super) fn take_parked(&mut self) -> impl Iterator<Item = Queued> {
        self.parked.drain(..)
    }

    /// Adds to `plan` what passes the turns on that end with its commit.
    pub(super) fn pass(&self, plan: &mut Plan) {
        for rivalry in &self.rivalries {
            let ends = matches!(rivalry.place, Place::Holding { is_passed: true, .. });
            if ends && plan.database_at(&rivalry.database).is_some() {
                let next = rivalry.turn.as_ref().and_then(|turn| turn.left(self.me));
                // Who comes to the record meanwhile is overwritten, sees that, and comes again: to require the record
                // as it was would make commits lose.
                plan.pass_turn(&rivalry.key, next);
            }
        }
    }

    /// The commit of `plan` was applied.
    pub(super) fn applied(&mut self, plan: &Plan) {
        self.rivalries.retain_mut(|rivalry| {
            if plan.database_at(&rivalry.database).is_none() {
                return true;
            }
            match &mut rivalry.place {
                Place::Free { .. } => false,
                Place::Waiting { .. } => true,
                Place::Holding {
                    commits,
                    is_used,
                    is_passed,
                    ..
                } => {
                    (*commits, *is_used) = (*commits + 1, true);
                    !*is_passed
                }
            }
        });
    }

    /// A commit lost because the head of the database had moved.
    pub(super) fn lost(&mut self, name: &Database) {
        if self.alone.end(name) {
            // The other one need not have written just now.
            return;
        }
        let at = self.rivalry_of(name);
        let place = &mut self.rivalries[at].place;
        if let Place::Free { losses } = place {
            *losses += 1;
            if *losses >= LOSSES {
                *place = Place::Waiting {
                    still: Duration::ZERO,
                };
                self.next_look = Some(Instant::now());
            }
        }
    }

    /// When it is time to look at the records.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    pub(super) fn is_due(&self) -> bool {
        self.next_look.is_some_and(|next| next <= Instant::now())
    }

    /// Looks at the records of what waits, gives requests whose turn has come back to `waiting`, and gives up turns that
    /// are not needed. Nothing may be under way.
    ///
    /// # Errors
    /// The engine cannot be read.
    pub(super) async fn look(
        &mut self,
        engine: &dyn KeyValueStore,
        waiting: &mut VecDeque<Queued>,
    ) -> kv_core::Result<()> {
        let now = Instant::now();
        let gap = (now - std::mem::replace(&mut self.last_look, now)).min(MAX_GAP);
        for at in (0..self.rivalries.len()).rev() {
            let rivalry = &mut self.rivalries[at];
            let mut requests = self.parked.iter().chain(waiting.iter());
            let is_needed = requests.any(|it| it.database == rivalry.database);
            match &mut rivalry.place {
                Place::Waiting { .. } if is_needed => self.wait(engine, at, gap).await?,
                _ if is_needed => {}
                Place::Holding { is_used, .. } if *is_used => *is_used = false,
                _ => self.leave(engine, at).await,
            }
        }
        self.unpark(waiting);
        let (me, looked) = (self.me, now.elapsed());
        let pauses = self.rivalries.iter().map(|rivalry| rivalry.pause(me, looked));
        self.next_look = pauses.min().map(|pause| Instant::now() + pause);
        Ok(())
    }

    /// Gives up all turns, at the end.
    pub(super) async fn leave_all(&mut self, engine: &dyn KeyValueStore) {
        for at in (0..self.rivalries.len()).rev() {
            self.leave(engine, at).await;
        }
    }

    /// Looks at a record, so long after the last look, and comes to it, takes the turn over from a holder that is dead,
    /// or goes on waiting.
    async fn wait(&mut self, engine: &dyn KeyValueStore, at: usize, gap: Duration) -> kv_core::Result<()> {
        if let Place::Waiting { still } = &mut self.rivalries[at].place {
            *still += gap;
        }
        let stored = engine.get(&self.rivalries[at].key).await?;
        if self.see(at, stored).is_err() {
            // The next plan reads the record once more, and tells what is wrong with it.
            self.rivalries.swap_remove(at);
            return Ok(());
        }
        let rivalry = &self.rivalries[at];
        let Place::Waiting { still } = rivalry.place else {
            return Ok(());
        };
        let next = match &rivalry.turn {
            Some(turn) if still >= self.patience => {
                self.deposed = Some(turn.holder);
                Some(turn.taken(self.me))
            }
            Some(turn) if turn.names(self.me) => None,
            turn => Turn::entered(turn.as_ref(), self.me),
        };
        if let Some(next) = next {
            self.change(engine, at, Some(next)).await;
        }
        Ok(())
    }

    /// Gives up a turn, or the place among those that wait.
    async fn leave(&mut self, engine: &dyn KeyValueStore, at: usize) {
        if let Place::Waiting { .. } | Place::Holding { .. } = self.rivalries[at].place
            && let Ok(stored) = engine.get(&self.rivalries[at].key).await
            && let Ok(()) = self.see(at, stored)
            && let Some(turn) = &self.rivalries[at].turn
            && turn.names(self.me)
        {
            let next = turn.left(self.me);
            self.change(engine, at, next).await;
        }
        // Who could not leave is taken for dead, after a while, or finds its turn when it writes again.
        self.rivalries.swap_remove(at);
    }

    /// Changes a record if it still is as it was seen.
    async fn change(&mut self, engine: &dyn KeyValueStore, at: usize, next: Option<Turn>) {
        let Rivalry { key, stored, .. } = &self.rivalries[at];
        let batch = Batch::new().require_read(key.clone(), stored.clone());
        let sealed = next.map(|next| next.seal(key));
        let batch = match &sealed {
            Some(sealed) => batch.put(key.clone(), sealed.clone()),
            None => batch.delete(key.clone()),
        };
        // A change that failed, or of which nobody knows, is seen at the next look.
        if let Ok(Outcome::Applied) = engine.commit(batch, Durability::Buffered).await {
            let seen = self.see(at, sealed);
            debug_assert!(seen.is_ok(), "it was sealed right here");
        }
    }

    /// Takes note of what a record says.
    fn see(&mut self, at: usize, stored: Option<Bytes>) -> Result<()> {
        let rivalry = &mut self.rivalries[at];
        let is_same = rivalry.stored == stored;
        if !is_same {
            let turn = stored.as_ref().map(|stored| Turn::open(&rivalry.key, stored));
            (rivalry.turn, rivalry.stored) = (turn.transpose()?, stored);
        }
        if let (Some(turn), Some(deposed)) = (&rivalry.turn, self.deposed)
            && turn.names(deposed)
        {
            // It lives, and was only slow: it would never get anything done if that happened each time.
            self.deposed = None;
            self.patience = (2 * self.patience).min(MAX_PATIENCE);
        }
        let is_mine = rivalry.turn.as_ref().map(|turn| turn.holder == self.me);
        rivalry.place = match (rivalry.place, is_mine) {
            (place @ Place::Holding { .. }, Some(true)) => place,
            (_, Some(true)) => {
                self.patience = self.patience.saturating_sub(LOOK).max(MIN_PATIENCE);
                Place::Holding {
                    commits: 0,
                    since: self.clock.now(),
                    is_used: true,
                    is_passed: false,
                }
            }
            (place @ Place::Waiting { .. }, Some(false)) if is_same => place,
            (_, Some(false)) => Place::Waiting {
                still: Duration::ZERO,
            },
            (Place::Holding { .. }, None) => Place::Free { losses: 0 },
            (place, None) => place,
        };
        Ok(())
    }

    /// Gives what waits no more back.
    fn unpark(&mut self, waiting: &mut VecDeque<Queued>) {
        for request in std::mem::take(&mut self.parked).into_iter().rev() {
            if self.waits(&request.database) {
                self.parked.push_front(request);
            } else {
                waiting.push_front(request);
            }
        }
    }

    fn rivalry(&self, name: &Database) -> Option<usize> {
        self.rivalries.iter().position(|it| it.database == *name)
    }

    /// What is known of a database, which may be nothing yet.
    fn rivalry_of(&mut self, name: &Database) -> usize {
        self.rivalry(name).unwrap_or_else(|| {
            self.rivalries.push(Rivalry {
                database: name.clone(),
                key: keys::turn(name),
                stored: None,
                turn: None,
                place: Place::Free { losses: 0 },
            });
            self.next_look.get_or_insert_with(|| Instant::now() + IDLE);
            self.rivalries.len() - 1
        })
    }
}

impl Rivalry {
    /// How long to wait before the next look, after one that took so long.
    fn pause(&self, me: ProcessId, looked: Duration) -> Duration {
        if !matches!(self.place, Place::Waiting { .. }) {
            return IDLE;
        }
        let waiting = self.turn.iter().flat_map(|turn| &turn.waiting);
        match waiting.copied().position(|id| id == me) {
            None | Some(0) => LOOK.max(2 * looked),
            Some(_) => FAR_LOOK.max(2 * looked),
        }
    }
}
