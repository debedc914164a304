//! What the tests share: the cluster of `cargo xtask services up`, and stores in it that nobody else uses.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// Names the members, `etcd://HOST:PORT,HOST:PORT`, and nothing more.
const VARIABLE: &str = "EVENTSTORES_TEST_ETCD";
/// Where `cargo xtask services up etcd` has its members.
const DEFAULT_URL: &str = "etcd://127.0.0.1:23791,127.0.0.1:23792,127.0.0.1:23793";
const DEFAULT_ADDRESS: &str = "127.0.0.1:23791";

/// The URL of the cluster to test with, or a word that there is none. In CI a missing one is a failure.
pub(crate) fn server() -> Option<String> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Some(url);
    }
    if TcpStream::connect(DEFAULT_ADDRESS).is_ok() {
        return Some(DEFAULT_URL.to_owned());
    }
    skipped(&format!(
        "no etcd; start one with cargo xtask services up etcd, or name yours in {VARIABLE}"
    ));
    None
}

/// Says, even when the test runner captures output, that something was left out, or fails where nothing may be.
pub(crate) fn skipped(reason: &str) {
    assert!(
        std::env::var_os("EVENTSTORES_REQUIRE_SERVICES").is_none_or(|it| it != "1"),
        "EVENTSTORES_REQUIRE_SERVICES is set: {reason}"
    );
    // The print macros are captured in a test that passes; the stream itself is not.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// A prefix that no other test uses, whose keys are deleted in the end.
pub(crate) struct FreshPrefix {
    server: String,
    pub(crate) prefix: String,
}

impl FreshPrefix {
    pub(crate) fn new() -> Self {
        let server = server().expect("a test without a server has ended before");
        // Keys differ from one to the next and from process to process.
        let number = RandomState::new().hash_one(std::process::id());
        Self {
            server,
            prefix: format!("test-{number:016x}"),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.server, self.prefix)
    }
}

impl Drop for FreshPrefix {
    fn drop(&mut self) {
        let endpoints = self.server.trim_start_matches("etcd://");
        // Where there is no etcdctl some small keys are left over.
        let _ = etcdctl(endpoints, &["del", "--prefix", &self.prefix]);
    }
}

/// What etcdctl prints, if it is there and succeeds.
pub(crate) fn etcdctl(endpoints: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", endpoints])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(printed)
}
