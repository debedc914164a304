//! How a store is opened.

use kv_core::{Error, Result};

/// Addresses, not memory: enough that nobody runs into it, and little enough that a hundred stores fit into
/// the 128 TiB of addresses that a process has.
#[cfg(target_pointer_width = "64")]
const DEFAULT_MAP_BYTES: usize = 1 << 40;
/// Half of what a process can hope for where addresses have 32 bits.
#[cfg(not(target_pointer_width = "64"))]
const DEFAULT_MAP_BYTES: usize = 1 << 30;
/// A few of the largest batches, with the copies of pages that each makes.
const MIN_MAP_BYTES: usize = 256 << 20;
/// A multiple of every page size there is, as the map has to be.
const MAP_GRANULE_BYTES: usize = 64 << 10;

/// How a [`Store`](crate::Store) is opened. They may differ from one opening to the next.
///
/// ```
/// let options = kv_lmdb::Options::new().map_bytes(16 << 30).verify();
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Options {
    pub(crate) map_bytes: usize,
    pub(crate) verify: bool,
}

impl Options {
    /// The defaults: a map of 1 TiB (1 GiB where addresses have 32 bits), and no check of the whole file.
    pub fn new() -> Self {
        Self {
            map_bytes: DEFAULT_MAP_BYTES,
            verify: false,
        }
    }

    /// The largest size of the file; at least 256 MiB, and rounded up to whole 64 KiB.
    ///
    /// It is reserved as addresses of the process and costs neither memory nor disk. A commit that does not
    /// fit any more is refused with [`Error::Unavailable`]; open the store again with a larger map. Lower it
    /// where the process may have few addresses (`ulimit -v`), or to bound the file. A file that is larger
    /// already opens, and takes no commit that makes it grow.
    pub fn map_bytes(self, map_bytes: usize) -> Self {
        Self { map_bytes, ..self }
    }

    /// Reads the file's structure at opening, without the map, so that a damaged page is [`Error::Corrupt`]
    /// before the engine can stumble over it. Without it, damage may end the process: see the
    /// [crate documentation](crate#what-is-left-when-something-fails).
    ///
    /// It reads every page but the inside of values over about 2,000 bytes, and finds no change within a
    /// value.
    pub fn verify(self) -> Self {
        Self { verify: true, ..self }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let actual = self.map_bytes;
        if actual < MIN_MAP_BYTES {
            let reason = format!("option map_bytes is {actual}; it is at least {MIN_MAP_BYTES}");
            return Err(Error::invalid(reason));
        }
        if actual > isize::MAX as usize {
            let reason = format!("option map_bytes is {actual}; it is at most {}", isize::MAX);
            return Err(Error::invalid(reason));
        }
        Ok(())
    }

    /// The size of the map as the engine takes it.
    pub(crate) fn rounded_map_bytes(&self) -> usize {
        self.map_bytes.next_multiple_of(MAP_GRANULE_BYTES)
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
    fn option_out_of_its_range_is_named() {
        for bytes in [MIN_MAP_BYTES - 1, usize::MAX] {
            let error = Options::new()
                .map_bytes(bytes)
                .check()
                .expect_err("must be refused");
            assert!(error.to_string().contains("map_bytes"));
        }
        assert!(Options::default().check().is_ok());
    }

    #[test]
    fn map_is_rounded_up_to_whole_pages() {
        let rounded = |bytes| Options::new().map_bytes(bytes).rounded_map_bytes();
        assert_eq!(rounded(MIN_MAP_BYTES), MIN_MAP_BYTES);
        assert_eq!(rounded(MIN_MAP_BYTES + 1), MIN_MAP_BYTES + MAP_GRANULE_BYTES);
    }
}
