//! A [`KeyValueStore`] for small data: all of it in memory, and a journal on disk that brings it back.
//!
//! A commit appends one record to the journal, and opening replays the journal. All data must fit into memory, and
//! the journal only grows.
#![forbid(unsafe_code)]

mod journal;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use kv_core::{
    Batch, Bytes, Capabilities, Direction, Durability, Error, KeyValueStore, Outcome, Page, PageBuilder,
    Result, Scan, blocking,
};
use parking_lot::{Mutex, RwLock};

use journal::{Entries, Journal};

const CAPABILITIES: Capabilities = Capabilities {
    durable: true,
    ..Capabilities::IN_PROCESS
};

/// A key-value store in a directory.
pub struct Store {
    shared: Arc<Shared>,
}

/// What a commit takes with it to the blocking pool.
struct Shared {
    /// `None` once the store is closed. Held for the whole of a commit: its conditions see all commits before it.
    journal: Mutex<Option<Journal>>,
    /// `None` once the store is closed. Not held while the disk is waited for, so that a read never waits for it.
    entries: RwLock<Option<Entries>>,
}

impl Store {
    /// Opens the store in the directory `path`, creating it if there is none.
    ///
    /// # Errors
    /// - [`Error::InUse`]: another handle or process has it open.
    /// - [`Error::Incompatible`]: the path is a file, or holds other files, another engine or another format.
    /// - [`Error::Corrupt`]: the journal is damaged.
    /// - [`Error::Unavailable`]: the file system refuses.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let (journal, entries) = blocking::read(move || Journal::open(&path)).await?;
        let shared = Shared {
            journal: Mutex::new(Some(journal)),
            entries: RwLock::new(Some(entries)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&Entries) -> T) -> Result<T> {
        self.entries.read().as_ref().map(read).ok_or(Error::Closed)
    }

    fn commit(&self, batch: &Batch, durability: Durability) -> Result<Outcome> {
        let mut journal = self.journal.lock();
        let journal = journal.as_mut().ok_or(Error::Closed)?;
        batch.check(&CAPABILITIES)?;
        let failed = self.read(|entries| {
            batch
                .conditions()
                .position(|it| !it.holds(entries.get(it.key()).map(Bytes::as_ref)))
        })?;
        if let Some(condition) = failed {
            return Ok(Outcome::ConditionFailed { condition });
        }
        journal.append(batch, durability)?;
        // Readers see a commit when it is as durable as its caller wants, and all of it at once.
        if let Some(entries) = self.entries.write().as_mut() {
            for (key, value) in batch.writes() {
                journal::apply(entries, key.clone(), value.cloned());
            }
        }
        Ok(Outcome::Applied)
    }

    fn close(&self) -> Result<()> {
        // Waits for the commit in flight; later ones find no journal.
        let mut journal = self.journal.lock();
        self.entries.write().take();
        journal.take().map_or(Ok(()), Journal::close)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValueStore for Store {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.shared.read(|entries| entries.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.shared
            .read(|entries| keys.iter().map(|key| entries.get(key).cloned()).collect())
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.shared.read(|entries| page(entries, scan))
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        let shared = Arc::clone(&self.shared);
        blocking::commit(move || shared.commit(&batch, durability)).await
    }

    async fn close(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking::commit(move || shared.close()).await
    }
}

fn page(entries: &Entries, scan: Scan) -> Page {
    let mut page = PageBuilder::new(scan.clone());
    // `BTreeMap::range` panics on a range that ends before it begins.
    if !scan.is_empty() {
        let mut range = entries.range::<[u8], _>(scan.bounds());
        let mut push = |(key, value): (&Bytes, &Bytes)| page.push(key.clone(), value.clone());
        // `all` stops at the first entry after which the page is full.
        let _exhausted = match scan.direction {
            Direction::Forward => range.all(&mut push),
            Direction::Reverse => range.rev().all(&mut push),
        };
    }
    page.finish()
}
