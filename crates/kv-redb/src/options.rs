//! How a store is opened.

use kv_core::{Error, Result};

/// Enough for the inner pages of some gigabytes of data and a working set; the engine's own default is 1
/// GiB, which a library in somebody's process must not take unasked.
const DEFAULT_CACHE_BYTES: usize = 64 << 20;
/// Below this the cache cannot hold the inner pages of a tree, and each read goes to the disk.
const MIN_CACHE_BYTES: usize = 1 << 20;

/// How a [`Store`](crate::Store) is opened. They may differ from one opening to the next.
///
/// ```
/// let options = kv_redb::Options::new().cache_bytes(256 << 20).quick_recovery();
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) cache_bytes: usize,
    pub(crate) quick_recovery: bool,
    pub(crate) verify: bool,
}

impl Options {
    /// The defaults: a cache of 64 MiB, the fastest commits, and no check of the whole file.
    pub fn new() -> Self {
        Self {
            cache_bytes: DEFAULT_CACHE_BYTES,
            quick_recovery: false,
            verify: false,
        }
    }

    /// Memory for pages of the file; at least 1 MiB. Give it a quarter of the memory of a machine that
    /// mostly reads.
    pub fn cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }

    /// Makes opening after a crash as fast as after a clean close, whatever the size of the file, for
    /// slower durable commits: each syncs twice and writes which pages are free.
    ///
    /// Without it, the engine reads the whole file after a crash. It holds for the commits of this
    /// opening.
    pub fn quick_recovery(self) -> Self {
        Self {
            quick_recovery: true,
            ..self
        }
    }

    /// Reads the whole file at opening and checks every page against its checksum, so that damage is
    /// [`Error::Corrupt`] before anything is read or written. Without it, damage is found where the
    /// engine stumbles over it, or not at all: reads check nothing.
    ///
    /// ```
    /// let careful = kv_redb::Options::default().verify();
    /// # let _ = careful;
    /// ```
    pub fn verify(self) -> Self {
        Self { verify: true, ..self }
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
