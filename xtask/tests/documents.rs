//! The links in the documents lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every document of the repository: those in its root, and those below `docs`.
fn documents() -> Vec<PathBuf> {
    let mut documents = list(&root());
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        let entries = list(&folder);
        folders.extend(entries.iter().filter(|path| path.is_dir()).cloned());
        documents.extend(entries);
    }
    documents.retain(|path| path.extension().is_some_and(|it| it == "md"));
    documents
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be listed");
    entries
        .map(|entry| entry.expect("an entry can be read").path())
        .collect()
}

/// The text of a document without its blocks of code.
fn prose(document: &Path) -> String {
    let text = fs::read_to_string(document).expect("a document is text");
    text.split("```").step_by(2).collect()
}

/// Where the links of a document point to.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1);
    targets.filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(prose: &str) -> Vec<String> {
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |it: &char| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_');
    titles
        .map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// What is wrong with a link of `document`, if anything is.
fn problem(document: &Path, link: &str) -> Option<&'static str> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => document.to_owned(),
        path => document.parent().expect("a document is in a folder").join(path),
    };
    if !target.exists() {
        return Some("there is no such file");
    }
    let found = anchor.is_empty() || anchors(&prose(&target)).iter().any(|it| it == anchor);
    (!found).then_some("the file has no such heading")
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let (mut broken, mut count) = (Vec::new(), 0);
    for document in documents() {
        let prose = prose(&document);
        for link in links(&prose).into_iter().filter(|link| !link.contains("://")) {
            count += 1;
            if let Some(problem) = problem(&document, link) {
                broken.push(format!("{}: {link}: {problem}", document.display()));
            }
        }
    }
    assert!(count > 20, "only {count} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn broken_links_are_told() {
    let readme = root().join("README.md");
    assert!(problem(&readme, "docs/no-such-file.md").is_some());
    assert!(problem(&readme, "docs/architecture.md#no-such-heading").is_some());
    assert_eq!(problem(&readme, "docs/architecture.md#time-and-identity"), None);
    assert_eq!(links("a [b](c.md) and [d](#e)"), ["c.md", "#e"]);
}
