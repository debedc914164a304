//! The facade without features is its traits alone, and each feature works without the others.

use crate::cargo::{output, run};
use crate::{BACKENDS, Outcome};

/// What must not be in the tree of the facade without features.
const HEAVY: &[&str] = &[
    "tokio",
    "bincode",
    "kv-core",
    "eventstore-kv",
    "eventstore-domain",
    "kv-memory",
    "kv-sled",
    "kv-fjall",
    "kv-redb",
    "kv-lmdb",
    "kv-postgres",
    "kv-etcd",
    "sled",
    "fjall",
    "redb",
    "heed",
    "tokio-postgres",
    "tonic",
    "rustls",
];

/// Prints the tree of the facade without features and fails when something heavy is in it.
pub(crate) fn check() -> Outcome {
    let tree = output(&[
        "tree",
        "-p",
        "eventstores",
        "--no-default-features",
        "-e",
        "normal,build",
        "--prefix",
        "none",
    ])?;
    println!("{tree}");
    match heavy_in(&tree) {
        Some(name) => Err(format!(
            "the facade without features brings {name}; make it optional"
        )),
        None => Ok(()),
    }
}

/// Lints the facade with no feature and with each feature alone, and tests what it refuses then; all of them together
/// are linted and tested with the workspace. The example is tested on a backend that is not its default.
pub(crate) fn features() -> Outcome {
    for feature in ["", "domain"].into_iter().chain(BACKENDS) {
        let facade = [
            "-p",
            "eventstores",
            "--no-default-features",
            "--features",
            feature,
        ];
        run(&[
            &["clippy"],
            &facade[..],
            &["--all-targets", "--", "-D", "warnings"],
        ]
        .concat())?;
        run(&[&["test"], &facade[..], &["--test", "refused"]].concat())?;
    }
    let example = [
        "-p",
        "bank-account",
        "--no-default-features",
        "--features",
        "sled",
    ];
    run(&[&["test"], &example[..]].concat())
}

/// The first heavy package in a tree with a package per line.
fn heavy_in(tree: &str) -> Option<&'static str> {
    let named = |name: &str| {
        tree.lines()
            .any(|line| line.split_whitespace().next() == Some(name))
    };
    HEAVY.iter().copied().find(|name| named(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_package_is_found_by_its_whole_name() {
        assert_eq!(
            heavy_in("eventstores v0.1.0 (/x)\nbytes v1.0.0\ntokio v1.54.1\n"),
            Some("tokio")
        );
        assert_eq!(
            heavy_in("eventstores v0.1.0 (/x/sled)\ntokio-like v1.0.0\n"),
            None
        );
    }
}
