//! For the fuzz targets in `fuzz/` alone: the private decoders and the key layout, taken whatever bytes come.

use bytes::Bytes;
use eventstore_abstractions::{Database, IdempotencyId, MessageId, Position, StreamId, Version};
use uuid::Uuid;

use crate::keys;
use crate::record::{
    DatabaseHead, IdempotencyEntry, Lease, MessageEntry, Record, Runs, ScavengeCursor, Settled, StoreFormat,
    StreamHead, Turn, block_without, decode_snapshot, open_block, open_postings, open_state, record_after,
    seal_bundle_fields, seal_fields,
};

/// Decodes `fields` as every kind of record, each with a checksum that is right, so that the decoders behind the check
/// are reached, and as they are. A decoder answers or refuses; it must not panic or take more memory than its limit.
pub fn decode(fields: &[u8]) {
    let database = Database::default();
    let stream = StreamId::new("account", "alice").expect("a valid name");
    let key = keys::run(&database, &stream, Version::new(300));
    let sealed = [seal_fields(&key, fields), seal_bundle_fields(&key, fields)];
    for value in sealed.into_iter().chain([Bytes::copy_from_slice(fields)]) {
        let _ = StoreFormat::open(&key, &value);
        let _ = DatabaseHead::open(&key, &value);
        let _ = StreamHead::open(&key, &value);
        let _ = Lease::open(&key, &value);
        let _ = MessageEntry::open(&key, &value);
        let _ = IdempotencyEntry::open(&key, &value);
        let _ = ScavengeCursor::open(&key, &value);
        let _ = Settled::open(&key, &value);
        let _ = Turn::open(&key, &value);
        let _ = open_postings(&key, &value);
        let _ = open_state(&key, &value);
        let _ = decode_snapshot(&key, &value, Version::FIRST);
        let _ = open_block(&key, &value);
        let _ = block_without(&key, &value, &[0, 2]);
        let _ = record_after(&key, &value, &stream, Version::new(150));
        for run in Runs::open(&key, &value, &stream).into_iter().flatten() {
            let _ = run.ids();
            let _ = run.newest_id();
            let _ = run.reversed();
        }
    }
}

/// Keys of two streams, of any names that are allowed, stay apart, sort by version, and are described.
///
/// # Panics
/// When they do not.
pub fn lay_out(names: [&str; 4], versions: [u64; 2], other: &[u8]) {
    let database = Database::default();
    let streams = [
        StreamId::new(names[0], names[1]),
        StreamId::new(names[2], names[3]),
    ];
    let [Ok(one), Ok(two)] = streams else { return };
    let key = |stream: &StreamId, version| keys::run(&database, stream, Version::new(version));
    let range = keys::runs(&database, &one, Version::ZERO, Version::MAX);
    let inside = |key: &Bytes| range.start <= *key && *key < range.end;
    for version in versions {
        assert!(inside(&key(&one, version)));
        assert_eq!(inside(&key(&two, version)), one == two);
        assert_eq!(keys::number_of(&key(&one, version)), Some(version));
    }
    assert_eq!(
        key(&one, versions[0]).cmp(&key(&one, versions[1])),
        versions[0].cmp(&versions[1])
    );
    let heads = [&one, &two].map(|stream| keys::stream_head(&database, stream));
    assert_eq!(heads[0] == heads[1], one == two);
    let id = MessageId::from_uuid(Uuid::from_u128(u128::from(versions[0])));
    let _ = keys::describe(&keys::message(&database, &one, id));
    if let Ok(id) = IdempotencyId::new(names[1]) {
        let _ = keys::describe(&keys::idempotency(&database, &two, &id));
    }
    let _ = keys::describe(&keys::log_block(&database, Position::new(versions[1])));
    let _ = keys::describe(other);
    let _ = keys::name_of_postings(other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_hostile_bytes_are_refused() {
        decode(&[]);
        // Lengths that no memory has.
        decode(&[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        for byte in 0..=255 {
            decode(&[byte; 40]);
        }
    }

    #[test]
    fn layout_takes_any_names() {
        lay_out(["a", "b", "a", "bb"], [1, 256], b"\x13");
        lay_out(["a", "b", "a", "b"], [0, u64::MAX], b"");
        lay_out(["", "b", "a", "\0"], [1, 1], b"");
    }
}
