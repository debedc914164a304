//! Three nodes of PostgreSQL that Patroni keeps: one leads, one has every commit before it is told, and when the one that
//! leads is gone, that one takes over. Patroni agrees on who leads in our etcd, which must be up. The nodes are on ports
//! 54331 to 54333, and Patroni answers questions on 54341 to 54343.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::etcd;
use super::packages::install;
use super::postgres::{USER, programs, reachable};
use super::{Service, command_as, is_root, quietly, waited_for};
use crate::Outcome;

pub(super) const SERVICE: Service = Service {
    name: "patroni",
    variable: "EVENTSTORES_TEST_PATRONI",
    url: "postgres://eventstores:eventstores@127.0.0.1:54331,127.0.0.1:54332,127.0.0.1:54333/postgres",
    on_demand: true,
    up,
    down,
    kill,
    is_up,
};

const NODES: [Node; 3] = [
    Node::new(54_331, 54_341),
    Node::new(54_332, 54_342),
    Node::new(54_333, 54_343),
];

const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything but places and names, which follow in the last section. A node is given up after `ttl`, for which Patroni takes
/// no less than 20 s.
const SETTINGS: &str = "\
scope: eventstores
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 200
        unix_socket_directories: ''
  initdb:
  - encoding: UTF8
  - locale: C
  - data-checksums
postgresql:
  pg_hba:
  - host all all 127.0.0.1/32 scram-sha-256
  - host replication replicator 127.0.0.1/32 scram-sha-256
  authentication:
    superuser: {username: eventstores, password: eventstores}
    replication: {username: replicator, password: replicator}
    rewind: {username: rewinder, password: rewinder}
";

struct Node {
    port: u16,
    patroni: u16,
}

impl Node {
    const fn new(port: u16, patroni: u16) -> Self {
        Self { port, patroni }
    }

    fn name(&self) -> String {
        format!("node-{}", self.port)
    }

    fn data(&self, folder: &Path) -> PathBuf {
        folder.join(self.name())
    }

    fn settings_file(&self, folder: &Path) -> PathBuf {
        folder.join(self.name() + ".yml")
    }

    /// Patroni's process for this node, if it still runs: the program, not who started it for another user.
    fn pid(&self, folder: &Path) -> Option<String> {
        let settings = self.settings_file(folder);
        let is_ours = |process: &Path| {
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            let (program, arguments) = command.split_once('\0').unwrap_or_default();
            program.contains("python") && arguments.split('\0').any(|it| Path::new(it) == settings)
        };
        let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
        let ours = processes.into_iter().find(|process| is_ours(process))?;
        Some(ours.file_name()?.to_str()?.to_owned())
    }

    fn settings(&self, folder: &Path, programs: &Path) -> String {
        let hosts = etcd::SERVICE.url.trim_start_matches("etcd://");
        let (name, port, patroni) = (self.name(), self.port, self.patroni);
        let (data, programs) = (self.data(folder), programs.display());
        let data = data.display();
        format!(
            "name: {name}\nrestapi: {{listen: '127.0.0.1:{patroni}', connect_address: '127.0.0.1:{patroni}'}}\n\
             etcd3: {{hosts: '{hosts}'}}\n{SETTINGS}  listen: 127.0.0.1:{port}\n  connect_address: 127.0.0.1:{port}\n  \
             data_dir: {data}\n  bin_dir: {programs}\n"
        )
    }

    fn start(&self, folder: &Path, programs: &Path) -> Outcome {
        if self.pid(folder).is_some() {
            return Ok(());
        }
        let failed = |error| format!("patroni cannot be started in {}: {error}", folder.display());
        let settings = self.settings_file(folder);
        fs::write(&settings, self.settings(folder, programs)).map_err(failed)?;
        let log = fs::File::create(folder.join(self.name() + ".log")).map_err(failed)?;
        let mut patroni = command_as(USER, "patroni");
        patroni
            .arg(settings)
            // What ends the terminal's programs must not end it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        patroni.spawn().map(drop).map_err(failed)
    }

    /// What Patroni says here of all nodes.
    fn cluster(&self) -> Option<Value> {
        let mut patroni = TcpStream::connect(("127.0.0.1", self.patroni)).ok()?;
        patroni.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
        patroni.write_all(b"GET /cluster HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        patroni.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

/// The roles of the nodes that run, by their names.
fn roles() -> Vec<(String, String)> {
    let cluster = NODES.iter().find_map(Node::cluster);
    let members = cluster.as_ref().and_then(|cluster| cluster["members"].as_array());
    let text = |member: &Value, field: &str| member[field].as_str().unwrap_or_default().to_owned();
    let running = members.into_iter().flatten().filter(|member| {
        let state = text(member, "state");
        state == "running" || state == "streaming"
    });
    running
        .map(|member| (text(member, "name"), text(member, "role")))
        .collect()
}

/// Whether all nodes run, one leads, and one has everything that it has.
fn is_up() -> bool {
    let roles = roles();
    let one_is = |role: &str| roles.iter().filter(|(_, it)| it == role).count() == 1;
    roles.len() == NODES.len() && one_is("leader") && one_is("sync_standby")
}

fn up(folder: &Path) -> Outcome {
    if !(etcd::SERVICE.is_up)() {
        return Err("patroni needs etcd; cargo xtask services up etcd".to_owned());
    }
    let is_missing = quietly(Command::new("patroni").arg("--version")).is_err();
    if is_missing || programs().is_none() {
        install(&["postgresql", "patroni"])?;
    }
    let programs = programs().ok_or("PostgreSQL is installed, and has no programs")?;
    let folder = reachable(folder)?;
    if is_root() {
        quietly(Command::new("chown").arg("-R").arg(USER).arg(&folder))?;
    }
    NODES.iter().try_for_each(|node| node.start(&folder, &programs))?;
    if waited_for(is_up) {
        return Ok(());
    }
    Err(format!(
        "patroni does not come up: {:?}; its logs are in {}",
        roles(),
        folder.display()
    ))
}

fn down(folder: &Path) -> Outcome {
    let folder = reachable(folder)?;
    let pids = || {
        NODES
            .iter()
            .filter_map(|node| node.pid(&folder))
            .collect::<Vec<_>>()
    };
    for pid in pids() {
        quietly(Command::new("kill").arg("-TERM").arg(pid))?;
    }
    if waited_for(|| pids().is_empty()) {
        return Ok(());
    }
    Err("patroni does not end".to_owned())
}

/// The node that leads: Patroni and its server with all processes, as when its machine goes.
fn kill(folder: &Path) -> Outcome {
    let folder = reachable(folder)?;
    let roles = roles();
    let leader = roles.iter().find(|(_, role)| role == "leader");
    let (leader, _) = leader.ok_or_else(|| format!("no node leads: {roles:?}"))?;
    let node = NODES.iter().find(|node| node.name() == *leader);
    let node = node.ok_or_else(|| format!("{leader} was not started here"))?;
    let pid = node.pid(&folder);
    let pid = pid.ok_or_else(|| format!("patroni of {leader} does not run"))?;
    quietly(Command::new("kill").arg("-KILL").arg(pid))?;
    super::postgres::kill_server(&node.data(&folder))
}
