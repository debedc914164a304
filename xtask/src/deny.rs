//! Licences, sources and advisories of what is in the tree, by cargo-deny.

use crate::Outcome;
use crate::cargo::{cargo, run};

/// The checks that need nothing but the tree.
const OFFLINE: [&str; 3] = ["bans", "licenses", "sources"];

/// Checks the tree against `deny.toml`. Advisories are in a repository of their own: where it cannot be fetched, that is
/// said, and the rest is checked all the same.
pub(crate) fn check() -> Outcome {
    if !is_installed() {
        println!("deny: skipped, cargo-deny is not installed; cargo install cargo-deny --locked");
        return Ok(());
    }
    run(&[&["deny", "--all-features", "check"], &OFFLINE[..]].concat())?;
    if has_advisories() {
        run(&["deny", "--all-features", "check", "--disable-fetch", "advisories"])
    } else {
        println!("deny: advisories were not checked, since their database cannot be fetched from here");
        Ok(())
    }
}

fn is_installed() -> bool {
    succeeds(&["deny", "--version"])
}

fn has_advisories() -> bool {
    succeeds(&["deny", "fetch", "db"])
}

fn succeeds(arguments: &[&str]) -> bool {
    cargo(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}
