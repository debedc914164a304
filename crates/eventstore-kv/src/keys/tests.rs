//! Keys sort by what they are of, stay apart, and can be told in words.

use eventstore_abstractions::MAX_KEY_BYTES;

use super::*;

fn stream(category: &str, id: &str) -> StreamId {
    StreamId::new(category, id).expect("valid")
}

#[test]
fn names_that_are_prefixes_of_each_other_stay_apart() {
    let database = Database::default();
    let keys = |stream: &StreamId| runs(&database, stream, Version::FIRST, Version::MAX);
    let short = keys(&stream("a", "b"));
    for other in [
        stream("a", "b\u{1f600}"),
        stream("a", "bb"),
        stream("ab", "b"),
        stream("a", "b "),
    ] {
        let key = run(&database, &other, Version::FIRST);
        assert!(key < short.start || key >= short.end, "{other}");
    }
}

#[test]
fn keys_of_one_stream_sort_by_version() {
    let (database, stream) = (Database::default(), stream("a", "b"));
    let versions = [1, 255, 256, 65_536, u64::MAX];
    let keys = versions.map(|version| run(&database, &stream, Version::new(version)));
    assert!(keys.is_sorted());
    assert_eq!(keys.each_ref().map(|key| number_of(key)), versions.map(Some));
    assert!(
        keys.iter()
            .all(|key| *key < runs(&database, &stream, Version::FIRST, Version::MAX).end)
    );
}

#[test]
fn postings_of_names_that_are_prefixes_of_each_other_stay_apart() {
    let database = Database::default();
    let all = |name| postings_between(Index::Types, &database, name, Position::ZERO, Position::MAX);
    let key = |name| postings(Index::Types, &database, name, Position::new(7));
    let short = all("a");
    for other in ["aa", "a ", "a\u{1f600}", "b"] {
        assert!(key(other) < short.start || key(other) >= short.end, "{other}");
    }
    assert_eq!(name_of_postings(&key("a b")), Some("a b"));
    let behind = postings_of_prefix(Index::Types, &database, "a", Some("a"));
    assert!(key("a") < behind.start && key("b") >= behind.end);
    assert!((behind.start..behind.end).contains(&key("a ")));
}

#[test]
fn scan_of_runs_is_told_from_others_on_every_page() {
    let (database, stream) = (Database::default(), stream("a", "b"));
    let head = stream_head(&database, &stream);
    let own = Derivable::Runs(stream_of_head(&head).expect("a head"));
    let scan = runs(&database, &stream, Version::FIRST, Version::new(7));
    assert_eq!(derivable(&scan), own);
    for last in [1, 0x0100, 0x2f00] {
        let mut next = scan.clone();
        next.start = [&run(&database, &stream, Version::new(last))[..], &[0]]
            .concat()
            .into();
        assert_eq!(derivable(&next), own, "{last}");
    }
    let mut reverse = scan.reverse();
    reverse.end = run(&database, &stream, Version::new(3));
    assert_eq!(derivable(&reverse), own);
    assert_eq!(derivable(&leases()), Derivable::Nothing);
    assert_eq!(
        derivable(&log_blocks(&database, Position::ZERO, Position::MAX)),
        Derivable::Nothing
    );
    assert_eq!(derivable(&records_after(&[])), Derivable::Anything);
    assert_eq!(
        derivable(&Scan::prefix(vec![Space::Run as u8])),
        Derivable::Anything
    );
}

#[test]
fn longest_key_fits_511_bytes() {
    let database = Database::new("d".repeat(Database::MAX_BYTES)).expect("valid");
    let stream = stream(
        &"c".repeat(StreamId::MAX_CATEGORY_BYTES),
        &"i".repeat(StreamId::MAX_ID_BYTES),
    );
    let id = IdempotencyId::new("k".repeat(IdempotencyId::MAX_BYTES)).expect("valid");
    assert!(idempotency(&database, &stream, &id).len() <= 511);
    let namespace = NamespaceName::new("n".repeat(NamespaceName::MAX_BYTES)).expect("valid");
    let prefix = state_prefix(&database, &namespace);
    let longest = vec![0xff; MAX_KEY_BYTES];
    assert!(states(&prefix, &longest, Some(&longest)).start.len() <= 511);
}

#[test]
fn scan_of_more_than_one_stream_may_find_anything() {
    let database = Database::default();
    let [one, other] = ["b", "c"].map(|id| run(&database, &stream("a", id), Version::FIRST));
    let scan = Scan::range(one.clone().min(other.clone()), one.max(other));
    assert_eq!(derivable(&scan), Derivable::Anything);
}

#[test]
fn what_the_log_says_is_told_from_what_it_does_not() {
    let (database, stream) = (Database::default(), stream("a", "b"));
    assert!(is_derived(&database_head(&database)));
    assert!(is_derived(&stream_head(&database, &stream)));
    assert!(is_derived(&run(&database, &stream, Version::FIRST)));
    assert!(!is_derived(&log_block(&database, Position::new(1))));
    assert!(!is_derived(&lease(&database, &stream)));
    assert!(!is_derived(&[]));
}

#[test]
fn description_says_what_each_record_is() {
    let (database, stream) = (Database::new("d").expect("valid"), stream("a", "b"));
    let (version, position) = (Version::new(7), Position::new(9));
    let id = IdempotencyId::new("i").expect("valid");
    let name = NamespaceName::new("n").expect("valid");
    let nil = MessageId::from_uuid(uuid::Uuid::nil());
    let (of_stream, of_database) = (r#"of stream "d" "a" "b""#, r#"of database "d""#);
    let zeros = r"\x00".repeat(16);
    for (key, text) in [
        (format(), "the format of the store".to_owned()),
        (copy(), "the state of the copy".to_owned()),
        (database_head(&database), format!("the head {of_database}")),
        (
            log_block(&database, position),
            format!("the log block {of_database}, position 9"),
        ),
        (stream_head(&database, &stream), format!("the head {of_stream}")),
        (
            run(&database, &stream, version),
            format!("the events {of_stream}, version 7"),
        ),
        (
            snapshot(&database, &stream, version),
            format!("the snapshot {of_stream}, version 7"),
        ),
        (
            message(&database, &stream, nil),
            format!("the message entry {of_stream}, id {zeros}"),
        ),
        (
            idempotency(&database, &stream, &id),
            format!("the idempotency entry {of_stream}, id i"),
        ),
        (lease(&database, &stream), format!("the lease {of_stream}")),
        (
            scavenge_cursor(&database),
            format!("the scavenge cursor {of_database}"),
        ),
        (settled(&database), format!("the settled position {of_database}")),
        (turn(&database), format!("the turn {of_database}")),
        (
            postings(Index::Tags, &database, "t", position),
            r#"the postings of database and tag "d" "t", position 9"#.to_owned(),
        ),
        (
            postings(Index::Types, &database, "t", position),
            r#"the postings of database and type "d" "t", position 9"#.to_owned(),
        ),
        (
            postings(Index::Categories, &database, "a", position),
            r#"the postings of database and category "d" "a", position 9"#.to_owned(),
        ),
        (
            state(&state_prefix(&database, &name), b"k"),
            r#"the value of namespace "d" "n", key k"#.to_owned(),
        ),
    ] {
        assert!(
            describe(&key).starts_with(&format!("{text} (key ")),
            "{}",
            describe(&key)
        );
    }
}

#[test]
fn key_of_no_space_is_described_by_its_bytes() {
    assert_eq!(describe(&[0xee]), "key ee");
    assert_eq!(describe(b"\xeea\0b\0"), "key ee61006200");
    assert_eq!(describe(&[]), "key ");
}
