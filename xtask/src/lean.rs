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

/// What is selected together with the facade where its tests are built: its dependencies, with all their features, so that
/// they and what they need have been built already, with the workspace.
const SHARED: &str =
    "kv-core kv-memory kv-sled kv-fjall kv-redb kv-lmdb kv-postgres kv-etcd eventstore-kv eventstore-testkit";
const SHARED_FEATURES: &str = "eventstore-kv/fuzzing eventstore-testkit/simulation kv-core/blocking kv-core/waits kv-postgres/fuzzing kv-postgres/tls";

/// Lints the facade with no feature and with each feature alone, as an application has it, without what tests bring. What it
/// refuses then is tested. All features together are linted and tested with the workspace. The
/// example is tested on a backend that is not its default.
pub(crate) fn features() -> Outcome {
    for feature in ["", "domain"].into_iter().chain(BACKENDS) {
        run(&[
            "clippy",
            "-p",
            "eventstores",
            "--no-default-features",
            "--features",
            feature,
            "--lib",
            "--",
            "-D",
            "warnings",
        ])?;
        let feature = match feature {
            "" => String::new(),
            feature => format!("eventstores/{feature}"),
        };
        with_shared("test", "eventstores", &feature, &["--test", "refused"])?;
    }
    let targets = ["--bin", "bank-account", "--test", "tour"];
    with_shared("test", "bank-account", "bank-account/sled", &targets)
}

/// Does something with `package`, which has `feature` alone.
fn with_shared(what: &str, package: &str, feature: &str, rest: &[&str]) -> Outcome {
    let features = format!("{feature} {SHARED_FEATURES}");
    let mut arguments = vec![what, "-p", package];
    arguments.extend(SHARED.split(' ').flat_map(|name| ["-p", name]));
    arguments.extend(["--no-default-features", "--features", &features]);
    arguments.extend(rest);
    run(&arguments)
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
