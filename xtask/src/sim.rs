//! The simulation: the whole store on a simulated engine, seed after seed.

use crate::{Outcome, cargo};

/// `arguments` go to the simulation, which lists them with `--help`.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    // With the features of the whole workspace it is what the tests have built, and nothing is built twice.
    cargo::run(&[
        "build",
        "--quiet",
        "--workspace",
        "--all-features",
        "--bin",
        "sim",
    ])?;
    let program = cargo::target_directory()?.join("debug").join("sim");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cargo::run_program(&program, &arguments)
}
