//! Crashes, faults and corruption: what the package `reliability` does, on one backend or on all.

use crate::cargo;
use crate::{Outcome, take_backend};

/// The durable backends in the process: servers look after their own files.
const BACKENDS: [&str; 4] = ["fjall", "sled", "redb", "lmdb"];
const SERVERS: [&str; 2] = ["postgres", "etcd"];
/// One more, for whoever asks for it: `services up` does not start it by itself either.
const ON_DEMAND: &str = "patroni";

/// Runs `command` of the package; what is not for us goes to it.
pub(crate) fn run(command: &str, arguments: &[String]) -> Outcome {
    run_on(command, &BACKENDS, &BACKENDS, arguments)
}

/// The same for backends on servers, which `cargo xtask services` has started.
pub(crate) fn chaos(arguments: &[String]) -> Outcome {
    run_on("chaos", &[SERVERS[0], SERVERS[1], ON_DEMAND], &SERVERS, arguments)
}

/// Runs `command` on the backend that is named, of those that are `possible`, or on the `usual` ones.
fn run_on(command: &str, possible: &[&str], usual: &[&str], arguments: &[String]) -> Outcome {
    let (backend, rest) = take_backend(arguments, possible)?;
    let chosen = backend.as_ref().map_or(usual, std::slice::from_ref);
    chosen
        .iter()
        .try_for_each(|backend| cargo::run_binary("reliability", &[&[command, backend], &rest[..]].concat()))
}
