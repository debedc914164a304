//! Reading a key range, page by page.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Entries of a page unless the scan says otherwise.
const DEFAULT_MAX_ITEMS: usize = 256;
/// Bytes of a page unless the scan says otherwise: far below the 4 MB at which gRPC engines refuse a reply.
const DEFAULT_MAX_BYTES: usize = 1 << 20;

/// The order of a scan.
///
/// See [`Scan`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ascending keys.
    #[default]
    Forward,
    /// Descending keys.
    Reverse,
}

/// A request for one page of the keys in `start..end`.
///
/// ```
/// use kv_core::{Direction, Scan};
///
/// let scan = Scan::range("log/10", "log/20").reverse().max_items(100).max_bytes(64 << 10);
/// assert_eq!((scan.direction, scan.max_items), (Direction::Reverse, 100));
/// assert!(Scan::range("b", "a").is_empty(), "an inverted range has no keys");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// First key of the range, inclusive.
    pub start: Bytes,
    /// End of the range, exclusive; empty means no end.
    pub end: Bytes,
    /// The order of the entries.
    pub direction: Direction,
    /// Most entries of the page; at least 1.
    pub max_items: usize,
    /// Most bytes of keys and values of the page. The first entry is returned even when it alone has more.
    pub max_bytes: usize,
}

/// One key and its value. See [`PageBuilder`] for how a page of them is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// A bounded part of a key range, read as one consistent view.
///
/// ```
/// use kv_core::{Entry, KeyValueStore, Result, Scan};
///
/// /// Every entry with the prefix, however many pages that takes.
/// async fn all(store: &dyn KeyValueStore, prefix: &'static str) -> Result<Vec<Entry>> {
///     let mut entries = Vec::new();
///     let mut next = Some(Scan::prefix(prefix));
///     while let Some(scan) = next {
///         let page = store.scan(scan).await?;
///         entries.extend(page.entries);
///         next = page.next;
///     }
///     Ok(entries)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries, in the direction of the scan.
    pub entries: Vec<Entry>,
    /// The scan that continues after this page; `None` when the range is exhausted. Its page may be empty.
    pub next: Option<Scan>,
}

impl Scan {
    /// The keys from `start` (inclusive) to `end` (exclusive), forward, in pages of the default size.
    #[must_use]
    pub fn range(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self {
            start: start.into(),
            end: end.into(),
            direction: Direction::Forward,
            max_items: DEFAULT_MAX_ITEMS,
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }

    /// Every key that begins with `prefix`, forward, in pages of the default size.
    ///
    /// ```
    /// use kv_core::Scan;
    ///
    /// let scan = Scan::prefix(vec![1, 0xff]);
    /// assert_eq!((scan.start.as_ref(), scan.end.as_ref()), (&[1, 0xff][..], &[2][..]));
    /// ```
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let mut end = start.to_vec();
        // The first key after all keys with the prefix: drop trailing 0xff bytes, then increment the
        // last byte.
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        Self::range(start, end)
    }

    /// The same range in descending order.
    #[must_use]
    pub fn reverse(self) -> Self {
        Self {
            direction: Direction::Reverse,
            ..self
        }
    }

    /// At most `max_items` entries per page; 0 counts as 1.
    #[must_use]
    pub fn max_items(self, max_items: usize) -> Self {
        Self {
            max_items: max_items.max(1),
            ..self
        }
    }

    /// At most `max_bytes` bytes of keys and values per page, but at least one entry.
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Whether no key can be in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }

    /// The bounds of the range, in the form that `BTreeMap::range` and most engines take.
    ///
    /// A range for which [`is_empty`](Self::is_empty) holds must not be given to `BTreeMap::range`: it
    /// panics.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use kv_core::{Bytes, Scan};
    ///
    /// let map = BTreeMap::from([("a", 1), ("b", 2)].map(|(key, value)| (Bytes::from(key), value)));
    /// let scan = Scan::range("b", "");
    /// assert_eq!(map.range::<[u8], _>(scan.bounds()).count(), 1);
    /// ```
    #[must_use]
    pub fn bounds(&self) -> (std::ops::Bound<&[u8]>, std::ops::Bound<&[u8]>) {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let end = if self.end.is_empty() {
            Unbounded
        } else {
            Excluded(self.end.as_ref())
        };
        (Included(self.start.as_ref()), end)
    }

    fn continued_after(mut self, last: &Bytes) -> Self {
        match self.direction {
            Direction::Forward => {
                // The smallest key above `last` is `last` with a zero byte behind it.
                let mut start = Vec::with_capacity(last.len() + 1);
                start.extend_from_slice(last);
                start.push(0);
                self.start = start.into();
            }
            Direction::Reverse => self.end = last.clone(),
        }
        self
    }
}

