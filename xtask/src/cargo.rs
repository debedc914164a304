//! Runs cargo in the root of the workspace.

use std::path::PathBuf;
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
    let shown = arguments.join(" ");
    eprintln!("> cargo {shown}");
    let status = cargo(arguments).envs(variables.iter().copied()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("cargo {shown} failed")),
        Err(error) => Err(format!("cargo cannot be started: {error}")),
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

/// Whether `cargo nextest` is installed.
pub(crate) fn has_nextest() -> bool {
    cargo(&["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}
