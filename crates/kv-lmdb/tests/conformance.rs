//! The LMDB backend keeps the contract of a key-value store.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};

struct LmdbHarness {
    dir: tempfile::TempDir,
}

impl LmdbHarness {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("temp dir"),
        }
    }
}

#[async_trait]
impl KvHarness for LmdbHarness {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(Arc::new(kv_lmdb::Store::open(self.dir.path()).await?))
    }
}

eventstore_testkit::kv_conformance!(LmdbHarness::new());
