//! The criterion benchmarks of append, read and snapshot, on any backend.

use crate::cargo;
use crate::{Outcome, take_backend};

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (backend, rest) = take_backend(arguments)?;
    let features = backend.unwrap_or("memory,sled,fjall");
    let mut command = vec![
        "bench",
        "-p",
        "eventstores",
        "--no-default-features",
        "--features",
        features,
        "--bench",
        "store",
    ];
    if !rest.is_empty() {
        command.push("--");
        command.extend(rest);
    }
    cargo::run(&command)
}
