//! Crashes, faults and corruption: what the package `reliability` does, on one backend or on all.

use crate::cargo;
use crate::{Outcome, take_backend};

/// The durable backends in the process: servers look after their own files.
const BACKENDS: [&str; 4] = ["fjall", "sled", "redb", "lmdb"];
const SERVERS: [&str; 3] = ["postgres", "etcd", "patroni"];
/// Those that `services up` starts without being asked for one.
const COMMON_SERVERS: usize = 2;

/// Runs `command` of the package; what is not for us goes to it.
pub(crate) fn run(command: &str, arguments: &[String]) -> Outcome {
    let (backend, rest) = take_backend(arguments)?;
    match backend {
        Some(backend) => run_backend(command, backend, &rest),
        None => BACKENDS
            .into_iter()
            .try_for_each(|backend| run_backend(command, backend, &rest)),
    }
}

/// The same for backends on servers, which `cargo xtask services` has started.
pub(crate) fn chaos(arguments: &[String]) -> Outcome {
    let mut rest: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut servers = &SERVERS[..COMMON_SERVERS];
    if let Some(at) = rest.iter().position(|argument| *argument == "--backend") {
        let named = rest.get(at + 1).copied().unwrap_or_default();
        let known = SERVERS.iter().position(|server| *server == named);
        let known = known.ok_or_else(|| format!("chaos is for servers: {}", SERVERS.join(", ")))?;
        servers = &SERVERS[known..=known];
        rest.drain(at..at + 2);
    }
    servers
        .iter()
        .try_for_each(|server| start("chaos", server, &rest))
}

fn run_backend(command: &str, backend: &str, rest: &[&str]) -> Outcome {
    if !BACKENDS.contains(&backend) {
        return Err(format!(
            "{command} is for durable backends in the process: {}",
            BACKENDS.join(", ")
        ));
    }
    start(command, backend, rest)
}

fn start(command: &str, backend: &str, rest: &[&str]) -> Outcome {
    // With the features of the whole workspace it is what the tests have built, and nothing is built twice.
    cargo::run(&[
        "build",
        "--quiet",
        "--workspace",
        "--all-features",
        "--bin",
        "reliability",
    ])?;
    let program = cargo::target_directory()?.join("debug").join("reliability");
    cargo::run_program(&program, &[&[command, backend], rest].concat())
}
