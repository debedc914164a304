use eventstore_abstractions::{StreamId, Version};
use kv_core::{Batch, Capabilities};

use super::*;

fn database() -> Database {
    Database::default()
}

fn database_key() -> Bytes {
    keys::database_head(&database())
}

fn stream(name: &str) -> StreamId {
    StreamId::new("case", name).expect("valid")
}

fn head_key(name: &str) -> Bytes {
    keys::stream_head(&database(), &stream(name))
}

fn run_key(name: &str, version: u64) -> Bytes {
    keys::run(&database(), &stream(name), Version::new(version))
}

/// What a commit leads to that appends this version to a stream.
fn derived(name: &str, version: u64) -> DerivedStream {
    DerivedStream {
        head_key: head_key(name),
        is_direct: false,
        head: Some(Bytes::from(format!("head {version}"))),
        runs: vec![(run_key(name, version), Bytes::from(format!("run {version}")))],
    }
}

/// A commit that has all of the stream itself.
fn direct(name: &str) -> DerivedStream {
    DerivedStream {
        is_direct: true,
        head: None,
        runs: Vec::new(),
        ..derived(name, 0)
    }
}

fn known(name: Database) -> Known {
    Known {
        name,
        head: Some(Bytes::from_static(b"head")),
        position: 0,
        settled: 0,
        is_marked: false,
    }
}

/// Nothing is pending of a database that is known.
fn pending() -> Pending {
    let mut pending = Pending::new(10);
    pending.know(database_key(), known(database()));
    pending
}

/// Three parts of a log, with two records each: of one stream, of another, and of the first again.
fn of_three_parts() -> Pending {
    let mut pending = pending();
    for (position, name) in [(1, "a"), (2, "b"), (3, "a")] {
        pending.push(database_key(), position, vec![derived(name, position)]);
    }
    pending
}

fn everything() -> Room {
    Room::of(&Capabilities::IN_PROCESS)
}

fn settle(pending: &mut Pending, records: usize) {
    let settling = pending.oldest(records, everything());
    pending.settled(&settling);
}

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn what_is_pending_is_counted_as_long_as_it_is() {
    let mut pending = pending();
    assert!(pending.is_empty() && pending.bytes() == 0);
    let of = |key: Bytes, value: &str| RECORD_BYTES + key.len() + value.len();
    pending.push(database_key(), 1, vec![derived("a", 1)]);
    let first = of(run_key("a", 1), "run 1") + of(head_key("a"), "head 1");
    assert_eq!(pending.bytes(), RECORD_BYTES + first);
    // Its head is replaced.
    pending.push(database_key(), 10, vec![derived("a", 10)]);
    let runs = of(run_key("a", 1), "run 1") + of(run_key("a", 10), "run 10");
    let parts = 2 * RECORD_BYTES;
    assert_eq!(pending.bytes(), parts + runs + of(head_key("a"), "head 10"));
    // Its head goes.
    pending.push(database_key(), 11, vec![direct("a")]);
    let parts = 3 * RECORD_BYTES;
    assert_eq!(pending.bytes(), parts + runs);
    assert_eq!(pending.get(&head_key("a")), None);
    assert!(!pending.is_empty());
    settle(&mut pending, usize::MAX);
    assert!(pending.is_empty() && pending.streams.is_empty());
    assert_eq!(pending.bytes(), 0);
    assert_eq!(pending.progress(), (3, 3));
}

#[test]
fn what_was_settled_is_forgotten_and_what_is_newer_is_not() {
    let mut pending = of_three_parts();
    settle(&mut pending, 1);
    assert_eq!(pending.progress(), (3, 1));
    assert_eq!(pending.get(&run_key("a", 1)), None);
    assert_eq!(pending.get(&run_key("a", 3)), value("run 3"));
    assert_eq!(pending.get(&head_key("a")), value("head 3"));
    assert_eq!(pending.get(&head_key("b")), value("head 2"));
    let known = pending.known(&database_key()).expect("it is known");
    assert_eq!((known.settled, known.is_marked), (1, true));
    settle(&mut pending, 1);
    assert_eq!(
        (pending.get(&run_key("b", 2)), pending.get(&head_key("b"))),
        (None, None)
    );
    assert_eq!(pending.get(&head_key("a")), value("head 3"));
    settle(&mut pending, 1);
    assert_eq!((pending.get(&head_key("a")), pending.bytes()), (None, 0));
}

