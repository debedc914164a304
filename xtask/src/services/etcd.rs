//! A cluster of three etcd members, as Debian has it: clients on ports 23791 to 23793, peers on 23801 to 23803.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::packages::install;
use super::{Service, waited_for};
use crate::Outcome;

pub(super) const SERVICE: Service = Service {
    name: "etcd",
    variable: "EVENTSTORES_TEST_ETCD",
    url: "etcd://127.0.0.1:23791,127.0.0.1:23792,127.0.0.1:23793",
    on_demand: false,
    up,
    down,
    kill,
    is_up,
};

const MEMBERS: [Member; 3] = [
    Member::new(23_791, 23_801),
    Member::new(23_792, 23_802),
    Member::new(23_793, 23_803),
];

/// Everything but places and names. Old values are dropped as in a real cluster; tests are many and small.
const SETTINGS: &[&str] = &[
    "--initial-cluster-token=eventstores-tests",
    "--auto-compaction-mode=revision",
    "--auto-compaction-retention=10000",
    "--quota-backend-bytes=8589934592",
    "--logger=zap",
    "--log-level=warn",
];

struct Member {
    client: u16,
    peer: u16,
}

impl Member {
    const fn new(client: u16, peer: u16) -> Self {
        Self { client, peer }
    }

    fn name(&self) -> String {
        format!("member-{}", self.client)
    }

    fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }

    fn pid_file(&self, folder: &Path) -> PathBuf {
        folder.join(self.name() + ".pid")
    }

    /// The process that was started for this member, if it still runs.
    fn pid(&self, folder: &Path) -> Option<String> {
        let pid = fs::read_to_string(self.pid_file(folder)).ok()?;
        // Long after the end of a process another one may have its number.
        let program = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        program.contains(&self.name()).then_some(pid)
    }

    fn start(&self, folder: &Path) -> Outcome {
        if self.pid(folder).is_some() {
            return Ok(());
        }
        let failed = |error| format!("etcd cannot be started in {}: {error}", folder.display());
        let log = fs::File::create(folder.join(self.name() + ".log")).map_err(failed)?;
        let cluster = MEMBERS
            .each_ref()
            .map(|it| format!("{}={}", it.name(), it.peer_url()));
        let data = folder.join(self.name());
        let mut etcd = Command::new("etcd");
        etcd.args(SETTINGS)
            .arg(format!("--name={}", self.name()))
            .arg(format!("--data-dir={}", data.display()))
            .arg(format!("--listen-client-urls={}", self.client_url()))
            .arg(format!("--advertise-client-urls={}", self.client_url()))
            .arg(format!("--listen-peer-urls={}", self.peer_url()))
            .arg(format!("--initial-advertise-peer-urls={}", self.peer_url()))
            .arg(format!("--initial-cluster={}", cluster.join(",")))
            // What ends the terminal's programs must not end it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = etcd.spawn().map_err(failed)?;
        fs::write(self.pid_file(folder), process.id().to_string()).map_err(failed)
    }
}

fn up(folder: &Path) -> Outcome {
    let missing: Vec<_> = [("etcd", "etcd-server"), ("etcdctl", "etcd-client")]
        .into_iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    MEMBERS.iter().try_for_each(|member| member.start(folder))?;
    if waited_for(is_up) {
        return Ok(());
    }
    Err(format!(
        "etcd does not come up; its logs are in {}",
        folder.display()
    ))
}

fn down(folder: &Path) -> Outcome {
    let pids = || MEMBERS.iter().filter_map(|member| member.pid(folder));
    // A member that has lost the others waits for them in vain before it ends; what is synced outlives the second signal.
    for signal in ["-TERM", "-KILL"] {
        for pid in pids() {
            super::quietly(Command::new("kill").arg(signal).arg(pid))?;
        }
        if waited_for(|| pids().next().is_none()) {
            return Ok(());
        }
    }
    Err("etcd does not end".to_owned())
}

/// The member that leads.
fn kill(folder: &Path) -> Outcome {
    let endpoints = MEMBERS.each_ref().map(Member::client_url).join(",");
    let status = etcdctl(&["endpoint", "status", "--endpoints", &endpoints])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("etcdctl cannot be started: {error}"))?;
    // A line per member: its URL, id, version, size, whether it leads.
    let status = String::from_utf8_lossy(&status.stdout);
    let leads = |line: &&str| line.split(", ").nth(4) == Some("true");
    let leader = status.lines().find(leads).ok_or("no member of etcd leads")?;
    let member = MEMBERS.iter().find(|it| leader.starts_with(&it.client_url()));
    let pid = member.and_then(|member| member.pid(folder));
    let pid = pid.ok_or_else(|| format!("the leader was not started here: {leader}"))?;
    super::quietly(Command::new("kill").arg("-KILL").arg(pid))
}

fn etcdctl(arguments: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Whether each member can write and read.
fn is_up() -> bool {
    let endpoints = MEMBERS.each_ref().map(Member::client_url).join(",");
    let health = etcdctl(&["endpoint", "health", "--endpoints", &endpoints])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    health.is_ok_and(|status| status.success())
}

fn is_installed(program: &str) -> bool {
    let version = if program == "etcdctl" {
        "version"
    } else {
        "--version"
    };
    Command::new(program)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
