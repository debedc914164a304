//! Records round-trip, every damage is told, and golden bytes pin the form.

mod document;

use std::collections::BTreeMap;

use eventstore_abstractions::{
    ContentType, CorrelationId, Database, EventMessage, IdempotencyId, MessageId, Metadata, Payload,
    Position, Scope, StreamId, Timestamp, TypeName, UserId, Version,
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

fn event_key() -> Bytes {
    keys::event(&Database::default(), &stream(), Version::new(7))
}

fn encoded(message: &EventMessage) -> Bytes {
    encode_event(
        &event_key(),
        Position::new(9),
        Timestamp::from_micros(11),
        message,
    )
}

#[test]
fn event_comes_back_as_it_was_and_shares_the_buffer() {
    for message in [full_message(), minimal_message()] {
        let bytes = encoded(&message);
        assert!(bytes.len() <= message_bytes(&message));
        let event = decode_event(&event_key(), &bytes, &stream(), Version::new(7)).expect("decodes");
        assert_eq!(event.message, message);
        assert_eq!((event.position.get(), event.recorded_at.as_micros()), (9, 11));
        let (start, end) = (bytes.as_ptr(), bytes.as_ptr_range().end);
        assert!(
            (start..end).contains(&event.message.payload.bytes.as_ptr()),
            "the payload was copied"
        );
    }
}

#[test]
fn every_flipped_bit_is_told() {
    let bytes = encoded(&full_message());
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error =
            decode_event(&event_key(), &damaged.into(), &stream(), Version::new(7)).expect_err("damaged");
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
        assert!(decode_event(&event_key(), &bytes.slice(..length), &stream(), Version::new(7)).is_err());
    }
    let longer = [bytes.as_ref(), b"x"].concat();
    assert!(decode_event(&event_key(), &longer.into(), &stream(), Version::new(7)).is_err());
}

#[test]
fn record_under_another_key_is_told() {
    let other = keys::event(&Database::default(), &stream(), Version::new(8));
    assert!(decode_event(&other, &encoded(&minimal_message()), &stream(), Version::new(8)).is_err());
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
    assert!(told(&[FORMAT, 0, 0, 0]).contains("1 bytes after"));
}

#[test]
fn hostile_length_is_an_error_and_no_allocation() {
    // A string that claims to have 2^64 - 1 bytes.
    let body = [&[FORMAT, 0xfd][..], &[0xff; 8]].concat();
    assert!(open::<LogEntry<'_>>(b"k", &sealed(&body)).is_err());
}

#[test]
fn text_that_breaks_the_rules_of_its_type_is_told() {
    let body = MessageRecordWithBadName::body();
    let error = decode_event(b"k", &sealed(&body), &stream(), Version::FIRST).expect_err("damaged");
    assert!(error.to_string().contains("key 6b"), "{error}");
}

/// The fields of an event whose type name is empty.
struct MessageRecordWithBadName;

impl MessageRecordWithBadName {
    fn body() -> Vec<u8> {
        let mut bytes = encode_event(
            b"k",
            Position::new(1),
            Timestamp::from_micros(0),
            &minimal_message(),
        )
        .to_vec();
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        let name = bytes
            .iter()
            .rposition(|byte| *byte == b'T')
            .expect("the type name");
        bytes.remove(name);
        bytes[name - 1] = 0;
        bytes
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
        }
        .seal(key)
    });
    add(
        "log-entry",
        keys::log_entry(&database, Position::new(9)),
        &|key| {
            LogEntry {
                category: "account",
                id: "alice",
                first_version: 7,
                events: 2,
                bytes: 400,
            }
            .seal(key)
        },
    );
    add("stream-head", keys::stream_head(&database, &stream), &|key| {
        StreamHead {
            version: 8,
            position: 10,
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
    add("event", event_key(), &|_| encoded(&full_message()));
    add("event-minimal", event_key(), &|_| encoded(&minimal_message()));
    add(
        "snapshot",
        keys::snapshot(&database, &stream, Version::new(7)),
        &|key| encode_snapshot(key, Timestamp::from_micros(11), &full_message()),
    );
    golden
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The stored form must never change unnoticed: these files were written by the version that introduced format 1.
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

#[test]
fn golden_event_is_read_as_ever() {
    let pinned = include_str!("../../tests/golden/format-1.txt");
    let value = pinned
        .split("event\n")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().nth(3))
        .expect("the event");
    let bytes = (0..value.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&value[at..at + 2], 16).expect("hex"));
    let bytes = Bytes::from(bytes.collect::<Vec<_>>());
    let event = decode_event(&event_key(), &bytes, &stream(), Version::new(7)).expect("an old record opens");
    assert_eq!(event.message, full_message());
}
