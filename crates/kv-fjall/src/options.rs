//! How a store is opened.

use kv_core::{Error, Result};

/// Enough for the inner blocks of some gigabytes of data and a working set, and little for any machine of
/// today.
const DEFAULT_CACHE_BYTES: u64 = 64 << 20;
/// Below this the cache cannot hold the index and filter blocks of a few tables, and each read goes to the
/// disk.
const MIN_CACHE_BYTES: u64 = 1 << 20;
/// The least that the engine takes, because opening replays the journals.
const DEFAULT_JOURNAL_BYTES: u64 = MIN_JOURNAL_BYTES;
/// The engine seals a journal at 64 MB, so a lower bound could not be kept; it panics on one.
const MIN_JOURNAL_BYTES: u64 = 64 << 20;

/// How a [`Store`](crate::Store) is opened. They may differ from one opening to the next.
///
/// ```
/// let options = kv_fjall::Options::new().cache_bytes(256 << 20).journal_bytes(128 << 20);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) cache_bytes: u64,
    pub(crate) journal_bytes: u64,
}

impl Options {
    /// The defaults: a cache of 64 MiB and journals of 64 MiB.
    pub fn new() -> Self {
        Self {
            cache_bytes: DEFAULT_CACHE_BYTES,
            journal_bytes: DEFAULT_JOURNAL_BYTES,
        }
    }

    /// Memory for blocks read from tables; at least 1 MiB. Give it a quarter of the memory of a machine that
    /// mostly reads.
    pub fn cache_bytes(self, cache_bytes: u64) -> Self {
        Self { cache_bytes, ..self }
    }

    /// Sealed journals above which the engine moves their data into tables; at least 64 MiB. The journal in
    /// use adds about 64 MB. Opening after a crash replays all of them.
    pub fn journal_bytes(self, journal_bytes: u64) -> Self {
        Self {
            journal_bytes,
            ..self
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        at_least("cache_bytes", self.cache_bytes, MIN_CACHE_BYTES)?;
        at_least("journal_bytes", self.journal_bytes, MIN_JOURNAL_BYTES)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

fn at_least(name: &str, actual: u64, least: u64) -> Result<()> {
    if actual < least {
        return Err(Error::invalid(format!(
            "option {name} is {actual}; it is at least {least}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_below_its_range_is_named() {
        let refused = |options: Options| options.check().expect_err("must be refused").to_string();
        assert!(refused(Options::new().cache_bytes(MIN_CACHE_BYTES - 1)).contains("cache_bytes"));
        assert!(refused(Options::new().journal_bytes(0)).contains("journal_bytes"));
        assert!(Options::default().check().is_ok());
    }
}
