//! What one commit asks of an engine: conditions to check and writes to apply.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Capabilities, Error, Result};

/// Conditions and writes that an engine applies atomically: all of them, or nothing.
///
/// A key is written at most once per batch: a later write to a key replaces the earlier one. Writes are
/// handed to the engine in key order.
///
/// ```
/// use kv_core::{Batch, Capabilities, Condition};
///
/// let batch = Batch::new()
///     .require_equals("alice", "7")
///     .require_present("log/7")
///     .require_absent("log/8")
///     .require(Condition::Absent("frozen".into()))
///     .put("alice", "8")
///     .put("log/8", "deposited")
///     .delete("cache/alice");
/// assert_eq!((batch.conditions().len(), batch.writes().len()), (4, 3));
/// assert!(batch.check(&Capabilities::IN_PROCESS).is_ok());
///
/// // What a backend does with it.
/// let size = batch.bytes();
/// let (conditions, writes) = batch.into_parts();
/// assert_eq!(conditions[0].key(), "alice");
/// assert_eq!(writes["cache/alice".as_bytes()], None, "to be deleted");
/// # let _ = size;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    conditions: Vec<Condition>,
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

/// What must hold for a batch to be applied, checked inside the commit.
///
/// See [`holds`](Self::holds) for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The key has no value.
    Absent(Bytes),
    /// The key has a value, whichever.
    Present(Bytes),
    /// The key has exactly this value.
    Equals {
        /// The key to look at.
        key: Bytes,
        /// The value it must have.
        value: Bytes,
    },
}

/// When a commit may be reported as done.
///
/// See [`KeyValueStore::commit`](crate::KeyValueStore::commit) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// After it would survive a power cut.
    Durable,
    /// As soon as readers see it. A crash may lose it, together with everything committed after it.
    Buffered,
}

/// How a commit ended.
///
/// ```
/// use kv_core::Outcome;
///
/// /// The conditions of a batch, in the order in which they were added.
/// const CONDITIONS: [&str; 2] = ["the version is as expected", "the session holds the stream"];
///
/// fn describe(outcome: Outcome) -> &'static str {
///     match outcome {
///         Outcome::Applied => "applied",
///         Outcome::ConditionFailed { condition } => CONDITIONS[condition],
///     }
/// }
/// assert_eq!(describe(Outcome::ConditionFailed { condition: 1 }), "the session holds the stream");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Every condition held, every write was applied.
    Applied,
    /// A condition did not hold; nothing was applied.
    ConditionFailed {
        /// Index of the first failed condition, in the order in which they were added.
        condition: usize,
    },
}

impl Batch {
    /// An empty batch.
    ///
    /// ```
    /// assert!(kv_core::Batch::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies the batch only if `key` has no value.
    #[must_use]
    pub fn require_absent(self, key: impl Into<Bytes>) -> Self {
        self.require(Condition::Absent(key.into()))
    }

    /// Applies the batch only if `key` has a value.
    #[must_use]
    pub fn require_present(self, key: impl Into<Bytes>) -> Self {
        self.require(Condition::Present(key.into()))
    }

    /// Applies the batch only if `key` has exactly `value`.
    #[must_use]
    pub fn require_equals(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.require(Condition::Equals {
            key: key.into(),
            value: value.into(),
        })
    }

    /// Applies the batch only if `key` is as it was `read`: has that value, or none.
    ///
    /// ```
    /// use kv_core::{Batch, Condition};
    ///
    /// let batch = Batch::new().require_read("head", None).put("head", "1");
    /// assert_eq!(batch.conditions().next(), Some(&Condition::Absent("head".into())));
    /// ```
    #[must_use]
    pub fn require_read(self, key: impl Into<Bytes>, read: Option<Bytes>) -> Self {
        match read {
            Some(value) => self.require_equals(key, value),
            None => self.require_absent(key),
        }
    }

    /// Applies the batch only if `condition` holds.
    #[must_use]
    pub fn require(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Sets `key` to `value`.
    #[must_use]
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.insert(key.into(), Some(value.into()));
        self
    }

