//! What a provider over a key-value engine can be tuned with.

use std::sync::Arc;

use eventstore_abstractions::Clock;

use crate::SystemClock;

/// What a provider over a key-value engine can be tuned with, beside the settings of every provider.
///
/// ```
/// use std::sync::Arc;
///
/// use eventstore_kv::{Options, SystemClock};
///
/// let options = Options::default()
///     .max_cached_streams(10_000)
///     .max_queued_writes(256)
///     .stream_cache_bytes(128 << 20)
///     .max_deferred_bytes(64 << 20)
///     .clock(Arc::new(SystemClock)); // tests inject one of their own
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where the store takes its time from; the system's clock unless set.
    pub clock: Arc<dyn Clock>,
    /// Streams whose version is kept in memory, for appends and for reads, at about 500 bytes each; 100,000 unless set.
    /// Appends to other streams, and reads of them, look their version up in the engine first.
    pub max_cached_streams: usize,
    /// Bytes of streams that are kept in memory when they were read whole, in one page, so that the next read asks the
    /// engine for nothing but the stream's version; 64 MiB unless set, 0 for none. A stream takes a 64th of it at
    /// most, and an event about 210 bytes beside its payload.
    pub stream_cache_bytes: usize,
    /// Writes that may wait for the sequencer; 1,024 unless set. Further ones wait before they are queued.
    pub max_queued_writes: usize,
    /// Bytes of records that are kept in memory because the log says the same, until there is time to write them; 32 MiB
    /// unless set, 0 for none. They are derived from the log again when the store is opened after a crash, which takes
    /// longer the more there are. An engine that other processes write to has no such records.
    pub max_deferred_bytes: usize,
    pub(crate) threads: Threads,
}

/// Where the sequencer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    Own,
    Runtime,
}

impl Options {
    /// Sets where the store takes its time from.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Sets how many streams' versions are kept in memory; 0 counts as 1.
    #[must_use]
    pub fn max_cached_streams(self, streams: usize) -> Self {
        Self {
            max_cached_streams: streams.max(1),
            ..self
        }
    }

    /// Sets how many bytes of short streams are kept in memory; 0 for none.
    #[must_use]
    pub fn stream_cache_bytes(self, bytes: usize) -> Self {
        Self {
            stream_cache_bytes: bytes,
            ..self
        }
    }

    /// Sets how many writes may wait for the sequencer; 0 counts as 1.
    #[must_use]
    pub fn max_queued_writes(self, writes: usize) -> Self {
        Self {
            max_queued_writes: writes.max(1),
            ..self
        }
    }

    /// Sets how many bytes of records may wait in memory until there is time to write them; 0 for none.
    #[must_use]
    pub fn max_deferred_bytes(self, bytes: usize) -> Self {
        Self {
            max_deferred_bytes: bytes,
            ..self
        }
    }

    /// Runs everything as tasks of the runtime on which the provider is opened, and no thread beside it: for tests with
    /// simulated time, which must see all that happens. Writes are slower so.
    ///
    /// ```
    /// use eventstore_kv::Options;
    ///
    /// let options = Options::default().single_threaded();
    /// # let _ = options;
    /// ```
    #[must_use]
    pub fn single_threaded(self) -> Self {
        let threads = Threads::Runtime;
        Self { threads, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            max_cached_streams: 100_000,
            stream_cache_bytes: 64 << 20,
            max_queued_writes: 1_024,
            max_deferred_bytes: 32 << 20,
            threads: Threads::Own,
        }
    }
}
