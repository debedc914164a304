//! Opens an engine as an event store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use eventstore_abstractions::{
    Database, Error, EventLog, EventStore, EventStoreProvider, OpenOptions, Result, Settings, StreamId,
};
use kv_core::{Batch, Durability, KeyValueStore, Outcome, Scan};

use crate::derived::Engine;
use crate::error::open_error;
use crate::log::{Core, Log};
use crate::options::Options;
use crate::reader::Reader;
use crate::record::{Record, StoreFormat};
use crate::sequencer::Sequencer;
use crate::subscription::Tails;
use crate::{keys, session};

/// The layout of the keys that this version writes and reads.
pub(crate) const LAYOUT: u32 = 1;

/// An event store provider over a key-value engine.
///
/// See the [crate](crate) for an example.
///
/// It runs a thread, the sequencer, and a second one from the first time on that many writes share a commit. An engine
/// that needs a tokio runtime is driven by the one on which the provider was opened; operations work on any runtime as
/// long as that one lives. Dropping the provider, its logs and its sessions ends the threads; [`close`] waits until
/// what was queued is done and the engine is closed.
///
/// [`close`]: EventStoreProvider::close
#[derive(Debug)]
pub struct Provider {
    core: Arc<Core>,
    settings: Settings,
}

impl Provider {
    /// Opens `engine`, which holds an event store or nothing.
    ///
    /// See the [crate](crate) for an example.
    ///
    /// # Errors
    /// - [`Error::InvalidInput`]: a setting is out of its limits.
    /// - [`Error::CannotOpen`]: the engine holds something else, or an event store of another layout.
    /// - [`Error::Corrupt`], [`Error::Unavailable`]: as the engine fails.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(engine: Arc<dyn KeyValueStore>, settings: Settings) -> Result<Self> {
        Self::open_with(engine, settings, Options::default()).await
    }

    /// The same with options.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use eventstore_abstractions::{EventStoreProvider, Settings};
    /// use eventstore_kv::{Options, Provider};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), eventstore_abstractions::Error> {
    /// let engine = Arc::new(kv_memory::Store::new());
    /// let options = Options::default().max_queued_writes(64);
    /// let provider = Provider::open_with(engine, Settings::default(), options).await?;
    /// assert!(!provider.is_durable());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open_with(
        engine: Arc<dyn KeyValueStore>,
        settings: Settings,
        options: Options,
    ) -> Result<Self> {
        settings.validate()?;
        let capabilities = engine.capabilities();
        check_format(engine.as_ref()).await?;
        if !capabilities.shared {
            end_all_sessions(engine.as_ref()).await.map_err(open_error)?;
        }
        let engine = Engine::open(engine, options.max_deferred_bytes, options.max_cached_streams).await?;
        let reader = Reader::new(engine.store(), &options);
        let tails = Arc::new(Tails::new());
        let sequencer = Sequencer::start(
            engine.clone(),
            reader.clone(),
            Arc::clone(&tails),
            &options,
            settings.indexes,
        )?;
        let core = Core {
            sequencer,
            tails,
            engine: engine.store(),
            reader,
            clock: options.clock,
            capabilities,
            indexes: settings.indexes,
        };
        Ok(Self {
            core: Arc::new(core),
            settings,
        })
    }
}

#[async_trait]
impl EventStoreProvider for Provider {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn is_durable(&self) -> bool {
        self.core.capabilities.durable
    }

    fn log(&self, database: &Database) -> Arc<dyn EventLog> {
        Arc::new(Log::new(Arc::clone(&self.core), database.clone()))
    }

    async fn open_with(
        &self,
        database: &Database,
        stream: &StreamId,
        options: OpenOptions,
    ) -> Result<Box<dyn EventStore>> {
        let core = Arc::clone(&self.core);
        let store = session::open(core, self.settings.clone(), database, stream, options).await?;
        Ok(Box::new(store))
    }

    async fn close(&self) -> Result<()> {
        self.core.sequencer.close().await
    }
}

