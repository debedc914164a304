//! Where the records of a consumer are, and in which partition a stream is.
//!
//! All consumers of a database share the namespace `$consumers`. A key is the consumer's name, a NUL, a letter, and the
//! rest as below, numbers big-endian:
//!
//! | letter | rest | record |
//! |---|---|---|
//! | `d` | | what the consumer is |
//! | `l` | partition, 2 bytes | the lease of a partition |
//! | `c` | partition, 2 bytes | the checkpoint of a partition |
//! | `w` | session, 16 bytes | a worker |
//! | `k` | partition, 2 bytes; hash of the stream, 8 bytes; position, 8 bytes | a parked event |
//! | `r` | partition, 2 bytes | the lease of a replay of parked events |

use eventstore_abstractions::{Bytes, Position, SessionId, StreamId};

use crate::names::ConsumerName;

/// The namespace of all consumers of a database.
pub(super) const NAMESPACE: &str = "$consumers";

/// The keys of one consumer.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<u8>);

impl Keys {
    pub(super) fn of(name: &ConsumerName) -> Self {
        let mut prefix = name.as_str().as_bytes().to_vec();
        prefix.push(0);
        Self(prefix)
    }

    /// What every key of the consumer begins with.
    pub(super) fn all(&self) -> &[u8] {
        &self.0
    }

    fn key(&self, letter: u8, rest: &[&[u8]]) -> Bytes {
        let mut key = self.0.clone();
        key.push(letter);
        rest.iter().for_each(|part| key.extend_from_slice(part));
        key.into()
    }

    pub(super) fn definition(&self) -> Bytes {
        self.key(b'd', &[])
    }

    pub(super) fn leases(&self) -> Bytes {
        self.key(b'l', &[])
    }

    pub(super) fn lease(&self, partition: u16) -> Bytes {
        self.key(b'l', &[&partition.to_be_bytes()])
    }

    pub(super) fn checkpoint(&self, partition: u16) -> Bytes {
        self.key(b'c', &[&partition.to_be_bytes()])
    }

    pub(super) fn replay(&self, partition: u16) -> Bytes {
        self.key(b'r', &[&partition.to_be_bytes()])
    }

    pub(super) fn workers(&self) -> Bytes {
        self.key(b'w', &[])
    }

    pub(super) fn worker(&self, session: SessionId) -> Bytes {
        self.key(b'w', &[session.as_uuid().as_bytes()])
    }

    /// What the keys of all parked events begin with.
    pub(super) fn parked(&self) -> Bytes {
        self.key(b'k', &[])
    }

    /// What the keys of the parked events of a partition begin with.
    pub(super) fn parked_in(&self, partition: u16) -> Bytes {
        self.key(b'k', &[&partition.to_be_bytes()])
    }

    /// What the keys of the parked events of a stream begin with; of another stream, too, if the hashes are the same.
    pub(super) fn parked_of(&self, partition: u16, stream: &StreamId) -> Bytes {
        self.key(b'k', &[&partition.to_be_bytes(), &hash(stream).to_be_bytes()])
    }

    pub(super) fn parked_event(&self, partition: u16, stream: &StreamId, position: Position) -> Bytes {
        let (partition, hash) = (partition.to_be_bytes(), hash(stream).to_be_bytes());
        self.key(b'k', &[&partition, &hash, &position.get().to_be_bytes()])
    }
}

/// FNV-1a, 64 bits, of the category, a NUL and the id. What is stored depends on it: it never changes.
pub(super) fn hash(stream: &StreamId) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = stream.category().bytes().chain([0]).chain(stream.id().bytes());
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// The partition of a stream: its hash, the upper half folded into the lower, modulo the number of partitions.
pub(super) fn partition_of(stream: &StreamId, partitions: u16) -> u16 {
    let hash = hash(stream);
    let partition = (hash ^ (hash >> 32)) % u64::from(partitions);
    u16::try_from(partition).expect("it is less than the number of partitions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(category: &str, id: &str) -> StreamId {
        StreamId::new(category, id).expect("a valid name")
    }

    /// Stored leases and checkpoints depend on these numbers.
    #[test]
    fn partition_of_a_stream_never_changes() {
        assert_eq!(hash(&stream("account", "alice")), 0x4f13_2ce8_62a0_64e4);
        let partitions = ["alice", "bob", "carol", "dave"].map(|id| partition_of(&stream("account", id), 16));
        assert_eq!(partitions, [12, 8, 9, 4]);
    }

    #[test]
    fn parts_of_a_name_stay_apart() {
        assert_ne!(hash(&stream("ab", "c")), hash(&stream("a", "bc")));
    }

    #[test]
    fn streams_are_spread_evenly() {
        let mut counts = [0; 16];
        for number in 0..16_000 {
            let partition = partition_of(&stream("account", &format!("a-{number}")), 16);
            counts[usize::from(partition)] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn keys_fit_a_namespace() {
        let name = ConsumerName::new("x".repeat(ConsumerName::MAX_BYTES)).expect("a valid name");
        let key = Keys::of(&name).parked_event(1, &stream("account", "alice"), Position::MAX);
        assert!(key.len() <= eventstore_abstractions::MAX_KEY_BYTES);
    }
}
