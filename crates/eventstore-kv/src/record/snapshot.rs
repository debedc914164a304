//! The record of a snapshot.

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use eventstore_abstractions::{Error, EventMessage, Snapshot, Timestamp, Version};

use super::message::{Encoded, MessageRecord};
use super::{Damage, open, seal};

#[derive(Encode)]
struct New<'a> {
    taken_at: i64,
    message: Encoded<'a>,
}

#[derive(BorrowDecode)]
struct SnapshotRecord<'a> {
    taken_at: i64,
    message: MessageRecord<'a>,
}

pub(crate) fn encode_snapshot(key: &[u8], taken_at: Timestamp, message: &EventMessage) -> Bytes {
    let (taken_at, message) = (taken_at.as_micros(), Encoded(message));
    seal(key, &New { taken_at, message })
}

pub(crate) fn decode_snapshot(key: &[u8], bytes: &Bytes, version: Version) -> Result<Snapshot, Error> {
    let snapshot = open::<SnapshotRecord<'_>>(key, bytes).and_then(|record| {
        let message = record.message.decode(bytes).map_err(Damage::Invalid)?;
        let taken_at = Timestamp::from_micros(record.taken_at);
        Ok(Snapshot::new(version, taken_at, message))
    });
    snapshot.map_err(|damage| damage.of(key))
}