/// Makes sure that `engine` holds an event store of our layout; an empty engine becomes one.
async fn check_format(engine: &dyn KeyValueStore) -> Result<()> {
    let key = keys::format();
    loop {
        if let Some(value) = engine.get(&key).await.map_err(open_error)? {
            return check_layout(&value);
        }
        if engine.get(&keys::copy()).await.map_err(open_error)?.is_some() {
            return Err(cannot_open(
                "it is a copy of another store that is not finished; copy again from the same store, which goes on \
                 where the copy stopped"
                    .to_owned(),
            ));
        }
        let everything = Scan::range(Bytes::new(), Bytes::new()).max_items(1);
        if !engine
            .scan(everything)
            .await
            .map_err(open_error)?
            .entries
            .is_empty()
        {
            // Another process may have made the store between the two reads.
            if engine.get(&key).await.map_err(open_error)?.is_some() {
                continue;
            }
            return Err(cannot_open(
                "it holds data and no event store, or lost its format record; open another, or restore it from a copy"
                    .to_owned(),
            ));
        }
        let format = StoreFormat { layout: LAYOUT }.seal(&key);
        let batch = Batch::new()
            .require_absent(key.clone())
            // A copy may have begun since we looked.
            .require_absent(keys::copy())
            .put(key.clone(), format);
        match engine
            .commit(batch, Durability::Durable)
            .await
            .map_err(open_error)?
        {
            Outcome::Applied => return Ok(()),
            Outcome::ConditionFailed { .. } => {}
        }
    }
}

/// Makes sure that the format record of a store, `value`, says that its layout is ours.
pub(crate) fn check_layout(value: &[u8]) -> Result<()> {
    let StoreFormat { layout } = StoreFormat::open(&keys::format(), value)?;
    if layout == LAYOUT {
        return Ok(());
    }
    Err(cannot_open(format!(
        "its layout is {layout} and this version reads layout {LAYOUT}; open it with the version that wrote it"
    )))
}

pub(crate) fn cannot_open(reason: String) -> Error {
    Error::CannotOpen { reason, source: None }
}

/// Sessions end with their process. On an engine that one process has to itself, all that are stored are of
/// processes that have ended, and would only keep their streams from being written until their time-outs.
async fn end_all_sessions(engine: &dyn KeyValueStore) -> Result<(), kv_core::Error> {
    let mut next = Some(keys::leases());
    while let Some(scan) = next {
        let page = engine.scan(scan).await?;
        let batch = page
            .entries
            .into_iter()
            .fold(Batch::new(), |batch, entry| batch.delete(entry.key));
        if !batch.is_empty() {
            let _unconditional = engine.commit(batch, Durability::Buffered).await?;
        }
        next = page.next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How opening an engine that holds `value` under `key` is refused; nothing may be written.
    async fn refused(key: Bytes, value: Bytes) -> Error {
        let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
        let batch = Batch::new().put(key, value);
        let committed = engine.commit(batch, Durability::Durable).await;
        assert_eq!(committed.expect("written"), Outcome::Applied);
        let everything = || Scan::range(Bytes::new(), Bytes::new());
        let before = engine.scan(everything()).await.expect("read");
        let refused = Provider::open(Arc::clone(&engine), Settings::default()).await;
        assert_eq!(engine.scan(everything()).await.expect("read"), before);
        refused.expect_err("must be refused")
    }

    #[tokio::test]
    async fn engine_with_other_data_is_refused_and_left_alone() {
        let error = refused("users/alice".into(), "{}".into()).await;
        assert!(matches!(error, Error::CannotOpen { .. }), "{error:?}");
        assert!(
            error.to_string().contains("open another, or restore it"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn store_of_another_layout_is_refused_and_left_alone() {
        let newer = StoreFormat { layout: LAYOUT + 1 }.seal(&keys::format());
        let error = refused(keys::format(), newer).await;
        assert!(matches!(error, Error::CannotOpen { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("layout is 2") && text.contains("open it with the version that wrote it"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn damaged_format_record_is_reported() {
        let error = refused(keys::format(), "damaged".into()).await;
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
}
