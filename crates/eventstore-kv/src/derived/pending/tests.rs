use eventstore_abstractions::{ContentType, EventMessage, Payload, Position, StreamId, Timestamp, Version};
use kv_core::{Batch, Capabilities};

use super::*;
use crate::record::{EncodedRun, Runs};

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

/// The record of a run of one event with so many bytes of payload.
fn run_of(name: &str, version: u64, bytes: usize) -> Bytes {
    let payload = Payload::new(ContentType::OCTET_STREAM, vec![7; bytes]);
    let event = EventMessage::new("Counted", payload).expect("valid");
    let run = EncodedRun::new(
        Position::new(version),
        Timestamp::from_micros(7),
        None,
        &[event],
        0,
    );
    run.seal(&run_key(name, version))
}

/// What a commit leads to that appends this version to a stream.
fn derived(name: &str, version: u64) -> DerivedStream {
    DerivedStream {
        head_key: head_key(name),
        is_direct: false,
        head: Some(Bytes::from(format!("head {version}"))),
        runs: vec![(run_key(name, version), run_of(name, version, 10))],
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
    for (position, name, version) in [(1, "a", 1), (2, "b", 1), (3, "a", 2)] {
        pending.push(database_key(), position, vec![derived(name, version)]);
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
    let of = |key: Bytes, value: &[u8]| RECORD_BYTES + key.len() + value.len();
    pending.push(database_key(), 1, vec![derived("a", 1)]);
    let run = of(run_key("a", 1), &run_of("a", 1, 10));
    assert_eq!(pending.bytes(), RECORD_BYTES + run + of(head_key("a"), b"head 1"));
    // Its head is replaced.
    pending.push(database_key(), 10, vec![derived("a", 10)]);
    let runs = run + of(run_key("a", 10), &run_of("a", 10, 10));
    let parts = 2 * RECORD_BYTES;
    assert_eq!(pending.bytes(), parts + runs + of(head_key("a"), b"head 10"));
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
    let settling = pending.oldest(1, everything());
    pending.push(database_key(), 4, vec![derived("c", 4)]);
    pending.settled(&settling);
    assert_eq!(pending.progress(), (4, 1));
    // Both runs of the stream went, and so did its head.
    for key in [run_key("a", 1), run_key("a", 2), head_key("a")] {
        assert_eq!(pending.get(&key), None);
    }
    assert_eq!(pending.get(&head_key("b")), value("head 1"));
    let known = pending.known(&database_key()).expect("it is known");
    assert_eq!((known.settled, known.is_marked), (1, true));
    settle(&mut pending, 1);
    assert_eq!(
        (pending.get(&run_key("b", 1)), pending.get(&head_key("b"))),
        (None, None)
    );
    assert_eq!(pending.get(&head_key("c")), value("head 4"));
    // The third part has nothing left.
    settle(&mut pending, 1);
    assert_eq!(pending.progress(), (4, 4));
    assert_eq!((pending.get(&head_key("c")), pending.bytes()), (None, 0));
}

/// How many events each record has of those that are to be written of a stream.
fn events_of_records(settling: &Settling, name: &str) -> Vec<usize> {
    let own = keys::slice_of_head(&head_key(name));
    let runs = settling
        .records
        .iter()
        .filter(|(key, _)| keys::stream_of_run(key) == Some(&own[..]));
    let events = runs.map(|(key, value)| {
        let runs = Runs::open(key, value, &stream(name)).expect("it opens");
        runs.map(|run| run.events() as usize).sum()
    });
    events.collect()
}

#[test]
fn runs_of_a_stream_go_together_as_far_as_they_are_one_record() {
    let mut pending = pending();
    let large = |version| DerivedStream {
        runs: vec![(run_key("a", version), run_of("a", version, 3_000))],
        ..derived("a", version)
    };
    for version in 1..=12 {
        pending.push(database_key(), version, vec![large(version)]);
    }
    // Five of them take less than 16 KiB, six more. The head goes with the first.
    let settling = pending.oldest(1, everything());
    assert_eq!((settling.parts, settling.taken), (1, 6));
    assert_eq!(events_of_records(&settling, "a"), [5]);
    assert!(settling.records.contains(&(head_key("a"), "head 12".into())));
    pending.settled(&settling);
    assert_eq!(pending.get(&head_key("a")), None);
    assert_eq!(pending.get(&run_key("a", 5)), None);
    assert!(pending.get(&run_key("a", 6)).is_some());
    // The parts of the four that went with it have nothing left; the next record begins with the sixth.
    let settling = pending.oldest(2, everything());
    assert_eq!((settling.parts, settling.taken), (5, 5));
    assert_eq!(events_of_records(&settling, "a"), [5]);
    assert_eq!(events_of_records(&pending.oldest(6, everything()), "a"), [5, 2]);
    // An engine of smaller values gets smaller records, and never less than a run.
    for (record_bytes, events) in [(7_000, vec![2, 2, 2, 1]), (10, vec![1; 7])] {
        let room = Room::of(&Capabilities {
            max_value_bytes: record_bytes,
            ..Capabilities::IN_PROCESS
        });
        assert_eq!(events_of_records(&pending.oldest(usize::MAX, room), "a"), events);
    }
}

#[test]
fn runs_that_were_written_at_once_are_between_two_records() {
    let mut pending = pending();
    for version in [1, 2, 5, 6] {
        pending.push(database_key(), version, vec![derived("a", version)]);
    }
    assert_eq!(events_of_records(&pending.oldest(1, everything()), "a"), [2]);
    assert_eq!(events_of_records(&pending.oldest(9, everything()), "a"), [2, 2]);
}

#[test]
fn all_runs_of_a_part_go_with_it() {
    let mut pending = pending();
    let runs = (1..=12).map(|version| (run_key("a", version), run_of("a", version, 3_000)));
    let derived = DerivedStream {
        runs: runs.collect(),
        ..derived("a", 12)
    };
    pending.push(database_key(), 12, vec![derived]);
    let settling = pending.oldest(1, everything());
    assert_eq!((settling.parts, settling.taken), (1, 13));
    assert_eq!(events_of_records(&settling, "a"), [5, 5, 2]);
    pending.settled(&settling);
    assert!(pending.is_empty() && pending.bytes() == 0);
}

#[test]
fn oldest_parts_are_whole_and_as_many_as_are_asked_for() {
    let pending = of_three_parts();
    let parts = |records| {
        let settling = pending.oldest(records, everything());
        (settling.parts, settling.records.len())
    };
    // The third part, of the stream of the first, has nothing left: both runs and the head go as two records.
    assert_eq!([parts(0), parts(1), parts(3)], [(1, 2), (1, 2), (1, 2)]);
    assert_eq!([parts(4), parts(5), parts(6)], [(2, 4), (2, 4), (3, 4)]);
    let settling = pending.oldest(4, everything());
    assert_eq!(settling.databases, BTreeMap::from([(database_key(), 2)]));
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
    // Two records, two, and none; and two operations more for each part.
    for (room, fit) in [(3, 0), (4, 1), (7, 1), (8, 2), (9, 2), (10, 3)] {
        assert_eq!(beside(&operations(room)), fit, "{room} operations");
        assert_eq!(alone(&operations(room)), fit.max(1), "{room} operations");
    }
    let settling = pending.oldest(usize::MAX, everything());
    let sizes: Vec<_> = settling
        .records
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .collect();
    let first = sizes[0] + sizes[1] + BYTES_OF_A_DATABASE;
    let two = first + sizes[2] + sizes[3] + BYTES_OF_A_DATABASE;
    for (room, fit) in [(first - 1, 0), (first, 1), (two - 1, 1), (two, 2)] {
        assert_eq!(beside(&bytes(room)), fit, "{room} bytes");
        assert_eq!(alone(&bytes(room)), fit.max(1), "{room} bytes");
    }
    // What is in the batch already takes its part.
    let batch = Batch::new().require_absent("k").put("k", "").put("l", "");
    assert_eq!(parts(Room::beside(&batch, &operations(7))), 1);
    assert_eq!(parts(Room::beside(&batch, &operations(6))), 0);
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
    assert_eq!(settling.databases, BTreeMap::from([(key, 2), (other, 4)]));
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
    assert!(!pending.has(&run_key("a", 3)) && !pending.has(&head_key("c")));
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
