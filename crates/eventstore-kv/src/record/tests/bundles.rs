//! Records of several runs.

use super::*;

/// The record of a run of the test's stream that ends with `version`, whose first event has this position.
pub(super) fn run_at(position: u64, version: u64, messages: &[EventMessage]) -> Bytes {
    let newest = messages.last().map(EventMessage::id);
    let (position, now) = (Position::new(position), Timestamp::from_micros(11));
    EncodedRun::new(position, now, newest, messages, 0).seal(&key_of(version))
}

fn key_of(version: u64) -> Bytes {
    keys::run(&Database::default(), &stream(), Version::new(version))
}

/// Runs of two events, one, and three: versions 2 to 7.
fn three_runs() -> [Bytes; 3] {
    let two = [minimal_message(), full_message()];
    let three = [full_message(), minimal_message(), full_message()];
    [
        run_at(10, 3, &two),
        run_at(20, 4, &[full_message()]),
        run_at(30, 7, &three),
    ]
}

fn bundle() -> Bytes {
    seal_bundle(&run_key(), three_runs().iter())
}

fn open(value: &Bytes) -> Result<Runs, Error> {
    Runs::open(&run_key(), value, &stream())
}

/// The versions and positions of all events in a record, in its order.
fn numbers(runs: impl Iterator<Item = Run>) -> Vec<(u64, u64)> {
    let events = runs.flatten().map(|event| event.expect("decodes"));
    events
        .map(|event| (event.version.get(), event.position.get()))
        .collect()
}

#[test]
fn runs_of_a_record_are_those_that_went_in() {
    let value = bundle();
    let expected = [(2, 10), (3, 11), (4, 20), (5, 30), (6, 31), (7, 32)];
    assert_eq!(numbers(open(&value).expect("it opens")), expected);
    let backwards = open(&value)
        .expect("it opens")
        .rev()
        .map(|run| run.last_version().get());
    assert_eq!(backwards.collect::<Vec<_>>(), [7, 4, 3]);
    let alone = encoded(&full_message());
    assert_eq!(numbers(open(&alone).expect("it opens")), [(7, 9)]);
    assert_eq!(open(&alone).expect("it opens").rev().count(), 1);
    for run in open(&value).expect("it opens") {
        assert_eq!(run.last_of_record().get(), 7);
        let events = run.map(|event| event.expect("decodes").message.payload.bytes);
        let whole = value.as_ptr_range();
        assert!(
            events.into_iter().all(|bytes| whole.contains(&bytes.as_ptr())),
            "it was copied"
        );
    }
    let runs = three_runs();
    let bytes = runs.iter().map(Bytes::len).sum::<usize>();
    assert!(value.len() < bytes + 16, "{} of {bytes}", value.len());
}

#[test]
fn runs_make_one_record_as_long_as_it_is_short() {
    assert!(is_one_record(16_000, usize::MAX) && !is_one_record(16 << 10, usize::MAX));
    assert!(is_one_record(984, 1_000) && !is_one_record(985, 1_000));
    let [first, second, third] = three_runs();
    assert!(follows(&key_of(4), &second, &key_of(3)) && follows(&key_of(7), &third, &key_of(4)));
    assert!(!follows(&key_of(7), &third, &key_of(3)) && !follows(&key_of(3), &first, &key_of(4)));
}

#[test]
fn record_is_shortened_from_its_beginning() {
    let value = bundle();
    let after = |last| record_after(&run_key(), &value, &stream(), Version::new(last)).expect("it opens");
    assert_eq!(after(2), Some(value.clone()), "a run goes as a whole");
    let left = after(3).expect("two runs are left");
    assert_eq!(
        numbers(open(&left).expect("it opens")),
        [(4, 20), (5, 30), (6, 31), (7, 32)]
    );
    assert_eq!(
        after(4),
        Some(three_runs()[2].clone()),
        "one is a run as any other"
    );
    assert_eq!((after(7), after(8)), (None, None));
}

#[test]
fn every_damage_of_it_is_told() {
    let value = bundle();
    for at in 0..value.len() {
        for bit in [0, 3, 7] {
            let mut damaged = value.to_vec();
            damaged[at] ^= 1 << bit;
            open(&damaged.into()).expect_err("it is damaged");
        }
    }
    assert!((0..value.len()).all(|length| open(&value.slice(..length)).is_err()));
}

/// A record with a right checksum whose runs are these, of each of which it says that it has so many events and bytes.
fn contradictory(runs: &[(u32, u32, Bytes)]) -> Result<Runs, Error> {
    let mut body = vec![BUNDLE_FORMAT];
    encode_fields(
        &runs
            .iter()
            .map(|(events, bytes, _)| (*events, *bytes))
            .collect::<Vec<_>>(),
        &mut body,
    );
    for (_, _, record) in runs {
        body.extend_from_slice(&record[1..record.len() - CHECKSUM_BYTES]);
    }
    open(&seal_body(&run_key(), body))
}

#[test]
fn record_that_contradicts_itself_is_refused() {
    let said =
        |record: &Bytes, events: u32| (events, (record.len() - 1 - CHECKSUM_BYTES) as u32, record.clone());
    let [first, second, third] = three_runs();
    let right = [said(&first, 2), said(&second, 1), said(&third, 3)];
    contradictory(&right).expect("nothing is wrong with it");
    let with = |at: usize, part: (u32, u32, Bytes)| {
        let mut parts = right.clone();
        parts[at] = part;
        contradictory(&parts)
    };
    let short = (right[2].0, right[2].1 - 1, third.clone());
    let long = (right[2].0, right[2].1 + 1, third.clone());
    let wrong = [
        ("no runs", contradictory(&[])),
        ("one run", contradictory(&right[2..])),
        ("other events than a run has", with(0, said(&first, 1))),
        (
            "more events than versions",
            with(0, said(&run_at(10, 3, &vec![minimal_message(); 4]), 4)),
        ),
        (
            "positions that fall",
            with(1, said(&run_at(9, 4, &[full_message()]), 1)),
        ),
        (
            "the position of the one before",
            with(1, said(&run_at(11, 4, &[full_message()]), 1)),
        ),
        ("bytes behind the last", with(2, short)),
        ("fewer bytes than it says", with(2, long)),
        ("no events", with(1, said(&second, 0))),
    ];
    for (what, opened) in wrong {
        let error = opened.map(|_| ()).expect_err(what);
        assert!(matches!(error, Error::Corrupt { .. }), "{what}: {error}");
    }
    let mut unknown = bundle()[..bundle().len() - CHECKSUM_BYTES].to_vec();
    unknown[0] = 3;
    let error = open(&seal_body(&run_key(), unknown))
        .map(|_| ())
        .expect_err("of another format");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}
