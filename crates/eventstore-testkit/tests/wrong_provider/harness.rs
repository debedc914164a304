//! A harness of the suite of which one thing can be wrong: the provider, the engine beneath it, the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eventstore_abstractions::{Clock, EventStoreProvider, Result, Settings};
use eventstore_testkit::provider::ProviderHarness;
use kv_core::{Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Scan, Watch};
use tokio::task::yield_now;

use crate::provider::Provider;
use crate::wrong::{Store, Wrong};

/// What the engine accepts: little, so that the cases about limits are quick.
const RIGHT: Capabilities = Capabilities {
    durable: true,
    max_value_bytes: 256 << 10,
    max_batch_bytes: 4 << 20,
    ..Capabilities::IN_PROCESS
};

/// A location: what is stored there outlives the engines that are opened on it.
#[derive(Debug)]
pub(crate) struct Harness {
    disk: Store,
    wrong: Arc<dyn Wrong>,
}

impl Harness {
    pub(crate) fn new(wrong: Arc<dyn Wrong>) -> Self {
        Self {
            disk: Arc::new(kv_memory::Store::new()),
            wrong,
        }
    }
}

#[async_trait]
impl ProviderHarness for Harness {
    async fn engine(&self) -> kv_core::Result<Arc<dyn KeyValueStore>> {
        self.wrong.reopens(&self.disk).await;
        Ok(Arc::new(Disk {
            store: Arc::clone(&self.disk),
            closed: AtomicBool::new(false),
        }))
    }

    async fn provider(
        &self,
        engine: Arc<dyn KeyValueStore>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn EventStoreProvider>> {
        self.wrong.starts();
        let (clock, wrong) = (self.wrong.clock(clock), Arc::clone(&self.wrong));
        let engine: Store = Arc::new(Engine {
            right: engine,
            wrong: Arc::clone(&wrong),
        });
        let capabilities = engine.capabilities();
        let options = eventstore_kv::Options::default()
            .clock(Arc::clone(&clock))
            .single_threaded();
        let right = eventstore_kv::Provider::open_with(engine, wrong.settings(settings), options).await?;
        Ok(Arc::new(Provider {
            right: Arc::new(right),
            clock,
            capabilities,
            wrong,
        }))
    }
}

/// The right engine.
#[derive(Debug)]
struct Disk {
    store: Store,
    closed: AtomicBool,
}

impl Disk {
    fn open(&self) -> kv_core::Result<&Store> {
        if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed)
        } else {
            Ok(&self.store)
        }
    }
}

#[async_trait]
impl KeyValueStore for Disk {
    fn capabilities(&self) -> Capabilities {
        RIGHT
    }

    async fn get(&self, key: &[u8]) -> kv_core::Result<Option<Bytes>> {
        self.open()?.get(key).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> kv_core::Result<Vec<Option<Bytes>>> {
        self.open()?.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> kv_core::Result<Page> {
        self.open()?.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> kv_core::Result<Outcome> {
        batch.check(&RIGHT)?;
        // A disk takes its time.
        yield_now().await;
        self.open()?.commit(batch, durability).await
    }

    async fn close(&self) -> kv_core::Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// The engine as the provider sees it. It is above the faults and counters of the suite, which see what a
/// wrong one makes of a commit.
#[derive(Debug)]
struct Engine {
    right: Store,
    wrong: Arc<dyn Wrong>,
}

#[async_trait]
impl KeyValueStore for Engine {
    fn capabilities(&self) -> Capabilities {
        self.wrong.capabilities(self.right.capabilities())
    }

    async fn get(&self, key: &[u8]) -> kv_core::Result<Option<Bytes>> {
        self.right.get(key).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> kv_core::Result<Vec<Option<Bytes>>> {
        self.right.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> kv_core::Result<Page> {
        self.right.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> kv_core::Result<Outcome> {
        self.wrong.commit(&self.right, batch, durability).await
    }

    async fn watch(&self) -> kv_core::Result<Option<Box<dyn Watch>>> {
        self.right.watch().await
    }

    async fn close(&self) -> kv_core::Result<()> {
        self.right.close().await
    }
}
