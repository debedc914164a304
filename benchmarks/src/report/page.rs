//! The page `docs/benchmarks.md`.

use std::fmt::Write as _;

use crate::Result;
use crate::Size;
use crate::contender::Family;
use crate::event::PAYLOAD_BYTES;
use crate::report::machine::{Machine, version};
use crate::report::{bars, missed, table};
use crate::rounds::Results;
use crate::workload;

/// How to read the figures. What is said here is true of every run.
const NOTES: &str = "\
Every figure is the median of its rounds. A round measures every contender once, one after another, in a process and a
directory of its own, before the next round begins, and the order turns from round to round. Figures of different runs
do not compare: a virtual disk drifts by a factor of two between hours. Ratios within a run do.

- *Durable* means that `fdatasync` or stronger returned before the append did. *Syncs per append* counts the calls of
  `fsync`, `fdatasync`, `msync` and `sync_file_range` of one client by strace: 600 appends less 100 appends, so that
  those of opening and closing are not in it.
- After each workload of appends the whole log is read, and a lost, doubled or invented event fails the run.
- Payloads are random bytes, which no store can compress. Each client of the append workloads appends to 64 streams in
  turn. A read gives whole events, each with its type, its number and its payload.
- *x raw* compares with the better of the two raw logs, *x best peer* with the best of the stores that are not ours.
- *Open* ends when the store has given one event that was stored last. *After a kill* means SIGKILL while 16 clients
  append; that nothing acknowledged before is missing is verified after the time is taken.
- *Disk* counts allocated blocks after a clean close; a store that allocates whole segments ahead is charged for them.
  Its bar counts 256 bytes of payload and 64 of metadata: message id, type name, content type and two times.
- *Peak memory* is `VmHWM`, which includes mapped files.
- What is stored before reads are measured was appended by several clients in turn, so that streams are mixed in the
  log: streams of 10 event by event, those of 1,000 by 10 or 100 events, the one of 100,000 by 1,000. The global read,
  openings, disk and memory are those of a million events in streams of 1,000.
- *p99 with so many events stored* is of appends to streams chosen at random, and compares a store with itself.
";

/// The chart's file, beside the page.
pub(crate) const CHART: &str = "benchmarks.svg";

pub(crate) fn text(results: &Results) -> Result<String> {
    let mut text = format!("# Benchmarks\n\n{}\n{NOTES}\n", run(results)?);
    writeln!(text, "## Bars\n\n{}", bars::table(results))?;
    if let Some(missed) = missed::section(results) {
        writeln!(text, "### What the missed bars are short of\n\n{missed}")?;
    }
    writeln!(
        text,
        "## Every workload\n\n![every workload as bars]({CHART})\n\n{}",
        table::overview(results)
    )?;
    for &workload in &results.workloads {
        let rows = table::of_workload(results, workload);
        writeln!(text, "### {}\n\n{rows}", capitalized(&workload.title()))?;
    }
    writeln!(text, "## Contenders\n\n{}", contenders(results)?)?;
    Ok(text.trim_end().to_owned() + "\n")
}

/// On what, when and how it was run.
fn run(results: &Results) -> Result<String> {
    let machine = Machine::this()?;
    let mut text = format!(
        "Measured on {} at commit {}: {} cores ({}), {} GiB, {}, {}, {}; release profile without link-time\n\
         optimisation. {} rounds of {} s, payloads of {PAYLOAD_BYTES} bytes.\n\n\
         ```console\n{}\n```\n",
        machine.date,
        machine.commit,
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        results.file_system,
        machine.rust,
        results.rounds,
        results.seconds,
        results.command,
    );
    let left_out = workload::ALL
        .iter()
        .filter(|workload| !results.workloads.contains(workload));
    let left_out = left_out.map(|workload| workload.title()).collect::<Vec<_>>();
    if !left_out.is_empty() {
        text += &format!("\nNot in this run: {}.\n", left_out.join("; "));
    }
    if results.size == Size::Quick {
        text += "\n**This was a quick run: it shows that everything works, and its figures mean nothing.**\n";
    }
    Ok(text)
}

fn contenders(results: &Results) -> Result<String> {
    let header = ["contender", "what it is", "versions", "clients"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for entry in &results.entries {
        let versions = entry
            .crates
            .iter()
            .map(|name| Ok(format!("{name} {}", version(name)?)));
        let kind = match entry.family {
            Family::Raw => "raw: ",
            Family::Bare => "bare engine: ",
            Family::Ours | Family::Peer => "",
        };
        rows.push(vec![
            entry.name.to_owned(),
            format!("{kind}{}", entry.about),
            versions.collect::<Result<Vec<_>>>()?.join(", "),
            format!("{:?}", entry.clients).to_lowercase(),
        ]);
    }
    Ok(table::aligned(&rows))
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
