//! Runs a plan.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    Clock, Error, EventLog, EventStoreProvider, LogReadOptions, ReadOptions, Result, Settings, Version,
};
use kv_core::{Capabilities, KeyValueStore};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Report;
use super::bugs::Buggy;
use super::client::{Client, can_be, kind};
use super::clock::SimClock;
use super::disk::Disk;
use super::followers::{Following, is_reported};
use super::plan::{Epoch, Plan, STREAMS};
use super::trace::Trace;
use super::world::{Common, World, stream_id, version};
use crate::linear::History;

/// Simulated time after which a call has stopped for good.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often an open is tried whose engine fails.
const MAX_OPENS: usize = 200;
/// Bits that are flipped at the end of a run, one after the other.
const FLIPS: usize = 3;

/// How an epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Cut,
}

/// A process that has the store open.
struct Process {
    provider: Arc<dyn EventStoreProvider>,
    /// The log of each database.
    logs: Vec<Arc<dyn EventLog>>,
    clock: Arc<SimClock>,
}

struct Run<'a> {
    plan: &'a Plan,
    common: Arc<Common>,
    /// What is known of each database.
    worlds: Vec<Arc<World>>,
    disk: Arc<Disk>,
    clocks: Vec<Arc<SimClock>>,
    was_cut: bool,
    calls: usize,
    cuts: usize,
}

/// Runs `plan` to its end, or until something is wrong.
pub(super) fn run(plan: &Plan) -> Report {
    // For what the crates beneath choose at random.
    fastrand::seed(plan.seed);
    let trace = Arc::new(Trace::default());
    let capabilities = Capabilities {
        durable: true,
        shared: plan.processes > 1,
        ..Capabilities::IN_PROCESS
    };
    let mistakes = plan.bug.map(|bug| bug.mistakes()).unwrap_or_default();
    let clock = |ahead_ms| Arc::new(SimClock::new(Arc::clone(&trace), ahead_ms));
    let common = Common::new(Arc::clone(&trace));
    let mut run = Run {
        plan,
        worlds: (0..plan.databases as u64)
            .map(|number| World::new(plan.seed, number, plan.processes, &common))
            .collect(),
        common: Arc::clone(&common),
        disk: Disk::new(plan.seed, capabilities, mistakes, Arc::clone(&trace)),
        clocks: plan.skews_ms.iter().map(|ahead| clock(*ahead)).collect(),
        was_cut: false,
        calls: 0,
        cuts: 0,
    };
    for epoch in &plan.epochs {
        if run.common.violation().is_none() {
            run.epoch(epoch);
        }
    }
    if run.common.violation().is_none() {
        run.finish();
    }
    Report {
        failure: common.violation(),
        operations: run.disk.operations(),
        calls: run.calls,
        cuts: run.cuts,
        trace: trace.take(),
    }
}

