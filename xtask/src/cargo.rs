//! Runs cargo in the root of the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// A cargo command in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    command.args(arguments).current_dir(root);
    command
}

/// Runs cargo and shows what it prints.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    run_with(arguments, &[])
}

/// The same with environment variables.
pub(crate) fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = cargo(arguments);
    command.envs(variables.iter().copied());
    shown("cargo", arguments, command)
}

/// Runs a program that cargo has built, and shows what it prints.
pub(crate) fn run_program(program: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(program);
    command.args(arguments);
    shown(&program.display().to_string(), arguments, command)
}

/// Builds a program of the workspace and runs it. With the features of the whole workspace it is what the tests have built, and
/// nothing is built twice.
pub(crate) fn run_binary(name: &str, arguments: &[&str]) -> Outcome {
    run(&["build", "--quiet", "--workspace", "--all-features", "--bin", name])?;
    run_program(&target_directory()?.join("debug").join(name), arguments)
}

fn shown(name: &str, arguments: &[&str], mut command: Command) -> Outcome {
    let shown = format!("{name} {}", arguments.join(" "));
    eprintln!("> {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{shown} failed")),
        Err(error) => Err(format!("{name} cannot be started: {error}")),
    }
}

/// What cargo prints.
pub(crate) fn output(arguments: &[&str]) -> Result<String, String> {
    let shown = arguments.join(" ");
    let output = cargo(arguments)
        .output()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo {shown} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("cargo {shown} printed what is no text"))
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf, String> {
    let metadata = output(&["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: serde_json::Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let target = metadata["target_directory"].as_str();
    Ok(PathBuf::from(target.ok_or("cargo has no target directory")?))
}

/// Whether `cargo nextest` is installed.
pub(crate) fn has_nextest() -> bool {
    cargo(&["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}
