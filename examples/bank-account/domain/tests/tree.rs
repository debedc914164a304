//! The domain depends on the abstractions and serde alone: what a reader of this example is meant to take home.

use std::process::Command;

/// The names of the packages that the domain is built from, down to `depth`.
fn dependencies(depth: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "bank-account-domain", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--depth", depth])
        // Whoever built this test has all packages; without this, a machine off the network would fail here.
        .arg("--offline")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    let mut names: Vec<_> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn domain_names_the_abstractions_and_serde_alone() {
    assert_eq!(
        dependencies("1"),
        ["bank-account-domain", "eventstore-abstractions", "serde"]
    );
}

#[test]
fn no_engine_no_runtime_and_no_storage_format_gets_in() {
    let names = dependencies("99");
    assert!(
        names.iter().any(|name| name == "serde_json"),
        "the whole tree was listed: {names:?}"
    );
    let forbidden = [
        "bincode",
        "eventstore-kv",
        "eventstores",
        "fjall",
        "heed",
        "kv-core",
        "kv-etcd",
        "kv-fjall",
        "kv-lmdb",
        "kv-memory",
        "kv-redb",
        "kv-postgres",
        "kv-sled",
        "redb",
        "sled",
        "tokio",
        "tonic",
    ];
    let found: Vec<_> = names
        .iter()
        .filter(|name| forbidden.contains(&name.as_str()))
        .collect();
    assert!(found.is_empty(), "{found:?} got in");
}