impl Run<'_> {
    /// Runs one epoch on a runtime of its own: dropping it is what a crash does to a process.
    fn epoch(&mut self, epoch: &Epoch) {
        let mut histories = Vec::new();
        let end = self.on_runtime(async |run| {
            let disk = Arc::clone(&run.disk);
            tokio::select! {
                biased;
                () = disk.when_cut() => End::Cut,
                () = run.live(epoch, &mut histories) => End::Closed,
            }
        });
        self.disk.bury();
        match end {
            End::Cut => {
                self.disk.lose();
                (self.was_cut, self.cuts) = (true, self.cuts + 1);
            }
            End::Closed => self.worlds.iter().for_each(|world| world.closed()),
        }
        self.check_histories(&histories);
    }

    fn on_runtime<T>(&mut self, run: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let runtime = runtime.expect("a runtime can be built");
        runtime.block_on(async {
            self.common.trace.start();
            let ended = run(self).await;
            self.common.trace.stop();
            ended
        })
    }

    /// What happens in an epoch unless the power is cut.
    async fn live(&mut self, epoch: &Epoch, histories: &mut Vec<Arc<Vec<History>>>) {
        self.disk.rough(self.plan.faults, epoch.cut_after);
        let Some(processes) = self.open_all().await else {
            return;
        };
        self.disk.calm();
        self.look(&processes[0]).await;
        if self.common.violation().is_some() {
            return;
        }
        *histories = self
            .worlds
            .iter()
            .map(|world| Arc::new(world.histories()))
            .collect();
        // Others must be there to go on, and to close the store.
        self.disk.doom(epoch.death.filter(|_| processes.len() > 1));
        self.disk.resume();
        let mut following = JoinSet::new();
        for (number, (process, follows)) in processes.iter().zip(&epoch.followers).enumerate() {
            let database = follows.database % self.worlds.len();
            following.spawn(self.following(number, process, database).run(follows.who));
        }
        self.work(epoch, &processes, histories).await;
        self.disk.calm();
        following.abort_all();
        while following.join_next().await.is_some() {}
        for (number, process) in processes.into_iter().enumerate() {
            if self.disk.dead() == Some(number) {
                continue;
            }
            let closed = timeout(PATIENCE, process.provider.close()).await;
            match closed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.common.wrong(format!("a close ends with {error:?}")),
                Err(_) => self.common.wrong("a close does not end"),
            }
        }
    }

    /// Lets the clients do their work.
    async fn work(&self, epoch: &Epoch, processes: &[Process], histories: &[Arc<Vec<History>>]) {
        let mut working = JoinSet::new();
        let mut of_process = vec![Vec::new(); processes.len()];
        for (number, steps) in epoch.clients.iter().enumerate() {
            let process = &processes[number % processes.len()];
            // Each process has clients of each database, if there are enough.
            let database = (number + number / processes.len()) % self.worlds.len();
            let world = &self.worlds[database];
            let (seen, head) = world.last_seen();
            let client = Client {
                name: format!("client {number} of {}", world.database),
                world: Arc::clone(world),
                provider: Arc::clone(&process.provider),
                log: Arc::clone(&process.logs[database]),
                logs: process.logs.clone(),
                clock: Arc::clone(&process.clock),
                histories: Arc::clone(&histories[database]),
                bug: self.plan.bug,
                seen,
                head,
                open: None,
                held: None,
            };
            let task = working.spawn(client.run(steps.clone()));
            of_process[number % processes.len()].push(task);
        }
        let mut all_live = true;
        let all = async {
            loop {
                let ended = tokio::select! {
                    biased;
                    dead = self.disk.when_dead(), if all_live => {
                        all_live = false;
                        self.common.trace.add(format!("process {dead} dies"));
                        of_process[dead].drain(..).for_each(|task| task.abort());
                        continue;
                    }
                    ended = working.join_next() => ended,
                };
                match ended {
                    None => return,
                    Some(Err(error)) if !error.is_cancelled() => {
                        self.common.wrong(format!("a client stops: {error}"));
                    }
                    Some(_) => {}
                }
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            self.common.wrong("a call does not end");
        }
    }

    fn following(&self, number: usize, process: &Process, database: usize) -> Following {
        Following {
            world: Arc::clone(&self.worlds[database]),
            process: number,
            log: Arc::clone(&process.logs[database]),
            clock: Arc::clone(&process.clock) as Arc<dyn Clock>,
            bug: self.plan.bug,
        }
    }

    async fn look(&mut self, process: &Process) {
        for (world, log) in self.worlds.iter().zip(&process.logs) {
            if let Err(error) = world.look(&**log, &process.clock, self.was_cut).await {
                return world.wrong(format!("what is stored cannot be read: {error:?}"));
            }
        }
        self.was_cut = false;
    }

    /// Removes what is not kept, at the end.
    async fn scavenge(&self, process: &Process) {
        for (world, log) in self.worlds.iter().zip(&process.logs) {
            if self.common.violation().is_none()
                && let Err(error) = world.scavenge_all(&**log, &process.clock).await
            {
                world.wrong(format!("what is not kept cannot be removed: {error:?}"));
            }
        }
    }

    async fn open_all(&self) -> Option<Vec<Process>> {
        let mut processes = Vec::new();
        for number in 0..self.plan.processes {
            processes.push(self.open(number).await?);
        }
        Some(processes)
    }

    /// Opens the store as process `number`, and tries again when the engine fails.
    async fn open(&self, number: usize) -> Option<Process> {
        for _ in 0..MAX_OPENS {
            match self.try_open(number).await {
                Ok(process) => return Some(process),
                Err(error) if can_be(&error) => {
                    self.common
                        .trace
                        .add(format!("process {number} cannot open: {}", kind(&error)));
                }
                Err(error) => {
                    self.common
                        .wrong(format!("process {number} cannot open: {error:?}"));
                    return None;
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.common
            .wrong(format!("process {number} cannot open, in {MAX_OPENS} times"));
        None
    }

    async fn try_open(&self, number: usize) -> Result<Process> {
        let clock = Arc::clone(&self.clocks[number]);
        let options = eventstore_kv::Options::default()
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .max_cached_streams(self.plan.cached_streams)
            .max_deferred_bytes(self.plan.deferred_bytes)
            .single_threaded();
        let engine: Arc<dyn KeyValueStore> = self.disk.engine(number);
        let engine = Buggy::over(engine, self.plan.bug);
        let provider = eventstore_kv::Provider::open_with(engine, Settings::default(), options).await?;
        let provider: Arc<dyn EventStoreProvider> = Arc::new(provider);
        let logs = self
            .worlds
            .iter()
            .map(|world| provider.log(&world.database))
            .collect();
        Ok(Process {
            provider,
            logs,
            clock,
        })
    }

    fn check_histories(&mut self, histories: &[Arc<Vec<History>>]) {
        let histories = histories
            .iter()
            .flat_map(|of_database| of_database.iter().enumerate());
        for (stream, history) in histories {
            match history.check() {
                Ok(()) => self.calls += history.calls(),
                Err(what) => self
                    .common
                    .wrong(format!("stream {stream} is not linearizable: {what}")),
            }
        }
    }

    /// Looks at everything once more, lets everybody who follows come to the end, and flips bits.
    fn finish(&mut self) {
        self.on_runtime(async |run| {
            run.disk.calm();
            let Some(process) = run.open(0).await else {
                return;
            };
            run.look(&process).await;
            run.scavenge(&process).await;
            for database in 0..run.worlds.len() {
                if run.common.violation().is_none() {
                    run.following(0, &process, database).drain().await;
                }
            }
            drop(process);
            for _ in 0..FLIPS {
                if run.common.violation().is_none() {
                    run.flip().await;
                }
            }
        });
    }

    /// Flips a bit: whatever is read afterwards is right, or says that it is damaged.
    async fn flip(&self) {
        let image = self.disk.image();
        let Some(key) = self.disk.flip_bit() else {
            return;
        };
        // Some keys have ids that are made anew in each run.
        let (space, length) = (key[0], key.len());
        let line = format!("a bit is flipped in the value of a key of {length} bytes in space {space:#04x}");
        self.common.trace.add(line);
        let wrong = match self.try_open(0).await {
            Ok(process) => self.read_damaged(&process).await,
            Err(error) => Err(error),
        };
        if let Err(error) = wrong
            && !is_reported(&error)
        {
            self.common.wrong(format!("a flipped bit leads to {error:?}"));
        }
        self.disk.restore(image);
    }

    async fn read_damaged(&self, process: &Process) -> Result<()> {
        for (world, log) in self.worlds.iter().zip(&process.logs) {
            Self::read_damaged_log(world, &**log).await?;
        }
        Ok(())
    }

    async fn read_damaged_log(world: &World, log: &dyn EventLog) -> Result<()> {
        let known = world.known().log.clone();
        match log.read_all(LogReadOptions::forward()).collect().await {
            Ok(read) if read != known => world.wrong("after a flipped bit the log is another"),
            Err(error) if !is_reported(&error) => return Err(error),
            _ => {}
        }
        for stream in (0..STREAMS).map(stream_id) {
            let of_stream = known.iter().filter(|event| event.stream == stream);
            match log.version(&stream).await {
                Ok(read) if read != version(of_stream.clone().count() as u64) => {
                    world.wrong(format!("after a flipped bit {stream} is at {read}"));
                }
                Err(error) if !is_reported(&error) => return Err(error),
                _ => {}
            }
            let options = ReadOptions::slice(Version::FIRST, Version::MAX);
            let read = match log.read_stream(&stream, options).await {
                Ok(replay) => replay.events.collect().await,
                Err(error) => Err(error),
            };
            match read {
                Ok(events) => {
                    let mut all = of_stream.rev();
                    let is_right = events.iter().rev().all(|event| all.next() == Some(event));
                    if !is_right {
                        world.wrong(format!("after a flipped bit {stream} is another"));
                    }
                }
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
