//! The one place where events are written, and all that guards them.
//!
//! A thread takes requests, finds out what it must know, and decides them in order into a plan. While the plan before
//! it is committed, a plan grows; then it is committed as one batch. So all that waited share one commit, deciding
//! costs no time in which the disk could work, and a lone request waits for nobody. Requests are acknowledged only
//! after their commit. What a caller does with its future changes nothing: a request that was taken runs to its end.

mod cache;
mod committer;
mod group;
mod known;
mod plan;
mod request;
mod rest;
mod turns;
mod worker;

use std::sync::Arc;
use std::thread;

use eventstore_abstractions::{Database, Error, Indexes, Result, SessionId, StreamId};
use kv_core::blocking;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use self::plan::MAX_BLOCK_BYTES;
use self::request::Queued;
pub(crate) use self::request::{Action, Answer, Append, AppendAll, LifeChange, Reply, Request};
use self::worker::Worker;
use crate::derived::Engine;
use crate::limits::Cost;
use crate::options::{Options, Threads};
use crate::reader::Reader;
use crate::subscription::Tails;

/// The way to the sequencer. When the last one is dropped, the sequencer ends and lets go of the engine.
#[derive(Debug)]
pub(crate) struct Sequencer {
    requests: mpsc::Sender<Command>,
    /// Kept so that sessions find the queue of releases open as long as there is a provider.
    _releases: mpsc::UnboundedSender<Queued>,
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
    releases: mpsc::UnboundedSender<Queued>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // A sequencer that has ended has released everything, or will leave it to the session's time-out.
            let _ = self.releases.send(release);
        }
    }
}

impl Sequencer {
    /// Starts the sequencer of `engine` on a thread of its own, which an engine may block, with the current tokio
    /// runtime for engines that need one.
    pub(crate) fn start(
        engine: Engine,
        reader: Reader,
        tails: Arc<Tails>,
        options: &Options,
        indexes: Indexes,
    ) -> Result<Self> {
        let (requests, request_queue) = mpsc::channel(options.max_queued_writes);
        let (releases, release_queue) = mpsc::unbounded_channel();
        let released = Arc::new(Notify::new());
        let worker = Worker::new(
            engine,
            reader,
            tails,
            options,
            indexes,
            Arc::clone(&released),
            releases.downgrade(),
        );
        let runtime = Handle::current();
        let run = worker.run(request_queue, release_queue);
        let started = match options.threads {
            Threads::Runtime => {
                runtime.spawn(run);
                Ok(())
            }
            Threads::Own => thread::Builder::new()
                .name("event-sequencer".to_owned())
                .spawn(move || {
                    blocking::allow_on_this_thread();
                    runtime.block_on(run);
                })
                .map(drop),
        };
        started.map_err(|error| Error::Unavailable {
            reason: "the system has no thread for the sequencer".to_owned(),
            source: Some(error.into()),
        })?;
        Ok(Self {
            requests,
            _releases: releases,
            released,
        })
    }

    /// Queues a request and waits for its answer. It waits for a place in the queue first, when that is full.
    pub(crate) async fn ask(&self, request: Request, answer: oneshot::Receiver<Answer>) -> Result<Reply> {
        let command = Command::Write(Box::new(request));
        self.requests
            .send(command)
            .await
            .map_err(|_| Error::ProviderClosed)?;
        let answer = answer.await.map_err(|_| Error::ProviderClosed)?;
        answer.reply
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
