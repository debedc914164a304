//! The **Contract** lists of the traits name cases of the suites, so that no promise stands there unchecked.

use std::collections::BTreeSet;

use eventstore_testkit::{kv, provider};

const EVENT_LOG: &str = include_str!("../../eventstore-abstractions/src/log.rs");
const EVENT_STORE: &str = include_str!("../../eventstore-abstractions/src/store.rs");
const EVENT_STORE_PROVIDER: &str = include_str!("../../eventstore-abstractions/src/provider.rs");
const NAMESPACE: &str = include_str!("../../eventstore-abstractions/src/namespace.rs");
const KEY_VALUE_STORE: &str = include_str!("../../kv-core/src/lib.rs");
const WATCH: &str = include_str!("../../kv-core/src/watch.rs");

/// The documented items of `pub trait NAME` in `source`, the trait itself first: what is declared, and
/// its doc.
fn documented<'a>(source: &'a str, name: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut items = Vec::new();
    let mut doc = Vec::new();
    let mut in_trait = false;
    for line in source.lines() {
        if let Some(text) = line.trim_start().strip_prefix("///") {
            doc.push(text.trim());
            continue;
        }
        let code = line.trim();
        let begins = code.starts_with(&format!("pub trait {name}:"));
        in_trait |= begins;
        if begins || (in_trait && (code.starts_with("fn ") || code.starts_with("async fn "))) {
            items.push((code, std::mem::take(&mut doc)));
        } else if in_trait && line == "}" {
            return items;
        } else if !code.starts_with("#[") {
            doc.clear();
        }
    }
    panic!("no trait {name} was found");
}

/// The names in the lines of the contract list of `doc`.
fn promised<'a>(doc: &[&'a str]) -> Vec<&'a str> {
    let list = doc
        .iter()
        .skip_while(|line| !matches!(**line, "# Contract" | "**Contract**"));
    let until_next_section = list
        .skip(1)
        .take_while(|line| !line.starts_with('#') && !line.starts_with("```"));
    until_next_section
        .filter_map(|line| line.strip_prefix("- "))
        .map(|line| {
            let name = line
                .strip_prefix('`')
                .and_then(|line| line.split_once("`: "))
                .map(|(name, _)| name);
            name.unwrap_or_else(|| panic!("no case is named at the beginning of {line:?}"))
        })
        .collect()
}

/// Every item of the trait has a contract list, and every name in it is a case.
fn check(source: &str, name: &str, cases: &BTreeSet<&str>) {
    let items = documented(source, name);
    assert!(items.len() > 1, "{name} has no methods");
    for (item, doc) in items {
        let promised = promised(&doc);
        assert!(!promised.is_empty(), "{name}: no contract list at {item}");
        for case in promised {
            assert!(
                cases.contains(case),
                "{name}: {item} names {case}, which is no case"
            );
        }
    }
}

#[test]
fn contract_lists_of_the_event_store_name_provider_cases() {
    let cases = provider::CASES.iter().map(provider::Case::name).collect();
    check(EVENT_LOG, "EventLog", &cases);
    check(EVENT_STORE, "EventStore", &cases);
    check(EVENT_STORE_PROVIDER, "EventStoreProvider", &cases);
    check(NAMESPACE, "Namespace", &cases);
}

#[test]
fn contract_lists_of_the_key_value_store_name_key_value_cases() {
    let cases = kv::CASES.iter().map(kv::Case::name).collect();
    check(KEY_VALUE_STORE, "KeyValueStore", &cases);
    check(WATCH, "Watch", &cases);
}

#[test]
#[should_panic(expected = "names no_such_case, which is no case")]
fn name_that_is_no_case_is_found() {
    let source = "\
/// # Contract
/// - `a`: x.
pub trait T: Debug {
    /// **Contract**
    /// - `no_such_case`: y.
    async fn f(&self);
}
";
    check(source, "T", &BTreeSet::from(["a"]));
}

#[test]
#[should_panic(expected = "no contract list at fn f(&self);")]
fn method_without_a_contract_list_is_found() {
    let source = "\
/// # Contract
/// - `a`: x.
pub trait T: Debug {
    /// Does.
    fn f(&self);
}
";
    check(source, "T", &BTreeSet::from(["a"]));
}