    /// Removes `key`; removing an absent key is no error.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.insert(key.into(), None);
        self
    }

    /// The conditions, in the order in which they were added.
    pub fn conditions(&self) -> impl ExactSizeIterator<Item = &Condition> {
        self.conditions.iter()
    }

    /// The writes in key order: a value to set, or `None` to delete the key.
    pub fn writes(&self) -> impl ExactSizeIterator<Item = (&Bytes, Option<&Bytes>)> {
        self.writes.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Takes the batch apart into its conditions and its writes in key order.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Condition>, BTreeMap<Bytes, Option<Bytes>>) {
        (self.conditions, self.writes)
    }

    /// Whether the batch has neither conditions nor writes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.writes.is_empty()
    }

    /// Bytes of all keys and values of the batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let conditions = self.conditions.iter().map(Condition::bytes).sum::<usize>();
        let writes = self
            .writes
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len));
        conditions + writes.sum::<usize>()
    }

    /// Refuses a batch that breaks a limit in `capabilities`. Every backend calls this before it
    /// applies anything.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key, [`Error::TooLarge`] for a key, a value or a batch over its limit.
    pub fn check(&self, capabilities: &Capabilities) -> Result<()> {
        for key in self
            .conditions
            .iter()
            .map(Condition::key)
            .chain(self.writes.keys())
        {
            if key.is_empty() {
                return Err(Error::invalid("a key is empty; keys have at least one byte"));
            }
            Error::check_size("key", key.len(), capabilities.max_key_bytes)?;
        }
        for value in self.writes.values().flatten() {
            Error::check_size("value", value.len(), capabilities.max_value_bytes)?;
        }
        let operations = self.conditions.len() + self.writes.len();
        Error::check_size(
            "number of operations of a batch",
            operations,
            capabilities.max_batch_operations,
        )?;
        Error::check_size("batch", self.bytes(), capabilities.max_batch_bytes)
    }
}

impl Condition {
    /// The key that the condition looks at.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Absent(key) | Self::Present(key) | Self::Equals { key, .. } => key,
        }
    }

    /// Whether the condition holds when its key has the value `current`.
    ///
    /// ```
    /// use kv_core::Condition;
    ///
    /// assert!(Condition::Absent("k".into()).holds(None));
    /// assert!(!Condition::Present("k".into()).holds(None));
    /// assert!(Condition::Equals { key: "k".into(), value: "v".into() }.holds(Some(b"v")));
    /// ```
    #[must_use]
    pub fn holds(&self, current: Option<&[u8]>) -> bool {
        match self {
            Self::Absent(_) => current.is_none(),
            Self::Present(_) => current.is_some(),
            Self::Equals { value, .. } => current == Some(value.as_ref()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Absent(key) | Self::Present(key) => key.len(),
            Self::Equals { key, value } => key.len() + value.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Capabilities = Capabilities {
        durable: false,
        shared: false,
        max_key_bytes: 4,
        max_value_bytes: 4,
        max_batch_bytes: 12,
        max_batch_operations: 3,
    };

    #[test]
    fn later_write_to_a_key_replaces_the_earlier() {
        let batch = Batch::new().put("k", "1").delete("k").put("k", "2");
        assert_eq!(
            batch.writes().collect::<Vec<_>>(),
            [(&Bytes::from("k"), Some(&Bytes::from("2")))]
        );
    }

    #[test]
    fn writes_come_in_key_order() {
        let batch = Batch::new().put("b", "").put("a", "");
        assert_eq!(
            batch.writes().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn every_limit_is_checked() {
        let large = |batch: Batch| matches!(batch.check(&SMALL), Err(Error::TooLarge { .. }));
        assert!(large(Batch::new().put("large", "")));
        assert!(large(Batch::new().put("k", "large")));
        assert!(large(Batch::new().require_absent("large")));
        assert!(large(
            Batch::new().put("k", "1234").put("l", "1234").put("m", "1234")
        ));
        assert!(large(
            Batch::new().put("a", "").put("b", "").put("c", "").delete("d")
        ));
        assert!(Batch::new().put("k", "1234").check(&SMALL).is_ok());
    }

    #[test]
    fn empty_key_is_invalid() {
        assert!(matches!(
            Batch::new().put("", "v").check(&SMALL),
            Err(Error::Invalid { .. })
        ));
    }
}
