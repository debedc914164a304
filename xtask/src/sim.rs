//! The simulation: the whole store on a simulated engine, seed after seed.

use crate::{Outcome, cargo};

/// `arguments` go to the simulation, which lists them with `--help`.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut command = vec![
        "run",
        "--quiet",
        "--package",
        "eventstore-testkit",
        "--features",
        "simulation",
        "--bin",
        "sim",
        "--",
    ];
    command.extend(arguments.iter().map(String::as_str));
    cargo::run(&command)
}
