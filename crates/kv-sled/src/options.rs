//! How a store is opened.

use kv_core::{Error, Result};

/// Enough for a working set of some hundred thousand small values; the engine's own default is 1 GiB, which a
/// library in somebody's process must not take unasked.
const DEFAULT_CACHE_BYTES: u64 = 64 << 20;
/// The engine divides its cache by 256 and a page of the tree holds up to 17 values: below this every read
/// goes to the disk.
const MIN_CACHE_BYTES: u64 = 1 << 20;

/// How a [`Store`](crate::Store) is opened. Options may differ from one opening to the next.
///
/// ```
/// let options = kv_sled::Options::new().cache_bytes(256 << 20);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) cache_bytes: u64,
}

impl Options {
    /// The defaults: a cache of 64 MiB.
    pub fn new() -> Self {
        Self {
            cache_bytes: DEFAULT_CACHE_BYTES,
        }
    }

    /// Memory for pages of the tree; at least 1 MiB. The engine counts the bytes that a page has on the disk:
    /// in memory it takes up to twice as much.
    pub fn cache_bytes(self, cache_bytes: u64) -> Self {
        Self { cache_bytes }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let actual = self.cache_bytes;
        if actual < MIN_CACHE_BYTES {
            let reason = format!("option cache_bytes is {actual}; it is at least {MIN_CACHE_BYTES}");
            return Err(Error::invalid(reason));
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_below_its_range_is_named() {
        let error = Options::new()
            .cache_bytes(MIN_CACHE_BYTES - 1)
            .check()
            .expect_err("must be refused");
        assert!(error.to_string().contains("cache_bytes"));
        assert!(Options::default().check().is_ok());
    }
}
