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

fn rounds(backend: &str) {
    check(&["crash", backend, "--rounds", "4", "--power-rounds", "0"]);
    check(&["corrupt", backend, "--flips", "16"]);
}

#[cfg(feature = "fjall")]
#[test]
fn rounds_on_fjall_find_nothing() {
    rounds("fjall");
}

#[cfg(feature = "sled")]
#[test]
fn rounds_on_sled_find_nothing() {
    rounds("sled");
}

#[cfg(feature = "redb")]
#[test]
fn rounds_on_redb_find_nothing() {
    rounds("redb");
}

#[cfg(feature = "lmdb")]
#[test]
fn rounds_on_lmdb_find_nothing() {
    rounds("lmdb");
}
