//! A cluster of the test's own, whose members it may kill.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::{etcdctl, skipped};

/// While a program starts: between two looks, and how many of them.
const NAP: Duration = Duration::from_millis(20);
const NAPS: usize = 1500;

pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    settings: Vec<String>,
    directory: tempfile::TempDir,
}

pub(crate) struct Member {
    /// Of its clients and of its peers.
    pub(crate) port: u16,
    peer_port: u16,
    process: Option<Child>,
}

impl Cluster {
    /// Starts a cluster, or says that etcd is not installed.
    pub(crate) fn start(members: usize, settings: &[&str]) -> Option<Self> {
        Self::start_in(tempfile::tempdir().expect("temp dir"), members, settings)
    }

    pub(crate) fn start_in(directory: tempfile::TempDir, members: usize, settings: &[&str]) -> Option<Self> {
        let installed = Command::new("etcd")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        if installed.is_err() {
            skipped("etcd is not installed; apt-get install etcd-server etcd-client");
            return None;
        }
        let member = || Member {
            port: free_port(),
            peer_port: free_port(),
            process: None,
        };
        let mut cluster = Self {
            members: (0..members).map(|_| member()).collect(),
            settings: settings.iter().map(ToString::to_string).collect(),
            directory,
        };
        (0..members).for_each(|index| cluster.restart(index));
        if cluster.scheme() == "http" {
            wait_for("a healthy cluster", || {
                cluster.etcdctl(&["endpoint", "health"]).is_some()
            });
        }
        Some(cluster)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a member that was killed or never started, and waits until it listens.
    pub(crate) fn restart(&mut self, index: usize) {
        let (scheme, path) = (self.scheme(), self.path().join(index.to_string()));
        let peers: Vec<_> = self
            .members
            .iter()
            .map(|it| format!("m{}=http://127.0.0.1:{}", it.peer_port, it.peer_port))
            .collect();
        let member = &self.members[index];
        let client = format!("{scheme}://127.0.0.1:{}", member.port);
        let peer = format!("http://127.0.0.1:{}", member.peer_port);
        let mut etcd = Command::new("etcd");
        etcd.args(&self.settings)
            .args([
                "--logger=zap",
                "--log-level=error",
                "--heartbeat-interval=50",
                "--election-timeout=500",
            ])
            .arg(format!("--name=m{}", member.peer_port))
            .arg(format!("--data-dir={}", path.display()))
            .arg(format!("--listen-client-urls={client}"))
            .arg(format!("--advertise-client-urls={client}"))
            .arg(format!("--listen-peer-urls={peer}"))
            .arg(format!("--initial-advertise-peer-urls={peer}"))
            .arg(format!("--initial-cluster={}", peers.join(",")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.members[index].process = Some(etcd.spawn().expect("etcd starts"));
        // Alone it waits for the others before it listens.
        if self.members.iter().all(|it| it.process.is_some()) {
            let port = self.members[index].port;
            wait_for("a member that listens", || {
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
        }
    }

    /// Ends a member as a power cut does.
    pub(crate) fn kill(&mut self, index: usize) {
        let mut process = self.members[index].process.take().expect("it runs");
        process.kill().expect("it can be killed");
        process.wait().expect("it ends");
    }

    /// The member that leads.
    pub(crate) fn leader(&self) -> usize {
        let mut leader = None;
        wait_for("a leader", || {
            leader = self.members.iter().position(|member| {
                let status = etcdctl(&format!("127.0.0.1:{}", member.port), &["endpoint", "status"]);
                status.is_some_and(|status| status.contains(", true, false,"))
            });
            leader.is_some()
        });
        leader.expect("there is one")
    }

    pub(crate) fn url(&self) -> String {
        format!("etcd://{}", self.endpoints())
    }

    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Option<String> {
        etcdctl(&self.endpoints(), arguments)
    }

    fn endpoints(&self) -> String {
        let members = self.members.iter().map(|it| format!("127.0.0.1:{}", it.port));
        members.collect::<Vec<_>>().join(",")
    }

    fn scheme(&self) -> &'static str {
        let has_tls = self.settings.iter().any(|it| it.starts_with("--cert-file"));
        if has_tls { "https" } else { "http" }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|it| it.process.as_mut()) {
            // It may have ended by itself, which some test has noticed by then.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..NAPS {
        if holds() {
            return;
        }
        thread::sleep(NAP);
    }
    panic!("there is no {what}");
}
