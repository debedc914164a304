//! Every crate of the workspace has the workspace's lints, `unsafe_code = "forbid"` among them.

use std::fs;
use std::path::{Path, PathBuf};

/// The one crate with lints of its own: to map a file is unsafe, and a lint that is forbidden cannot be allowed for the
/// module that does it. Its manifest says so.
const EXCEPTION: &str = "kv-lmdb";

/// The manifests of the workspace's members.
fn manifests() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = vec![root.join("xtask/Cargo.toml")];
    for folder in ["crates", "examples", "examples/bank-account", "."] {
        let entries = fs::read_dir(root.join(folder)).expect("the folder can be listed");
        let manifests = entries.map(|entry| entry.expect("an entry can be read").path().join("Cargo.toml"));
        // The entry point of a fuzz target has a name that the linker knows, which counts as unsafe.
        let linted = manifests.filter(|manifest| manifest.exists() && !manifest.ends_with("fuzz/Cargo.toml"));
        found.extend(linted);
    }
    found
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    let manifests = manifests();
    assert!(
        manifests.len() > 15,
        "only {} manifests were found",
        manifests.len()
    );
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).expect("a manifest is text");
        let inherited = text.contains("[lints]\nworkspace = true");
        let forbidden = text.contains("[lints.rust]\nunsafe_code = \"forbid\"");
        if manifest.parent().is_some_and(|it| it.ends_with(EXCEPTION)) {
            assert!(
                text.contains("[lints.rust]\nunsafe_code = \"deny\""),
                "{EXCEPTION}"
            );
        } else {
            assert!(
                inherited || forbidden,
                "{} allows unsafe code",
                manifest.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_allowed_in_one_module_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates")
        .join(EXCEPTION)
        .join("src");
    let lib = fs::read_to_string(source.join("lib.rs")).expect("text");
    assert!(lib.contains("#![deny(unsafe_code)]"));
    for entry in fs::read_dir(source).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        let allowed = text.contains("allow(unsafe_code") || text.contains("unsafe {");
        assert_eq!(allowed, path.ends_with("environment.rs"), "{}", path.display());
    }
}
