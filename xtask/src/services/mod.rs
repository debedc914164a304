//! Real servers on loopback, for the tests of the backends that need one.
//!
//! `up` installs what is missing (Debian packages, which needs root) and starts what does not run; again it does
//! nothing. All data is in `target/services`, or where `EVENTSTORES_SERVICES` says, and `down` leaves it there.

mod etcd;
mod packages;
mod patroni;
mod postgres;

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::cargo;

const SERVICES: &[Service] = &[postgres::SERVICE, etcd::SERVICE, patroni::SERVICE];

/// Names another folder for the data of all services. One in memory spares tests the syncs of a slow disk.
const FOLDER_VARIABLE: &str = "EVENTSTORES_SERVICES";

/// How long a cluster may take to be there or to be gone, in naps.
const NAPS: u32 = 600;
const NAP: Duration = Duration::from_millis(100);

/// How long a server on loopback may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server, or a cluster of them, that tests use.
struct Service {
    name: &'static str,
    /// The environment variable that tells tests where it is. They look there without it, too.
    variable: &'static str,
    url: &'static str,
    /// Whether it is meant only where it is named.
    on_demand: bool,
    /// Installs it where it is missing, and starts it.
    up: fn(&Path) -> Outcome,
    /// Stops it where it was started with the same folder.
    down: fn(&Path) -> Outcome,
    /// Kills it, or of a cluster the member that leads, so that it cannot say goodbye. `up` starts it again.
    kill: fn(&Path) -> Outcome,
    /// Whether it answers.
    is_up: fn() -> bool,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let (action, names) = arguments
        .split_first()
        .ok_or("say what to do: services up, down, kill or status, with names or without")?;
    let known = || {
        SERVICES
            .iter()
            .map(|service| service.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(unknown) = names
        .iter()
        .find(|name| SERVICES.iter().all(|it| it.name != *name))
    {
        return Err(format!("there is no service {unknown}; use one of {}", known()));
    }
    let chosen = SERVICES.iter().filter(|service| {
        names.iter().any(|name| name == service.name) || (names.is_empty() && !service.on_demand)
    });
    match action.as_str() {
        "up" => chosen.into_iter().try_for_each(up),
        "down" => chosen
            .into_iter()
            .try_for_each(|service| (service.down)(&folder(service)?)),
        "kill" => chosen
            .into_iter()
            .try_for_each(|service| (service.kill)(&folder(service)?)),
        "status" => {
            chosen.into_iter().for_each(status);
            Ok(())
        }
        other => Err(format!("services cannot {other}; use up, down, kill or status")),
    }
}

/// Whether the service of this name answers.
pub(crate) fn is_up(name: &str) -> bool {
    SERVICES
        .iter()
        .any(|service| service.name == name && (service.is_up)())
}

fn up(service: &Service) -> Outcome {
    if !(service.is_up)() {
        let folder = folder(service)?;
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        (service.up)(&folder)?;
    }
    if !(service.is_up)() {
        return Err(format!("{} was started and does not answer", service.name));
    }
    status(service);
    Ok(())
}

fn status(service: &Service) {
    let Service {
        name, variable, url, ..
    } = service;
    if (service.is_up)() {
        println!("{name} is up: {variable}={url}");
    } else {
        println!("{name} is down; cargo xtask services up {name}");
    }
}

/// Where a service keeps its data.
fn folder(service: &Service) -> Result<PathBuf, String> {
    let all = match std::env::var_os(FOLDER_VARIABLE) {
        Some(named) => std::path::absolute(named).map_err(|error| format!("{FOLDER_VARIABLE}: {error}"))?,
        None => cargo::target_directory()?.join("services"),
    };
    Ok(all.join(service.name))
}

/// Whether something listens on `address`.
fn listens(address: &str) -> bool {
    let address: SocketAddr = address.parse().expect("addresses of services are numbers");
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok()
}

/// Whether something comes true in time.
fn waited_for(holds: impl Fn() -> bool) -> bool {
    (0..NAPS).any(|_| {
        let done = holds();
        if !done {
            thread::sleep(NAP);
        }
        done
    })
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// `program`, by `user` where root asks: servers refuse to run as root.
fn command_as(user: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command;
    if is_root() {
        command = Command::new("runuser");
        command.args(["-u", user, "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    // The user may not be allowed to be where we are.
    command.current_dir("/");
    command
}

/// Runs a command and shows what it printed if it fails.
fn quietly(command: &mut Command) -> Outcome {
    let shown = format!("{command:?}");
    // A server that the command leaves behind inherits its outputs: a pipe would wait for that one to end, too.
    let log = output_file()?;
    let output = |file: &std::fs::File| {
        file.try_clone()
            .map(Stdio::from)
            .map_err(|error| error.to_string())
    };
    let status = command
        .stdin(Stdio::null())
        .stdout(output(&log.1)?)
        .stderr(output(&log.1)?)
        .status()
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let printed = std::fs::read_to_string(&log.0).unwrap_or_default();
    // It is in the folder for temporary files: nobody minds if it stays.
    let _ = std::fs::remove_file(&log.0);
    if status.success() {
        Ok(())
    } else {
        Err(format!("{shown} failed: {printed}"))
    }
}

fn output_file() -> Result<(PathBuf, std::fs::File), String> {
    let path = std::env::temp_dir().join(format!("xtask-services-{}", std::process::id()));
    let file =
        std::fs::File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok((path, file))
}
