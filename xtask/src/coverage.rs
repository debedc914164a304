//! Which lines of the library crates the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{cargo, has_nextest, run_with};
use crate::{Outcome, services};

/// What an application depends on, with the server that its tests need.
const CRATES: [(&str, Option<&str>); 12] = [
    ("eventstore-abstractions", None),
    ("kv-core", None),
    ("eventstore-kv", None),
    ("eventstore-domain", None),
    ("eventstores", None),
    ("kv-memory", None),
    ("kv-fjall", None),
    ("kv-redb", None),
    ("kv-lmdb", None),
    ("kv-sled", None),
    ("kv-postgres", Some("postgres")),
    ("kv-etcd", Some("etcd")),
];

/// How many of a hundred lines of each crate must be run.
const LEAST_PERCENT: f64 = 90.0;

/// Where a unit test begins: nothing below it is part of the library.
const UNIT_TESTS: &str = "#[cfg(test)]\nmod tests {";

/// Measures and reports, or reports what `cargo llvm-cov --no-report` has measured, and fails where a crate has too little.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let is_installed = cargo(&["llvm-cov", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_installed {
        println!("coverage: skipped, cargo-llvm-cov is not installed; cargo install cargo-llvm-cov --locked");
        return Ok(());
    }
    let variables = llvm()?;
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, path)| (*name, path.as_str()))
        .collect();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = root
        .canonicalize()
        .map_err(|error| format!("cannot find {}: {error}", root.display()))?;
    let file = std::env::temp_dir().join(format!("xtask-coverage-{}.lcov", std::process::id()));
    let path = file.to_str().ok_or("the folder for temporary files is no text")?;
    // A process that a test has killed leaves half of what it counted.
    let output = ["--failure-mode", "all", "--lcov", "--output-path", path];
    match arguments[..] {
        [] => run_with(&[&measured()[..], &output[..]].concat(), &variables)?,
        ["report"] => run_with(&[&["llvm-cov", "report"], &output[..]].concat(), &variables)?,
        _ => return Err("coverage knows report alone, or nothing".to_owned()),
    }
    let lcov =
        std::fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    // It is in the folder for temporary files: nobody minds if it stays.
    let _ = std::fs::remove_file(&file);
    report(&root, &lcov)
}

/// The command that runs the tests of the crates, and those of the testkit, which are tests of the store above all.
fn measured() -> Vec<&'static str> {
    let runner: &[&str] = if has_nextest() {
        &["llvm-cov", "nextest", "--no-fail-fast"]
    } else {
        &["llvm-cov", "test", "--no-fail-fast"]
    };
    let names = CRATES.iter().map(|(name, _)| *name);
    let packages = names.chain(["eventstore-testkit"]).flat_map(|name| ["-p", name]);
    let options = runner.iter().copied().chain(["--all-features"]);
    options.chain(packages).collect()
}

/// What cargo-llvm-cov must be told to find LLVM's tools: nothing where it is told already or where the toolchain has
/// them, else the newest of the system.
fn llvm() -> Result<Vec<(&'static str, String)>, String> {
    if std::env::var_os("LLVM_COV").is_some() {
        return Ok(Vec::new());
    }
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .map_err(|error| format!("rustc cannot be started: {error}"))?;
    let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
    if Path::new(libraries.trim()).join("../bin/llvm-cov").exists() {
        return Ok(Vec::new());
    }
    let programs = std::fs::read_dir("/usr/bin").into_iter().flatten().flatten();
    let names = programs.filter_map(|entry| entry.file_name().into_string().ok());
    let version = newest(names).ok_or(
        "llvm-cov is not installed; rustup component add llvm-tools, or install the newest llvm-N of your system",
    )?;
    Ok(vec![
        ("LLVM_COV", format!("/usr/bin/llvm-cov-{version}")),
        ("LLVM_PROFDATA", format!("/usr/bin/llvm-profdata-{version}")),
    ])
}

