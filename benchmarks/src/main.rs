//! Measures EventStores beside the raw disk, the bare engines and the event stores one would pick instead, all in
//! one run and in turn, and writes what it found: `cargo xtask bench compare`.

mod child;
mod clients;
mod contender;
mod event;
mod latency;
mod measure;
mod report;
mod rounds;
mod syncs;
mod system;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// What a fallible step of a benchmark ends with. Nobody acts on the kind of an error here; they read it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is stored before reads are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// What the report is made of.
    Full,
    /// Enough to see that everything works.
    Quick,
}

/// Measures every contender of this build in turn.
#[derive(Parser)]
#[command(name = "compare", args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    child: Option<Child>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
struct Options {
    /// How often every contender is measured at every workload; the figure is the median.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these contenders, such as `raw,eventstores-fjall`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these workloads, such as `append-64,read-all`.
    #[arg(long, value_delimiter = ',')]
    workload: Vec<String>,
    /// Seconds of each measurement, after a fifth of it to warm up.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Little data, one short round: shows that everything works; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Where the report is written; without it, it is only printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where the contenders keep their data while they are measured: on the disk that is to be measured.
    #[arg(long, default_value = "target/compare")]
    data: PathBuf,
}

#[derive(Subcommand)]
enum Child {
    /// One task with one contender, in a process of its own.
    #[command(hide = true)]
    Child {
        contender: String,
        job: String,
        directory: PathBuf,
        #[arg(long)]
        quick: bool,
    },
}

fn main() -> ExitCode {
    let command = Command::parse();
    let outcome = match command.child {
        Some(Child::Child {
            contender,
            job,
            directory,
            quick,
        }) => run_child(&contender, &job, directory, size(quick)),
        None => run(&command.options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn size(quick: bool) -> Size {
    if quick { Size::Quick } else { Size::Full }
}

fn run_child(contender: &str, job: &str, directory: PathBuf, size: Size) -> Result<()> {
    child::run(&measure::Task {
        entry: contender::by_name(contender)?,
        directory,
        size,
        job: child::job_from_text(job)?,
    })
}

fn run(options: &Options) -> Result<()> {
    let plan = rounds::Plan::new(options)?;
    let results = plan.run()?;
    report::print(&results);
    match &options.out {
        Some(directory) => report::write(&results, directory),
        None => Ok(()),
    }
}
