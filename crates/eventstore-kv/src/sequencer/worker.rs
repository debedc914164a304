//! The steps of the sequencer: takes requests, decides them into a plan, commits it, answers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use eventstore_abstractions::{Clock, Database, Error, Indexes, Result};
use kv_core::{Capabilities, Outcome};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::cache::Cache;
use super::commit::{Landed, commit};
use super::drive::{Bell, Lone};
use super::group::{Group, MAX_REQUESTS};
use super::known::{self, Sources};
use super::plan::{Done, Limits, Plan};
use super::request::{Action, Queued, Reply};
use super::rest;
use super::turns::Turns;
use super::{Command, Hold, Releases, release};
use crate::derived::Engine;
use crate::error::{open_error, shared_errors};
use crate::options::{Options, Threads};
use crate::reader::Reader;
use crate::subscription::Tails;

/// How often a group whose commit lost against another process is decided anew before its callers are told.
const MAX_ATTEMPTS: usize = 64;
/// How often the sequencer naps, on a shared engine, for the callers that it has just answered: a commit is a round trip
/// there, and one that many share takes hardly longer.
const MAX_NAPS: usize = 8;
const NAP: Duration = Duration::from_micros(40);
/// Who has not come back so long after the answer is not waited for.
const GONE: Duration = Duration::from_millis(2);

type Closing = oneshot::Sender<Result<()>>;

/// The ends of the queues to the sequencer.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) requests: mpsc::Receiver<Command>,
    pub(super) releases: mpsc::UnboundedReceiver<Queued>,
}

