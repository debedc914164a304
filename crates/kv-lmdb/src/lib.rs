//! A [`KeyValueStore`] on [LMDB], a copy-on-write B-tree in one memory-mapped file, through the crate [heed].
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
//! let store = kv_lmdb::Store::open(&path).await?;
//! let outcome = store.commit(Batch::new().put("greeting", "hello"), Durability::Durable).await?;
//! assert_eq!(outcome, Outcome::Applied);
//! store.close().await?;
//!
//! let store = kv_lmdb::Store::open(&path).await?;
//! assert_eq!(store.get(b"greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # When to choose it
//! It reads several times faster than any other engine here that keeps its data on a disk: a read copies the
//! value out of the operating system's own cache, and no read waits for a write. A store opens at once,
//! however large it is and however it was left, and no thread works in the background. Prefer another
//! backend
//! - **for many durable commits**: each rewrites the pages from every changed leaf to the root and syncs
//!   twice, where a log such as fjall's appends the changes and syncs once;
//! - **where damage must not end the process**: what is mapped is trusted, see below;
//! - **where code in C is not wanted**: LMDB is compiled by the build, with a C compiler. redb is a B-tree
//!   in Rust;
//! - **on a network file system**, where memory maps and locks do not hold what they promise;
//! - **to move the file to another machine**: it is in the byte order and word size of the one that wrote it.
//!
//! # What a commit does
//! Commits go one after another. Each checks its conditions inside the engine's write transaction, writes
//! every changed page to a free place of the file, syncs the file (Linux: `fdatasync`), and then writes the
//! root of the new tree over the older of the two roots at the front of the file. So at every moment one
//! root is whole, with all it refers to: a power cut leaves the state after some commit, never a mixture.
//! - [`Durability::Durable`]: that write of the root is synchronous (`O_DSYNC`), before readers see the
//!   commit and before it returns. It also makes every earlier buffered commit durable.
//! - [`Durability::Buffered`]: the root is handed to the operating system (`MDB_NOMETASYNC`), and made
//!   durable by the sync of the next commit, of whichever kind. It survives the end of the process, in
//!   whatever way; a power cut or a crash of the system may undo it, and with it what was committed after
//!   it. It still costs one sync where a durable commit costs two: without that one (`MDB_NOSYNC`) the disk
//!   may have the new root before the pages that it refers to, and a power cut would leave no store at all.
//!
//! # What is left when something fails
//! - A commit whose write or sync fails ends with [`Error::OutcomeUnknown`]: opening the store again may
//!   bring it back, whole. From then on this handle refuses every commit with [`Error::Unavailable`] until
//!   the store is opened again, and where the root could not be written the engine refuses reads, too.
//! - A failure before that, such as a file that has reached [`Options::map_bytes`], leaves nothing behind,
//!   and commits go on.
//! - A missing, emptied, cut or foreign file is [`Error::Corrupt`] at opening: the front and the length of
//!   the file are checked before it is mapped, and where the length leaves a doubt, its whole structure.
//! - **Other damage is not looked for, and may end the process.** The engine has no checksums and follows
//!   what it reads: a damaged page is an error where it notices, other bytes than were written where it
//!   does not, and where it leads outside of the file, the end of the process by a signal (`SIGBUS`,
//!   `SIGSEGV`) or, in builds with debug assertions, by an assertion. [`Options::verify`] checks the
//!   structure of the file at opening and makes such damage an error; it cannot see that a value has
//!   changed. Keep a checksum in the value, as the event store does: it finds values that were changed or
//!   mixed up, and neither a lost key nor the end of the process.
//! - **Nobody may write to the file, or cut it, while it is open**, and a disk that fails to deliver a page
//!   of it ends the process, too: both strike in the middle of a read from memory, where there is no error
//!   to return.
//!
//! # Limits
//! Keys of 511 bytes; otherwise those of [`Capabilities::IN_PROCESS`]: values of 16 MiB, batches of 64 MiB
//! and 2^20 operations. A batch is held in memory until it is committed, with a copy of every page that it
//! changes. The file takes at most [`Options::map_bytes`], by default 1 TiB, and never shrinks; free pages
//! are used again. A value over about 2,000 bytes takes whole pages of 4 KiB beside each other. At most
//! 4,096 reads run at the same moment; one more is [`Error::Unavailable`]. Small entries of a scan share
//! pieces of memory of some 4 KiB: whoever keeps one of them for long copies it.
//!
//! A process that has the store open must not go on with it in a child made by `fork`.
//!
//! [LMDB]: http://www.lmdb.tech/doc/
//! [heed]: https://docs.rs/heed
#![deny(unsafe_code)]

mod engine;
#[allow(
    unsafe_code,
    reason = "to map a file is unsafe; each use argues why it holds here"
)]
mod environment;
mod error;
mod file;
mod opening;
mod options;
mod tree;

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
/// durable and releases the directory, once the calls in flight have ended. It does not sync what is
/// buffered.
pub struct Store {
    shared: Arc<Shared>,
    reads: blocking::Reads,
}

/// What a call takes with it to the blocking pool.
struct Shared {
    path: PathBuf,
    /// `None` once the store is closed. Calls hold the lock for reading while they use the engine: when
    /// `close` has the lock for writing, no call is left in the engine.
    engine: RwLock<Option<Engine>>,
    /// Lets a second `close` wait for the first.
    closing: Mutex<()>,
}

impl Store {
    /// Opens the store in the directory `path`, creating it if there is none, with the default
    /// [`Options`].
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
    /// let store = kv_lmdb::Store::open(dir.path()).await?;
    /// assert!(matches!(kv_lmdb::Store::open(dir.path()).await, Err(Error::InUse { .. })));
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
    /// let options = kv_lmdb::Options::new().map_bytes(16 << 30);
    /// let store = kv_lmdb::Store::open_with(dir.path(), options).await?;
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
        // Out of the lock first: calls that come while the engine syncs are refused and do not wait.
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
