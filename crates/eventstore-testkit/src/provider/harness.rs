//! What a backend, or a provider of another make, gives to the suite.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, EventStoreProvider, Result, Settings};
use kv_core::KeyValueStore;

use crate::kv::KvHarness;

/// Opens the provider under test in two steps, so that the suite can look at the engine beneath and
/// place faults between the two. A fresh harness has a fresh, empty location.
///
/// Every [`KvHarness`] is one, with `eventstore_kv`'s provider.
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use eventstore_abstractions::{Clock, EventStoreProvider, Result, Settings};
/// use eventstore_testkit::provider::{self, ProviderHarness};
/// use kv_core::KeyValueStore;
///
/// /// A provider with a tiny cache, over memory.
/// struct Tiny;
///
/// #[async_trait]
/// impl ProviderHarness for Tiny {
///     async fn engine(&self) -> kv_core::Result<Arc<dyn KeyValueStore>> {
///         Ok(Arc::new(kv_memory::Store::new()))
///     }
///
///     async fn provider(
///         &self,
///         engine: Arc<dyn KeyValueStore>,
///         settings: Settings,
///         clock: Arc<dyn Clock>,
///     ) -> Result<Arc<dyn EventStoreProvider>> {
///         let options = eventstore_kv::Options::default().clock(clock).max_cached_streams(1);
///         Ok(Arc::new(eventstore_kv::Provider::open_with(engine, settings, options).await?))
///     }
/// }
///
/// provider::run("log_and_streams_agree", || Tiny);
/// ```
#[async_trait]
pub trait ProviderHarness: Send + Sync {
    /// Opens the engine, always at the same location. A durable one opens what it had when it was last
    /// closed.
    ///
    /// # Errors
    /// Those of the engine.
    async fn engine(&self) -> kv_core::Result<Arc<dyn KeyValueStore>>;

    /// Opens a provider over `engine` that takes its time from `clock`. Closing the provider closes the
    /// engine.
    ///
    /// # Errors
    /// Those of the provider.
    async fn provider(
        &self,
        engine: Arc<dyn KeyValueStore>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn EventStoreProvider>>;
}

#[async_trait]
impl<H: KvHarness> ProviderHarness for H {
    async fn engine(&self) -> kv_core::Result<Arc<dyn KeyValueStore>> {
        self.open().await
    }

    async fn provider(
        &self,
        engine: Arc<dyn KeyValueStore>,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<dyn EventStoreProvider>> {
        let options = eventstore_kv::Options::default().clock(clock);
        let provider = eventstore_kv::Provider::open_with(engine, settings, options).await?;
        Ok(Arc::new(provider))
    }
}