#[test]
fn oldest_parts_are_whole_and_as_many_as_are_asked_for() {
    let pending = of_three_parts();
    let parts = |records| {
        let settling = pending.oldest(records, everything());
        (settling.parts, settling.records.len())
    };
    // The head of the first comes with the third part.
    assert_eq!([parts(0), parts(1), parts(2)], [(1, 1), (1, 1), (2, 3)]);
    assert_eq!([parts(3), parts(4), parts(9)], [(2, 3), (3, 5), (3, 5)]);
    let settling = pending.oldest(3, everything());
    assert_eq!(settling.databases, HashMap::from([(database_key(), 2)]));
}

#[test]
fn oldest_parts_are_no_more_than_there_is_room_for() {
    let pending = of_three_parts();
    let limits = Capabilities::IN_PROCESS;
    let operations = |max_batch_operations| Capabilities {
        max_batch_operations,
        ..limits
    };
    let bytes = |max_batch_bytes| Capabilities {
        max_batch_bytes,
        ..limits
    };
    let parts = |room| pending.oldest(usize::MAX, room).parts;
    let alone = |limits: &Capabilities| parts(Room::of(limits));
    let beside = |limits: &Capabilities| parts(Room::beside(&Batch::new(), limits));
    // One record, two, and two; and two operations more for each part.
    for (room, fit) in [(2, 0), (3, 1), (6, 1), (7, 2), (10, 2), (11, 3)] {
        assert_eq!(beside(&operations(room)), fit, "{room} operations");
        assert_eq!(alone(&operations(room)), fit.max(1), "{room} operations");
    }
    let settling = pending.oldest(usize::MAX, everything());
    let sizes: Vec<_> = settling
        .records
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .collect();
    let first = sizes[0] + BYTES_OF_A_DATABASE;
    let two = first + sizes[1] + sizes[2] + BYTES_OF_A_DATABASE;
    for (room, fit) in [(first - 1, 0), (first, 1), (two - 1, 1), (two, 2)] {
        assert_eq!(beside(&bytes(room)), fit, "{room} bytes");
        assert_eq!(alone(&bytes(room)), fit.max(1), "{room} bytes");
    }
    // What is in the batch already takes its part.
    let batch = Batch::new().require_absent("k").put("k", "").put("l", "");
    assert_eq!(parts(Room::beside(&batch, &operations(6))), 1);
    assert_eq!(parts(Room::beside(&batch, &operations(5))), 0);
}

#[test]
fn parts_that_lead_to_nothing_are_one() {
    let mut pending = pending();
    let other = Bytes::from_static(b"other");
    let mut parts = |key: &Bytes, position, streams| {
        pending.push(key.clone(), position, streams);
        pending.progress().0
    };
    let key = database_key();
    assert_eq!(parts(&key, 1, Vec::new()), 1);
    assert_eq!(parts(&key, 2, vec![direct("a")]), 1, "nothing of it was pending");
    assert_eq!(parts(&other, 1, Vec::new()), 2, "of another database");
    assert_eq!(parts(&other, 2, vec![derived("a", 1)]), 3);
    assert_eq!(
        parts(&other, 3, Vec::new()),
        4,
        "behind one that leads to something"
    );
    assert_eq!(parts(&other, 4, Vec::new()), 4);
    let settling = pending.oldest(usize::MAX, everything());
    assert_eq!(settling.databases, HashMap::from([(key, 2), (other, 4)]));
}

#[test]
fn page_ends_before_the_end_of_its_range() {
    let mut pending = pending();
    for version in 1..=4 {
        pending.push(database_key(), version, vec![derived("a", version)]);
    }
    let name = keys::slice_of_head(&head_key("a"));
    let versions = |scan: Scan| {
        let page = pending.page(&name, &scan);
        page.iter()
            .filter_map(|entry| keys::number_of(&entry.key))
            .collect::<Vec<_>>()
    };
    let scan = || Scan::range(run_key("a", 2), run_key("a", 4));
    assert_eq!(versions(scan()), [2, 3]);
    assert_eq!(versions(scan().reverse()), [3, 2]);
    assert_eq!(
        versions(scan().reverse().max_items(1)),
        [3, 2],
        "one more than is asked for"
    );
}

#[test]
fn records_that_are_to_be_written_are_told_from_what_is_only_known() {
    let mut pending = of_three_parts();
    assert!(pending.has(&run_key("a", 1)) && pending.has(&head_key("b")));
    assert!(!pending.has(&run_key("a", 2)) && !pending.has(&head_key("c")));
    // It is in the engine.
    assert!(!pending.has(&database_key()));
    assert_eq!(pending.get(&database_key()), value("head"));
    let other = Database::new("other").expect("valid");
    pending.know(keys::database_head(&other), known(other));
    assert!(pending.marked().is_empty());
    settle(&mut pending, 1);
    assert_eq!(pending.marked(), [database()]);
    pending.clear();
    assert!(pending.is_empty() && pending.marked().is_empty());
    assert_eq!(pending.get(&head_key("a")), None);
}
