//! The sled backend keeps the contract of a key-value store.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};
use tempfile::TempDir;

struct SledHarness(TempDir);

#[async_trait]
impl KvHarness for SledHarness {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(Arc::new(kv_sled::Store::open(self.0.path()).await?))
    }
}

eventstore_testkit::kv_conformance!(SledHarness(tempfile::tempdir().expect("temp dir")));
