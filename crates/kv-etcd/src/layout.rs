//! Where a store's keys are among all keys of the cluster.
//!
//! Behind the prefix comes a zero byte, which no prefix has in it: one store's keys never are among another's, also
//! where one prefix is the beginning of another.
//!
//! | key | value |
//! |---|---|
//! | prefix, 0, `format` | which engine and format this is |
//! | prefix, 0, `commits` | nothing; every commit that writes puts it, so that one small key tells of all of them |
//! | prefix, 0, `k`, key | the value of the key |

use kv_core::Bytes;

/// The engine and the number of the stored form. A change of the keys above gets a new one.
pub(crate) const FORMAT: &[u8] = b"kv-store etcd 1\n";

/// Makes keys of the cluster from those of the store, and back.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    data: Bytes,
    format: Bytes,
    commits: Bytes,
}

impl Layout {
    pub(crate) fn new(prefix: &str) -> Self {
        let key = |name: &str| Bytes::from(format!("{prefix}\0{name}"));
        Self {
            data: key("k"),
            format: key("format"),
            commits: key("commits"),
        }
    }

    pub(crate) fn format(&self) -> Bytes {
        self.format.clone()
    }

    pub(crate) fn commits(&self) -> Bytes {
        self.commits.clone()
    }

    /// How much longer keys are in the cluster.
    pub(crate) fn added_bytes(&self) -> usize {
        self.data.len()
    }

    pub(crate) fn key(&self, key: &[u8]) -> Bytes {
        [&self.data, key].concat().into()
    }

    /// The end of a range; none is the end of the store's keys.
    pub(crate) fn end(&self, end: &[u8]) -> Bytes {
        if end.is_empty() {
            let mut end = self.data.to_vec();
            *end.last_mut().expect("it ends with k") += 1;
            return end.into();
        }
        self.key(end)
    }

    /// The store's key in a key of the cluster that was read from its range.
    pub(crate) fn stripped(&self, key: &Bytes) -> Bytes {
        key.slice(self.data.len()..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_were() {
        let layout = Layout::new("app");
        for key in [&b"a"[..], &[0], &[0xff; 9]] {
            assert_eq!(layout.stripped(&layout.key(key)), key);
        }
    }

    #[test]
    fn all_keys_are_below_the_end_and_nothing_else_is() {
        let layout = Layout::new("app");
        let (start, end) = (layout.key(b""), layout.end(b""));
        assert!(layout.key(&[0xff; 1024]) < end);
        for other in [layout.format(), layout.commits(), Layout::new("app\0k").key(b"x")] {
            assert!(
                other < start || other >= end || other.starts_with(b"app\0k\0"),
                "{other:?}"
            );
        }
        for other in ["ap", "app2", "app/a", "app/k"] {
            let other = Layout::new(other);
            for key in [other.key(b"x"), other.format(), other.commits()] {
                assert!(key < start || key >= end, "{key:?}");
            }
        }
    }
}
