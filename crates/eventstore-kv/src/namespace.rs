//! State beside the events, in key spaces of its own.
//!
//! Its commits go straight to the engine and past the sequencer: they touch no key that an event, a head or a session
//! is kept under, so that neither has to wait for the other.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{
    Changes, Committed, Database, Durability, Error, MAX_KEY_BYTES, Namespace, NamespaceName, Requirement,
    Result,
};
use kv_core::{Batch, Bytes, Capabilities, Condition, KeyValueStore, Outcome};

use crate::error::open_error;
use crate::keys;
use crate::record::{STATE_OVERHEAD_BYTES, open_state, seal_state};

/// Most entries of one page, however many are asked for. Bytes are bounded by the default of a scan.
const MAX_PAGE_ENTRIES: usize = 1_000;

/// A namespace of a database.
#[derive(Debug)]
pub(crate) struct State {
    engine: Arc<dyn KeyValueStore>,
    capabilities: Capabilities,
    name: NamespaceName,
    /// What all its keys begin with in the engine.
    prefix: Bytes,
}

impl State {
    pub(crate) fn new(engine: Arc<dyn KeyValueStore>, database: &Database, name: NamespaceName) -> Self {
        Self {
            capabilities: engine.capabilities(),
            engine,
            prefix: keys::state_prefix(database, &name),
            name,
        }
    }

    /// Where `key` is kept, if it is one.
    fn key(&self, key: &[u8]) -> Result<Bytes> {
        if key.is_empty() {
            return Err(Error::invalid(format!(
                "a key of namespace {} is empty; give it at least one byte",
                self.name
            )));
        }
        check_length(key)?;
        Ok(keys::state(&self.prefix, key))
    }

    /// The batch that makes `changes`.
    fn batch(&self, changes: Changes) -> Result<Batch> {
        let mut batch = Batch::new();
        for (key, requirement) in changes.requirements {
            let key = self.key(&key)?;
            batch = batch.require(match requirement {
                Requirement::Absent => Condition::Absent(key),
                // The same value under the same key is sealed into the same bytes.
                Requirement::Equals(value) => Condition::Equals {
                    value: seal_state(&key, &value),
                    key,
                },
            });
        }
        for (key, value) in changes.writes {
            let key = self.key(&key)?;
            batch = match value {
                Some(value) => {
                    self.check_value(&value)?;
                    let sealed = seal_state(&key, &value);
                    batch.put(key, sealed)
                }
                None => batch.delete(key),
            };
        }
        self.check_size(&batch)?;
        Ok(batch)
    }

    fn check_value(&self, value: &[u8]) -> Result<()> {
        let most = self
            .capabilities
            .max_value_bytes
            .saturating_sub(STATE_OVERHEAD_BYTES);
        if value.len() > most {
            return Err(Error::invalid(format!(
                "a value of namespace {} has {} bytes and this backend keeps at most {most}; split it over several keys",
                self.name,
                value.len()
            )));
        }
        Ok(())
    }

    fn check_size(&self, batch: &Batch) -> Result<()> {
        let operations = batch.conditions().len() + batch.writes().len();
        let (bytes, limits) = (batch.bytes(), &self.capabilities);
        if operations > limits.max_batch_operations || bytes > limits.max_batch_bytes {
            return Err(Error::invalid(format!(
                "changes of {operations} requirements and writes and {bytes} bytes are over this backend's limit of {} \
                 and {} bytes for one commit; make several",
                limits.max_batch_operations, limits.max_batch_bytes
            )));
        }
        Ok(())
    }
}

#[async_trait]
impl Namespace for State {
    fn name(&self) -> &NamespaceName {
        &self.name
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let key = self.key(key)?;
        let value = self.engine.get(&key).await.map_err(open_error)?;
        value.map(|value| open_state(&key, &value)).transpose()
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        check_length(prefix)?;
        check_length(after.unwrap_or_default())?;
        let scan = keys::states(&self.prefix, prefix, after).max_items(limit.min(MAX_PAGE_ENTRIES));
        if limit == 0 || scan.is_empty() {
            return Ok(Vec::new());
        }
        let page = self.engine.scan(scan).await.map_err(open_error)?;
        let entries = page.entries.into_iter().map(|entry| {
            let value = open_state(&entry.key, &entry.value)?;
            Ok((entry.key.slice(self.prefix.len()..), value))
        });
        entries.collect()
    }

    async fn commit(&self, changes: Changes, durability: Durability) -> Result<Committed> {
        let batch = self.batch(changes)?;
        let durability = match durability {
            Durability::Durable => kv_core::Durability::Durable,
            Durability::Buffered => kv_core::Durability::Buffered,
        };
        match self.engine.commit(batch, durability).await.map_err(open_error)? {
            Outcome::Applied => Ok(Committed::Applied),
            Outcome::ConditionFailed { .. } => Ok(Committed::Conflict),
        }
    }
}

fn check_length(key: &[u8]) -> Result<()> {
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::invalid(format!(
            "a key of a namespace has {} bytes and at most {MAX_KEY_BYTES} are possible; shorten it",
            key.len()
        )));
    }
    Ok(())
}
