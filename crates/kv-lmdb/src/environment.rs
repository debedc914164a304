//! The memory map: the one module with unsafe code. What it hands out is safe to use.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, FlagSetMode, RoTxn, RwTxn, WithoutTls};
use kv_core::Durability;

/// Reads that may run at the same moment. Every read of a store runs on a thread of its own, so this is far
/// above what a process has threads for; a place takes 64 bytes of the lock file.
const MAX_READERS: u32 = 4096;

/// The one table: the unnamed one of the file, whose root is in the file's first pages.
pub(crate) type Table = Database<'static, Bytes, Bytes>;

/// A mapped file and its table. When the last one is dropped the file is closed.
pub(crate) struct Environment {
    env: Env<WithoutTls>,
    table: Table,
}

impl Environment {
    /// Opens the file in `folder`, creating it if there is none, and maps `map_bytes` of addresses for it.
    ///
    /// The folder belongs to a [`Directory`](kv_core::directory::Directory) that is claimed: that is what
    /// keeps the file from being opened twice.
    pub(crate) fn open(folder: &Path, map_bytes: usize) -> heed::Result<Self> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_bytes).max_readers(MAX_READERS);
        // SAFETY: a map is sound while nobody changes or cuts its file but through LMDB. Within this
        // process nobody does: the folder is under the lock of a claimed directory, which this handle holds
        // for longer than the environment, and this crate opens the file in no other way while it is
        // mapped. Other processes that use this crate are refused by the same lock; LMDB's own tools, which
        // do not know it, keep to the locks of LMDB, which are on. What is left is somebody who writes to
        // the file by other means, as for any program that maps a file; the crate's documentation warns of
        // it. No flag is given that weakens any of this, and transactions do not outlive `self`, from which
        // they borrow.
        let env = unsafe { options.open(folder)? };
        let transaction = env.read_txn()?;
        let table = env
            .open_databases_and_commit(transaction, |opener, transaction| {
                let table = opener.open_database::<Bytes, Bytes>(transaction, None)?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(table))
            })?
            .commit()
            .flatten()
            // The unnamed table is in every file.
            .ok_or(heed::Error::Mdb(heed::MdbError::Invalid))?;
        Ok(Self { env, table })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// A view of everything committed before.
    pub(crate) fn read(&self) -> heed::Result<RoTxn<'_, WithoutTls>> {
        self.env.read_txn()
    }

    /// Waits for the writer before. Dropped without a commit, it leaves nothing behind.
    pub(crate) fn write(&self) -> heed::Result<RwTxn<'_>> {
        self.env.write_txn()
    }

    /// Commits what [`write`](Self::write) gave. The caller lets no two of these run at the same moment.
    pub(crate) fn commit(&self, transaction: RwTxn<'_>, durability: Durability) -> heed::Result<()> {
        let mode = match durability {
            Durability::Durable => FlagSetMode::Disable,
            Durability::Buffered => FlagSetMode::Enable,
        };
        // SAFETY: the flags must not be set by two threads at once, and are not: this is the only place
        // that sets them, and the transaction is the environment's one writer. The flag keeps the order of
        // writes that makes the file survive a power cut: data is synced before the page that refers to it
        // is written.
        unsafe { self.env.set_flags(EnvFlags::NO_META_SYNC, mode)? };
        transaction.commit()
    }

    /// Makes everything committed durable.
    pub(crate) fn sync(&self) -> heed::Result<()> {
        self.env.force_sync()
    }
}
