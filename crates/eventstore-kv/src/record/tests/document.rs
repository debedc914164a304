//! `docs/storage-format.md` gives every byte of every record, and gives it right.

use std::collections::BTreeSet;

use super::{golden, hex};

const DOCUMENT: &str = include_str!("../../../../../docs/storage-format.md");

/// The blocks of the document that take a record apart, by the name of the record.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = DOCUMENT.split("```record ").skip(1);
    let blocks = blocks.map(|block| block.split_once("```").expect("a block ends").0);
    blocks
        .map(|block| block.split_once('\n').expect("a block has a name"))
        .collect()
}

/// The bytes in one part of an example, `key` or `value`: those that stand at the beginning of its lines.
fn bytes(example: &str, part: &str) -> String {
    let lines = example.lines().skip_while(|line| *line != part).skip(1);
    let fields = lines
        .take_while(|line| line.starts_with("  "))
        .map(|line| &line[2..]);
    let fields = fields.map(|field| field.split("  ").next().unwrap_or_default());
    fields.collect::<String>().replace(' ', "")
}

#[test]
fn examples_in_the_document_are_what_is_written() {
    let golden = golden();
    for (name, example) in examples() {
        let (key, value) = golden.get(name).unwrap_or_else(|| panic!("no record {name}"));
        assert_eq!(
            (bytes(example, "key"), bytes(example, "value")),
            (hex(key), hex(value)),
            "docs/storage-format.md has other bytes of the record {name} than are written"
        );
    }
}

#[test]
fn every_record_has_one_example_in_the_document() {
    let names: Vec<_> = examples().into_iter().map(|(name, _)| name).collect();
    let documented: BTreeSet<_> = names.iter().copied().collect();
    let written: BTreeSet<_> = golden().into_keys().collect();
    assert_eq!(documented, written);
    assert_eq!(names.len(), documented.len(), "{names:?}");
}
