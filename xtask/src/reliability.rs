//! Crashes, faults and corruption: what the package `reliability` does, on one backend or on all.

use crate::cargo;
use crate::{Outcome, take_backend};

/// The durable backends in the process: servers look after their own files.
const BACKENDS: [&str; 4] = ["fjall", "sled", "redb", "lmdb"];
const SERVERS: [&str; 2] = ["postgres", "etcd"];

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
    let (backend, rest) = take_backend(arguments)?;
    let servers = match backend {
        None => &SERVERS[..],
        Some(backend) => {
            let at = SERVERS.iter().position(|it| *it == backend);
            let at = at.ok_or_else(|| format!("chaos is for servers: {}", SERVERS.join(", ")))?;
            &SERVERS[at..=at]
        }
    };
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
    let package = ["run", "--quiet", "-p", "reliability", "--features", backend];
    cargo::run(&[&package[..], &["--", command, backend], rest].concat())
}
