//! The one place where events are written, and all that guards them.
//!
//! The sequencer takes the requests that wait, finds out what it must know, decides them in order into a plan, and commits it
//! as one batch. What is asked for meanwhile waits for the next one. So all that waited share one commit, and a lone
//! request waits for nobody. Requests are acknowledged only after their commit. What a caller does with its future changes nothing: a request that was taken runs to its end.

mod cache;
mod commit;
mod drive;
mod group;
mod known;
mod plan;
mod request;
mod rest;
mod turns;
mod worker;

use std::sync::Arc;

use eventstore_abstractions::{Database, Error, Indexes, Result, SessionId, StreamId};
use tokio::sync::{Notify, mpsc, oneshot};

use self::drive::{Bell, Drive, Lone};
pub(crate) use self::plan::MAX_BLOCK_BYTES;
use self::request::Queued;
pub(crate) use self::request::{Action, Answer, Append, AppendAll, LifeChange, Reply, Request};
use self::worker::{Queues, Worker};
use crate::derived::Engine;
use crate::limits::Cost;
use crate::options::Options;
use crate::reader::Reader;
use crate::subscription::Tails;

/// The way to the sequencer. When the last one is dropped, the sequencer ends and lets go of the engine.
#[derive(Debug)]
pub(crate) struct Sequencer {
    requests: mpsc::Sender<Command>,
    drive: Drive,
    /// Kept so that sessions find the queue of releases open as long as there is a provider.
    releases: Releases,
    released: Arc<Notify>,
    /// Dropped after the queue of requests: then nobody can ask for anything any more.
    _end: End,
}

/// The way of releases to the sequencer.
#[derive(Clone, Debug)]
struct Releases {
    sender: mpsc::UnboundedSender<Queued>,
    bell: Bell,
}

#[derive(Debug)]
enum Command {
    Write(Box<Request>),
    Close(oneshot::Sender<Result<()>>),
}

/// Wakes the sequencer when it is dropped: there is something to find out.
#[derive(Debug)]
struct End(Option<Bell>);

impl End {
    /// Wakes nobody.
    fn call_off(mut self) {
        self.0 = None;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(bell) = &self.0 {
            bell.ring();
        }
    }
}

/// Holds a stream for a session. Dropping it releases the stream in the background, wherever it is dropped: in a
/// session, or in an answer that nobody waits for any more.
#[derive(Debug)]
pub(crate) struct Hold {
    release: Option<Box<Request>>,
    releases: Releases,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            // A sequencer that has ended has released everything, or will leave it to the session's time-out.
            let _ = self.releases.sender.send(release);
            self.releases.bell.ring();
        }
    }
}

impl Sequencer {
    /// Starts the sequencer of `engine`, with the current tokio runtime for engines that need one.
    pub(crate) fn start(
        engine: Engine,
        reader: Reader,
        tails: Arc<Tails>,
        options: &Options,
        indexes: Indexes,
    ) -> Result<Self> {
        let (requests, request_queue) = mpsc::channel(options.max_queued_writes);
        let (sender, release_queue) = mpsc::unbounded_channel();
        let released = Arc::new(Notify::new());
        let bell = Bell::default();
        let lone = Lone::default();
        let releases = Releases {
            sender,
            bell: bell.clone(),
        };
        let queues = Queues {
            requests: request_queue,
            releases: release_queue,
        };
        let worker = Worker::new(
            engine,
            reader,
            tails,
            options,
            indexes,
            Arc::clone(&released),
            queues,
            &releases,
            lone.clone(),
        );
        let drive = Drive::start(
            worker,
            bell.clone(),
            lone,
            Arc::clone(&options.clock),
            options.threads,
        )?;
        Ok(Self {
            requests,
            drive,
            releases,
            released,
            _end: End(Some(bell)),
        })
    }

    /// Has a request served and waits for its answer: at once if nobody else asks for anything, otherwise it is queued. It
    /// waits for a place in the queue first, when that is full.
    pub(crate) async fn ask(&self, request: Request, answer: oneshot::Receiver<Answer>) -> Result<Reply> {
        if let Some(request) = self.drive.serve(Box::new(request)) {
            self.queue(Command::Write(request))
                .await
                .map_err(|_| Error::ProviderClosed)?;
        }
        match answer.await {
            Ok(answer) => answer.reply,
            // Whoever was not written is told so.
            Err(_) => Err(Error::OutcomeUnknown {
                reason: "the runtime has ended on which it was written".to_owned(),
                source: None,
            }),
        }
    }

    async fn queue(&self, command: Command) -> std::result::Result<(), mpsc::error::SendError<Command>> {
        self.requests.send(command).await?;
        self.releases.bell.ring();
        Ok(())
    }

    /// Finishes what was begun and closes the engine.
    pub(crate) async fn close(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        if self.queue(Command::Close(reply)).await.is_err() {
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
