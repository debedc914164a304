//! Reads what a projection has made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use eventstore_abstractions::{Bytes, Error, EventLog, Position, Result};
use serde::de::DeserializeOwned;

use super::generation::Generation;
use super::store::Store;
use crate::names::ProjectionName;
use crate::record::decode;

/// How often a checkpoint is looked at that another process may move.
const POLL: Duration = Duration::from_millis(50);

/// Reads the live state of a projection, wherever it is made. It is cheap to clone.
///
/// Each call reads one state: a swap of generations happens before it or after it. Two calls may read two states.
///
/// See [`Projector`](super::Projector) for an example.
#[derive(Debug)]
pub struct Reader {
    store: Arc<Store>,
    /// The live generation when it was last looked at; 0 for not yet.
    live: AtomicU32,
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            live: AtomicU32::new(self.live.load(Ordering::Relaxed)),
        }
    }
}

impl Reader {
    /// A reader of the projection `name`, which may be made in another process.
    ///
    /// ```
    /// use eventstore_abstractions::EventStoreProviderExt;
    /// use eventstore_domain::projection::{ProjectionName, Reader};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventstore_abstractions::Result<()> {
    /// let log = eventstores::connect("memory:").await?.default_log();
    /// let balances = Reader::open(&*log, &ProjectionName::new("balances")?)?;
    /// // Nobody has made it yet.
    /// assert!(balances.get("alice").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the storage fails.
    pub fn open(log: &dyn EventLog, name: &ProjectionName) -> Result<Self> {
        Ok(Self::new(Arc::new(Store::open(log, name)?)))
    }

    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            live: AtomicU32::new(0),
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the key is empty or longer than [`View::MAX_KEY_BYTES`](super::View::MAX_KEY_BYTES),
    /// or the projection was never run here; as the storage fails.
    pub async fn get(&self, key: impl AsRef<[u8]> + Send) -> Result<Option<Bytes>> {
        let mut live = self.guess().await?;
        loop {
            let value = self.store.namespace.get(&live.key(key.as_ref())?).await?;
            // The state of a generation is deleted only after it was replaced: if it still is the live one, it was
            // there as a whole.
            let now = self.live().await?;
            if now == live {
                return Ok(value);
            }
            live = now;
        }
    }

    /// The value of `key`, from JSON.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`Error::Corrupt`] when the value is no such JSON.
    pub async fn get_json<T: DeserializeOwned>(&self, key: impl AsRef<[u8]> + Send) -> Result<Option<T>> {
        let value = self.get(key).await?;
        let what = || format!("a value of projection {}", self.store.name);
        value.map(|value| decode(&what(), &value)).transpose()
    }

    /// Up to `limit` entries whose keys begin with `prefix` and are above `after`, in the order of their keys. What is
    /// returned may be fewer, but is empty only at the end.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let mut live = self.guess().await?;
        loop {
            let (from, after) = (live.prefix(prefix), after.map(|after| live.prefix(after)));
            let page = self.store.namespace.scan(&from, after.as_deref(), limit).await?;
            let now = self.live().await?;
            if now == live {
                let entries = page.into_iter();
                return Ok(entries.map(|(key, value)| (live.user_key(&key), value)).collect());
            }
            live = now;
        }
    }

    /// Up to where events are applied.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn position(&self) -> Result<Position> {
        loop {
            let live = self.live().await?;
            if let Some((checkpoint, _)) = self.store.checkpoint(live).await? {
                return Ok(checkpoint.position);
            }
            // It was replaced between the two reads, or something is missing.
            self.store.check(live).await?;
        }
    }

    /// The number of the live generation: it grows with each swap.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn generation(&self) -> Result<u32> {
        Ok(self.live().await?.number())
    }

    /// Waits until the event at `position` is applied, or nothing at or below it is left to apply: whoever has appended
    /// it then reads what it did.
    ///
    /// It waits as long as it takes: where nobody runs the projection, that is for ever. Put a time-out around it
    /// where that can be.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn wait_for(&self, position: Position) -> Result<()> {
        let mut moved = self.store.moved();
        loop {
            // Looked at after this, so that no move is missed.
            moved.mark_unchanged();
            if self.position().await? >= position {
                return Ok(());
            }
            let poll = self.store.clock.now().saturating_add(POLL);
            tokio::select! {
                biased;
                _ = moved.changed() => {}
                () = self.store.clock.sleep_until(poll) => {}
            }
        }
    }

    /// The generation that was live when it was last looked at.
    async fn guess(&self) -> Result<Generation> {
        match Generation::from_number(self.live.load(Ordering::Relaxed)) {
            Some(live) => Ok(live),
            None => self.live().await,
        }
    }

    async fn live(&self) -> Result<Generation> {
        match self.store.generations().await? {
            Some((generations, _)) => {
                let live = generations.live.generation;
                self.live.store(live.number(), Ordering::Relaxed);
                Ok(live)
            }
            None => Err(Error::invalid(format!(
                "projection {} has never been opened on this log; open it with its projector first",
                self.store.name
            ))),
        }
    }
}
