//! Records round-trip, every damage is told, and golden bytes pin the form.

mod bundles;
mod document;
mod edges;

use std::collections::BTreeMap;

use eventstore_abstractions::{
    ContentType, CorrelationId, Database, EventMessage, IdempotencyId, MessageId, Metadata, NamespaceName,
    Payload, Position, RecordedEvent, Scope, StreamId, Tag, Timestamp, TypeName, UserId, Version,
};
use uuid::Uuid;

use super::*;

fn stream() -> StreamId {
    StreamId::new("account", "alice").expect("valid")
}

/// A message that has every field.
fn full_message() -> EventMessage {
    let id = MessageId::from_uuid(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10));
    let created_at = Timestamp::from_micros(1_700_000_000_000_000);
    let mut metadata = Metadata::new_at(id, TypeName::new("Deposited").expect("valid"), created_at);
    metadata.message.schema_version = 300;
    metadata.message.domain = Some(stream());
    let context = &mut metadata.context;
    context.partition_id = Some(Database::default());
    context.correlation_id = Some(CorrelationId::new("request-7").expect("valid"));
    context.causation_id = Some("command-9".try_into().expect("valid"));
    context.user_id = Some(UserId::new("ünal").expect("valid"));
    context.session_id = Some("browser-1".try_into().expect("valid"));
    context.received_at = Some(Timestamp::from_micros(-5));
    context.sequence_number = Some(Version::new(7));
    context.idempotency_id = Some(IdempotencyId::new("transfer-3").expect("valid"));
    context.scopes = vec![
        Scope::new("audit").expect("valid"),
        Scope::new("eu").expect("valid"),
    ];
    context.tags = vec![Tag::new("account:alice").expect("valid")];
    EventMessage {
        payload: Payload::new(ContentType::new("text/plain").expect("valid"), "hello"),
        metadata,
    }
}

fn minimal_message() -> EventMessage {
    let id = MessageId::from_uuid(Uuid::nil());
    let metadata = Metadata::new_at(id, TypeName::new("T").expect("valid"), Timestamp::from_micros(0));
    EventMessage {
        payload: Payload::new(ContentType::JSON, "{}"),
        metadata,
    }
}

/// The key of a run that ends with version 7.
fn run_key() -> Bytes {
    keys::run(&Database::default(), &stream(), Version::new(7))
}

/// A run of `messages` whose first event has the position 9.
fn run_of(messages: &[EventMessage]) -> EncodedRun {
    let newest = messages.last().map(EventMessage::id);
    EncodedRun::new(Position::new(9), Timestamp::from_micros(11), newest, messages, 0)
}

fn encoded(message: &EventMessage) -> Bytes {
    run_of(std::slice::from_ref(message)).seal(&run_key())
}

/// All events of the run in the record.
fn decoded(key: &Bytes, value: &Bytes) -> Result<Vec<RecordedEvent>, Error> {
    Run::open(key, value, stream())?.collect()
}

#[test]
fn event_comes_back_as_it_was_and_shares_the_buffer() {
    for message in [full_message(), minimal_message()] {
        let bytes = encoded(&message);
        assert!(bytes.len() <= message_bytes(&message));
        let events = decoded(&run_key(), &bytes).expect("decodes");
        let [event] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(event.message, message);
        assert_eq!(
            (
                event.version.get(),
                event.position.get(),
                event.recorded_at.as_micros()
            ),
            (7, 9, 11)
        );
        let (start, end) = (bytes.as_ptr(), bytes.as_ptr_range().end);
        assert!(
            (start..end).contains(&event.message.payload.bytes.as_ptr()),
            "the payload was copied"
        );
    }
}

