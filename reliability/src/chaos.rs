//! Servers that are killed, and processes that are killed or paused, under several writers of one store.
#![allow(clippy::disallowed_methods, reason = "it measures how long real servers take")]

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use eventstores::{
    Error, EventLogExt, EventMessage, EventStoreExt, EventStoreProviderExt, Result as StoreResult, Settings,
    StreamId, connect, connect_with,
};
use tokio::runtime::Runtime;

use crate::backend::Backend;
use crate::ledger::{Ledger, Line};
use crate::process::{self, Writer};
use crate::verify;
use crate::writer::{tell, tell_failure};

const WRITERS: u64 = 3;
/// The numbers of one writer.
const NUMBERS: u64 = 1 << 40;
/// How long writers go on between two things that happen.
const REST: Duration = Duration::from_secs(3);
/// How long a server, or a member of it, is gone.
const GONE: Duration = Duration::from_secs(4);
/// How long nothing may be acknowledged after all is well again.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
const SESSION: Duration = Duration::from_secs(2);
/// What is appended by the process that is paused, and by the one that takes its stream over.
const BEFORE: &str = "Before";
const AFTER: &str = "After";

/// The writers of one store.
struct Writers {
    backend: Backend,
    name: String,
    running: Vec<(Writer, Ledger)>,
    last: Instant,
    seen: u64,
    longest_stall: Duration,
}

pub(crate) fn run(runtime: &Runtime, backend: Backend, kills: u32) -> Result<(), String> {
    let name = format!("chaos_{:016x}", fastrand::u64(..));
    let mut writers = Writers::start(backend, &name);
    writers.until_all_write()?;
    for _ in 0..kills {
        writers.go_on(REST);
        writers.services("kill")?;
        if backend == Backend::Patroni {
            // One that comes back at once leads again: another one must have taken over.
            writers.until_all_write()?;
        } else {
            writers.go_on(GONE);
        }
        writers.services("up")?;
        writers.until_all_write()?;
    }
    writers.go_on(REST);
    writers.replace_one();
    writers.until_all_write()?;
    let (stall, begun) = (writers.longest_stall, writers.seen);
    let (ledger, failures) = writers.end();
    let report = runtime
        .block_on(verify::check(backend, Path::new(&name), &ledger))
        .map_err(|error| format!("what is stored cannot be read: {error:?}"))?;
    println!(
        "{}: killed {kills} times under {WRITERS} writers, and a writer once: {begun} acknowledgements, {failures} failures told, \
         longest stall {} ms: {report}",
        backend.name(),
        stall.as_millis()
    );
    if !report.is_clean() {
        return Err(report.told.join("\n  "));
    }
    paused(runtime, backend)
}

impl Writers {
    fn start(backend: Backend, name: &str) -> Self {
        let mut writers = Self {
            backend,
            name: name.to_owned(),
            running: Vec::new(),
            last: Instant::now(),
            seen: 0,
            longest_stall: Duration::ZERO,
        };
        for writer in 0..WRITERS {
            let ledger = Ledger::from(writer * NUMBERS + 1);
            writers.running.push((writers.writer(&ledger), ledger));
        }
        writers
    }

    fn writer(&self, ledger: &Ledger) -> Writer {
        let steady = [OsStr::new("steady")];
        Writer::start(&mut process::command(
            self.backend,
            Path::new(&self.name),
            ledger,
            &steady,
        ))
    }

