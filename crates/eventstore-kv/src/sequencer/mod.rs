//! The one place where an engine is written to.
//!
//! A task takes all requests that wait, finds out what it must know, decides them in order, and commits everything
//! in one batch: while that is under way, the next requests gather, and share the next commit. Requests are
//! acknowledged only after their commit. What a caller does with its future changes nothing: a request that was
//! taken runs to its end.

mod known;
mod plan;
mod request;

use std::sync::Arc;

use eventstore_abstractions::{Clock, Database, Error, Result, SessionId, StreamId};
use kv_core::{Capabilities, Durability, KeyValueStore, Outcome};
use tokio::sync::{Notify, mpsc, oneshot};

use self::known::Cache;
use self::plan::{Decision, Done, Plan};
pub(crate) use self::request::{Action, Reply, Request};
use crate::error::{open_error, shared_errors};
use crate::limits::Cost;
use crate::options::Options;
use crate::reader::Reader;

/// Most bytes of one group, unless a single request has more: it bounds memory and the wait of those behind it.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// Most requests of one group.
const MAX_GROUP_REQUESTS: usize = 4_096;
/// How often a group whose commit lost against another process is decided anew before its callers are told.
const MAX_ATTEMPTS: usize = 64;

/// The way to the sequencer. When the last one is dropped, the sequencer ends and lets go of the engine.
#[derive(Debug)]
pub(crate) struct Sequencer {
    requests: mpsc::Sender<Command>,
    /// Kept so that sessions find the queue of releases open as long as there is a provider.
    _releases: mpsc::UnboundedSender<Request>,
    released: Arc<Notify>,
}

#[derive(Debug)]
enum Command {
    Write(Box<Request>),
    Close(oneshot::Sender<Result<()>>),
}

/// Holds a stream for a session. Dropping it releases the stream in the background, wherever it is dropped: in a
/// session, or in an answer that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct Hold {
    release: Option<Box<Request>>,
    releases: mpsc::UnboundedSender<Request>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // A sequencer that has ended has released everything, or will leave it to the session's time-out.
            let _ = self.releases.send(*release);
        }
    }
}

impl Sequencer {
    /// Starts the sequencer of `engine` on the current tokio runtime.
    pub(crate) fn start(engine: Arc<dyn KeyValueStore>, options: &Options) -> Self {
        let (requests, request_queue) = mpsc::channel(options.max_queued_writes);
        let (releases, release_queue) = mpsc::unbounded_channel();
        let released = Arc::new(Notify::new());
        let worker = Worker {
            reader: Reader::new(Arc::clone(&engine)),
            capabilities: engine.capabilities(),
            engine,
            clock: Arc::clone(&options.clock),
            cache: Cache::new(options.max_cached_streams),
            released: Arc::clone(&released),
            releases: releases.downgrade(),
            waiting: Vec::new(),
            cost: Cost::default(),
        };
        tokio::spawn(worker.run(request_queue, release_queue));
        Self {
            requests,
            _releases: releases,
            released,
        }
    }

    /// Queues a request and waits for its answer. It waits for a place in the queue first, when that is full.
    pub(crate) async fn ask(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<Reply>>,
    ) -> Result<Reply> {
        let command = Command::Write(Box::new(request));
        self.requests
            .send(command)
            .await
            .map_err(|_| Error::ProviderClosed)?;
        answer.await.unwrap_or(Err(Error::ProviderClosed))
    }

    /// Finishes what was begun and closes the engine.
    pub(crate) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Command::Close(reply)).await.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }

    /// Becomes ready when a session is released, for those who wait for its stream.
    pub(crate) fn released(&self) -> &Notify {
        &self.released
    }
}

struct Worker {
    engine: Arc<dyn KeyValueStore>,
    reader: Reader,
    capabilities: Capabilities,
    clock: Arc<dyn Clock>,
    cache: Cache,
    released: Arc<Notify>,
    releases: mpsc::WeakUnboundedSender<Request>,
    /// Requests that were taken and not yet decided, oldest first.
    waiting: Vec<Request>,
    /// What those of them cost that were taken since the last commit.
    cost: Cost,
}

