//! Every backend keeps the contract of an event store provider.
#![cfg(feature = "_engine")]

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::kv::KvHarness;
use kv_core::{KeyValueStore, Result};

#[cfg(feature = "memory")]
mod memory {
    use super::*;

    struct Memory;

    #[async_trait]
    impl KvHarness for Memory {
        async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
            Ok(Arc::new(kv_memory::Store::new()))
        }
    }

    eventstore_testkit::provider_conformance!(Memory);
}

/// A backend that keeps its data in a directory.
#[allow(unused_macros, reason = "a build may have the memory backend alone")]
macro_rules! in_directory {
    ($backend:ident, $store:path) => {
        mod $backend {
            use super::*;

            struct Harness(tempfile::TempDir);

            #[async_trait]
            impl KvHarness for Harness {
                async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
                    Ok(Arc::new(<$store>::open(self.0.path()).await?))
                }
            }

            eventstore_testkit::provider_conformance!(Harness(tempfile::tempdir().expect("temp dir")));
        }
    };
}

#[cfg(feature = "sled")]
in_directory!(sled, kv_sled::Store);
#[cfg(feature = "fjall")]
in_directory!(fjall, kv_fjall::Store);
#[cfg(feature = "redb")]
in_directory!(redb, kv_redb::Store);
#[cfg(feature = "lmdb")]
in_directory!(lmdb, kv_lmdb::Store);

#[cfg(feature = "postgres")]
#[path = "../../kv-postgres/tests/common/server.rs"]
mod postgres_server;

#[cfg(feature = "postgres")]
mod postgres {
    use super::postgres_server::{FreshTable, server};
    use super::*;

    struct Harness(FreshTable);

    #[async_trait]
    impl KvHarness for Harness {
        async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
            Ok(Arc::new(kv_postgres::Store::open(&self.0.url()).await?))
        }
    }

    eventstore_testkit::provider_conformance!(Harness(FreshTable::new()), if server().is_some());
}

#[cfg(feature = "etcd")]
#[path = "../../kv-etcd/tests/common/mod.rs"]
mod etcd_server;

#[cfg(feature = "etcd")]
mod etcd {
    use super::etcd_server::{FreshPrefix, server};
    use super::*;

    struct Harness(FreshPrefix);

    #[async_trait]
    impl KvHarness for Harness {
        async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
            Ok(Arc::new(kv_etcd::Store::open(&self.0.url()).await?))
        }
    }

    eventstore_testkit::provider_conformance!(Harness(FreshPrefix::new()), if server().is_some());
}
