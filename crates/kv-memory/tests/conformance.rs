//! The memory backend keeps the contract of a key-value store.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};

struct MemoryHarness;

#[async_trait]
impl KvHarness for MemoryHarness {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(Arc::new(kv_memory::Store::new()))
    }
}

eventstore_testkit::kv_conformance!(MemoryHarness);
