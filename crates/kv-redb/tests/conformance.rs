//! The redb backend keeps the contract of a key-value store.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};

struct RedbHarness {
    dir: tempfile::TempDir,
}

impl RedbHarness {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("temp dir"),
        }
    }
}

#[async_trait]
impl KvHarness for RedbHarness {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(Arc::new(kv_redb::Store::open(self.dir.path()).await?))
    }
}

eventstore_testkit::kv_conformance!(RedbHarness::new());
