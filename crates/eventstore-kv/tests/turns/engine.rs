//! An engine in memory that several processes share, as far away from each as a server would be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::Settings;
use eventstore_kv::{Options, Provider};
use kv_core::{Batch, Bytes, Capabilities, Durability, KeyValueStore, Outcome, Page, Result, Scan};
use tokio::sync::watch;
use tokio::time::sleep;

/// The space of the records that say whose turn it is.
pub(crate) const TURN: u8 = 0x1d;

/// What one process has of the engine.
#[derive(Debug)]
pub(crate) struct Far {
    inner: Arc<kv_memory::Store>,
    /// How long each call takes on its way there.
    away: Duration,
    /// While it is set nothing goes on: the process is stopped.
    is_stopped: watch::Sender<bool>,
    commits: AtomicU64,
    reads: AtomicU64,
}

impl Far {
    pub(crate) fn new(inner: &Arc<kv_memory::Store>, away_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            away: Duration::from_millis(away_ms),
            is_stopped: watch::Sender::new(false),
            commits: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        })
    }

    /// A process that has this engine open. All of it runs on the test's thread, in simulated time.
    pub(crate) async fn open(self: &Arc<Self>) -> Provider {
        let engine = Arc::clone(self) as Arc<dyn KeyValueStore>;
        let options = Options::default().single_threaded();
        let provider = Provider::open_with(engine, Settings::default(), options).await;
        provider.expect("it opens")
    }

    /// Stops the process wherever it is, or lets it go on.
    pub(crate) fn stop(&self, is_stopped: bool) {
        self.is_stopped.send_replace(is_stopped);
    }

    /// How many commits it has begun.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// How many reads of keys it has begun.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    async fn travel(&self) {
        sleep(self.away).await;
        let mut is_stopped = self.is_stopped.subscribe();
        let goes_on = is_stopped.wait_for(|is_stopped| !is_stopped).await;
        goes_on.expect("the channel is its own");
    }
}

/// The turns that are stored, by the keys of their records.
pub(crate) async fn turns(store: &kv_memory::Store) -> BTreeMap<Bytes, Bytes> {
    let page = store.scan(Scan::prefix(vec![TURN])).await.expect("it is read");
    page.entries.into_iter().map(|it| (it.key, it.value)).collect()
}

#[async_trait]
impl KeyValueStore for Far {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared: true,
            ..self.inner.capabilities()
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.travel().await;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.travel().await;
        self.inner.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.travel().await;
        self.inner.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        self.travel().await;
        let outcome = self.inner.commit(batch, durability).await;
        self.travel().await;
        outcome
    }

    async fn close(&self) -> Result<()> {
        // The others go on.
        Ok(())
    }
}
