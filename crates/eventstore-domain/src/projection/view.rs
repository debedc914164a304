//! The state of a projection as an event is applied to it: what is stored, and over it what has changed since.

use std::collections::BTreeMap;
use std::ops::Bound;

use eventstore_abstractions::{Bytes, Changes, Error, MAX_KEY_BYTES, Namespace, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::generation::Generation;
use crate::record::decode;

/// New values, or `None` for a key that is removed.
pub(super) type Writes = BTreeMap<Bytes, Option<Bytes>>;

/// The state of a projection, in which [`Projection::apply`](super::Projection::apply) reads and writes.
///
/// It reads what was written before, by the same event and by all events before it. Nothing is stored until the
/// runner commits what many events wrote, together with the checkpoint.
///
/// See [`Projection`](super::Projection) for an example.
#[derive(Debug)]
pub struct View<'a> {
    namespace: &'a dyn Namespace,
    generation: Generation,
    /// What earlier events have written that is not stored yet.
    earlier: &'a Writes,
    /// What this event has written.
    pub(super) written: Writes,
}

impl<'a> View<'a> {
    /// Most bytes of a key.
    pub const MAX_KEY_BYTES: usize = MAX_KEY_BYTES - Generation::PREFIX_BYTES;

    pub(super) fn new(namespace: &'a dyn Namespace, generation: Generation, earlier: &'a Writes) -> Self {
        Self {
            namespace,
            generation,
            earlier,
            written: Writes::new(),
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the key is empty or longer than [`MAX_KEY_BYTES`](Self::MAX_KEY_BYTES); as the
    /// storage fails.
    pub async fn get(&self, key: impl AsRef<[u8]> + Send) -> Result<Option<Bytes>> {
        let key = self.generation.key(key.as_ref())?;
        match self.written.get(&key).or_else(|| self.earlier.get(&key)) {
            Some(changed) => Ok(changed.clone()),
            None => self.namespace.get(&key).await,
        }
    }

    /// The value of `key`, from JSON.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Error::Corrupt`] when the value is no such JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, key: impl AsRef<[u8]> + Send) -> Result<Option<T>> {
        let value = self.get(key).await?;
        value
            .map(|value| decode("a value of a projection", &value))
            .transpose()
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the key is empty or too long.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<()> {
        let key = self.generation.key(key.as_ref())?;
        self.written.insert(key, Some(value.into()));
        Ok(())
    }

    /// Sets `key` to `value` as JSON.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`Error::Application`] when the value cannot be written as JSON.
    pub fn put_json(&mut self, key: impl AsRef<[u8]>, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(Error::application)?;
        self.put(key, json)
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the key is empty or too long.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let key = self.generation.key(key.as_ref())?;
        self.written.insert(key, None);
        Ok(())
    }

    /// Up to `limit` entries whose keys begin with `prefix` and are above `after`, in the order of their keys. Fewer
    /// come only at the end.
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let prefix = self.generation.prefix(prefix);
        let after = after.map(|after| self.generation.prefix(after));
        let changed = self.changed(&prefix, after.as_deref());
        let mut found: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut cursor = after;
        while found.len() < limit {
            let page = self.namespace.scan(&prefix, cursor.as_deref(), limit).await?;
            // What is written counts up to where the stored page reaches: beyond it stored keys may come between.
            let reached = page.last().map(|(key, _)| key.to_vec());
            let from = cursor.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let to = reached.as_deref().map_or(Bound::Unbounded, Bound::Included);
            let written = changed.range::<[u8], _>((from, to));
            let written = written.filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
            let stored = page.into_iter().filter(|(key, _)| !changed.contains_key(key));
            found.extend(stored.chain(written));
            match reached {
                Some(reached) => cursor = Some(reached),
                None => break,
            }
        }
        let entries = found.into_iter().take(limit);
        Ok(entries
            .map(|(key, value)| (self.generation.user_key(&key), value))
            .collect())
    }

    /// What was written in the range and is not stored yet.
    fn changed(&self, prefix: &[u8], after: Option<&[u8]>) -> Writes {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut changed = Writes::new();
        for writes in [self.earlier, &self.written] {
            let range = writes.range::<[u8], _>((from, Bound::Unbounded));
            let range = range.take_while(|(key, _)| key.starts_with(prefix));
            changed.extend(range.map(|(key, value)| (key.clone(), value.clone())));
        }
        changed
    }
}

/// Adds `writes` to `changes`, and says how many bytes they are.
pub(super) fn write(changes: Changes, writes: Writes) -> Changes {
    writes
        .into_iter()
        .fold(changes, |changes, (key, value)| match value {
            Some(value) => changes.put(key, value),
            None => changes.delete(key),
        })
}
