//! The journal backend keeps the contract of a key-value store.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};
use tempfile::TempDir;

struct JournalHarness(TempDir);

#[async_trait]
impl KvHarness for JournalHarness {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(Arc::new(kv_journal::Store::open(self.0.path()).await?))
    }
}

eventstore_testkit::kv_conformance!(JournalHarness(tempfile::tempdir().expect("temp dir")));
eventstore_testkit::provider_conformance!(JournalHarness(tempfile::tempdir().expect("temp dir")));
