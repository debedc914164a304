//! Counts what is read from an engine: figures that do not depend on how fast the machine is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Capabilities, Durability, KeyValueStore, Outcome, Page, Result, Scan, Watch};

/// A [`KeyValueStore`] that passes everything on and counts the bytes that come back.
#[derive(Debug)]
pub(super) struct Meter {
    inner: Arc<dyn KeyValueStore>,
    bytes: AtomicU64,
    calls: AtomicU64,
}

/// How much was read, in bytes of keys and values and in calls to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) bytes: u64,
    pub(super) calls: u64,
}

impl Meter {
    pub(super) fn new(inner: Arc<dyn KeyValueStore>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            bytes: AtomicU64::new(0),
            calls: AtomicU64::new(0),
        })
    }

    /// What was read since the last call.
    pub(super) fn take(&self) -> Cost {
        Cost {
            bytes: self.bytes.swap(0, Ordering::SeqCst),
            calls: self.calls.swap(0, Ordering::SeqCst),
        }
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        self.calls.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl KeyValueStore for Meter {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.inner.get(key).await?;
        self.count(key.len() + value.as_ref().map_or(0, Bytes::len));
        Ok(value)
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let values = self.inner.get_many(keys).await?;
        let keys = keys.iter().map(Bytes::len).sum::<usize>();
        self.count(keys + values.iter().flatten().map(Bytes::len).sum::<usize>());
        Ok(values)
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        let page = self.inner.scan(scan).await?;
        let entries = page.entries.iter();
        self.count(entries.map(|entry| entry.key.len() + entry.value.len()).sum());
        Ok(page)
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        self.inner.commit(batch, durability).await
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        self.inner.watch().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
