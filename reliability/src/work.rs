//! What is appended: everything about an append follows from its number, so that a process that has nothing but the
//! numbers knows what must be stored.

use eventstores::{ContentType, EventMessage, MessageId, Payload, StreamId, Tag, Timestamp};
use fastrand::Rng;
use uuid::Uuid;

use crate::backend::Backend;

/// Few, so that appends meet in them.
const STREAMS: usize = 8;
const KIB: usize = 1 << 10;

/// One append.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) number: u64,
    /// When it was first tried, in milliseconds: ids tell their time, and a second try has the same ids.
    pub(crate) time_ms: u64,
    /// Which streams, and the sizes of the payloads for each.
    parts: Vec<(usize, Vec<usize>)>,
}

impl Append {
    pub(crate) fn new(backend: Backend, number: u64, time_ms: u64) -> Self {
        let mut rng = Rng::with_seed(number ^ 0x5eed_0000_0000_0000);
        let mut streams: Vec<usize> = (0..STREAMS).collect();
        rng.shuffle(&mut streams);
        // One in eight goes to several streams.
        streams.truncate(if rng.u8(..8) == 0 { rng.usize(2..=4) } else { 1 });
        let mut part = |stream| {
            let events = rng.usize(1..=5);
            (stream, (0..events).map(|_| size(&mut rng, backend)).collect())
        };
        let parts = streams.into_iter().map(&mut part).collect();
        Self {
            number,
            time_ms,
            parts,
        }
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|(_, sizes)| sizes.len()).sum()
    }

    /// What is appended to each stream, in the order in which the log has it.
    pub(crate) fn parts(&self) -> Vec<(StreamId, Vec<EventMessage>)> {
        let mut index = 0;
        let parts = self.parts.iter().map(|(stream, sizes)| {
            let events = sizes.iter().map(|&size| {
                index += 1;
                self.event(index - 1, size)
            });
            (self::stream(*stream), events.collect())
        });
        parts.collect()
    }

    /// The event of this index, and its stream.
    pub(crate) fn event_at(&self, index: usize) -> Option<(StreamId, EventMessage)> {
        let sizes = self
            .parts
            .iter()
            .flat_map(|(stream, sizes)| sizes.iter().map(move |&size| (*stream, size)));
        let (stream, size) = sizes.into_iter().nth(index)?;
        Some((self::stream(stream), self.event(index, size)))
    }

    fn event(&self, index: usize, size: usize) -> EventMessage {
        let payload = Payload::new(
            ContentType::OCTET_STREAM,
            content(self.number << 12 | index as u64, size),
        );
        let event = EventMessage::new("Written", payload).expect("a valid name");
        let mut event = event.with_message_id(id(self.time_ms, self.number, index));
        event.metadata.message.created_at = Timestamp::from_micros(self.time_ms as i64 * 1000);
        if self.number.is_multiple_of(3) {
            let tag = format!("number:{}", self.number % 7);
            event.with_tags([Tag::new(tag).expect("a valid tag")])
        } else {
            event
        }
    }
}

/// All streams.
pub(crate) fn streams() -> impl Iterator<Item = StreamId> {
    (0..STREAMS).map(stream)
}

/// The snapshot of a stream at a version.
pub(crate) fn snapshot(stream: &StreamId, version: u64) -> EventMessage {
    let seed = version << 8 | stream.id().len() as u64;
    let payload = Payload::new(ContentType::OCTET_STREAM, content(seed, 300));
    let message = EventMessage::new("State", payload).expect("a valid name");
    message.with_message_id(id(version, 0, 0))
}

/// Which event has this id: the time, the number of its append and its index in it.
pub(crate) fn origin(id: MessageId) -> (u64, u64, usize) {
    let bits = id.as_uuid().as_u128();
    let index = (bits >> 64 & 0xfff) as usize;
    ((bits >> 80) as u64, bits as u64 & NUMBER_BITS, index)
}

const NUMBER_BITS: u64 = (1 << 48) - 1;

/// A UUIDv7 of a time, as any other id; its random bits say what the event is.
fn id(time_ms: u64, number: u64, index: usize) -> MessageId {
    let (version, variant) = (7_u128 << 76, 2_u128 << 62);
    let bits = u128::from(time_ms) << 80 | version | (index as u128) << 64 | variant;
    MessageId::from_uuid(Uuid::from_u128(bits | u128::from(number & NUMBER_BITS)))
}

fn stream(number: usize) -> StreamId {
    // Lengths differ, so that keys do.
    StreamId::new("reliability", "s".repeat(number + 1)).expect("a valid name")
}

/// Bytes that compress badly, so that they take the room that they seem to.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// From one byte to the backend's limit: mostly small, around the sizes where the stored form changes (4 and 16 KiB),
/// and now and then as large as can be.
fn size(rng: &mut Rng, backend: Backend) -> usize {
    let limit = backend.max_payload_bytes();
    let size = match rng.u16(..4000) {
        0..400 => 1,
        400..2400 => rng.usize(1..=300),
        2400..3600 => rng.usize(300..=5 * KIB),
        3600..3900 => rng.usize(5 * KIB..=20 * KIB),
        3900..3980 => 64 * KIB,
        3980..3990 => rng.usize(64 * KIB..=1024 * KIB),
        3990..3999 => 1024 * KIB,
        _ => limit,
    };
    size.min(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_tells_where_the_event_comes_from() {
        let id = id(1_800_000_000_123, 77, 9);
        assert_eq!(origin(id), (1_800_000_000_123, 77, 9));
        assert_eq!(id.as_uuid().get_version_num(), 7);
    }

    #[test]
    fn events_are_the_same_each_time() {
        let number = (0..).find(|&number| Append::new(Backend::Fjall, number, 0).parts.len() > 1);
        let append = Append::new(Backend::Fjall, number.expect("one in eight"), 5);
        let parts = append.parts();
        let events: Vec<_> = parts
            .iter()
            .flat_map(|(stream, events)| events.iter().map(move |event| (stream.clone(), event.clone())))
            .collect();
        assert_eq!(events.len(), append.len());
        for (index, event) in events.into_iter().enumerate() {
            assert_eq!(append.event_at(index), Some(event));
        }
        assert_eq!(append.event_at(append.len()), None);
    }

    #[test]
    fn every_size_up_to_the_limit_comes_up() {
        let mut rng = Rng::with_seed(1);
        let sizes: Vec<_> = (0..40_000).map(|_| size(&mut rng, Backend::Fjall)).collect();
        for expected in [1, 64 * KIB, 1024 * KIB, Backend::Fjall.max_payload_bytes()] {
            assert!(sizes.contains(&expected), "{expected}");
        }
        assert!((0..1000).all(|_| size(&mut rng, Backend::Sled) <= Backend::Sled.max_payload_bytes()));
    }
}