/// Collects the entries of one page within the bounds of its scan. Backends feed it from their own iterator.
///
/// ```
/// use kv_core::{PageBuilder, Scan};
///
/// let mut page = PageBuilder::new(Scan::prefix("k").max_items(1));
/// for (key, value) in [("k1", "a"), ("k2", "b")] {
///     if !page.push(key, value) {
///         break;
///     }
/// }
/// let page = page.finish();
/// assert_eq!(page.entries.len(), 1);
/// assert_eq!(page.next.unwrap().start.as_ref(), b"k1\0");
/// ```
#[derive(Debug)]
pub struct PageBuilder {
    scan: Scan,
    entries: Vec<Entry>,
    bytes: usize,
    full: bool,
}

impl Page {
    /// The page of `scan` where all entries are in a map in memory.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use kv_core::{Bytes, Page, Scan};
    ///
    /// let entries = ["a", "b", "c"].map(|key| (Bytes::from(key), Bytes::from("v")));
    /// let page = Page::of_map(&BTreeMap::from(entries), Scan::range("a", "c").reverse());
    /// assert_eq!(page.entries.len(), 2);
    /// assert_eq!(page.entries[0].key, "b");
    /// ```
    #[must_use]
    pub fn of_map(entries: &BTreeMap<Bytes, Bytes>, scan: Scan) -> Self {
        let mut page = PageBuilder::new(scan.clone());
        // `BTreeMap::range` panics on a range that ends before it begins.
        if !scan.is_empty() {
            let mut range = entries.range::<[u8], _>(scan.bounds());
            let mut push = |(key, value): (&Bytes, &Bytes)| page.push(key.clone(), value.clone());
            // `all` stops at the first entry after which the page is full.
            let _exhausted = match scan.direction {
                Direction::Forward => range.all(&mut push),
                Direction::Reverse => range.rev().all(&mut push),
            };
        }
        page.finish()
    }
}

impl PageBuilder {
    /// An empty page of `scan`.
    #[must_use]
    pub fn new(scan: Scan) -> Self {
        Self {
            scan,
            entries: Vec::new(),
            bytes: 0,
            full: false,
        }
    }

    /// Adds the next entry in the direction of the scan. Returns whether another entry may follow; when
    /// it returns `false` the entry was either the last that fits or did not fit, and the page is
    /// complete.
    pub fn push(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> bool {
        let entry = Entry {
            key: key.into(),
            value: value.into(),
        };
        self.bytes += entry.key.len() + entry.value.len();
        if self.entries.is_empty() || self.bytes <= self.scan.max_bytes {
            self.entries.push(entry);
            self.full = self.entries.len() >= self.scan.max_items;
        } else {
            self.full = true;
        }
        !self.full
    }

    /// Ends the page before the end of the range, where the engine knows that more entries follow and did not send them.
    /// It must have one entry at least.
    ///
    /// ```
    /// use kv_core::{PageBuilder, Scan};
    ///
    /// let mut page = PageBuilder::new(Scan::prefix("k"));
    /// page.push("k1", "a");
    /// page.cut();
    /// assert!(page.finish().next.is_some());
    /// ```
    pub fn cut(&mut self) {
        self.full = true;
    }

    /// The page. Call it when the engine has no further entry, when [`push`](Self::push) returned `false`, or
    /// after a [`cut`](Self::cut).
    #[must_use]
    pub fn finish(self) -> Page {
        let next = match self.entries.last() {
            Some(last) if self.full => Some(self.scan.continued_after(&last.key)),
            _ => None,
        };
        Page {
            entries: self.entries,
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_of_only_ff_has_no_end() {
        assert!(Scan::prefix(vec![0xff, 0xff]).end.is_empty());
        assert!(!Scan::prefix(vec![0xff]).is_empty());
    }

    #[test]
    fn entry_over_the_byte_bound_starts_the_next_page() {
        let mut page = PageBuilder::new(Scan::prefix("k").max_bytes(6));
        assert!(page.push("k1", "aaaa"));
        assert!(!page.push("k2", "b"));
        let page = page.finish();
        assert_eq!(page.entries.len(), 1);
        assert_eq!(page.next.expect("more follows").start.as_ref(), b"k1\0");
    }

    #[test]
    fn first_entry_is_returned_whatever_its_size() {
        let mut page = PageBuilder::new(Scan::prefix("k").max_bytes(1));
        assert!(page.push("k1", "aaaa"));
        assert_eq!(page.finish().entries.len(), 1);
    }

    #[test]
    fn page_that_was_cut_goes_on_behind_its_last_key() {
        let mut page = PageBuilder::new(Scan::prefix("k"));
        assert!(page.push("k1", "a"));
        page.cut();
        let page = page.finish();
        assert_eq!(page.next.expect("more follows").start.as_ref(), b"k1\0");
    }

    #[test]
    fn reverse_page_continues_below_its_last_key() {
        let mut page = PageBuilder::new(Scan::prefix("k").reverse().max_items(1));
        assert!(!page.push("k2", ""));
        assert_eq!(page.finish().next.expect("more follows").end.as_ref(), b"k2");
    }
}