#[test]
fn events_of_a_run_follow_each_other() {
    let run = run_of(&[minimal_message(), full_message(), minimal_message()]).seal(&run_key());
    let open = || Run::open(&run_key(), &run, stream()).expect("decodes");
    let numbers = |events: Vec<RecordedEvent>| {
        let numbers = events
            .iter()
            .map(|event| (event.version.get(), event.position.get()));
        numbers.collect::<Vec<_>>()
    };
    let selected = |first, last| {
        let mut run = open();
        run.select(Version::new(first), Version::new(last))
            .expect("decodes");
        let back = run.clone().reversed().expect("decodes");
        let forward = run.collect::<Result<Vec<_>, _>>().expect("decodes");
        assert!(back.iter().rev().eq(&forward));
        numbers(forward)
    };
    assert_eq!(selected(1, 100), [(5, 9), (6, 10), (7, 11)]);
    assert_eq!(selected(6, 6), [(6, 10)]);
    assert_eq!(selected(7, 9), [(7, 11)]);
    assert_eq!(selected(8, 9), []);
    assert_eq!(
        (open().first_version().get(), open().last_version().get()),
        (5, 7)
    );
    let nil = MessageId::from_uuid(Uuid::nil());
    assert_eq!(open().ids().expect("decodes"), [nil, full_message().id(), nil]);
    assert_eq!(open().newest_id().expect("decodes"), Some(nil));
}

#[test]
fn block_gives_its_segments_in_order() {
    let database = Database::default();
    let key = keys::log_block(&database, Position::new(12));
    let (short, long) = (run_of(&[full_message()]), vec![full_message(); 60]);
    let mut block = NewBlock::new();
    block.push(&stream(), Version::new(7), 1, &short);
    block.push(&stream(), Version::new(10), 3, &run_of(&long));
    let value = block.seal(&key);
    let segments = open_block(&key, &value).expect("decodes");
    assert_eq!(segments.len(), 2);
    assert_eq!((segments[0].position.get(), segments[1].position.get()), (9, 10));
    let Place::Copied(run) = &segments[0].run else {
        panic!("a short run is copied")
    };
    let events = run.clone().collect::<Result<Vec<_>, _>>().expect("decodes");
    assert_eq!(events[0].message, full_message());
    assert!(
        matches!(segments[1].run, Place::Stored { .. }),
        "a long run is not"
    );
}

#[test]
fn block_keeps_the_places_of_what_is_removed() {
    let key = keys::log_block(&Database::default(), Position::new(12));
    let mut block = NewBlock::new();
    block.push(&stream(), Version::new(7), 1, &run_of(&[full_message()]));
    block.push(&stream(), Version::new(10), 3, &run_of(&vec![full_message(); 60]));
    let value = block.seal(&key);
    let places = |removed: &[usize]| {
        let rewritten = block_without(&key, &value, removed).expect("decodes");
        let segments = open_block(&key, &rewritten).expect("decodes");
        let places = segments.iter().map(|segment| {
            let is_removed = matches!(segment.run, Place::Removed);
            (
                segment.last_version.get(),
                segment.position.get(),
                segment.events,
                is_removed,
            )
        });
        places.collect::<Vec<_>>()
    };
    assert_eq!(places(&[]), [(7, 9, 1, false), (10, 10, 3, false)]);
    assert_eq!(places(&[0]), [(7, 9, 1, true), (10, 10, 3, false)]);
    assert_eq!(places(&[0, 1]), [(7, 9, 1, true), (10, 10, 3, true)]);
    assert_eq!(block_without(&key, &value, &[]).expect("decodes"), value);
}

#[test]
fn block_that_contradicts_itself_is_told() {
    let run = run_of(&[full_message()]);
    for (last_position, last_version, events) in [(9, 7, 2), (9, 1, 2), (0, 7, 1), (9, 7, 0), (8, 7, 1)] {
        let key = keys::log_block(&Database::default(), Position::new(last_position));
        let mut block = NewBlock::new();
        block.push(&stream(), Version::new(last_version), events, &run);
        let error = open_block(&key, &block.seal(&key)).expect_err("contradicts itself");
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

#[test]
fn every_flipped_bit_is_told() {
    let bytes = encoded(&full_message());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = decoded(&run_key(), &damaged.into()).expect_err("damaged");
        assert!(
            matches!(error, Error::Corrupt { .. }) && error.to_string().contains("version 7"),
            "{error}"
        );
    }
}

#[test]
fn every_cut_and_every_addition_is_told() {
    let bytes = encoded(&full_message());
    for length in 0..bytes.len() {
        assert!(decoded(&run_key(), &bytes.slice(..length)).is_err());
    }
    let longer = [bytes.as_ref(), b"x"].concat();
    assert!(decoded(&run_key(), &longer.into()).is_err());
}

#[test]
fn record_under_another_key_is_told() {
    let other = keys::run(&Database::default(), &stream(), Version::new(8));
    assert!(decoded(&other, &encoded(&minimal_message())).is_err());
}

/// Bytes with a right checksum around them, as a bug or an attacker could write.
fn sealed(body: &[u8]) -> Bytes {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&checksum(b"k", body).to_le_bytes());
    bytes.into()
}