impl Queues {
    fn are_empty(&self) -> bool {
        self.requests.is_empty() && self.releases.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Worker {
    engine: Engine,
    reader: Reader,
    tails: Arc<Tails>,
    capabilities: Capabilities,
    limits: Limits,
    clock: Arc<dyn Clock>,
    cache: Cache,
    released: Arc<Notify>,
    queues: Queues,
    bell: Bell,
    lone: Lone,
    releases: mpsc::WeakUnboundedSender<Queued>,
    /// Requests that were taken and not yet decided, oldest first.
    waiting: VecDeque<Queued>,
    /// What is being committed.
    flying: Option<Arc<Plan>>,
    turns: Turns,
    /// How many requests the last commit has answered, and left, and when.
    callers: usize,
    answered_at: Instant,
    /// How many commits in a row have lost against other processes.
    lost: usize,
    /// Databases whose head an earlier commit of unknown outcome may still move, as long as no other has moved it.
    unsettled: Vec<Database>,
    closing: Option<Closing>,
    /// Whether nobody can ask for anything any more.
    is_over: bool,
    threads: Threads,
}

/// What the sequencer waits for when there is nothing to do, beside requests.
#[derive(Debug)]
pub(super) struct Rests {
    /// When records of turns are looked at.
    pub(super) look: Option<Instant>,
    /// Whether something was put off.
    pub(super) is_unsettled: bool,
}

impl Worker {
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub(super) fn new(
        engine: Engine,
        reader: Reader,
        tails: Arc<Tails>,
        options: &Options,
        indexes: Indexes,
        released: Arc<Notify>,
        queues: Queues,
        releases: &Releases,
        lone: Lone,
    ) -> Self {
        let capabilities = engine.capabilities();
        Self {
            limits: Limits {
                durable_leases: capabilities.shared,
                record_bytes: capabilities.max_value_bytes,
                indexes,
                requires_heads: capabilities.shared,
                defers: engine.defers(),
            },
            reader,
            tails,
            capabilities,
            engine,
            clock: Arc::clone(&options.clock),
            cache: Cache::new(options.max_cached_streams),
            released,
            queues,
            bell: releases.bell.clone(),
            lone,
            releases: releases.sender.downgrade(),
            waiting: VecDeque::new(),
            flying: None,
            turns: Turns::new(Arc::clone(&options.clock)),
            callers: 0,
            answered_at: Instant::now(),
            lost: 0,
            unsettled: Vec::new(),
            closing: None,
            is_over: false,
            threads: options.threads,
        }
    }

    /// Whether nothing waits and nothing is under way, so that whoever has a request may have it served at once.
    pub(super) fn is_free(&self) -> bool {
        let is_idle = self.waiting.is_empty() && self.flying.is_none();
        // On a shared engine a commit is a round trip.
        is_idle && self.queues.are_empty() && !self.is_closed() && !self.capabilities.shared
    }

    /// Serves one request, on the thread of its caller.
    pub(super) async fn serve(&mut self, request: Queued) {
        self.resume();
        self.waiting.push_back(request);
        self.advance().await;
        if !self.is_free() {
            self.bell.ring();
        }
    }

    /// Serves what is asked for until there is nothing to do; `None` when nothing more will be asked for.
    pub(super) async fn work(&mut self) -> Option<Rests> {
        self.resume();
        loop {
            self.take_all();
            self.await_callers();
            self.advance().await;
            if self.is_closed() {
                return None;
            }
            if self.waiting.is_empty()
                && (self.queues.are_empty() || !self.has_room())
                && !self.turns.is_due()
            {
                return Some(Rests {
                    look: self.turns.next_look(),
                    is_unsettled: !self.engine.is_settled(),
                });
            }
        }
    }

    /// Waits, once there is one, for as many callers as there were last.
    fn await_callers(&mut self) {
        let is_worth_it = self.capabilities.shared && self.answered_at.elapsed() < GONE;
        if !is_worth_it || self.threads == Threads::Runtime {
            return;
        }
        for _ in 0..MAX_NAPS {
            if self.waiting.is_empty() || self.waiting.len() >= self.callers {
                return;
            }
            thread::sleep(NAP);
            self.take_all();
        }
    }

    /// Goes on after a commit that was broken off, with the runtime that it was made on: it may have happened.
    fn resume(&mut self) {
        if let Some(plan) = self.flying.take() {
            self.tails.may_have_grown(plan.reach());
            self.doubt(&plan);
            self.forget();
        }
    }

    fn is_closed(&self) -> bool {
        self.closing.is_some() || self.is_over
    }

    fn has_room(&self) -> bool {
        self.waiting.len() + self.turns.parked() < MAX_REQUESTS
    }

    /// Finishes what was begun, and closes the engine if somebody waits for that.
    pub(super) async fn finish(&mut self) {
        // What was queued before the end, and the sessions that were dropped before it, are still served.
        while let Ok(release) = self.queues.releases.try_recv() {
            self.waiting.push_back(release);
        }
        while !self.waiting.is_empty() || self.turns.parked() > 0 {
            if self.waiting.is_empty() {
                rest::until(self.turns.next_look()).await;
            }
            self.advance().await;
        }
        if let Some(reply) = self.closing.take() {
            self.is_over = true;
            self.turns.leave_all(&*self.engine.store()).await;
            let closed = self.engine.close().await.map_err(open_error);
            self.tails.close();
            let _ = reply.send(closed);
        } else {
            self.tails.close();
        }
    }

    /// Takes what is there.
    fn take_all(&mut self) {
        while !self.is_closed() && self.has_room() {
            if let Ok(release) = self.queues.releases.try_recv() {
                self.waiting.push_back(release);
                continue;
            }
            match self.queues.requests.try_recv() {
                Ok(Command::Write(request)) => self.waiting.push_back(request),
                Ok(Command::Close(reply)) => self.closing = Some(reply),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.is_over = true,
            }
        }
    }

    /// Writes what was put off, as long as nobody asks for anything.
    pub(super) async fn settle_at_rest(&self) {
        while self.queues.are_empty() && !self.engine.is_settled() {
            if let Err(error) = self.engine.settle_some().await {
                tracing::warn!(%error, "what is derived of the log cannot be written; it is kept in memory");
                return;
            }
        }
    }

    /// Decides what waits, and commits it.
    async fn advance(&mut self) {
        if self.turns.is_due() {
            let looked = self.turns.look(&*self.engine.store(), &mut self.waiting).await;
            if let Err(error) = looked {
                self.fail_all(error);
            }
        }
        let mut group = Group::new(self.limits);
        if let Err(error) = self.grow(&mut group).await {
            prepend(&mut self.waiting, group.requests);
            self.fail_all(error);
            return;
        }
        if group.requests.is_empty() {
            return;
        }
        self.turns.pass(&mut group.plan);
        self.tails.begins(group.plan.reach());
        let landed = commit(&self.engine, group, &mut self.flying).await;
        self.settle(landed);
    }

    /// Decides as many of the waiting requests as `group` takes. The rest depends on what those write.
    async fn grow(&mut self, group: &mut Group) -> kv_core::Result<()> {
        loop {
            self.turns.park(&mut self.waiting);
            let waiting = self.waiting.iter().map(|request| &**request);
            let room = group.room(waiting, &self.capabilities);
            if room == 0 {
                return Ok(());
            }
            let chunk = &self.waiting.make_contiguous()[..room];
            let sources = Sources {
                reader: &self.reader,
                cache: &mut self.cache,
                shared: self.capabilities.shared,
                turns: &mut self.turns,
                may_move: self.limits.requires_heads,
            };
            let known = known::gather(sources, &mut group.plan, chunk).await?;
            if chunk.iter().any(|request| self.turns.waits(&request.database)) {
                continue;
            }
            group.plan.now = self.clock.now();
            let plan = &mut group.plan;
            let mut decided = 0;
            for (request, known) in chunk.iter().zip(known) {
                if !plan.decide(request, known) {
                    break;
                }
                decided += 1;
            }
            group.add(self.waiting.drain(..decided));
            if decided < room {
                return Ok(());
            }
        }
    }

    /// Answers the requests of a group that has landed, or lets them be decided anew.
    fn settle(&mut self, mut landed: Landed) {
        match &landed.outcome {
            Ok(Outcome::Applied) => {
                self.lost = 0;
                // Callers first: they go on while the rest is done. Their events are freed by them.
                if let Some(plan) = Arc::get_mut(&mut landed.plan) {
                    plan.forget_events();
                }
                let plan = Arc::clone(&landed.plan);
                self.callers = landed.requests.len() + self.waiting.len() + self.queues.requests.len();
                self.answered_at = Instant::now();
                self.lone.answered(landed.requests.len());
                self.answer(landed);
                self.turns.applied(&plan);
                self.unsettled
                    .retain(|name| plan.changed().all(|changed| changed != name));
                self.limits.requires_heads = self.capabilities.shared || !self.unsettled.is_empty();
                self.tails.has_grown(plan.reach());
                plan.remember_in(&mut self.cache);
                return;
            }
            Ok(Outcome::ConditionFailed { condition }) => {
                self.lost += 1;
                // The heads are the only conditions, in this order.
                if let Some((name, ..)) = landed.plan.reach().nth(*condition)
                    && self.capabilities.shared
                {
                    self.turns.lost(name);
                }
                if self.lost < MAX_ATTEMPTS {
                    prepend(&mut self.waiting, landed.requests);
                } else {
                    self.lost = 0;
                    let reason = format!("{MAX_ATTEMPTS} commits in a row lost against other processes");
                    fail(
                        landed.requests,
                        kv_core::Error::Unavailable { reason, source: None },
                    );
                }
            }
            Err(_) => {
                self.tails.may_have_grown(landed.plan.reach());
                if let Err(error) = landed.outcome {
                    if error.is_outcome_unknown() {
                        self.doubt(&landed.plan);
                    }
                    tracing::warn!(error = %error, requests = landed.requests.len(), "a commit failed");
                    fail(landed.requests, error);
                }
            }
        }
        self.forget();
    }

    /// What happened is not known, or nothing did: either way the truth is read again before the next write. A commit that is
    /// still on its way can land only if no other has landed before.
    fn forget(&mut self) {
        self.cache.clear();
        self.limits.requires_heads = self.capabilities.shared || !self.unsettled.is_empty();
    }

    /// What `plan` changes may land later, or have landed.
    fn doubt(&mut self, plan: &Plan) {
        for name in plan.changed() {
            if !self.unsettled.contains(name) {
                self.unsettled.push(name.clone());
            }
        }
    }

    /// The engine cannot even be read.
    fn fail_all(&mut self, error: kv_core::Error) {
        self.cache.clear();
        fail(self.turns.take_parked().chain(self.waiting.drain(..)), error);
    }

    fn answer(&mut self, landed: Landed) {
        let mut released = false;
        for (request, answer) in landed.requests.into_iter().zip(landed.answers) {
            released |= matches!(request.action, Action::Release { .. });
            self.reply(request, answer);
        }
        if released {
            self.released.notify_waiters();
        }
    }

    fn reply(&self, request: Queued, answer: Result<Done>) {
        let answer = answer.and_then(|done| {
            Ok(match done {
                Done::Appended(appended) => Reply::Appended(appended),
                Done::AppendedAll(appended) => Reply::AppendedAll(appended),
                Done::Written => Reply::Written,
                Done::Cleared(count) => Reply::Cleared(count),
                Done::Renewed(session) => Reply::Renewed(session),
                Done::Held(held_by) => Reply::Held(held_by),
                Done::Opened(session) => {
                    let releases = Releases {
                        sender: self.releases.upgrade().ok_or(Error::ProviderClosed)?,
                        bell: self.bell.clone(),
                    };
                    let release = release(request.database.clone(), request.stream.clone(), session.id);
                    let release = Some(Box::new(release));
                    Reply::Opened(Hold { release, releases }, session)
                }
            })
        });
        request.answer(answer);
    }
}

/// It goes with the loop, also with one that ended with its runtime: whoever is in the queue behind the end is told so.
impl Drop for Worker {
    fn drop(&mut self) {
        self.queues.requests.close();
        while let Ok(command) = self.queues.requests.try_recv() {
            if let Command::Write(request) = command {
                self.waiting.push_back(request);
            }
        }
        for request in self.turns.take_parked().chain(self.waiting.drain(..)) {
            request.answer(Err(Error::ProviderClosed));
        }
    }
}

fn prepend(waiting: &mut VecDeque<Queued>, requests: Vec<Queued>) {
    for request in requests.into_iter().rev() {
        waiting.push_front(request);
    }
}

fn fail(requests: impl IntoIterator<Item = Queued>, error: kv_core::Error) {
    let error = shared_errors(error);
    for request in requests {
        request.answer(Err(error()));
    }
}
