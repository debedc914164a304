//! Normal dependencies only point down: a crate names none above or beside its own floor.
//!
//! Development dependencies are free: a backend's tests use the testkit above it, and nobody who uses the backend
//! gets it. Two crates of the same floor that must not know each other cannot come to do so unnoticed.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Outcome;
use crate::cargo::output;

/// Every crate of the workspace and its floor.
const FLOORS: &[(&str, u8)] = &[
    ("eventstore-abstractions", 0),
    ("kv-core", 0),
    ("eventstore-kv", 1),
    ("eventstore-domain", 1),
    ("kv-memory", 1),
    ("kv-sled", 1),
    ("kv-fjall", 1),
    ("kv-redb", 1),
    ("kv-lmdb", 1),
    ("kv-postgres", 1),
    ("kv-etcd", 1),
    ("eventstores", 2),
    ("eventstore-testkit", 2),
    ("bank-account-domain", 1),
    ("bank-account", 3),
    ("dcb", 3),
    ("reliability", 3),
    ("xtask", 3),
];

/// Crates that may name the floor-0 crate beside the name and no other crate of ours, although lower ones exist.
const ONLY: &[(&str, &str)] = &[
    ("kv-memory", "kv-core"),
    ("kv-sled", "kv-core"),
    ("kv-fjall", "kv-core"),
    ("kv-redb", "kv-core"),
    ("kv-lmdb", "kv-core"),
    ("kv-postgres", "kv-core"),
    ("kv-etcd", "kv-core"),
    ("eventstore-domain", "eventstore-abstractions"),
    ("bank-account-domain", "eventstore-abstractions"),
];

/// Who depends on whom, by normal and build dependencies.
type Graph = BTreeMap<String, Vec<String>>;

/// Checks the workspace.
pub(crate) fn check() -> Outcome {
    let graph = graph(&output(&["metadata", "--format-version", "1", "--no-deps"])?)?;
    let problems = problems(&graph);
    if problems.is_empty() {
        println!("layers: {} crates, all dependencies point down", graph.len());
        return Ok(());
    }
    Err(problems.join("\n"))
}

fn graph(metadata: &str) -> Result<Graph, String> {
    let metadata: Value =
        serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let entry = |package: &Value| {
        let dependencies = package["dependencies"].as_array().cloned().unwrap_or_default();
        let normal = dependencies
            .iter()
            .filter(|dependency| dependency["kind"] != "dev");
        (name(package), normal.map(name).collect())
    };
    Ok(packages.iter().map(entry).collect())
}

fn problems(graph: &Graph) -> Vec<String> {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let only: BTreeMap<_, _> = ONLY.iter().copied().collect();
    let mut problems = Vec::new();
    for (name, dependencies) in graph {
        let Some(floor) = floors.get(name.as_str()) else {
            problems.push(format!(
                "{name} is on no floor; give it one in xtask/src/layers.rs"
            ));
            continue;
        };
        for dependency in dependencies {
            let Some(below) = floors.get(dependency.as_str()) else {
                continue;
            };
            if below >= floor {
                let place = if below == floor { "beside" } else { "above" };
                problems.push(format!(
                    "{name} (floor {floor}) depends on {dependency} (floor {below}), which is {place} it"
                ));
            } else if only
                .get(name.as_str())
                .is_some_and(|allowed| allowed != dependency)
            {
                problems.push(format!(
                    "{name} depends on {dependency}; it may know {} alone",
                    only[name.as_str()]
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, dependency: &str) -> String {
        problems(&Graph::from([(name.to_owned(), vec![dependency.to_owned()])])).join("\n")
    }

    #[test]
    fn dependency_above_beside_or_forbidden_is_told() {
        assert!(told("kv-core", "eventstore-kv").contains("above it"));
        assert!(told("kv-sled", "kv-memory").contains("beside it"));
        assert!(told("kv-sled", "eventstore-abstractions").contains("kv-core alone"));
        assert!(told("new-crate", "serde").contains("is on no floor"));
    }

    #[test]
    fn dependency_below_or_from_elsewhere_is_fine() {
        assert_eq!(told("eventstores", "kv-sled"), "");
        assert_eq!(told("kv-sled", "sled"), "");
    }

    #[test]
    fn only_development_dependencies_are_left_out() {
        let metadata = r#"{"packages": [{"name": "kv-sled", "dependencies": [
            {"name": "kv-core", "kind": null},
            {"name": "xtask", "kind": "build"},
            {"name": "eventstore-testkit", "kind": "dev"}
        ]}]}"#;
        let graph = graph(metadata).expect("valid metadata");
        assert_eq!(graph["kv-sled"], ["kv-core", "xtask"]);
    }
}
