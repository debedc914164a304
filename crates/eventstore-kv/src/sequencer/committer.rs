//! Commits on a thread of its own, so that the next group grows meanwhile.
//!
//! The sequencer leaves the group that grows in a slot. The thread takes it from there as soon as the commit before it
//! has ended well: between two commits nobody has to be woken. After a commit that did not end well the thread stops
//! until the sequencer has thrown away what was planned on top of it.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use eventstore_abstractions::Result;
use futures_util::FutureExt;
use kv_core::{Batch, Durability, Error, Outcome, blocking};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use super::group::Group;
use super::plan::{Done, Plan};
use super::request::Queued;
use crate::derived::{Derivation, Engine};

/// How long the sequencer sleeps at a time while a commit is under way. Requests do not wake it then: to be woken for
/// each costs more than to decide it. A sync takes a few times as long on a fast disk.
const NAP: Duration = Duration::from_micros(40);

/// A group whose commit has ended.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) plan: Arc<Plan>,
    pub(super) requests: Vec<Queued>,
    /// What each request is told if the commit was applied.
    pub(super) answers: Vec<Result<Done>>,
    pub(super) outcome: kv_core::Result<Outcome>,
}

/// A thread that commits; it ends with this handle.
#[derive(Debug)]
pub(super) struct Committer {
    engine: Engine,
    shared: Arc<Shared>,
    /// The thread is started when it is first needed: a store with one client at a time never does.
    is_started: bool,
}

#[derive(Debug, Default)]
struct Shared {
    slot: Mutex<Slot>,
    /// There is something to commit, or nothing more to come.
    filled: Condvar,
    /// A commit has ended.
    landed: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    /// The group that grows, while the sequencer does not have it.
    ready: Option<Group>,
    flying: Option<Arc<Plan>>,
    landed: Vec<Landed>,
    /// A commit has not ended well: nothing more takes off.
    is_stopped: bool,
    is_over: bool,
}

