//! The backend of `docs/writing-a-backend.md` keeps the contract, and the document is true: it quotes that backend as
//! it is, its changes fit the files that they change, and it explains every family of cases.

// The tests of the backend name it as they do where it is a crate of its own.
extern crate self as kv_journal;

#[path = "kv_journal/lib.rs"]
mod backend;
#[path = "kv_journal/conformance.rs"]
mod conformance;
#[path = "kv_journal/damage.rs"]
mod damage;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub use backend::Store;

const DOCUMENT: &str = include_str!("../../../../docs/writing-a-backend.md");

#[test]
fn document_quotes_the_backend_as_it_is_tested() {
    for (path, code) in [
        ("src/lib.rs", include_str!("kv_journal/lib.rs")),
        ("src/journal.rs", include_str!("kv_journal/journal.rs")),
        ("tests/conformance.rs", include_str!("kv_journal/conformance.rs")),
        ("tests/damage.rs", include_str!("kv_journal/damage.rs")),
    ] {
        let quoted = format!("`crates/kv-journal/{path}`:\n\n```rust\n{code}```\n");
        assert!(
            DOCUMENT.contains(&quoted),
            "docs/writing-a-backend.md quotes another {path} than the one that is tested"
        );
    }
}

#[test]
fn changes_in_the_document_fit_the_files_that_they_change() {
    let changes = DOCUMENT.split("```diff\n--- ").skip(1);
    let changes = changes.map(|change| change.split_once("```").expect("a block ends").0);
    let mut hunks = 0;
    for change in changes {
        let (path, change) = change.split_once('\n').expect("a change has lines");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let file = fs::read_to_string(root.join(path)).expect(path);
        for hunk in change.split("@@\n").skip(1) {
            let before = hunk.lines().filter(|line| !line.starts_with('+'));
            let before: String = before.map(|line| format!("{}\n", &line[1..])).collect();
            assert_eq!(
                file.matches(&before).count(),
                1,
                "{path} does not have, once and for all, what docs/writing-a-backend.md changes:\n{before}"
            );
            hunks += 1;
        }
    }
    assert!(hunks > 10, "only {hunks} changes were found in the document");
}

#[test]
fn document_explains_every_family_of_cases() {
    let (kv, provider) = DOCUMENT
        .split_once("The provider suite runs")
        .expect("the document has a part for each suite");
    for (list, explained) in [
        (include_str!("../../src/kv/cases.rs"), kv),
        (include_str!("../../src/provider/cases.rs"), provider),
    ] {
        let cases = list.lines().filter_map(|line| line.trim().strip_suffix(','));
        let families: BTreeSet<_> = cases
            .filter_map(|case| Some(case.split_once("::")?.0))
            .filter(|family| !family.contains(|it: char| !it.is_alphanumeric() && it != '_'))
            .collect();
        assert!(families.len() > 10, "{families:?}");
        for family in families {
            assert!(
                explained.contains(&format!("\n| `{family}` | ")),
                "docs/writing-a-backend.md does not say what the cases of {family} demand"
            );
        }
    }
}
