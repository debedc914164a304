//! Debian packages.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{is_root, quietly};
use crate::Outcome;

/// How often an installation is tried: mirrors and networks fail for moments.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// What apt is told: each download is tried again, and another apt is waited for, but neither for ever.
const OPTIONS: &[&str] = &[
    "-qq",
    "-oAcquire::Retries=3",
    "-oAcquire::http::Timeout=30",
    "-oAcquire::https::Timeout=30",
    "-oDPkg::Lock::Timeout=120",
];

/// Installs packages, by `sudo` where we are not root and it asks for no password.
pub(super) fn install(packages: &[&str]) -> Outcome {
    let names = packages.join(" ");
    eprintln!("> apt-get install {names}");
    if !is_root() && !has_sudo() {
        return Err(format!(
            "{names} must be installed, which needs root: sudo apt-get install {names}"
        ));
    }
    let install = || apt(&[&["install", "-y", "--no-install-recommends"], packages].concat());
    // The lists of packages may be old, or not there at all.
    let updated = || apt(&["update"]).and_then(|()| install());
    let mut outcome = install();
    for tried in 0..TRIES {
        if outcome.is_ok() {
            break;
        }
        if tried > 0 {
            thread::sleep(PAUSE);
        }
        outcome = updated();
    }
    outcome.map_err(|error| {
        format!("{names} cannot be installed, {TRIES} tries; are Debian's mirrors reachable? {error}")
    })
}

fn apt(arguments: &[&str]) -> Outcome {
    let mut command = if is_root() {
        Command::new("env")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(OPTIONS)
        .args(arguments);
    quietly(&mut command)
}

fn has_sudo() -> bool {
    let status = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|it| it.success())
}
