//! A [`KeyValueStore`] on [sled] 0.34.7, with the syncs that sled leaves out.
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
//! let store = kv_sled::Store::open(&path).await?;
//! let outcome = store.commit(Batch::new().put("greeting", "hello"), Durability::Durable).await?;
//! assert_eq!(outcome, Outcome::Applied);
//! store.close().await?;
//!
//! let store = kv_sled::Store::open(&path).await?;
//! assert_eq!(store.get(b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # When to prefer another backend
//! Prefer the fjall backend for new data; this one is for those who have or want sled.
//! - **Durability by repair.** On Linux, sled's `flush` calls `sync_file_range`, which is no promise of a
//!   file system or a disk: with `flush` alone, every simulated power cut lost acknowledged data or left a
//!   store that panicked at open. This crate adds the missing syncs. The prototype of the repair
//!   lost nothing in 66 such cuts with small values and 8 with values of 16 KB and more, and this code nothing in the 20 of
//!   ADR 7. fjall needs no repair.
//! - **Disk.** From its second opening on a store takes at least 8 MiB, and each opening and closing
//!   rewrites up to as much. Events with 256 bytes of payload took 1,485 bytes each, against 320 with
//!   fjall, and scans read at about a third of its speed or less.
//! - **Maintenance.** The 0.34 line had its last release in 2021; sled 1.0 is a rewrite in alpha with another
//!   format. Known faults of 0.34.7 stay, and what can be done about them is done here.
//! - **Values.** A value has at most 64 KiB, because larger ones could be written to files that sled never
//!   syncs; fjall takes 16 MiB. A batch has at most 16 MiB and 65,536 operations.
//! - **Damage.** See below: where sled guesses, this crate can only make most guesses impossible.
//!
//! # What a commit does
//! Commits go one after another, and readers never see a part of one. Each checks its conditions by point
//! reads, applies all its writes as one batch of the engine, and then
//! - [`Durability::Durable`]: flushes and calls `fdatasync` on the engine's log before it returns. Readers
//!   may see the commit before that. The same call makes every earlier buffered commit durable.
//! - [`Durability::Buffered`]: flushes. It survives the end of the process, in whatever way; a power cut or a
//!   crash of the system may lose it. The log is synced all the same each time it has grown by 8 MiB: sled
//!   reuses space in the belief that a flush was a sync, and without that a power cut destroyed stores,
//!   commits that were durable included.
//!
//! # What is left when something fails
//! - A commit whose flush or sync fails ends with [`Error::OutcomeUnknown`]. From then on every commit is
//!   refused with [`Error::Unavailable`] until the store is opened again; reads go on and see the commit in
//!   doubt.
//! - A batch in which the engine itself fails, or panics, ends in the same way, and reads are refused too:
//!   they could see a part of it. The engine is then left in memory, so that it cannot write that part;
//!   restart the process.
//! - Damaged files are [`Error::Corrupt`] at open or when they are read, also where the engine panics; its
//!   panic message goes to the process's panic hook all the same.
//! - **Damage to what was written since the last opening or [`close`](KeyValueStore::close) is not always
//!   found** if the process ended without `close`: the engine takes what it cannot read for the torn end of
//!   the last write. `close` leaves a snapshot of the log's end, after which a shortened or damaged log is an
//!   error.
//!
//! [sled]: https://docs.rs/sled/0.34.7
#![forbid(unsafe_code)]

mod engine;
mod error;
mod files;
mod key;
mod limits;
mod opening;
mod options;

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
/// durable and releases the directory, once the calls in flight have ended. It flushes and syncs on the
/// thread that drops it, so `close` is the better end in async code, and the only one after which all damage
/// to the files is found.
pub struct Store {
    shared: Arc<Shared>,
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
    /// - [`Error::Corrupt`]: its files are damaged. Restore them from a copy: the engine may have cut off
    ///   what follows the damage.
    /// - [`Error::Unavailable`]: the file system refuses, for example because the disk is full.
    ///
    /// ```
    /// use kv_core::Error;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kv_core::Result<()> {
    /// # let dir = tempfile::tempdir().expect("temp dir");
    /// let store = kv_sled::Store::open(dir.path()).await?;
    /// assert!(matches!(kv_sled::Store::open(dir.path()).await, Err(Error::InUse { .. })));
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
    /// let options = kv_sled::Options::new().cache_bytes(256 << 20);
    /// let store = kv_sled::Store::open_with(dir.path(), options).await?;
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
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        // On the pool, always: a read may wait for a commit that is being applied, and may have to sync.
        blocking::read(move || shared.with_engine(read)).await
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
        limits::CAPABILITIES
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
        blocking::commit(move || shared.with_engine(|engine| engine.commit(batch, durability))).await
    }

    async fn close(&self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        blocking::read(move || shared.close()).await
    }
}
