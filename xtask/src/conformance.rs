//! Both conformance suites on one backend, or on all.

use crate::cargo::{self, has_nextest};
use crate::{BACKENDS, Outcome, take_backend};

fn run_backend(backend: &str) -> Outcome {
    let package = format!("kv-{backend}");
    let runner: &[&str] = if has_nextest() {
        &["nextest", "run"]
    } else {
        &["test"]
    };
    let suite = |arguments: &[&str]| cargo::run(&[runner, arguments].concat());
    suite(&["-p", &package, "--test", "conformance"])?;
    suite(&[
        "-p",
        "eventstores",
        "--no-default-features",
        "--features",
        backend,
        "--test",
        "conformance",
    ])
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (backend, rest) = take_backend(arguments, &BACKENDS)?;
    if let Some(unknown) = rest.first() {
        return Err(format!(
            "conformance knows no argument {unknown}; use --backend X or nothing"
        ));
    }
    match backend {
        Some(backend) => run_backend(backend),
        None => BACKENDS.into_iter().try_for_each(run_backend),
    }
}
