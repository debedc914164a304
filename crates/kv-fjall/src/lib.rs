//! A [`KeyValueStore`] on [fjall], a log-structured storage engine in the process: the durable default.
//!
//! One directory, one process, one [`Store`]; any number of tasks. A second handle on the directory, in this
//! process or another, is refused with [`Error::InUse`].
//!
//! ```
//! use kv_core::{Batch, Durability, KeyValueStore, Outcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kv_core::Result<()> {
//! # let dir = tempfile::tempdir().expect("temp dir");
//! # let path = dir.path().join("data");
//! let store = kv_fjall::Store::open(&path).await?;
//! let outcome = store.commit(Batch::new().put("greeting", "hello"), Durability::Durable).await?;
//! assert_eq!(outcome, Outcome::Applied);
//! store.close().await?;
//!
//! let store = kv_fjall::Store::open(&path).await?;
//! assert_eq!(store.get(b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # What a commit does
//! Commits go one after another. Each checks its conditions by point reads, appends all its writes as one
//! checksummed record to the engine's journal, and then
//! - [`Durability::Durable`]: calls `fdatasync` on the journal file before readers see the commit and before
//!   it returns. That one call also makes every earlier buffered commit durable.
//! - [`Durability::Buffered`]: hands the record to the operating system. It survives the end of the process,
//!   in whatever way; a power cut or a crash of the system may lose it.
//!
//! A journal that has reached 64 MB is sealed: the engine calls `fsync` on it, creates the next one, and
//! calls `fsync` on it and on their folder before the next commit may be written, so that no durable commit
//! is in a file whose name could be lost. A sealed journal is deleted when its data is in tables, which are
//! synced before.
//!
//! # What is left when something fails
//! - A commit whose write or sync fails ends with [`Error::OutcomeUnknown`]: the record may be in the
//!   journal, and opening the store again may bring it back, whole. From then on this handle refuses every
//!   commit with [`Error::Unavailable`] until the store is opened again; reads go on and do not see the
//!   commit.
//! - The same refusal, without a commit in doubt, follows a failure of the engine's background work.
//! - Damage to tables is found by their checksums when they are read or opened: [`Error::Corrupt`].
//! - **Damage to a journal is not always found.** The engine takes a record that it cannot parse for the torn
//!   end of the last write: it opens, and drops that record and what follows it.
//!   [`close`](KeyValueStore::close) moves all data into tables, so that only a store that was not closed
//!   depends on its journals. A record that parses and has a wrong checksum is reported.
//!
//! # Limits
//! Those of [`Capabilities::IN_PROCESS`]: keys of 1 KiB, values of 16 MiB, batches of 64 MiB and 2^20
//! operations. A batch is held in memory until it is in a table. Opening replays the journals:
//! [`Options::journal_bytes`] bounds them, and `close` leaves little to replay.
//!
//! [fjall]: https://docs.rs/fjall
#![forbid(unsafe_code)]

mod engine;
mod error;
mod opening;
mod options;
mod room;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use kv_core::{
    Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan, blocking,
};
use parking_lot::{Mutex, RwLock};

use crate::engine::Engine;
pub use crate::options::Options;

/// A key-value store in a directory. See the [crate documentation](crate) for what it promises, and for
/// an example.
///
/// Dropping the store without [`close`](KeyValueStore::close) loses no commit that was acknowledged as
/// durable and releases the directory, once the calls in flight have ended; the next opening takes longer. It
/// stops the engine's threads and syncs the journal on the thread that drops it, so `close` is the better end
/// in async code.
pub struct Store {
    shared: Arc<Shared>,
    reads: blocking::Reads,
}

/// What a call takes with it to the thread that it runs on.
struct Shared {
    path: PathBuf,
    /// `None` once the store is closed. Calls hold the lock for reading while they use the engine: when
    /// `close` has the lock for writing, no call is left in the engine.
    engine: RwLock<Option<Engine>>,
    /// Lets a second `close` wait for the first.
    closing: Mutex<()>,
}

impl Store {
    /// Opens the store in the directory `path`, creating it if there is none, with the default [`Options`].
    ///
    /// # Errors
    /// - [`Error::InUse`]: another handle or process has it open.
    /// - [`Error::Incompatible`]: the path is a file, or holds other files, another engine or another
    ///   version's data.
    /// - [`Error::Corrupt`]: its files are damaged; nothing more was written. Restore them from a copy.
    /// - [`Error::Unavailable`]: the file system refuses.
    ///
    /// ```
    /// use kv_core::Error;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kv_core::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temp dir");
    /// let store = kv_fjall::Store::open(dir.path()).await?;
    /// assert!(matches!(kv_fjall::Store::open(dir.path()).await, Err(Error::InUse { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::new()).await
    }

    /// Opens the store in the directory `path`, creating it if there is none.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`Error::Invalid`] for an option out of its range.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kv_core::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temp dir");
    /// let options = kv_fjall::Options::new().cache_bytes(256 << 20);
    /// let store = kv_fjall::Store::open_with(dir.path(), options).await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        options.check()?;
        let path = path.as_ref().to_path_buf();
        let (path, engine) =
            blocking::read(move || opening::open(&path, &options).map(|it| (path, it))).await?;
        let shared = Shared {
            path,
            engine: RwLock::new(Some(engine)),
            closing: Mutex::new(()),
        };
        Ok(Self {
            shared: Arc::new(shared),
            reads: blocking::Reads::new(),
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        self.reads.run(move || shared.with_engine(read)).await
    }
}

impl Shared {
    fn with_engine<T>(&self, call: impl FnOnce(&Engine) -> Result<T>) -> Result<T> {
        self.engine.read().as_ref().ok_or(Error::Closed).and_then(call)
    }

    fn close(&self) -> Result<()> {
        let _closing = self.closing.lock();
        // Out of the lock first: calls that come while the engine flushes are refused and do not wait.
        let engine = self.engine.write().take();
        engine.map_or(Ok(()), Engine::close)
    }
}

impl fmt::Debug for Store {
    /// Says where the store is and never waits for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.shared.engine.try_read().map(|engine| engine.is_none());
        f.debug_struct("Store")
            .field("path", &self.shared.path)
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValueStore for Store {
    fn capabilities(&self) -> Capabilities {
        engine::CAPABILITIES
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let key = key.to_vec();
        self.read(move |engine| engine.get(&key)).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys.to_vec();
        self.read(move |engine| engine.get_many(&keys)).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.read(move |engine| engine.scan(scan)).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        let shared = Arc::clone(&self.shared);
        blocking::commit(move || shared.with_engine(|engine| engine.commit(&batch, durability))).await
    }

    async fn close(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking::commit(move || shared.close()).await
    }
}
