//! One measurement, in the process that exists for it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clients::Times;
use crate::contender::{Contender, Entry};
use crate::latency::Latency;
use crate::workload::load::{Dataset, load};
use crate::workload::{Workload, aged, append, open, race, read};
use crate::{Result, Size, system};

/// What a process is asked to do with a contender.
pub(crate) struct Task {
    pub(crate) entry: &'static Entry,
    /// Where the contender's data is, or is to be.
    pub(crate) directory: PathBuf,
    pub(crate) size: Size,
    pub(crate) job: Job,
}

pub(crate) enum Job {
    /// Measure a workload.
    Measure(Workload, Times),
    /// Store a dataset and close.
    Load(Dataset),
    /// Store a dataset, say so, and append until killed.
    LoadAndGoOn(Dataset),
    /// Append so many events one by one, while somebody counts the syncs.
    Append(u64),
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// The figure, in the unit of the workload.
    pub(crate) value: f64,
    /// How long calls took, where single calls matter.
    pub(crate) latency: Option<Latency>,
    /// Appends that another writer was faster than.
    pub(crate) conflicts: Option<u64>,
    /// Most memory that the process ever had, file mappings included.
    pub(crate) peak_bytes: u64,
}

impl Figures {
    pub(crate) fn rate(events: u64, elapsed: Duration) -> Self {
        Self::of(events as f64 / elapsed.as_secs_f64())
    }

    pub(crate) fn time(elapsed: Duration) -> Self {
        Self::of(elapsed.as_secs_f64() * 1_000.0)
    }

    pub(crate) fn of(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

/// Does the task with a contender.
pub(crate) fn run<C: Contender>(task: &Task) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(run_job::<C>(task))?;
    Ok(Figures {
        peak_bytes: system::peak_memory_bytes()?,
        ..figures
    })
}

async fn run_job<C: Contender>(task: &Task) -> Result<Figures> {
    let entry = task.entry;
    let kind = entry.clients;
    let (workload, times) = match &task.job {
        Job::Measure(workload, times) => (*workload, *times),
        Job::Load(dataset) => {
            let store = C::open(entry.name, &task.directory).await?;
            load(&store, kind, dataset.shape(task.size)).await?;
            store.close().await?;
            return Ok(Figures::default());
        }
        Job::LoadAndGoOn(dataset) => {
            let store = C::open(entry.name, &task.directory).await?;
            load(&store, kind, dataset.shape(task.size)).await?;
            return crate::child::append_until_killed(&store, kind).await;
        }
        Job::Append(appends) => {
            let store = C::open(entry.name, &task.directory).await?;
            return append::run_counted(&store, kind, *appends).await;
        }
    };
    if let Workload::Open { .. } = workload {
        let (dataset, _) = workload.dataset().expect("what is opened was stored");
        let streams = entry.has_streams();
        return open::run::<C>(
            entry.name,
            &task.directory,
            kind,
            dataset.shape(task.size),
            streams,
        )
        .await;
    }
    let store = C::open(entry.name, &task.directory).await?;
    let figures = measure(&store, task, workload, times).await?;
    store.close().await?;
    Ok(figures)
}

async fn measure<C: Contender>(store: &C, task: &Task, workload: Workload, times: Times) -> Result<Figures> {
    let kind = task.entry.clients;
    let shape = workload.dataset().map(|(dataset, _)| dataset.shape(task.size));
    if let Some(shape) = shape
        && !task.entry.durable
    {
        // What is gone with its process is made in the process that needs it.
        load(store, kind, shape).await?;
    }
    match (workload, shape) {
        (Workload::Append { clients }, _) => append::run(store, kind, times, clients, 1).await,
        (Workload::Batch { events }, _) => append::run(store, kind, times, 1, events).await,
        (Workload::Race { writers }, _) => race::run(store, kind, times, writers).await,
        (Workload::Read { .. }, Some(shape)) => read::run_streams(store, kind, times, shape).await,
        (Workload::ReadAll, Some(shape)) => read::run_all(store, kind, times, shape).await,
        (Workload::Aged { .. }, Some(shape)) => aged::run(store, kind, times, shape).await,
        (Workload::AgedMemory, Some(shape)) => {
            aged::read_log(store, kind, shape).await?;
            aged::run(store, kind, times, shape).await?;
            Ok(Figures::of(mebibytes(system::peak_memory_bytes()?)))
        }
        (Workload::Disk, Some(shape)) => {
            let bytes = system::disk_bytes(&task.directory)?;
            Ok(Figures::of(bytes as f64 / shape.events() as f64))
        }
        (Workload::ReadMemory, Some(shape)) => {
            read::run_all(store, kind, Times::AT_ONCE, shape).await?;
            Ok(Figures::of(mebibytes(system::peak_memory_bytes()?)))
        }
        (Workload::LoadMemory, _) => {
            load(store, kind, Dataset::Million.shape(task.size)).await?;
            Ok(Figures::of(mebibytes(system::peak_memory_bytes()?)))
        }
        (Workload::Open { .. } | Workload::Read { .. }, _) | (_, None) => {
            Err(format!("{workload} is not measured in an open store").into())
        }
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