impl Committer {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            shared: Arc::default(),
            is_started: false,
        }
    }

    /// Everything at one moment: what has landed since the last call, the plan that flies, and the group that was left
    /// and has not taken off. Until a group is left again nothing takes off.
    pub(super) fn take(&self) -> (Vec<Landed>, Option<Arc<Plan>>, Option<Group>) {
        let mut slot = self.shared.slot.lock();
        (
            mem::take(&mut slot.landed),
            slot.flying.clone(),
            slot.ready.take(),
        )
    }

    /// Leaves a group to take off as soon as nothing flies; gives it back when the system has no thread for it.
    pub(super) fn leave(&mut self, group: Group) -> std::result::Result<(), Box<(Group, Error)>> {
        if let Err(error) = self.start() {
            return Err(Box::new((group, error)));
        }
        let mut slot = self.shared.slot.lock();
        slot.ready = Some(group);
        drop(slot);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Lets groups take off again, when what was planned on top of a failed commit is gone.
    pub(super) fn resume(&self) {
        self.shared.slot.lock().is_stopped = false;
    }

    /// Sleeps until something lands, for a short time.
    pub(super) fn nap(&self) {
        let mut slot = self.shared.slot.lock();
        if slot.landed.is_empty() {
            self.shared.landed.wait_for(&mut slot, NAP);
        }
    }

    /// Commits on the calling thread; nothing may fly.
    pub(super) async fn commit(&self, group: Group) -> Landed {
        let (flight, changes) = Flight::of(group);
        flight.landed(commit(&self.engine, changes).await)
    }

    fn start(&mut self) -> kv_core::Result<()> {
        if self.is_started {
            return Ok(());
        }
        let (shared, engine) = (Arc::clone(&self.shared), self.engine.clone());
        let runtime = Handle::current();
        thread::Builder::new()
            .name("event-committer".to_owned())
            .spawn(move || {
                blocking::allow_on_this_thread();
                while let Some((flight, changes)) = shared.take_off() {
                    let outcome = runtime.block_on(commit(&engine, changes));
                    shared.land(flight.landed(outcome));
                }
            })
            .map_err(|error| Error::unavailable("the system has no thread for commits", error))?;
        self.is_started = true;
        Ok(())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.slot.lock().is_over = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    /// Waits for a group that may take off; `None` when there will be none.
    fn take_off(&self) -> Option<(Flight, Changes)> {
        let mut slot = self.slot.lock();
        loop {
            if slot.is_over {
                return None;
            }
            if !slot.is_stopped
                && let Some(group) = slot.ready.take()
            {
                let (flight, changes) = Flight::of(group);
                slot.flying = Some(Arc::clone(&flight.plan));
                return Some((flight, changes));
            }
            self.filled.wait(&mut slot);
        }
    }

    fn land(&self, landed: Landed) {
        let mut slot = self.slot.lock();
        slot.flying = None;
        slot.is_stopped |= !landed.is_applied();
        slot.landed.push(landed);
        drop(slot);
        self.landed.notify_one();
    }
}

/// What a plan changes: a batch, what it leads to, and how durable it must be.
type Changes = (Batch, Vec<Derivation>, Durability);

/// A group that is being committed.
struct Flight {
    plan: Arc<Plan>,
    requests: Vec<Queued>,
    answers: Vec<Result<Done>>,
}

impl Flight {
    fn of(group: Group) -> (Self, Changes) {
        let Group {
            mut plan, requests, ..
        } = group;
        let changes = plan.take_batch();
        let answers = plan.take_answers();
        let flight = Self {
            plan: Arc::new(plan),
            requests,
            answers,
        };
        (flight, changes)
    }

    fn landed(self, outcome: kv_core::Result<Outcome>) -> Landed {
        let Self {
            plan,
            requests,
            answers,
        } = self;
        Landed {
            plan,
            requests,
            answers,
            outcome,
        }
    }
}

impl Landed {
    pub(super) fn is_applied(&self) -> bool {
        matches!(self.outcome, Ok(Outcome::Applied))
    }
}

/// Commits, unless nothing is written and nothing must become durable. Whoever panics in it, the outcome is told.
async fn commit(engine: &Engine, (batch, derivations, durability): Changes) -> kv_core::Result<Outcome> {
    if batch.is_empty() && durability == Durability::Buffered {
        return Ok(Outcome::Applied);
    }
    let commit = AssertUnwindSafe(engine.commit(batch, derivations, durability)).catch_unwind();
    commit.await.unwrap_or_else(|_| {
        Err(Error::OutcomeUnknown {
            reason: "the engine stopped in a commit".to_owned(),
            source: None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequencer::plan::tests::limits;

    /// A committer whose thread has not been started: what it would do is done by the test.
    fn committer() -> Committer {
        let engine: Arc<dyn kv_core::KeyValueStore> = Arc::new(kv_memory::Store::new());
        Committer::new(Engine::Direct(engine))
    }

    fn land(committer: &Committer, outcome: kv_core::Result<Outcome>) {
        let (flight, _) = Flight::of(Group::new(limits()));
        committer.shared.land(flight.landed(outcome));
    }

    fn is_stopped(committer: &Committer) -> bool {
        committer.shared.slot.lock().is_stopped
    }

    #[test]
    fn nothing_takes_off_behind_a_commit_that_did_not_end_well() {
        let failures: [fn() -> kv_core::Result<Outcome>; 3] = [
            || Ok(Outcome::ConditionFailed { condition: 0 }),
            || Err(Error::unavailable("it cannot be written now", "a fault")),
            || Err(Error::outcome_unknown("no answer", "a fault")),
        ];
        for failure in failures {
            let committer = committer();
            land(&committer, Ok(Outcome::Applied));
            assert!(!is_stopped(&committer));
            land(&committer, failure());
            assert!(is_stopped(&committer));
            // One that ends well behind it changes nothing: what was planned on top of the other is still there.
            land(&committer, Ok(Outcome::Applied));
            assert!(is_stopped(&committer));
            committer.resume();
            assert!(!is_stopped(&committer));
            let (landed, flying, left) = committer.take();
            assert_eq!(landed.len(), 3);
            assert!(flying.is_none() && left.is_none());
        }
    }

    #[test]
    fn group_flies_from_its_take_off_until_it_lands() {
        let committer = committer();
        committer.shared.slot.lock().ready = Some(Group::new(limits()));
        let (flight, _) = committer.shared.take_off().expect("there is a group");
        let (landed, flying, left) = committer.take();
        assert!(landed.is_empty() && flying.is_some() && left.is_none());
        committer.shared.land(flight.landed(Ok(Outcome::Applied)));
        let (landed, flying, _) = committer.take();
        assert_eq!(landed.len(), 1);
        assert!(flying.is_none());
        let shared = Arc::clone(&committer.shared);
        drop(committer);
        assert!(shared.take_off().is_none(), "nothing more comes");
    }
}
