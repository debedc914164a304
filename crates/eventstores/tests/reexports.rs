//! The facade offers the whole vocabulary: whoever adds a name to the abstractions adds it here too.

use std::collections::BTreeSet;

const ABSTRACTIONS: &str = include_str!("../../eventstore-abstractions/src/lib.rs");
const FACADE: &str = include_str!("../src/lib.rs");

/// The names in `pub use …;` items that `accept` takes, and in `pub mod …;` items that are documented.
fn public_names(source: &str, accept: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    let code = source.split("#[doc(hidden)]").next().unwrap_or_default();
    let items = code
        .split("pub use ")
        .skip(1)
        .filter_map(|rest| rest.split(';').next());
    let used = items
        .filter(|item| accept(item))
        .flat_map(|item| item.split(['{', '}', ',', '\n']))
        .map(str::trim)
        .filter_map(|name| name.rsplit("::").next())
        .filter(|name| !name.is_empty());
    let modules = code
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    used.chain(modules).collect()
}

#[test]
fn every_name_of_the_abstractions_is_here() {
    let mut expected = public_names(ABSTRACTIONS, |_| true);
    assert!(
        expected.contains("EventLog") && expected.contains("typed"),
        "{expected:?}"
    );
    // A macro is exported from where it is defined, without a `pub use`.
    expected.insert("event_set");
    let offered = public_names(FACADE, |item| item.starts_with("eventstore_abstractions"));
    assert_eq!(
        expected.difference(&offered).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
}

/// The macro works through the facade: a domain that names only `eventstores` compiles.
#[test]
fn event_set_works_through_the_facade() {
    use eventstores::typed::{Decoder, DomainEvent};
    use eventstores::{EventMessage, event_set};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Opened;
    impl DomainEvent for Opened {
        const TYPE_NAME: &'static str = "Opened";
    }
    event_set! {
        #[derive(Debug, PartialEq)]
        enum AccountEvent { Opened }
    }
    let message = EventMessage::of(&Opened).expect("it encodes");
    let event = Decoder::<AccountEvent>::new().decode_event(&message);
    assert_eq!(event.expect("it decodes"), AccountEvent::Opened(Opened));
}
