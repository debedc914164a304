//! The run: which contender is measured when, and what came of it.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use crate::clients::Times;
use crate::contender::{self, Entry};
use crate::measure::{Figures, Job};
use crate::workload::load::Dataset;
use crate::workload::{self, End, Workload};
use crate::{Options, Result, Size, child, syncs, system};

/// Of the time of a measurement, as much comes before it to warm up.
const WARM_UP_PART: f64 = 0.2;
const QUICK_SECONDS: f64 = 0.2;

/// What is to be run.
pub(crate) struct Plan {
    entries: Vec<&'static Entry>,
    workloads: Vec<Workload>,
    rounds: u32,
    times: Times,
    size: Size,
    data: PathBuf,
}

/// What came of it.
pub(crate) struct Results {
    pub(crate) entries: Vec<&'static Entry>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) size: Size,
    pub(crate) file_system: String,
    /// What was typed to get this.
    pub(crate) command: String,
    cells: HashMap<(&'static str, String), Cell>,
    syncs: HashMap<&'static str, f64>,
}

/// The figures of one contender at one workload.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// One of each round, ascending by value.
    Measured(Vec<Figures>),
    /// Why there is none.
    Failed(String),
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        for name in &options.only {
            contender::by_name(name)?;
        }
        let asked =
            |entry: &&Entry| options.only.is_empty() || options.only.iter().any(|name| name == entry.name);
        let entries = contender::ALL.iter().filter(asked).collect();
        let workloads = match options.workload.as_slice() {
            [] => workload::ALL.to_vec(),
            names => names
                .iter()
                .map(|name| Workload::by_name(name))
                .collect::<Result<_>>()?,
        };
        let (size, rounds, seconds) = if options.quick {
            (Size::Quick, 1, QUICK_SECONDS)
        } else {
            (Size::Full, options.rounds, options.seconds)
        };
        Ok(Self {
            entries,
            workloads,
            rounds,
            times: Times::of_seconds(seconds * WARM_UP_PART, seconds),
            size,
            data: options.data.clone(),
        })
    }

    /// Measures everything, and leaves nothing on the disk.
    pub(crate) fn run(&self) -> Result<Results> {
        self.clear()?;
        fs::create_dir_all(&self.data)?;
        let mut results = Results {
            entries: self.entries.clone(),
            workloads: self.workloads.clone(),
            rounds: self.rounds,
            seconds: self.times.measured.as_secs_f64(),
            size: self.size,
            file_system: system::file_system(&self.data)?,
            command: command_line(),
            cells: HashMap::new(),
            syncs: HashMap::new(),
        };
        for &entry in &self.entries {
            if let Some(syncs) = self.count_syncs(entry) {
                results.syncs.insert(entry.name, syncs);
            }
        }
        for (number, &workload) in self.workloads.iter().enumerate() {
            self.run_workload(workload, &mut results);
            self.forget(workload, &self.workloads[number + 1..])?;
        }
        self.clear()?;
        Ok(results)
    }

    fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn count_syncs(&self, entry: &'static Entry) -> Option<f64> {
        if !entry.durable {
            return None;
        }
        let count = |appends: u64| -> Result<u64> {
            self.in_new_directory(entry, |directory| {
                syncs::count(child::command(
                    entry,
                    directory,
                    self.size,
                    &Job::Append(appends),
                )?)
            })
        };
        match syncs::per_append(count) {
            Ok(syncs) => Some(syncs),
            Err(error) => {
                eprintln!("{}: syncs are not counted: {error}", entry.name);
                None
            }
        }
    }

    fn run_workload(&self, workload: Workload, results: &mut Results) {
        let entries: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.takes(workload))
            .collect();
        for round in 0..self.rounds {
            for place in 0..entries.len() {
                // Who comes first changes from round to round, so that nobody profits from the place.
                let entry = entries[(place + round as usize) % entries.len()];
                let key = (entry.name, workload.to_string());
                if matches!(results.cells.get(&key), Some(Cell::Failed(_))) {
                    continue;
                }
                let outcome = self.measure(entry, workload);
                match &outcome {
                    Ok(figures) => eprintln!(
                        "{workload}, round {}: {} {:.1} {}",
                        round + 1,
                        entry.name,
                        figures.value,
                        workload.unit().name()
                    ),
                    Err(error) => eprintln!("{workload}: {} failed: {error}", entry.name),
                }
                results.add(key, outcome);
            }
        }
    }

    fn measure(&self, entry: &'static Entry, workload: Workload) -> Result<Figures> {
        let job = Job::Measure(workload, self.times);
        let stored = match workload.dataset() {
            Some((dataset, end)) if entry.durable => self.stored(entry, dataset, end)?,
            _ => {
                return self.in_new_directory(entry, |directory| {
                    system::settle()?;
                    child::figures(entry, directory, self.size, &job)
                });
            }
        };
        if !workload.changes_dataset() {
            system::settle()?;
            return child::figures(entry, &stored, self.size, &job);
        }
        let copy = stored.with_extension("copy");
        system::copy(&stored, &copy)?;
        system::settle()?;
        let figures = child::figures(entry, &copy, self.size, &job);
        fs::remove_dir_all(&copy)?;
        figures
    }

    /// Where the dataset is, stored by now by the contender.
    fn stored(&self, entry: &'static Entry, dataset: Dataset, end: End) -> Result<PathBuf> {
        let directory = self.place(entry, dataset, end);
        if directory.exists() {
            return Ok(directory);
        }
        fs::create_dir_all(&directory)?;
        let outcome = match end {
            End::Close => child::figures(entry, &directory, self.size, &Job::Load(dataset)).map(|_| ()),
            End::Kill => child::load_and_kill(entry, &directory, self.size, dataset),
        };
        if outcome.is_err() {
            fs::remove_dir_all(&directory)?;
        }
        outcome.map(|()| directory)
    }

    /// Removes what was stored for a workload, unless a later one needs it: all of it together is large.
    fn forget(&self, workload: Workload, later: &[Workload]) -> Result<()> {
        let Some((dataset, end)) = workload.dataset() else {
            return Ok(());
        };
        if later.iter().any(|later| later.dataset() == Some((dataset, end))) {
            return Ok(());
        }
        for entry in &self.entries {
            let directory = self.place(entry, dataset, end);
            if directory.exists() {
                fs::remove_dir_all(directory)?;
            }
        }
        Ok(())
    }

    fn place(&self, entry: &Entry, dataset: Dataset, end: End) -> PathBuf {
        self.data.join(entry.name).join(format!("{dataset}-{end:?}"))
    }

    /// A directory that is new before and gone afterwards.
    fn in_new_directory<T>(
        &self,
        entry: &Entry,
        work: impl FnOnce(&std::path::Path) -> Result<T>,
    ) -> Result<T> {
        let directory = self.data.join(entry.name).join("new");
        fs::create_dir_all(&directory)?;
        let outcome = work(&directory);
        fs::remove_dir_all(&directory)?;
        outcome
    }
}

