//! The loop of the sequencer: takes requests, lets a plan grow, has it committed, answers.

use std::collections::VecDeque;
use std::sync::Arc;

use eventstore_abstractions::{Clock, Database, Error, Indexes, Result};
use kv_core::{Capabilities, Outcome};
use tokio::sync::{Notify, mpsc, oneshot};

use super::cache::Cache;
use super::committer::{Committer, Landed};
use super::group::{Group, MAX_REQUESTS};
use super::known::{self, Sources};
use super::plan::{Done, Limits, Plan};
use super::request::{Action, Queued, Reply};
use super::rest::Rest;
use super::turns::Turns;
use super::{Command, Hold, release};
use crate::derived::Engine;
use crate::error::{open_error, shared_errors};
use crate::options::{Options, Threads};
use crate::reader::Reader;
use crate::subscription::Tails;

/// How often a group whose commit lost against another process is decided anew before its callers are told.
const MAX_ATTEMPTS: usize = 64;
/// A smaller group is committed on the sequencer's own thread: handing it over costs more than deciding those that
/// come meanwhile.
const MIN_HANDED_OVER: usize = 6;

/// How often the sequencer naps, in a turn, for the callers that it has just answered. A turn is short, a commit a round trip,
/// and one that many share takes hardly longer.
const MAX_NAPS: usize = 8;

type Closing = oneshot::Sender<Result<()>>;

pub(super) struct Worker {
    engine: Engine,
    committer: Committer,
    reader: Reader,
    tails: Arc<Tails>,
    capabilities: Capabilities,
    limits: Limits,
    clock: Arc<dyn Clock>,
    cache: Cache,
    released: Arc<Notify>,
    releases: mpsc::WeakUnboundedSender<Queued>,
    /// Requests that were taken and not yet decided, oldest first.
    waiting: VecDeque<Queued>,
    turns: Turns,
    /// How many requests the last commit has answered.
    answered: usize,
    rest: Rest,
    /// Whether a group was left to the committer and has not landed yet.
    is_busy: bool,
    /// Whether the oldest waiting request depends on what has not landed yet.
    is_blocked: bool,
    /// How many commits in a row have lost against other processes.
    lost: usize,
    /// Databases whose head an earlier commit of unknown outcome may still move, as long as no other has moved it.
    unsettled: Vec<Database>,
    closing: Option<Closing>,
    threads: Threads,
}

