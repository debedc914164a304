//! Heads of streams that the engine has, in memory as they were read.

use bytes::Bytes;
use lru::LruCache;

/// So many heads at most, those that were read last. A head that is written anew is forgotten before anybody can read the
/// new one, and what was read of the engine before or while something was written is not remembered.
#[derive(Debug)]
pub(super) struct StoredHeads {
    heads: LruCache<Bytes, Bytes>,
    max: usize,
    /// How often any was written.
    writes: u64,
    /// Writes straight to the engine that have not come to a good end.
    under_way: usize,
}

impl Default for StoredHeads {
    fn default() -> Self {
        Self::new(0)
    }
}

impl StoredHeads {
    pub(super) fn new(max: usize) -> Self {
        Self {
            heads: LruCache::unbounded(),
            max,
            writes: 0,
            under_way: 0,
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.heads.peek(key)
    }

    /// How often heads were written up to now.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// Remembers what the engine has under `key`, where it was read when so many `writes` were known.
    pub(super) fn remember(&mut self, key: &[u8], value: &Bytes, writes: u64) {
        if self.max == 0 || writes != self.writes || self.under_way > 0 {
            return;
        }
        self.heads.put(Bytes::copy_from_slice(key), value.clone());
        if self.heads.len() > self.max {
            self.heads.pop_lru();
        }
    }

    /// The head under `key` changes with this.
    pub(super) fn written(&mut self, key: &[u8]) {
        self.writes += 1;
        if !self.heads.is_empty() {
            self.heads.pop(key);
        }
    }

    /// Heads are about to be written straight to the engine.
    pub(super) fn begin<'a>(&mut self, keys: impl Iterator<Item = &'a Bytes>) {
        self.under_way += 1;
        keys.for_each(|key| self.written(key));
    }

    /// They were written, or are not. Without this nothing is remembered any more.
    pub(super) fn end(&mut self) {
        self.under_way -= 1;
        self.writes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Bytes = Bytes::from_static(b"k");

    fn value(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn what_was_read_before_a_write_is_not_remembered_after_it() {
        let mut heads = StoredHeads::new(10);
        let before = heads.writes();
        heads.remember(&KEY, &value("old"), before);
        assert_eq!(heads.get(&KEY), Some(&value("old")));
        heads.written(&KEY);
        assert_eq!(heads.get(&KEY), None);
        heads.remember(&KEY, &value("old"), before);
        assert_eq!(heads.get(&KEY), None);
    }

    #[test]
    fn nothing_is_remembered_while_heads_are_written_or_may_be() {
        let mut heads = StoredHeads::new(10);
        heads.remember(&KEY, &value("old"), heads.writes());
        heads.begin([&KEY].into_iter());
        assert_eq!(heads.get(&KEY), None);
        let during = heads.writes();
        heads.remember(&KEY, &value("old"), during);
        assert_eq!(heads.get(&KEY), None);
        heads.end();
        heads.remember(&KEY, &value("old"), during);
        assert_eq!(heads.get(&KEY), None);
        heads.remember(&KEY, &value("new"), heads.writes());
        assert_eq!(heads.get(&KEY), Some(&value("new")));
    }

    #[test]
    fn what_was_read_before_heads_were_written_is_not_remembered_after_it() {
        let mut heads = StoredHeads::new(10);
        let before = heads.writes();
        heads.begin([&KEY].into_iter());
        heads.end();
        heads.remember(&KEY, &value("old"), before);
        assert_eq!(heads.get(&KEY), None);
    }

    #[test]
    fn so_many_are_kept() {
        let mut heads = StoredHeads::new(2);
        for key in ["a", "b", "c"] {
            heads.remember(key.as_bytes(), &value("v"), 0);
        }
        assert_eq!(heads.get(b"a"), None);
        assert!(heads.get(b"b").is_some() && heads.get(b"c").is_some());
        let mut none = StoredHeads::default();
        none.remember(b"a", &value("v"), 0);
        assert_eq!(none.get(b"a"), None);
    }
}
