//! A server that one test has for itself, and may end.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user that Debian's package makes: the server refuses to run as root.
const USER: &str = "postgres";

pub(crate) struct PrivateServer {
    directory: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
}

impl PrivateServer {
    /// `None` where PostgreSQL is not installed, which fails the test if servers are required.
    pub(crate) fn start() -> Option<Self> {
        // Where there is a server to test with there are its programs, or it is on another machine.
        super::common::server()?;
        let Some(programs) = programs() else {
            let required = std::env::var("EVENTSTORES_REQUIRE_SERVICES").is_ok_and(|it| it == "1");
            assert!(!required, "PostgreSQL is not installed");
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        if is_root() {
            run(Command::new("chown").arg(USER).arg(directory.path()));
        }
        let free = TcpListener::bind("127.0.0.1:0")
            .and_then(|it| it.local_addr())
            .expect("a free port");
        let server = Self {
            directory,
            programs,
            port: free.port(),
        };
        let mut init = server.program("initdb");
        init.args([
            "--username=test",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--pgdata",
        ]);
        run(init.arg(server.data()));
        server.restart();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://test@127.0.0.1:{}/postgres?max_connections=4",
            self.port
        )
    }

    /// Ends every process of the server at once. What it had not written to its log is lost.
    pub(crate) fn crash(&self) {
        self.control("stop", &["--mode=immediate"]);
    }

    pub(crate) fn restart(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories=",
            self.port
        );
        let log = self.directory.path().join("log");
        self.control(
            "start",
            &["--log", log.to_str().expect("UTF-8"), "--options", &options],
        );
    }

    fn control(&self, what: &str, arguments: &[&str]) {
        let mut control = self.program("pg_ctl");
        control
            .args([what, "--wait", "--silent", "--pgdata"])
            .arg(self.data())
            .args(arguments);
        run(&mut control);
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command;
        if is_root() {
            command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(path);
        } else {
            command = Command::new(path);
        }
        command.current_dir("/");
        command
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        let mut stop = self.program("pg_ctl");
        stop.args(["stop", "--mode=immediate", "--wait", "--silent", "--pgdata"])
            .arg(self.data());
        // It may have ended already.
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) {
    // The server that it leaves behind must not hold an output of the test.
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("it starts").success(), "{command:?} failed");
}

/// The folder of the newest installed PostgreSQL's programs.
fn programs() -> Option<PathBuf> {
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| number(path))?;
    Some(newest.join("bin"))
}
