//! Records just at a limit, estimates, and fields that a right checksum is around.

use super::*;

/// `body` under `key`, with a right checksum.
fn sealed_under(key: &[u8], body: &[u8]) -> Bytes {
    seal_body(key, [&[FORMAT], body].concat())
}

#[test]
fn bytes_behind_the_last_event_are_told() {
    for messages in [vec![full_message()], vec![minimal_message(), full_message()]] {
        let body = [run_of(&messages).fields(), b"x"].concat();
        let value = sealed_under(&run_key(), &body);
        let error = decoded(&run_key(), &value).expect_err("longer");
        let told = std::error::Error::source(&error).map(ToString::to_string);
        assert!(told.is_some_and(|told| told.contains("1 bytes after")), "{error}");
        // Who reads up to the last event reads all of it.
        let mut run = Run::open(&run_key(), &value, stream()).expect("a head");
        run.select(Version::FIRST, Version::new(7)).expect("decodes");
        assert!(run.collect::<Result<Vec<_>, _>>().is_err());
    }
}

#[test]
fn run_without_events_is_told() {
    let error = decoded(&run_key(), &run_of(&[]).seal(&run_key())).expect_err("nothing in it");
    assert!(error.to_string().contains("version 7"), "{error}");
}

#[test]
fn positions_of_a_run_are_those_of_what_is_left() {
    let value = run_of(&[minimal_message(), minimal_message(), minimal_message()]).seal(&run_key());
    let mut run = Run::open(&run_key(), &value, stream()).expect("decodes");
    assert_eq!((run.first_position().get(), run.last_position().get()), (9, 11));
    run.select(Version::new(6), Version::new(6)).expect("decodes");
    assert_eq!((run.first_position().get(), run.last_position().get()), (10, 10));
    assert_eq!(run.events(), 1);
}

#[test]
fn run_is_copied_into_the_log_below_the_limit_alone() {
    let with = |payload: usize| {
        let mut message = minimal_message();
        message.payload.bytes = vec![b'x'; payload].into();
        run_of(&[message])
    };
    let around = with(1_000).fields().len() - 1_000;
    let longest = with(MAX_COPIED_BYTES - around);
    assert_eq!(longest.fields().len(), MAX_COPIED_BYTES);
    assert!(!longest.is_copied());
    assert!(with(MAX_COPIED_BYTES - around - 1).is_copied());
}

#[test]
fn block_knows_how_long_it_is() {
    let key = keys::log_block(&Database::default(), Position::new(12));
    let mut block = NewBlock::new();
    block.push(&stream(), Version::new(7), 1, &run_of(&[full_message()]));
    let bytes = block.bytes();
    assert_eq!(block.seal(&key).len(), bytes + CHECKSUM_BYTES);
}

/// An estimate that is far above would refuse what fits: what it adds is for numbers that are short as a rule.
#[test]
fn estimate_of_a_message_is_close() {
    let mut message = full_message();
    let long = "x".repeat(100);
    message.metadata.context.scopes = vec![Scope::new(long.as_str()).expect("valid"); 2];
    message.metadata.context.tags = vec![Tag::new(long.as_str()).expect("valid"); 2];
    for message in [message, full_message(), minimal_message()] {
        let (bytes, estimate) = (encoded(&message).len(), message_bytes(&message));
        assert!((bytes..bytes + 250).contains(&estimate), "{estimate} for {bytes}");
    }
}

#[test]
fn posting_takes_no_more_than_it_says() {
    let name = "t".repeat(300);
    let largest = posting(1, 1 << 40, &name);
    let last = posting(u64::MAX, u64::MAX, "");
    let sealed = |postings: &[Posting<'_>]| seal_postings(b"k", postings).len();
    assert_eq!(sealed(&[largest, last]) - sealed(&[last]), largest.bytes());
}

#[test]
fn record_is_checked_without_knowing_what_it_is() {
    for (name, (key, value)) in pinned() {
        assert!(check(&key, &value).is_ok(), "{name}");
        assert!(check(&key, &value.slice(1..)).is_err(), "{name}");
    }
}
