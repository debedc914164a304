//! The process that something happens to: it appends, and tells each step on its standard output.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use eventstores::{
    AppendOptions, Durability, Error, EventLog, EventStoreProviderExt, ExpectedVersion, LogReadOptions,
    MultiAppend, Result, Timestamp, connect,
};

use tokio::time::sleep;

use crate::backend::Backend;
use crate::ledger::Line;
use crate::work::{self, Append};

/// Appends that are under way at the same time, so that commits are shared.
const TASKS: usize = 4;
/// Between two tries of the same.
const PAUSE: Duration = Duration::from_millis(20);

/// What a writer is told.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) backend: Backend,
    pub(crate) path: PathBuf,
    /// The number of the first new append.
    pub(crate) next: u64,
    /// What is tried again first: numbers and times.
    pub(crate) again: Vec<(u64, u64)>,
    pub(crate) until: Until,
    /// What is acknowledged is durable only where it is asked for.
    pub(crate) durability: Durability,
}

/// When a writer ends, if it is not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Never.
    Killed,
    /// Never, and what fails is tried again until it is acknowledged.
    Steady,
    /// After so many new appends, and closing.
    Appended(u64),
    /// Something fails. The file is made after so many appends: the fault begins then, and is met by so many more or not
    /// at all.
    Failed { warm_up: u64, more: u64, armed: PathBuf },
}

/// What the tasks share.
struct Shared {
    orders: Orders,
    log: Arc<dyn EventLog>,
    next: AtomicU64,
    done: AtomicU64,
    failed: AtomicBool,
}

/// Does as it is told. Failures are told, too: the exit code says nothing.
pub(crate) async fn run(orders: Orders) {
    let provider = loop {
        match connect(&orders.backend.url(&orders.path)).await {
            Ok(provider) => break provider,
            Err(error) => tell_failure("open", &error),
        }
        if orders.until != Until::Steady {
            return;
        }
        sleep(PAUSE).await;
    };
    let again = orders.again.clone();
    let shared = Arc::new(Shared {
        log: provider.default_log(),
        next: AtomicU64::new(orders.next),
        done: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        orders,
    });
    for (number, time_ms) in again {
        if !shared.append(number, time_ms).await {
            break;
        }
    }
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| tokio::spawn(append_until_end(Arc::clone(&shared))))
        .collect();
    for task in tasks {
        task.await.expect("a task ends by itself");
    }
    if matches!(shared.orders.until, Until::Failed { .. }) {
        look_around(&shared).await;
    }
    if let Err(error) = provider.close().await {
        tell_failure("close", &error);
    }
}

async fn append_until_end(shared: Arc<Shared>) {
    loop {
        let done = shared.done.load(Ordering::Relaxed);
        let is_enough = match &shared.orders.until {
            Until::Killed | Until::Steady => false,
            Until::Appended(count) => done >= *count,
            Until::Failed { warm_up, more, .. } => {
                shared.failed.load(Ordering::Relaxed) || done >= warm_up + more
            }
        };
        if is_enough {
            return;
        }
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let time_ms = Timestamp::now().as_micros() as u64 / 1000;
        tell(&Line::Begin { number, time_ms });
        if !shared.append(number, time_ms).await {
            return;
        }
        let done = shared.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Until::Failed { warm_up, armed, .. } = &shared.orders.until
            && done == *warm_up
        {
            std::fs::write(armed, "").expect("the file can be made");
        }
    }
}

/// After a failure: a write more, and whether reads go on.
async fn look_around(shared: &Shared) {
    let number = shared.next.fetch_add(1, Ordering::Relaxed);
    let time_ms = Timestamp::now().as_micros() as u64 / 1000;
    tell(&Line::Begin { number, time_ms });
    let append = Append::new(shared.orders.backend, number, time_ms);
    match write(&*shared.log, &append, Durability::Durable).await {
        Ok(position) => tell(&Line::Acknowledged { number, position }),
        Err(error) => tell_failure("another", &error),
    }
    if let Err(error) = read_all(&*shared.log).await {
        tell_failure("read", &error);
    }
}

async fn read_all(log: &dyn EventLog) -> Result<u64> {
    let mut events = log.read_all(LogReadOptions::forward());
    let mut count = 0;
    while let Some(event) = events.next().await {
        event?;
        count += 1;
    }
    Ok(count)
}

impl Shared {
    /// Whether it was acknowledged, in the end.
    async fn append(&self, number: u64, time_ms: u64) -> bool {
        while !self.try_append(number, time_ms).await {
            if self.orders.until != Until::Steady {
                return false;
            }
            sleep(PAUSE).await;
        }
        true
    }

    async fn try_append(&self, number: u64, time_ms: u64) -> bool {
        let append = Append::new(self.orders.backend, number, time_ms);
        match write(&*self.log, &append, self.orders.durability).await {
            Ok(position) => tell(&Line::Acknowledged { number, position }),
            Err(error) => {
                tell_failure("append", &error);
                self.failed.store(true, Ordering::Relaxed);
                return false;
            }
        }
        // A snapshot is always durable, and what was appended before it is with it.
        if number.is_multiple_of(16) && self.orders.durability == Durability::Durable {
            self.snapshot(&append).await;
        }
        true
    }

    /// Takes a snapshot of a stream that was just appended to, at its version.
    async fn snapshot(&self, append: &Append) {
        let Some((stream, _)) = append.event_at(0) else {
            return;
        };
        let taken = async {
            let version = self.log.version(&stream).await?;
            let snapshot = work::snapshot(&stream, version.get());
            self.log.snapshot(&stream, version, snapshot).await?;
            Ok(version.get())
        };
        match taken.await {
            Ok(version) => tell(&Line::Snapshot {
                stream: stream.id().to_owned(),
                version,
            }),
            Err(error) => tell_failure("snapshot", &error),
        }
    }
}

/// Appends, to one stream or to several, and returns the position of the last event.
pub(crate) async fn write(log: &dyn EventLog, append: &Append, durability: Durability) -> Result<u64> {
    let mut parts = append.parts();
    if parts.len() == 1 {
        let (stream, events) = parts.remove(0);
        let options = AppendOptions::expecting(ExpectedVersion::Any).durability(durability);
        let appended = log.append_with(&stream, events, options).await?;
        return Ok(appended.position.get());
    }
    let all = parts
        .into_iter()
        .fold(MultiAppend::new(), |all, (stream, events)| {
            all.to(&stream, ExpectedVersion::Any, events)
        });
    Ok(log.append_all(all).await?.position.get())
}

/// One call of the operating system, so that a line is told whole or not at all.
pub(crate) fn tell(line: &Line) {
    let text = format!("{line}\n");
    let mut output = std::io::stdout().lock();
    // Nobody listens any more: the process is about to be killed.
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

pub(crate) fn tell_failure(what: &str, error: &Error) {
    tell(&Line::Failed {
        what: what.to_owned(),
        kind: kind(error),
        text: error.to_string(),
    });
}

/// The name of an error's variant.
pub(crate) fn kind(error: &Error) -> String {
    let text = format!("{error:?}");
    let end = text.find(|it: char| !it.is_alphanumeric()).unwrap_or(text.len());
    text[..end].to_owned()
}
