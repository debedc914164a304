//! Any engine as one that several processes share.

use std::sync::Arc;

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Capabilities, Durability, KeyValueStore, Outcome, Page, Result, Scan, Watch};

/// A [`KeyValueStore`] that passes everything on and says that others may write too. That is true
/// of every engine beneath two providers in one process.
#[derive(Debug)]
pub(super) struct Shared(pub(super) Arc<dyn KeyValueStore>);

#[async_trait]
impl KeyValueStore for Shared {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared: true,
            ..self.0.capabilities()
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.0.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.0.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        self.0.commit(batch, durability).await
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        self.0.watch().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}