#[test]
fn right_checksum_around_wrong_fields_is_told() {
    let told = |body: &[u8]| {
        open::<DatabaseHead>(b"k", &sealed(body))
            .expect_err("damaged")
            .to_string()
    };
    assert!(told(&[]).contains("fewer than any record"));
    assert!(told(&[2, 0, 0]).contains("format is 2"));
    assert!(told(&[FORMAT, 0]).contains("cannot be decoded"));
    assert!(told(&[FORMAT, 0, 0, 0, 0, 0]).contains("1 bytes after"));
}

#[derive(Debug, bincode::BorrowDecode)]
struct Text<'a>(#[expect(dead_code, reason = "it is only decoded")] &'a str);

#[test]
fn hostile_length_is_an_error_and_no_allocation() {
    // A string that claims to have 2^64 - 1 bytes.
    let body = [&[FORMAT, 0xfd][..], &[0xff; 8]].concat();
    assert!(open::<Text<'_>>(b"k", &sealed(&body)).is_err());
}

#[test]
fn text_that_breaks_the_rules_of_its_type_is_told() {
    let mut body = [&[FORMAT], run_of(&[minimal_message()]).fields()].concat();
    // The type name becomes empty.
    let name = body
        .iter()
        .rposition(|byte| *byte == b'T')
        .expect("the type name");
    body.remove(name);
    body[name - 1] = 0;
    // A key that ends like that of version 1.
    let key = Bytes::from_static(b"k\0\0\0\0\0\0\0\x01");
    let mut sealed = body.clone();
    sealed.extend_from_slice(&checksum(&key, &body).to_le_bytes());
    let error = decoded(&key, &sealed.into()).expect_err("damaged");
    assert!(error.to_string().contains("key 6b"), "{error}");
}

fn posting(first: u64, last: u64, type_name: &str) -> Posting<'_> {
    Posting {
        first: Position::new(first),
        last: Position::new(last),
        type_name,
    }
}

#[test]
fn postings_come_back_from_the_last_to_the_first() {
    let last = Position::new(u64::MAX);
    let key = keys::postings(keys::Index::Tags, &Database::default(), "a", last);
    let postings = [posting(1, 1, "A"), posting(2, 7, "B"), posting(9, u64::MAX, "A")];
    let value = seal_postings(&key, &postings);
    let opened = open_postings(&key, &value).expect("decodes");
    assert!(opened.iter().eq(postings.iter().rev()), "{opened:?}");
    let bytes = postings.iter().map(Posting::bytes).sum::<usize>();
    assert!(value.len() <= 1 + bytes + CHECKSUM_BYTES);
}

