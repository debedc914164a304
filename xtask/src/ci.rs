//! What CI runs.

use crate::cargo::{has_nextest, run, run_with};
use crate::{Outcome, deny, layers, lean, reliability, servers, services, sim};

/// Everything, in the order in which the builds of one step serve the next.
pub(crate) fn all() -> Outcome {
    test()?;
    services::run(&["up".to_owned()])?;
    let tested = servers::test();
    services::run(&["down".to_owned()])?;
    tested?;
    sim::run(&[])?;
    sim::run(&["--bugs".to_owned()])?;
    reliability::run(
        "crash",
        &["--rounds", "10", "--power-rounds", "3"].map(str::to_owned),
    )?;
    lint()
}

/// Every test, doc tests included. `cargo nextest` runs them faster, and `cargo test` where it is not installed.
pub(crate) fn test() -> Outcome {
    if has_nextest() {
        run(&[
            "nextest",
            "run",
            "--workspace",
            "--all-features",
            "--no-fail-fast",
        ])?;
        run(&["test", "--workspace", "--all-features", "--doc"])?;
    } else {
        eprintln!("cargo-nextest is not installed; cargo test does the same, slower");
        run(&["test", "--workspace", "--all-features"])?;
    }
    benchmarks("test", &[])
}

/// Does something with the workspace in `benchmarks`, as far as it is ours: the stores that it compares with take
/// minutes to build.
fn benchmarks(what: &str, rest: &[&str]) -> Outcome {
    let ours = ["--manifest-path", "benchmarks/Cargo.toml", "--features", "ci"];
    run(&[&[what], &ours[..], rest].concat())
}

/// Formatting, lints, docs, layers, dependencies and features.
pub(crate) fn lint() -> Outcome {
    run(&["fmt", "--all", "--check"])?;
    run(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ])?;
    run(&["fmt", "--manifest-path", "benchmarks/Cargo.toml", "--check"])?;
    benchmarks("clippy", &["--all-targets", "--", "-D", "warnings"])?;
    run_with(
        &["doc", "--workspace", "--no-deps", "--all-features"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    layers::check()?;
    deny::check()?;
    lean::check()?;
    lean::features()
}
