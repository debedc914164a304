//! A process per measurement: memory is clean, and it can be killed like one that lost its power.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::clients::{self, Kind, Times};
use crate::contender::{Contender, Entry};
use crate::measure::{Figures, Job, Task};
use crate::workload::Workload;
use crate::workload::load::{self, Dataset};
use crate::{Result, Size};

/// What a child that goes on prints when its dataset is stored.
const STORED: &str = "stored";
/// The number of the first stream, and maker, of the appends that a kill interrupts: far from every dataset.
const INTERRUPTED: u64 = 1 << 30;
/// As many clients append while the process is killed.
const INTERRUPTED_CLIENTS: u64 = 16;

/// The job of a child as one word of its command line.
pub(crate) fn job_to_text(job: &Job) -> String {
    match job {
        Job::Measure(workload, times) => {
            let seconds = |time: std::time::Duration| time.as_secs_f64();
            format!(
                "measure:{workload}:{}:{}",
                seconds(times.warm_up),
                seconds(times.measured)
            )
        }
        Job::Load(dataset) => format!("load:{dataset}"),
        Job::LoadAndGoOn(dataset) => format!("go-on:{dataset}"),
        Job::Append(appends) => format!("append:{appends}"),
    }
}

/// The same word, read.
pub(crate) fn job_from_text(text: &str) -> Result<Job> {
    let parts: Vec<&str> = text.split(':').collect();
    Ok(match parts[..] {
        ["measure", workload, warm_up, measured] => {
            let times = Times::of_seconds(warm_up.parse()?, measured.parse()?);
            Job::Measure(Workload::by_name(workload)?, times)
        }
        ["load", dataset] => Job::Load(Dataset::by_name(dataset)?),
        ["go-on", dataset] => Job::LoadAndGoOn(Dataset::by_name(dataset)?),
        ["append", appends] => Job::Append(appends.parse()?),
        _ => return Err(format!("{text} is no job").into()),
    })
}

/// What a child does: its task, and its figures as a line of JSON.
pub(crate) fn run(task: &Task) -> Result<()> {
    let figures = (task.entry.run)(task)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// The command that does `job` in a child.
pub(crate) fn command(entry: &Entry, directory: &Path, size: Size, job: &Job) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", entry.name, &job_to_text(job)])
        .arg(directory);
    if size == Size::Quick {
        command.arg("--quick");
    }
    Ok(command)
}

/// Does `job` in a child and waits for its figures.
pub(crate) fn figures(entry: &Entry, directory: &Path, size: Size, job: &Job) -> Result<Figures> {
    let output = command(entry, directory, size, job)?
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} failed at {}", entry.name, job_to_text(job)).into());
    }
    // Some stores print as well; the figures come last.
    let text = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(
        text.lines().next_back().unwrap_or_default(),
    )?)
}

/// Stores a dataset in a child and kills it (SIGKILL) while it goes on to append.
pub(crate) fn load_and_kill(entry: &Entry, directory: &Path, size: Size, dataset: Dataset) -> Result<()> {
    let mut child = command(entry, directory, size, &Job::LoadAndGoOn(dataset))?
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut lines = BufReader::new(stdout).lines();
    let is_stored = lines.any(|line| line.is_ok_and(|line| line == STORED));
    child.kill()?;
    child.wait()?;
    if !is_stored {
        return Err(format!("{} failed to store {dataset}", entry.name).into());
    }
    Ok(())
}

/// Says that the dataset is stored and appends until the process is killed.
pub(crate) async fn append_until_killed<C: Contender>(store: &C, kind: Kind) -> Result<Figures> {
    let all = (0..INTERRUPTED_CLIENTS)
        .map(|client| {
            let mut client_of = store.client()?;
            Ok(async move {
                let stream = INTERRUPTED + client;
                for event in 0.. {
                    if client == 0 && event == 1 {
                        println!("{STORED}");
                        std::io::stdout().flush()?;
                    }
                    load::append(&mut client_of, stream, event, 1).await?;
                }
                Ok(())
            })
        })
        .collect::<Result<Vec<_>>>()?;
    clients::run(kind, all).await?;
    Err("nobody killed this process".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_is_read_as_it_was_written() {
        for text in [
            "measure:race-64:0.1:1.5",
            "load:short",
            "go-on:million",
            "append:200",
        ] {
            assert_eq!(job_to_text(&job_from_text(text).unwrap()), text);
        }
        assert!(job_from_text("load:everything").is_err());
    }
}