#[test]
fn postings_that_contradict_themselves_are_told() {
    let key = |last| keys::postings(keys::Index::Tags, &Database::default(), "a", Position::new(last));
    let seal = |key: &[u8], body: &[u8]| seal_body(key, [&[FORMAT], body].concat());
    // No posting; one without events; a gap, and more events, than there are positions.
    for body in [&[][..], &[0, 0, 0], &[9, 1, 0], &[0, 9, 0], &[0, 1, 0, 0, 7, 0]] {
        let key = key(7);
        let error = open_postings(&key, &seal(&key, body)).expect_err("contradicts itself");
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

fn golden() -> BTreeMap<&'static str, (Bytes, Bytes)> {
    let (database, stream) = (Database::default(), stream());
    let mut golden = BTreeMap::new();
    let mut add = |name, key: Bytes, seal: &dyn Fn(&[u8]) -> Bytes| {
        let value = seal(&key);
        golden.insert(name, (key, value));
    };
    add("format", keys::format(), &|key| {
        StoreFormat { layout: 1 }.seal(key)
    });
    add("database-head", keys::database_head(&database), &|key| {
        DatabaseHead {
            position: 300,
            revision: 70_000,
            types_after: Some(200),
            categories_after: None,
        }
        .seal(key)
    });
    add(
        "log-block",
        keys::log_block(&database, Position::new(69)),
        &|key| {
            let mut block = NewBlock::new();
            block.push(&stream, Version::new(7), 1, &run_of(&[minimal_message()]));
            let last = Version::new(67);
            block.push(&stream, last, 60, &run_of(&vec![full_message(); 60]));
            block.seal(key)
        },
    );
    add("stream-head", keys::stream_head(&database, &stream), &|key| {
        StreamHead {
            version: 8,
            newest_id: Some(*full_message().id().as_uuid().as_bytes()),
            has_snapshots: true,
            life: None,
        }
        .seal(key)
    });
    add(
        "stream-head-with-life",
        keys::stream_head(&database, &stream),
        &|key| {
            StreamHead {
                version: 8,
                newest_id: None,
                has_snapshots: false,
                life: Some(Life {
                    first: 9,
                    deleted_at: 8,
                    deleted: Some(Deleted::Hard),
                    truncate_before: Some(3),
                    max_count: Some(1_000),
                    max_age: Some(60_000_000),
                }),
            }
            .seal(key)
        },
    );
    add("scavenge-cursor", keys::scavenge_cursor(&database), &|key| {
        ScavengeCursor { position: 300 }.seal(key)
    });
    add("settled-position", keys::settled(&database), &|key| {
        Settled { position: 300 }.seal(key)
    });
    add("turn", keys::turn(&database), &|key| {
        Turn {
            holder: [7; 16],
            waiting: vec![[8; 16]],
        }
        .seal(key)
    });
    add(
        "log-block-of-removed",
        keys::log_block(&database, Position::new(9)),
        &|key| {
            let mut block = NewBlock::new();
            block.push(&stream, Version::new(7), 1, &run_of(&[minimal_message()]));
            let key = Bytes::copy_from_slice(key);
            block_without(&key, &block.seal(&key), &[0]).expect("decodes")
        },
    );
    add("copy", keys::copy(), &|key| {
        UnfinishedCopy {
            source: Heads {
                databases: 2,
                positions: 300,
                revisions: 70_000,
                checksum: 7,
            },
            records: 1_000,
            bytes: 70_000,
            after: keys::database_head(&database).to_vec(),
        }
        .seal(key)
    });
    add("lease", keys::lease(&database, &stream), &|key| {
        let (session, owner) = ([7; 16], "pid 42".to_owned());
        Lease {
            session,
            token: 5,
            expires_at: 1_700_000_000_000_000,
            owner,
        }
        .seal(key)
    });
    let id = MessageId::from_uuid(Uuid::nil());
    add("message", keys::message(&database, &stream, id), &|key| {
        MessageEntry { version: 7 }.seal(key)
    });
    let id = IdempotencyId::new("transfer-3").expect("valid");
    add(
        "idempotency",
        keys::idempotency(&database, &stream, &id),
        &|key| {
            IdempotencyEntry {
                first_version: 7,
                events: 2,
            }
            .seal(key)
        },
    );
    add("run", run_key(), &|key| run_of(&[full_message()]).seal(key));
    add("run-of-two", run_key(), &|key| {
        let messages = [full_message(), minimal_message()];
        let newest = Some(full_message().id());
        EncodedRun::new(Position::new(9), Timestamp::from_micros(11), newest, &messages, 0).seal(key)
    });
    add("bundle", run_key(), &|key| {
        let run = |position, version| bundles::run_at(position, version, &[minimal_message()]);
        seal_bundle(key, [run(9, 6), run(12, 7)].iter())
    });
    add(
        "snapshot",
        keys::snapshot(&database, &stream, Version::new(7)),
        &|key| encode_snapshot(key, Timestamp::from_micros(11), &full_message()),
    );
    let postings = |index, name| keys::postings(index, &database, name, Position::new(12));
    add(
        "tag-postings",
        postings(keys::Index::Tags, "account:alice"),
        &|key| seal_postings(key, &[posting(9, 9, "T"), posting(11, 12, "Deposited")]),
    );
    add(
        "type-postings",
        postings(keys::Index::Types, "Deposited"),
        &|key| seal_postings(key, &[posting(10, 12, "")]),
    );
    add(
        "category-postings",
        postings(keys::Index::Categories, "account"),
        &|key| seal_postings(key, &[posting(9, 12, "")]),
    );
    let balances = NamespaceName::new("balances").expect("valid");
    let key = keys::state(&keys::state_prefix(&database, &balances), b"alice");
    add("namespace-value", key, &|key| seal_state(key, b"500"));
    golden
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stored form must never change unnoticed: each record was written by the version that introduced it.
#[test]
fn golden_records_are_written_as_ever() {
    let written = golden()
        .into_iter()
        .map(|(name, (key, value))| format!("{name}\n  key   {}\n  value {}\n", hex(&key), hex(&value)))
        .collect::<String>();
    let pinned = include_str!("../../tests/golden/format-1.txt");
    assert_eq!(
        written, pinned,
        "the stored form changed; an old store would not open. Written now:\n{written}"
    );
}

/// Every record of the golden file, by its name.
fn pinned() -> BTreeMap<&'static str, (Bytes, Bytes)> {
    let bytes = |line: Option<&str>| {
        let hex = line
            .and_then(|line| line.split_whitespace().nth(1))
            .expect("a key and a value");
        let bytes = (0..hex.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
        Bytes::from(bytes.collect::<Vec<_>>())
    };
    let mut lines = include_str!("../../tests/golden/format-1.txt").lines();
    let mut records = BTreeMap::new();
    while let Some(name) = lines.next() {
        records.insert(name, (bytes(lines.next()), bytes(lines.next())));
    }
    records
}

/// A store that was written by the version that introduced format 1 opens.
#[test]
fn golden_records_are_read_as_ever() {
    for (name, (key, value)) in pinned() {
        let is_read = match name {
            "format" => StoreFormat::open(&key, &value).map(|format| format.layout == 1),
            "copy" => UnfinishedCopy::open(&key, &value).map(|copy| copy.records == 1_000),
            "database-head" => DatabaseHead::open(&key, &value).map(|head| head.position == 300),
            "stream-head" => StreamHead::open(&key, &value).map(|head| head.version == 8),
            "stream-head-with-life" => StreamHead::open(&key, &value).map(|head| head.life.is_some()),
            "lease" => Lease::open(&key, &value).map(|lease| lease.owner == "pid 42"),
            "message" => MessageEntry::open(&key, &value).map(|entry| entry.version == 7),
            "idempotency" => IdempotencyEntry::open(&key, &value).map(|entry| entry.events == 2),
            "scavenge-cursor" => ScavengeCursor::open(&key, &value).map(|cursor| cursor.position == 300),
            "settled-position" => Settled::open(&key, &value).map(|settled| settled.position == 300),
            "turn" => Turn::open(&key, &value).map(|turn| turn.waiting.len() == 1),
            "namespace-value" => open_state(&key, &value).map(|state| &state[..] == b"500"),
            "tag-postings" => open_postings(&key, &value).map(|postings| postings.len() == 2),
            "type-postings" | "category-postings" => {
                open_postings(&key, &value).map(|postings| postings.len() == 1)
            }
            "log-block" => open_block(&key, &value).map(|segments| segments[1].position.get() == 10),
            "log-block-of-removed" => {
                open_block(&key, &value).map(|segments| matches!(segments[0].run, Place::Removed))
            }
            "run" => decoded(&key, &value).map(|events| events[0].message == full_message()),
            "run-of-two" => decoded(&key, &value).map(|events| events[1].message == minimal_message()),
            "bundle" => Runs::open(&key, &value, &stream()).map(|runs| runs.count() == 2),
            "snapshot" => decode_snapshot(&key, &value, Version::new(7))
                .map(|snapshot| snapshot.message == full_message()),
            other => panic!("how is {other} read?"),
        };
        assert!(
            is_read.expect("an old record opens"),
            "{name} is read as something else"
        );
    }
}
