//! Clients at work at the same time, as threads or as tasks, and the window in which their work counts.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::Result;

/// What a client of a contender is, as the contender's own documentation has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An operating system thread that blocks in its calls.
    Threads,
    /// A task of a tokio runtime with a worker per core.
    Tasks,
}

/// What clients are doing now.
const WARMING_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// The window of a measurement, as its clients see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window(Arc<AtomicU8>);

impl Window {
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OVER
    }

    /// Whether work that ends now counts.
    pub(crate) fn counts(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURED
    }

    /// Lets the clients warm up, then measures: how long the window was open.
    fn run(&self, warm_up: Duration, measured: Duration) -> Duration {
        debug_assert_eq!(self.0.load(Ordering::Relaxed), WARMING_UP, "a window opens once");
        thread::sleep(warm_up);
        self.0.store(MEASURED, Ordering::Relaxed);
        let begun = Instant::now();
        thread::sleep(measured);
        self.0.store(OVER, Ordering::Relaxed);
        begun.elapsed()
    }
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Times {
    /// For work that is done once, whatever time it takes.
    pub(crate) const AT_ONCE: Self = Self {
        warm_up: Duration::ZERO,
        measured: Duration::from_nanos(1),
    };

    pub(crate) fn of_seconds(warm_up: f64, measured: f64) -> Self {
        Self {
            warm_up: Duration::from_secs_f64(warm_up),
            measured: Duration::from_secs_f64(measured),
        }
    }
}

/// Runs all clients through one window: what each returns, and how long the window was.
pub(crate) async fn measure<T, F>(
    kind: Kind,
    times: Times,
    clients: impl IntoIterator<Item = F>,
    window: &Window,
) -> Result<(Vec<T>, Duration)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let running = Running::start(kind, clients);
    // This is the thread of `main`, which no client runs on.
    let elapsed = window.run(times.warm_up, times.measured);
    Ok((running.join().await?, elapsed))
}

/// Runs all clients to their end.
pub(crate) async fn run<T, F>(kind: Kind, clients: impl IntoIterator<Item = F>) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    Running::start(kind, clients).join().await
}

/// Runs one client to its end.
pub(crate) async fn run_one<T, F>(kind: Kind, client: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let results = run(kind, [client]).await?;
    Ok(results
        .into_iter()
        .next()
        .expect("a client that ran has a result"))
}

enum Running<T> {
    Threads(Vec<thread::JoinHandle<Result<T>>>),
    Tasks(Vec<tokio::task::JoinHandle<Result<T>>>),
}

impl<T: Send + 'static> Running<T> {
    fn start<F>(kind: Kind, clients: impl IntoIterator<Item = F>) -> Self
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let clients = clients.into_iter();
        match kind {
            Kind::Threads => {
                Self::Threads(clients.map(|client| thread::spawn(|| block_on(client))).collect())
            }
            Kind::Tasks => Self::Tasks(clients.map(tokio::spawn).collect()),
        }
    }

    async fn join(self) -> Result<Vec<T>> {
        match self {
            Self::Threads(threads) => threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a client panicked")?)
                .collect(),
            Self::Tasks(tasks) => {
                let mut results = Vec::with_capacity(tasks.len());
                for task in tasks {
                    results.push(task.await??);
                }
                Ok(results)
            }
        }
    }
}

/// Wakes a thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread. That of a contender whose calls block is ready at the first poll.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
