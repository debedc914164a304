//! A handle of work that goes on in the background.

use std::future::Future;

use eventstore_abstractions::{Error, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Work that goes on in a task of its own: a worker of a consumer, or the runner of a projection.
///
/// Dropping it ends the work where it is, which is safe: what was not committed is done again by whoever goes on.
///
/// See [`Consumer`](crate::consumer::Consumer) for an example.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
}

impl Running {
    /// Spawns `work`, which ends soon after it is told to stop.
    pub(crate) fn spawn<F>(work: impl FnOnce(Stop) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(work(Stop(stopped)));
        Self { stop, task }
    }

    /// Stops it and waits for its end: events in hand are handled to their end, and the checkpoint is stored.
    ///
    /// # Errors
    /// Why it had ended before, or what failed at the end.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.send_replace(true);
        self.ended().await
    }

    /// Waits until it ends, which it does by itself only after an error that will not pass. Call it again only
    /// when it was cancelled.
    ///
    /// # Errors
    /// What ended it.
    pub async fn ended(&mut self) -> Result<()> {
        match (&mut self.task).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Error::application(error)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells work to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Something to tell, and who is told.
    pub(crate) fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether to stop now.
    pub(crate) fn now(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is time to stop; also when whoever could tell is gone.
    pub(crate) async fn told(&mut self) {
        // An error means that the sender is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
