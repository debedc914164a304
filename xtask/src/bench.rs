//! The criterion benchmarks of append, read, snapshot and live latency, on any backend, and the comparison with other stores.

use crate::cargo;
use crate::{BACKENDS, Outcome, take_backend};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(("compare", rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return compare(rest);
    }
    let (backend, rest) = take_backend(arguments, &BACKENDS)?;
    let features = backend.map_or_else(|| BACKENDS.join(","), str::to_owned);
    let mut command = vec![
        "bench",
        "-p",
        "eventstores",
        "--no-default-features",
        "--features",
        &features,
        "--bench",
        "store",
    ];
    if !rest.is_empty() {
        command.push("--");
        command.extend(rest);
    }
    cargo::run(&command)
}

/// The comparison is a workspace of its own; it measures what it was built with, so everything is built.
fn compare(arguments: &[String]) -> Outcome {
    let mut command = vec![
        "run",
        "--release",
        "--manifest-path",
        "benchmarks/Cargo.toml",
        "--features",
        "own,peers",
        "--",
    ];
    command.extend(arguments.iter().map(String::as_str));
    cargo::run(&command)
}
