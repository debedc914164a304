//! The PostgreSQL backend keeps the contract of a key-value store.

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use common::{FreshTable, server};
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};

struct Harness(FreshTable);

#[async_trait]
impl KvHarness for Harness {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(Arc::new(kv_postgres::Store::open(&self.0.url()).await?))
    }
}

eventstore_testkit::kv_conformance!(Harness(FreshTable::new()), if server().is_some());
