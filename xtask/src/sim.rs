//! The simulation: the whole store on a simulated engine, seed after seed.

use crate::{Outcome, cargo};

/// `arguments` go to the simulation, which lists them with `--help`.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cargo::run_binary("sim", &arguments)
}