impl Worker {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Command>,
        mut releases: mpsc::UnboundedReceiver<Request>,
    ) {
        let mut close = None;
        while close.is_none() {
            if self.waiting.is_empty() {
                tokio::select! {
                    biased;
                    Some(release) = releases.recv() => self.push(release),
                    command = requests.recv() => match command {
                        Some(command) => close = self.take(command),
                        None => break,
                    },
                }
            }
            while close.is_none() && self.has_room() {
                if let Ok(release) = releases.try_recv() {
                    self.push(release);
                } else if let Ok(command) = requests.try_recv() {
                    close = self.take(command);
                } else {
                    break;
                }
            }
            self.commit_waiting().await;
        }
        // What was queued before the end, and the sessions that were dropped before it, are still served.
        while let Ok(release) = releases.try_recv() {
            self.push(release);
        }
        while !self.waiting.is_empty() {
            self.commit_waiting().await;
        }
        drop((requests, releases));
        if let Some(reply) = close {
            let _ = reply.send(self.engine.close().await.map_err(open_error));
        }
    }

    fn take(&mut self, command: Command) -> Option<oneshot::Sender<Result<()>>> {
        match command {
            Command::Write(request) => {
                self.push(*request);
                None
            }
            Command::Close(reply) => Some(reply),
        }
    }

    fn push(&mut self, request: Request) {
        self.cost = self.cost.plus(request.cost);
        self.waiting.push(request);
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < MAX_GROUP_REQUESTS
            && self.cost.bytes < MAX_GROUP_BYTES
            && self.cost.fits(&self.capabilities)
    }

    /// Takes from the waiting requests as many as fit one commit, oldest first and at least one.
    fn next_group(&mut self) -> Vec<Request> {
        let mut cost = Cost::default();
        let mut count = 0;
        for request in &self.waiting {
            cost = cost.plus(request.cost);
            if count > 0 && !cost.fits(&self.capabilities) {
                break;
            }
            count += 1;
        }
        self.cost = Cost::default();
        let rest = self.waiting.split_off(count);
        std::mem::replace(&mut self.waiting, rest)
    }

    /// Decides and commits one group. Requests that must be decided after it stay waiting.
    async fn commit_waiting(&mut self) {
        let group = self.next_group();
        if group.is_empty() {
            return;
        }
        for _ in 0..MAX_ATTEMPTS {
            match self.attempt(&group).await {
                Ok(Some(plan)) => return self.answer(group, plan),
                Ok(None) => self.cache.clear(),
                Err(error) => {
                    // What happened is not known, or nothing did: either way the truth is read again before the
                    // next write. A commit that is still on its way can land only if no other has landed before.
                    self.cache.clear();
                    tracing::warn!(error = %error, requests = group.len(), "a commit failed");
                    return fail(group, error);
                }
            }
        }
        let reason = format!("{MAX_ATTEMPTS} commits in a row lost against other processes");
        fail(group, kv_core::Error::Unavailable { reason, source: None });
    }

    /// Decides and commits `group`; `None` when another process has changed the store meanwhile.
    async fn attempt(&mut self, group: &[Request]) -> Result<Option<Plan>, kv_core::Error> {
        let shared = self.capabilities.shared;
        let known = known::gather(&self.reader, &mut self.cache, group, shared).await?;
        let mut plan = plan::decide(group, known, self.clock.now(), shared);
        let (batch, durability) = plan.take_batch(shared);
        if batch.is_empty() && durability == Durability::Buffered {
            return Ok(Some(plan));
        }
        match self.engine.commit(batch, durability).await? {
            Outcome::Applied => Ok(Some(plan)),
            Outcome::ConditionFailed { .. } => Ok(None),
        }
    }

    fn answer(&mut self, group: Vec<Request>, plan: Plan) {
        let Plan {
            databases,
            streams,
            decisions,
            ..
        } = plan;
        self.cache.store(databases, streams);
        let mut later = Vec::new();
        let mut released = false;
        for (request, decision) in group.into_iter().zip(decisions) {
            match decision {
                Decision::Later => later.push(request),
                Decision::Answer(answer) => {
                    released |= matches!(request.action, Action::Release { .. });
                    self.reply(request, answer);
                }
            }
        }
        later.append(&mut self.waiting);
        self.waiting = later;
        if released {
            self.released.notify_waiters();
        }
    }

    fn reply(&self, request: Request, answer: Result<Done>) {
        let Request {
            database,
            stream,
            reply,
            ..
        } = request;
        let answer = answer.and_then(|done| {
            Ok(match done {
                Done::Appended(appended) => Reply::Appended(appended),
                Done::Written => Reply::Written,
                Done::Cleared(count) => Reply::Cleared(count),
                Done::Renewed(session) => Reply::Renewed(session),
                Done::Held(held_by) => Reply::Held(held_by),
                Done::Opened(session) => {
                    let releases = self.releases.upgrade().ok_or(Error::ProviderClosed)?;
                    let release = Some(Box::new(release(database, stream, session.id)));
                    Reply::Opened(Hold { release, releases }, session)
                }
            })
        });
        // A caller that has gone away does not want the answer; a hold in it releases itself.
        let _ = reply.send(answer);
    }
}

fn release(database: Database, stream: StreamId, session: SessionId) -> Request {
    let (reply, _) = oneshot::channel();
    Request::new(
        database,
        stream,
        Action::Release { session },
        Cost::of_keys(1),
        reply,
    )
}

fn fail(group: Vec<Request>, error: kv_core::Error) {
    let error = shared_errors(error);
    for request in group {
        let _ = request.reply.send(Err(error()));
    }
}