/// The highest version among programs that are named `llvm-cov-VERSION`.
fn newest(names: impl Iterator<Item = String>) -> Option<u32> {
    names
        .filter_map(|name| name.strip_prefix("llvm-cov-")?.parse().ok())
        .max()
}

/// Prints a line per crate.
fn report(root: &Path, lcov: &str) -> Outcome {
    let mut low = Vec::new();
    for (name, server) in CRATES {
        if let Some(server) = server.filter(|server| !services::is_up(server)) {
            println!("{name:24} not counted: {server} is down; cargo xtask services up {server}");
            continue;
        }
        let lines = lines_in(&root.join("crates").join(name).join("src"), lcov, |file| {
            std::fs::read_to_string(file).unwrap_or_default()
        });
        let percent = lines.percent();
        println!(
            "{name:24} {percent:5.1} % of {:5} lines, {} not run",
            lines.all,
            lines.all - lines.run
        );
        if percent < LEAST_PERCENT {
            low.push(name);
        }
    }
    if low.is_empty() {
        return Ok(());
    }
    Err(format!(
        "below {LEAST_PERCENT} %: {}; cargo llvm-cov report --html shows the lines",
        low.join(", ")
    ))
}

/// Lines that have code, and those of them that were run.
#[derive(Debug, Default, PartialEq)]
struct Lines {
    all: u32,
    run: u32,
}

impl Lines {
    /// A crate that nothing was measured of has no line that was run.
    fn percent(&self) -> f64 {
        100.0 * f64::from(self.run) / f64::from(self.all.max(1))
    }
}

/// Counts the lines of the files in `folder` in a report in the form of lcov, but for those of unit tests: a test runs
/// itself, and says nothing of the library.
fn lines_in(folder: &Path, lcov: &str, read: impl Fn(&Path) -> String) -> Lines {
    let mut lines = Lines::default();
    // The number of the first line that does not count.
    let mut end = 0;
    for entry in lcov.lines() {
        if let Some(file) = entry.strip_prefix("SF:").map(Path::new) {
            let counts = file.starts_with(folder) && !file.ends_with("tests.rs");
            end = if counts { end_of_library(&read(file)) } else { 0 };
        } else if let Some((line, count)) = entry.strip_prefix("DA:").and_then(|data| data.split_once(','))
            && line.parse::<usize>().is_ok_and(|line| line < end)
        {
            lines.all += 1;
            lines.run += u32::from(count != "0");
        }
    }
    lines
}

fn end_of_library(text: &str) -> usize {
    text.find(UNIT_TESTS)
        .map_or(usize::MAX, |at| text[..at].lines().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_tools_are_chosen_by_number() {
        let names = ["llvm-cov", "llvm-cov-9", "llvm-cov-19", "llvm-profdata-20"];
        assert_eq!(newest(names.map(str::to_owned).into_iter()), Some(19));
        assert_eq!(newest(std::iter::empty()), None);
    }

    #[test]
    fn lines_of_other_crates_and_of_unit_tests_do_not_count() {
        let lcov = "\
            SF:/a/src/lib.rs\nDA:1,7\nDA:2,0\nDA:4,1\nend_of_record\n\
            SF:/a/src/tests.rs\nDA:1,1\nend_of_record\n\
            SF:/ab/src/lib.rs\nDA:1,1\nend_of_record\n";
        let text = format!("fn a() {{}}\nfn b() {{}}\n{UNIT_TESTS}\n}}\n");
        let lines = lines_in(Path::new("/a/src"), lcov, |_| text.clone());
        assert_eq!(lines, Lines { all: 2, run: 1 });
    }

    #[test]
    fn crate_that_was_not_measured_is_below_any_limit() {
        let lines = lines_in(Path::new("/a"), "", |_| String::new());
        assert!(lines.percent() < LEAST_PERCENT);
    }
}
