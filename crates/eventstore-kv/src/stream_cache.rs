//! Short streams in memory, as they are read for one command after another.
//!
//! What is kept of a stream are its first events, which never change. How long the stream is now is asked of the engine
//! at each read, so that nothing here can be stale, also where other processes write.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use eventstore_abstractions::{RecordedEvent, Result};
use lru::LruCache;
use parking_lot::Mutex;

use crate::record::Run;

/// A stream that would take more than this part of what may be kept is not: it would be in the way of too many others.
const STREAMS_AT_LEAST: usize = 64;
/// About what a stream takes beside its events and their bytes.
const STREAM_BYTES: usize = 256;

/// The first events of a stream: the one at `i` has the version `i + 1`.
pub(crate) type FirstEvents = Arc<[RecordedEvent]>;

/// The first events of streams, by the keys of their heads, up to a number of bytes; those not used for longest go first.
pub(crate) struct StreamCache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    streams: LruCache<Bytes, Stream>,
    bytes: usize,
}

struct Stream {
    events: FirstEvents,
    /// What it takes in memory.
    bytes: usize,
}

/// A stream as it is read from its first event on.
#[derive(Default)]
pub(crate) struct Beginning {
    /// What was in memory of it.
    known: Option<FirstEvents>,
    /// What follows.
    runs: Vec<Run>,
}

impl Beginning {
    pub(crate) fn of(known: FirstEvents) -> Self {
        Self {
            known: Some(known),
            runs: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, run: Run) {
        self.runs.push(run);
    }

    fn known(&self) -> &[RecordedEvent] {
        self.known.as_deref().unwrap_or_default()
    }

    /// What it takes in memory when it is kept.
    fn bytes(&self) -> usize {
        let bytes = self.known().iter().map(|event| event.message.payload.bytes.len());
        let runs = self.runs.iter().map(|run| run.fields().len());
        let events = self.known().len() + self.runs.iter().map(|run| run.events() as usize).sum::<usize>();
        STREAM_BYTES + bytes.sum::<usize>() + runs.sum::<usize>() + events * size_of::<RecordedEvent>()
    }

    /// Its events. Those that were read now share one buffer: they are used together.
    fn events(self) -> Result<FirstEvents> {
        let mut events = self.known().to_vec();
        let fields = self.runs.iter().map(Run::fields).collect::<Vec<_>>();
        let buffer = Bytes::from(fields.concat());
        let mut begin = 0;
        for run in self.runs {
            let end = begin + run.fields().len();
            for event in run.in_buffer(buffer.slice(begin..end)) {
                events.push(event?);
            }
            begin = end;
        }
        Ok(events.into())
    }
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

    pub(crate) fn events(&self, head_key: &[u8]) -> Option<FirstEvents> {
        let mut kept = self.kept.lock();
        kept.streams
            .get(head_key)
            .map(|stream| Arc::clone(&stream.events))
    }

    /// Keeps the first events of a stream if they are short, and returns them. Damaged ones are left to who reads them.
    pub(crate) fn keep(&self, head_key: &Bytes, beginning: Beginning) -> Option<FirstEvents> {
        let bytes = head_key.len() + beginning.bytes();
        if bytes > self.max_bytes / STREAMS_AT_LEAST {
            return None;
        }
        let events = beginning.events().ok()?;
        if events.last()?.version.get() != events.len() as u64 {
            return None;
        }
        let mut kept = self.kept.lock();
        let stream = Stream {
            events: Arc::clone(&events),
            bytes,
        };
        let before = kept.streams.put(head_key.clone(), stream);
        kept.bytes += bytes;
        kept.bytes -= before.map_or(0, |before| before.bytes);
        while kept.bytes > self.max_bytes
            && let Some((_, stream)) = kept.streams.pop_lru()
        {
            kept.bytes -= stream.bytes;
        }
        Some(events)
    }

    /// Keeps nothing of a stream any more, some of whose events are not kept.
    pub(crate) fn forget(&self, head_key: &[u8]) {
        let mut kept = self.kept.lock();
        if let Some(stream) = kept.streams.pop(head_key) {
            kept.bytes -= stream.bytes;
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

#[cfg(test)]
mod tests {
    use eventstore_abstractions::{Database, EventMessage, Position, StreamId, Timestamp, Version};

    use super::*;
    use crate::keys;
    use crate::record::EncodedRun;

    /// The run of an event of about 1,000 bytes, and the key of its stream's head.
    fn run(id: &str, version: u64) -> (Bytes, Run) {
        let (database, stream) = (Database::default(), StreamId::new("c", id).expect("valid"));
        let event = EventMessage::json("T", &"x".repeat(1_000)).expect("valid");
        let key = keys::run(&database, &stream, Version::new(version));
        let now = Timestamp::from_micros(0);
        let run = EncodedRun::new(Position::new(version), now, Some(event.id()), &[event], 0).seal(&key);
        let head_key = keys::stream_head(&database, &stream);
        (head_key, Run::open(&key, &run, stream).expect("decodes"))
    }

    fn keep(cache: &StreamCache, (key, run): &(Bytes, Run)) -> Option<FirstEvents> {
        let mut beginning = Beginning::default();
        beginning.push(run.clone());
        cache.keep(key, beginning)
    }

    #[test]
    fn stream_that_was_not_used_for_longest_goes_first() {
        let streams = (0..=STREAMS_AT_LEAST).map(|id| run(&format!("{id:04}"), 1));
        let streams = streams.collect::<Vec<_>>();
        let mut one = Beginning::default();
        one.push(streams[0].1.clone());
        let cache = StreamCache::new((streams[0].0.len() + one.bytes()) * STREAMS_AT_LEAST);
        for stream in &streams[..STREAMS_AT_LEAST] {
            assert!(keep(&cache, stream).is_some());
        }
        assert!(cache.events(&streams[0].0).is_some());
        keep(&cache, &streams[STREAMS_AT_LEAST]);
        let kept = |at: usize| cache.events(&streams[at].0).is_some();
        assert!(kept(0) && !kept(1) && (2..=STREAMS_AT_LEAST).all(kept));
        let bytes = cache.kept.lock().bytes;
        keep(&cache, &streams[0]);
        assert_eq!(cache.kept.lock().bytes, bytes, "a stream counts once");
        for (key, _) in &streams {
            cache.forget(key);
        }
        assert_eq!(cache.kept.lock().bytes, 0);
    }

    #[test]
    fn what_a_stream_has_more_comes_behind_what_was_kept() {
        let cache = StreamCache::new(usize::MAX);
        let (key, first) = run("a", 1);
        let known = keep(&cache, &(key.clone(), first)).expect("is short");
        let mut beginning = Beginning::of(known);
        for version in 2..=3 {
            beginning.push(run("a", version).1);
        }
        let kept = cache.keep(&key, beginning).expect("is short");
        let versions = kept.iter().map(|event| event.version.get());
        assert!(versions.eq(1..=3));
        assert!(
            kept.iter()
                .all(|event| event.message.payload.bytes.len() == 1_002)
        );
        assert_eq!(cache.events(&key).as_deref(), Some(&*kept));
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let (key, run) = run("a", 1);
        let cache = StreamCache::new(0);
        assert!(keep(&cache, &(key.clone(), run.clone())).is_none());
        assert!(cache.events(&key).is_none());
        let cache = StreamCache::new(1 << 20);
        let mut long = Beginning::default();
        (0..(1 << 20) / STREAMS_AT_LEAST / 1_000).for_each(|_| long.push(run.clone()));
        assert!(cache.keep(&key, long).is_none(), "a long stream is not kept");
        assert!(cache.events(&key).is_none());
    }
}
