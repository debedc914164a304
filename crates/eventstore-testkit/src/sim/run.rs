//! Runs a plan.

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    Clock, Error, EventLog, EventStoreProvider, EventStoreProviderExt, LogReadOptions, Position, ReadOptions,
    Result, Settings, Version,
};
use kv_core::{Capabilities, KeyValueStore};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Report;
use super::bugs::Buggy;
use super::client::{Client, can_be, kind};
use super::clock::SimClock;
use super::engine::Disk;
use super::followers::{Following, is_reported};
use super::plan::{Epoch, Plan, STREAMS};
use super::trace::Trace;
use super::world::{World, stream_id, version};
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
    log: Arc<dyn EventLog>,
    clock: Arc<SimClock>,
}

struct Run<'a> {
    plan: &'a Plan,
    world: Arc<World>,
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
    let mut run = Run {
        plan,
        world: World::new(plan.seed, plan.processes, Arc::clone(&trace)),
        disk: Disk::new(plan.seed, capabilities, mistakes, Arc::clone(&trace)),
        clocks: [0, plan.skew_ms][..plan.processes]
            .iter()
            .map(|ahead| clock(*ahead))
            .collect(),
        was_cut: false,
        calls: 0,
        cuts: 0,
    };
    for epoch in &plan.epochs {
        if run.world.violation().is_none() {
            run.epoch(epoch);
        }
    }
    if run.world.violation().is_none() {
        run.finish();
    }
    Report {
        failure: run.world.violation(),
        operations: run.disk.operations(),
        calls: run.calls,
        cuts: run.cuts,
        trace: trace.take(),
    }
}

impl Run<'_> {
    /// Runs one epoch on a runtime of its own: dropping it is what a crash does to a process.
    fn epoch(&mut self, epoch: &Epoch) {
        let mut histories = Arc::default();
        let end = self.on_runtime(async |run| {
            let disk = Arc::clone(&run.disk);
            tokio::select! {
                biased;
                () = disk.when_cut() => End::Cut,
                () = run.live(epoch, &mut histories) => End::Closed,
            }
        });
        match end {
            End::Cut => {
                self.disk.lose();
                (self.was_cut, self.cuts) = (true, self.cuts + 1);
            }
            End::Closed => self.world.closed(),
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
            self.world.trace.start();
            let ended = run(self).await;
            self.world.trace.stop();
            ended
        })
    }

    /// What happens in an epoch unless the power is cut.
    async fn live(&mut self, epoch: &Epoch, histories: &mut Arc<Vec<History>>) {
        self.disk.rough(self.plan.faults, epoch.cut_after);
        let Some(processes) = self.open_all().await else {
            return;
        };
        self.disk.calm();
        self.look(&*processes[0].log).await;
        if self.world.violation().is_some() {
            return;
        }
        *histories = Arc::new(self.world.histories());
        self.disk.resume();
        let mut following = JoinSet::new();
        for (number, (process, follower)) in processes.iter().zip(&epoch.followers).enumerate() {
            following.spawn(self.following(number, process).run(*follower));
        }
        self.work(epoch, &processes, histories).await;
        self.disk.calm();
        following.abort_all();
        while following.join_next().await.is_some() {}
        for process in processes {
            let closed = timeout(PATIENCE, process.provider.close()).await;
            match closed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.world.wrong(format!("a close ends with {error:?}")),
                Err(_) => self.world.wrong("a close does not end"),
            }
        }
    }

    /// Lets the clients do their work.
    async fn work(&self, epoch: &Epoch, processes: &[Process], histories: &Arc<Vec<History>>) {
        let mut working = JoinSet::new();
        for (number, steps) in epoch.clients.iter().enumerate() {
            let process = &processes[number % processes.len()];
            let (seen, head) = self.seen();
            let client = Client {
                name: format!("client {number}"),
                world: Arc::clone(&self.world),
                provider: Arc::clone(&process.provider),
                log: Arc::clone(&process.log),
                clock: Arc::clone(&process.clock),
                histories: Arc::clone(histories),
                bug: self.plan.bug,
                seen,
                head,
                open: None,
                held: None,
            };
            working.spawn(client.run(steps.clone()));
        }
        let all = async {
            while let Some(ended) = working.join_next().await {
                if let Err(error) = ended {
                    self.world.wrong(format!("a client stops: {error}"));
                }
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            self.world.wrong("a call does not end");
        }
    }

    /// The versions of the streams and the position of the log, as they were when it was last looked.
    fn seen(&self) -> ([u64; STREAMS], Position) {
        let known = self.world.known();
        let version = |stream| {
            let id = stream_id(stream);
            known.log.iter().filter(|event| event.stream == id).count() as u64
        };
        (
            std::array::from_fn(version),
            Position::new(known.log.len() as u64),
        )
    }

    fn following(&self, number: usize, process: &Process) -> Following {
        Following {
            world: Arc::clone(&self.world),
            process: number,
            log: Arc::clone(&process.log),
            clock: Arc::clone(&process.clock) as Arc<dyn Clock>,
            bug: self.plan.bug,
        }
    }

    async fn look(&mut self, log: &dyn EventLog) {
        match self.world.look(log, self.was_cut).await {
            Ok(()) => self.was_cut = false,
            Err(error) => self
                .world
                .wrong(format!("what is stored cannot be read: {error:?}")),
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
                    self.world
                        .trace
                        .add(format!("process {number} cannot open: {}", kind(&error)));
                }
                Err(error) => {
                    self.world
                        .wrong(format!("process {number} cannot open: {error:?}"));
                    return None;
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
        self.world
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
        let log = provider.default_log();
        Ok(Process { provider, log, clock })
    }

    fn check_histories(&mut self, histories: &[History]) {
        for (stream, history) in histories.iter().enumerate() {
            match history.check() {
                Ok(()) => self.calls += history.calls(),
                Err(what) => self
                    .world
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
            run.look(&*process.log).await;
            if run.world.violation().is_none() {
                run.following(0, &process).drain().await;
            }
            drop(process);
            for _ in 0..FLIPS {
                if run.world.violation().is_none() {
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
        self.world.trace.add(line);
        let wrong = match self.try_open(0).await {
            Ok(process) => self.read_damaged(&*process.log).await,
            Err(error) => Err(error),
        };
        if let Err(error) = wrong
            && !is_reported(&error)
        {
            self.world.wrong(format!("a flipped bit leads to {error:?}"));
        }
        self.disk.restore(image);
    }

    async fn read_damaged(&self, log: &dyn EventLog) -> Result<()> {
        let known = self.world.known().log.clone();
        match log.read_all(LogReadOptions::forward()).collect().await {
            Ok(read) if read != known => self.world.wrong("after a flipped bit the log is another"),
            Err(error) if !is_reported(&error) => return Err(error),
            _ => {}
        }
        for stream in (0..STREAMS).map(stream_id) {
            let of_stream = known.iter().filter(|event| event.stream == stream);
            match log.version(&stream).await {
                Ok(read) if read != version(of_stream.clone().count() as u64) => {
                    self.world
                        .wrong(format!("after a flipped bit {stream} is at {read}"));
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
                        self.world
                            .wrong(format!("after a flipped bit {stream} is another"));
                    }
                }
                Err(Error::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
