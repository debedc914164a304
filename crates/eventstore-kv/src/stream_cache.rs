//! Short streams in memory, as they are read for one command after another.
//!
//! What is kept of a stream are its first runs, which never change. How long the stream is now is asked of the engine
//! at each read, so that nothing here can be stale, also where other processes write.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use crate::record::Run;

/// A longer stream is not kept: beside decoding so many events, reading them from the engine costs little.
const MAX_STREAM_BYTES: usize = 64 << 10;
/// About what a run takes beside its bytes.
const RUN_BYTES: usize = 64 + size_of::<Run>();

/// The first runs of streams, by the keys of their heads, up to a number of bytes; those not used for longest go first.
pub(crate) struct StreamCache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    streams: LruCache<Bytes, Arc<[Run]>>,
    bytes: usize,
}

impl StreamCache {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let kept = Kept {
            streams: LruCache::unbounded(),
            bytes: 0,
        };
        Self {
            max_bytes,
            kept: Mutex::new(kept),
        }
    }

    /// The first runs of a stream, from its first event on.
    pub(crate) fn runs(&self, head_key: &[u8]) -> Option<Arc<[Run]>> {
        self.kept.lock().streams.get(head_key).cloned()
    }

    /// Keeps the first runs of a stream, all of them from its first event on, if they are short.
    pub(crate) fn keep(&self, head_key: &Bytes, runs: Vec<Run>) {
        let bytes = bytes_of(head_key, &runs);
        if bytes > MAX_STREAM_BYTES.min(self.max_bytes) {
            return;
        }
        let mut kept = self.kept.lock();
        let before = kept.streams.put(head_key.clone(), runs.into());
        kept.bytes += bytes;
        kept.bytes -= before.map_or(0, |before| bytes_of(head_key, &before));
        while kept.bytes > self.max_bytes
            && let Some((key, runs)) = kept.streams.pop_lru()
        {
            kept.bytes -= bytes_of(&key, &runs);
        }
    }

    /// Keeps nothing of a stream any more, some of whose events are not kept.
    pub(crate) fn forget(&self, head_key: &[u8]) {
        let mut kept = self.kept.lock();
        if let Some((key, runs)) = kept.streams.pop_entry(head_key) {
            kept.bytes -= bytes_of(&key, &runs);
        }
    }
}

impl fmt::Debug for StreamCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamCache")
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

fn bytes_of(head_key: &[u8], runs: &[Run]) -> usize {
    let runs = runs.iter().map(|run| run.bytes() + RUN_BYTES);
    head_key.len() + RUN_BYTES + runs.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use eventstore_abstractions::{Database, EventMessage, Position, StreamId, Timestamp, Version};

    use super::*;
    use crate::keys;
    use crate::record::EncodedRun;

    /// The head's key of a stream, and its one run.
    fn stream(id: &str) -> (Bytes, Vec<Run>) {
        let (database, stream) = (Database::default(), StreamId::new("c", id).expect("valid"));
        let event = EventMessage::json("T", &"x".repeat(1_000)).expect("valid");
        let key = keys::run(&database, &stream, Version::FIRST);
        let now = Timestamp::from_micros(0);
        let run = EncodedRun::new(Position::FIRST, now, Some(event.id()), &[event], 0).seal(&key);
        let head_key = keys::stream_head(&database, &stream);
        (head_key, vec![Run::open(&key, &run, stream).expect("decodes")])
    }

    #[test]
    fn stream_that_was_not_used_for_longest_goes_first() {
        let cache = StreamCache::new(4_000);
        let [a, b, c] = ["a", "b", "c"].map(stream);
        for (key, runs) in [&a, &b] {
            cache.keep(key, runs.clone());
        }
        assert!(cache.runs(&a.0).is_some());
        cache.keep(&c.0, c.1.clone());
        assert!(cache.runs(&a.0).is_some() && cache.runs(&c.0).is_some());
        assert!(cache.runs(&b.0).is_none());
        let bytes = cache.kept.lock().bytes;
        cache.keep(&c.0, c.1.clone());
        assert_eq!(cache.kept.lock().bytes, bytes, "a stream counts once");
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let (key, runs) = stream("a");
        let cache = StreamCache::new(0);
        cache.keep(&key, runs.clone());
        assert!(cache.runs(&key).is_none());
        let cache = StreamCache::new(usize::MAX);
        cache.keep(&key, vec![runs[0].clone(); 100]);
        assert!(cache.runs(&key).is_none(), "a long stream is not kept");
    }
}
