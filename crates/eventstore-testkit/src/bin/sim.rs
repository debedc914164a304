//! Runs the simulation for many seeds: `cargo xtask sim --help`.

use std::process::ExitCode;
use std::time::Instant;

use eventstore_testkit::sim::{self, Bug, Report};

const HELP: &str = "\
cargo xtask sim [--seeds N] [--from S] [--minutes M] [--bug NAME] [--bugs] [--trace]

Runs the whole store on a simulated engine, on one thread, in simulated time, once for each seed. It ends with the first
seed that fails: the seed, what is wrong, and the trace of the shortest run that was found to fail.

  --seeds N    how many seeds; 5000 unless set
  --from S     the first of them; 0 unless set
  --minutes M  ends earlier after so many minutes; 5 unless set
  --trace      prints what happens, line by line
  --bugs       plants each bug in turn, and fails when one is not found within the seeds
  --bug NAME   plants one bug, and shows the failure of the first seed that finds it
";

/// What is asked for.
struct Arguments {
    seeds: u64,
    from: u64,
    minutes: u64,
    bug: Option<Bug>,
    all_bugs: bool,
    shows_trace: bool,
}

/// An error says what is wrong and what to do.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let outcome = parse(&arguments).and_then(|arguments| match arguments.all_bugs {
        true => find_bugs(&arguments),
        false => run(&arguments),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seeds: 5_000,
        from: 0,
        minutes: 5,
        bug: None,
        all_bugs: false,
        shows_trace: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value; see --help"));
        match argument.as_str() {
            "--seeds" => parsed.seeds = number(value()?)?,
            "--from" => parsed.from = number(value()?)?,
            "--minutes" => parsed.minutes = number(value()?)?,
            "--bug" => parsed.bug = Some(bug(value()?)?),
            "--bugs" => parsed.all_bugs = true,
            "--trace" => parsed.shows_trace = true,
            other => return Err(format!("there is no argument {other}; see --help")),
        }
    }
    Ok(parsed)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("{text} is no number; use a whole one"))
}

fn bug(name: &str) -> Result<Bug, String> {
    let named = Bug::ALL.into_iter().find(|bug| bug.to_string() == name);
    let names = Bug::ALL.map(|bug| bug.to_string()).join(", ");
    named.ok_or(format!("there is no bug {name}; use one of {names}"))
}

/// Runs seeds until one fails, none is left, or the time is over.
#[expect(
    clippy::disallowed_methods,
    reason = "the budget is real time, and none of it is simulated"
)]
fn run(arguments: &Arguments) -> Outcome {
    let begun = Instant::now();
    let (mut seeds, mut operations, mut calls, mut cuts) = (0, 0, 0, 0);
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        if begun.elapsed().as_secs() >= arguments.minutes * 60 {
            println!("{} minutes are over", arguments.minutes);
            break;
        }
        let report = sim::run(seed, arguments.bug);
        if arguments.shows_trace {
            println!("{}", report.trace.join("\n"));
        }
        if report.failure.is_some() {
            return Err(failure(seed, arguments.bug, &report));
        }
        seeds += 1;
        operations += report.operations;
        calls += report.calls;
        cuts += report.cuts;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds in {seconds:.1} s ({:.0} seeds/s): {operations} operations of the engine, {cuts} power cuts, \
         {calls} calls in linearizable histories",
        seeds as f64 / seconds
    );
    match arguments.bug {
        Some(bug) => Err(format!("{bug} was not found")),
        None => Ok(()),
    }
}

fn failure(seed: u64, bug: Option<Bug>, report: &Report) -> String {
    match sim::minimise(seed, bug) {
        Some(failure) => failure.to_string(),
        None => format!(
            "seed {seed} fails, and not when it is run again: the simulation is not deterministic\n{}",
            report.trace.join("\n")
        ),
    }
}

/// Plants each bug, and looks for the first seed that finds it.
fn find_bugs(arguments: &Arguments) -> Outcome {
    let mut missed = Vec::new();
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    for bug in Bug::ALL {
        let found = (1..)
            .zip(seeds.clone())
            .find_map(|(count, seed)| Some((count, seed, sim::run(seed, Some(bug)).failure?)));
        match found {
            Some((count, seed, what)) => {
                let what = what.lines().next().unwrap_or_default();
                let shown: String = what.chars().take(90).collect();
                println!("{bug:<36} found after {count:>4} seeds, by {seed}: {shown}");
            }
            None => missed.push(bug.to_string()),
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "not found within {} seeds: {}",
        arguments.seeds,
        missed.join(", ")
    ))
}