    /// Takes what they tell for so long.
    fn go_on(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.look();
        }
    }

    /// Does something to the servers, and takes what they tell meanwhile: a server takes long to come up.
    fn services(&mut self, what: &str) -> Result<(), String> {
        let (cargo, name) = (env::var("CARGO"), self.backend.name());
        let mut command = Command::new(cargo.unwrap_or_else(|_| "cargo".to_owned()));
        command.args(["xtask", "services", what, name]);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => return Ok(()),
                Some(_) => return Err(format!("services {what} {name} failed")),
                None => self.look(),
            }
        }
    }

    fn look(&mut self) {
        thread::sleep(LOOK);
        for (writer, ledger) in &mut self.running {
            writer.take_told(ledger);
        }
        let seen = self.running.iter().map(|(writer, _)| writer.acknowledged).sum();
        if seen != self.seen {
            // Until all were started there is nothing to stall.
            if self.seen > 0 {
                self.longest_stall = self.longest_stall.max(self.last.elapsed());
            }
            (self.seen, self.last) = (seen, Instant::now());
        }
    }

    /// Waits until each of them was told of something new.
    fn until_all_write(&mut self) -> Result<(), String> {
        let told = |writers: &Self| {
            let told = writers.running.iter().map(|(writer, _)| writer.acknowledged);
            told.collect::<Vec<_>>()
        };
        let (before, begun) = (told(self), Instant::now());
        while told(self).iter().zip(&before).any(|(now, before)| now == before) {
            if begun.elapsed() > PATIENCE {
                let failures = self
                    .running
                    .iter()
                    .filter_map(|(writer, _)| writer.failures.last());
                return Err(format!("a writer hangs: {:?}", failures.collect::<Vec<_>>()));
            }
            self.look();
        }
        Ok(())
    }

    /// Kills one in the middle of what it does. The next one tries again what it had begun.
    fn replace_one(&mut self) {
        let (mut killed, mut ledger) = self.running.remove(0);
        killed.kill(&mut ledger);
        let mut next = self.writer(&ledger);
        next.acknowledged = killed.acknowledged;
        next.failures = std::mem::take(&mut killed.failures);
        self.running.push((next, ledger));
    }

    /// All that they told, and how many failures that were.
    fn end(self) -> (Ledger, usize) {
        let (mut all, mut failures) = (Ledger::default(), 0);
        for (mut writer, mut ledger) in self.running {
            writer.kill(&mut ledger);
            failures += writer.failures.len();
            all.merge(ledger);
        }
        (all, failures)
    }
}

/// A process that has a session is paused until another one has its stream, and then goes on.
fn paused(runtime: &Runtime, backend: Backend) -> Result<(), String> {
    let name = format!("chaos_{:016x}", fastrand::u64(..));
    let mut ledger = Ledger::default();
    let mut command = Command::new(env::current_exe().expect("own path"));
    let mut holder = Writer::start(command.args(["hold", backend.name(), &name]));
    while holder.acknowledged < 5 {
        holder.wait_for_new(&mut ledger)?;
    }
    holder.signal("-STOP")?;
    let taken = runtime.block_on(take_over(backend, &name));
    holder.signal("-CONT")?;
    taken.map_err(|error| format!("the stream cannot be taken over: {error:?}"))?;
    let begun = Instant::now();
    while holder.failures.is_empty() && begun.elapsed() < PATIENCE {
        thread::sleep(LOOK);
        holder.take_told(&mut ledger);
    }
    holder.kill(&mut ledger);
    let types = runtime
        .block_on(types(backend, &name))
        .map_err(|error| format!("what is stored cannot be read: {error:?}"))?;
    let stale = types
        .iter()
        .skip_while(|it| *it == BEFORE)
        .filter(|it| *it == BEFORE);
    let stale = stale.count();
    let told = holder.failures.first();
    println!(
        "{}: a process paused for longer than its session: {} events, stale writes {stale}; it was told {}",
        backend.name(),
        types.len(),
        told.map_or("nothing", |(_, kind, _)| kind)
    );
    if stale > 0 || told.is_none() {
        return Err(format!("a process wrote after its session: {types:?}"));
    }
    Ok(())
}

fn held() -> StreamId {
    StreamId::new("chaos", "held").expect("a valid name")
}

fn event(name: &str) -> EventMessage {
    EventMessage::json(name, &()).expect("a valid message")
}

/// Appends through a session, and renews it, until that fails.
pub(crate) async fn hold(backend: Backend, name: &str) {
    let held_on = async {
        let settings = Settings::default().session_timeout(SESSION);
        let provider = connect_with(&backend.url(Path::new(name)), settings).await?;
        let session = provider.open(&held()).await?;
        for number in 1.. {
            let time_ms = number;
            tell(&Line::Begin { number, time_ms });
            session.renew(None).await?;
            let appended = session.append([event(BEFORE)]).await?;
            let position = appended.position.get();
            tell(&Line::Acknowledged { number, position });
            tokio::time::sleep(LOOK).await;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = held_on.await {
        tell_failure("append", &error);
    }
}

async fn take_over(backend: Backend, name: &str) -> StoreResult<()> {
    let settings = Settings::default().open_timeout(10 * SESSION);
    let provider = connect_with(&backend.url(Path::new(name)), settings).await?;
    let session = provider.open(&held()).await?;
    session.append([event(AFTER), event(AFTER)]).await?;
    // The other one must be refused whether the stream is held or free.
    session.close().await?;
    provider.close().await
}

async fn types(backend: Backend, name: &str) -> StoreResult<Vec<String>> {
    let provider = connect(&backend.url(Path::new(name))).await?;
    let history = provider.default_log().read(&held()).await?.collect().await?;
    provider.close().await?;
    let types = history
        .events
        .iter()
        .map(|event| event.message.type_name().to_owned());
    Ok(types.collect())
}
