//! A few rounds on every backend of the build, so that the rounds themselves keep working.

use std::process::Command;

fn check(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_reliability"))
        .args(arguments)
        .output()
        .expect("our own program can be started");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {printed}");
}

fn crash(backend: &str) {
    check(&["crash", backend, "--rounds", "4", "--power-rounds", "0"]);
}

#[cfg(feature = "fjall")]
#[test]
fn killed_writer_on_fjall_loses_nothing() {
    crash("fjall");
}

#[cfg(feature = "sled")]
#[test]
fn killed_writer_on_sled_loses_nothing() {
    crash("sled");
}

#[cfg(feature = "redb")]
#[test]
fn killed_writer_on_redb_loses_nothing() {
    crash("redb");
}

#[cfg(feature = "lmdb")]
#[test]
fn killed_writer_on_lmdb_loses_nothing() {
    crash("lmdb");
}