/// The command as a user would type it again.
fn command_line() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!("cargo xtask bench compare {}", arguments.join(" "))
        .trim_end()
        .to_owned()
}

impl Results {
    fn add(&mut self, key: (&'static str, String), outcome: Result<Figures>) {
        let cell = self.cells.entry(key).or_insert(Cell::Measured(Vec::new()));
        match (cell, outcome) {
            (Cell::Measured(figures), Ok(one)) => {
                figures.push(one);
                figures.sort_by(|a, b| a.value.total_cmp(&b.value));
            }
            (cell, Err(error)) => *cell = Cell::Failed(error.to_string()),
            (Cell::Failed(_), Ok(_)) => {}
        }
    }

    /// What came of a contender at a workload; `None` when it has no meaning for it.
    pub(crate) fn cell(&self, entry: &Entry, workload: Workload) -> Option<&Cell> {
        self.cells.get(&(entry.name, workload.to_string()))
    }

    /// The median of a contender at a workload.
    pub(crate) fn median(&self, entry: &Entry, workload: Workload) -> Option<Figures> {
        match self.cell(entry, workload)? {
            Cell::Measured(figures) => figures.get((figures.len() - 1) / 2).copied(),
            Cell::Failed(_) => None,
        }
    }

    /// Syncs per durable append of one client; `None` where they were not counted.
    pub(crate) fn syncs(&self, entry: &Entry) -> Option<f64> {
        self.syncs.get(entry.name).copied()
    }
}