impl Worker {
    pub(super) fn new(
        engine: Engine,
        reader: Reader,
        tails: Arc<Tails>,
        options: &Options,
        indexes: Indexes,
        released: Arc<Notify>,
        releases: mpsc::WeakUnboundedSender<Queued>,
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
            committer: Committer::new(engine.clone()),
            reader,
            tails,
            capabilities,
            engine,
            clock: Arc::clone(&options.clock),
            rest: Rest::new(Arc::clone(&options.clock)),
            cache: Cache::new(options.max_cached_streams),
            released,
            releases,
            waiting: VecDeque::new(),
            turns: Turns::new(Arc::clone(&options.clock)),
            answered: 0,
            is_busy: false,
            is_blocked: false,
            lost: 0,
            unsettled: Vec::new(),
            closing: None,
            threads: options.threads,
        }
    }

    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<Command>,
        mut releases: mpsc::UnboundedReceiver<Queued>,
    ) {
        while self.closing.is_none() {
            if !self.next(&mut requests, &mut releases).await {
                break;
            }
            self.take_all(&mut requests, &mut releases);
            for _ in 0..MAX_NAPS {
                let is_awaited = self.waiting.len() < self.answered && self.turns.holds();
                if !is_awaited || self.is_busy || self.threads == Threads::Runtime {
                    break;
                }
                self.committer.nap();
                self.take_all(&mut requests, &mut releases);
            }
            self.advance().await;
        }
        // What was queued before the end, and the sessions that were dropped before it, are still served.
        while let Ok(release) = releases.try_recv() {
            self.waiting.push_back(release);
        }
        while self.is_busy || !self.waiting.is_empty() || self.turns.parked() > 0 {
            if self.is_busy {
                self.committer.nap();
            } else if self.waiting.is_empty() {
                self.turns.tick().await;
            }
            self.advance().await;
        }
        drop((requests, releases));
        if let Some(reply) = self.closing {
            self.turns.leave_all(&*self.engine.store()).await;
            let closed = self.engine.close().await.map_err(open_error);
            self.tails.close();
            let _ = reply.send(closed);
        } else {
            self.tails.close();
        }
    }

    /// Takes what is there.
    fn take_all(
        &mut self,
        requests: &mut mpsc::Receiver<Command>,
        releases: &mut mpsc::UnboundedReceiver<Queued>,
    ) {
        while self.closing.is_none() && self.waiting.len() + self.turns.parked() < MAX_REQUESTS {
            if let Ok(release) = releases.try_recv() {
                self.waiting.push_back(release);
            } else if let Ok(command) = requests.try_recv() {
                self.take(command);
            } else {
                break;
            }
        }
    }

    /// Waits until there is something to do; `false` when nobody can ask for anything any more.
    async fn next(
        &mut self,
        requests: &mut mpsc::Receiver<Command>,
        releases: &mut mpsc::UnboundedReceiver<Queued>,
    ) -> bool {
        if self.is_busy {
            self.committer.nap();
            return true;
        }
        if !self.waiting.is_empty() {
            return true;
        }
        let has_room = self.turns.parked() < MAX_REQUESTS;
        tokio::select! {
            biased;
            Some(release) = releases.recv(), if has_room => self.waiting.push_back(release),
            command = requests.recv(), if has_room => match command {
                Some(command) => self.take(command),
                None => return false,
            },
            () = self.rest.undisturbed(), if !self.engine.is_settled() => {
                self.settle_at_rest(requests, releases).await;
                return true;
            }
            () = self.turns.tick() => {}
        }
        self.rest.disturb();
        true
    }

    /// Writes what was put off, as long as nobody asks for anything.
    async fn settle_at_rest(
        &self,
        requests: &mpsc::Receiver<Command>,
        releases: &mpsc::UnboundedReceiver<Queued>,
    ) {
        while requests.is_empty() && releases.is_empty() && !self.engine.is_settled() {
            if let Err(error) = self.engine.settle_some().await {
                tracing::warn!(%error, "what is derived of the log cannot be written; it is kept in memory");
                return;
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Write(request) => self.waiting.push_back(request),
            Command::Close(reply) => self.closing = Some(reply),
        }
    }

    /// Answers what has landed, decides what waits, and has it committed.
    async fn advance(&mut self) {
        let (landed, flying, left) = self.committer.take();
        let mut growing = left.unwrap_or_else(|| Group::new(self.limits));
        for landed in landed {
            growing = self.settle(landed, growing);
        }
        if flying.is_none() && growing.requests.is_empty() && self.turns.is_due() {
            let looked = self.turns.look(&*self.engine.store(), &mut self.waiting).await;
            if let Err(error) = looked {
                self.fail_all(error);
            }
        }
        // On a shared engine another process may write meanwhile: a plan begins with a look at the heads of its
        // databases, when nothing flies.
        if (flying.is_none() || !self.capabilities.shared)
            && !self.is_blocked
            && let Err(error) = self.grow(&mut growing, flying.as_deref()).await
        {
            prepend(&mut self.waiting, growing.requests);
            self.fail_all(error);
            growing = Group::new(self.limits);
        }
        let is_small = self.threads == Threads::Runtime
            || growing.requests.len() < MIN_HANDED_OVER
            || growing.plan.asks_nothing();
        let is_alone = flying.is_none() && is_small;
        self.is_busy = flying.is_some() || !(is_alone || growing.requests.is_empty());
        if growing.requests.is_empty() {
            return;
        }
        self.turns.pass(&mut growing.plan);
        self.tails.begins(growing.plan.reach());
        if is_alone {
            let landed = self.committer.commit(growing).await;
            let nothing = Group::new(self.limits);
            self.settle(landed, nothing);
        } else if let Err(refused) = self.committer.leave(growing) {
            let (group, error) = *refused;
            tracing::error!(%error, "nothing can be committed");
            fail(group.requests, error);
            self.is_busy = flying.is_some();
        }
    }

    /// Decides as many of the waiting requests as `growing` takes.
    async fn grow(&mut self, growing: &mut Group, flying: Option<&Plan>) -> kv_core::Result<()> {
        loop {
            self.turns.park(&mut self.waiting);
            let waiting = self.waiting.iter().map(|request| &**request);
            let room = growing.room(waiting, &self.capabilities);
            if room == 0 {
                return Ok(());
            }
            let chunk = &self.waiting.make_contiguous()[..room];
            let sources = Sources {
                reader: &self.reader,
                cache: &mut self.cache,
                flying,
                shared: self.capabilities.shared,
                turns: &mut self.turns,
                may_move: self.limits.requires_heads,
            };
            let known = known::gather(sources, &mut growing.plan, chunk).await?;
            if chunk.iter().any(|request| self.turns.waits(&request.database)) {
                continue;
            }
            growing.plan.now = self.clock.now();
            let plan = &mut growing.plan;
            let mut decided = 0;
            for (request, known) in chunk.iter().zip(known) {
                if !plan.decide(request, known) {
                    break;
                }
                decided += 1;
            }
            growing.add(self.waiting.drain(..decided));
            if decided < room {
                self.is_blocked = true;
                return Ok(());
            }
        }
    }

    /// Answers the requests of a group that has landed, or lets them be decided anew. The group that grew on top of it
    /// comes back as far as it may be kept.
    fn settle(&mut self, mut landed: Landed, growing: Group) -> Group {
        self.is_blocked = false;
        match &landed.outcome {
            Ok(Outcome::Applied) => {
                self.lost = 0;
                // Callers first: they go on while the rest is done. Their events are freed by them.
                if let Some(plan) = Arc::get_mut(&mut landed.plan) {
                    plan.forget_events();
                }
                let plan = Arc::clone(&landed.plan);
                self.answered = landed.requests.len();
                self.answer(landed);
                self.turns.applied(&plan);
                self.unsettled
                    .retain(|name| plan.changed().all(|changed| changed != name));
                self.limits.requires_heads = self.capabilities.shared || !self.unsettled.is_empty();
                self.tails.has_grown(plan.reach());
                plan.remember_in(&mut self.cache);
                return growing;
            }
            Ok(Outcome::ConditionFailed { condition }) => {
                self.lost += 1;
                // The heads are the only conditions, in this order.
                if let Some((name, ..)) = landed.plan.reach().nth(*condition)
                    && self.capabilities.shared
                {
                    self.turns.lost(name);
                }
                prepend(&mut self.waiting, growing.requests);
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
                prepend(&mut self.waiting, growing.requests);
                if let Err(error) = landed.outcome {
                    if error.is_outcome_unknown() {
                        for name in landed.plan.changed() {
                            if !self.unsettled.contains(name) {
                                self.unsettled.push(name.clone());
                            }
                        }
                    }
                    tracing::warn!(error = %error, requests = landed.requests.len(), "a commit failed");
                    fail(landed.requests, error);
                }
            }
        }
        // What happened is not known, or nothing did: either way the truth is read again before the next write. A
        // commit that is still on its way can land only if no other has landed before.
        self.cache.clear();
        self.limits.requires_heads = self.capabilities.shared || !self.unsettled.is_empty();
        self.committer.resume();
        Group::new(self.limits)
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
                    let releases = self.releases.upgrade().ok_or(Error::ProviderClosed)?;
                    let release = release(request.database.clone(), request.stream.clone(), session.id);
                    let release = Some(Box::new(release));
                    Reply::Opened(Hold { release, releases }, session)
                }
            })
        });
        request.answer(answer);
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
