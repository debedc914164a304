//! A [`KeyValueStore`] on [etcd], the replicated key-value store: several processes, on several machines, share it.
//!
//! The cluster is the engine: it replicates, elects and heals. A [`Store`] is a handle on one prefix of its keys; any
//! number of handles, in any number of processes, may be open at the same time.
//!
//! ```no_run
//! use kv_core::{Batch, Durability, KeyValueStore, Outcome};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kv_core::Result<()> {
//! let store = kv_etcd::Store::open("etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/billing").await?;
//! let outcome = store.commit(Batch::new().put("greeting", "hello"), Durability::Durable).await?;
//! assert_eq!(outcome, Outcome::Applied);
//! store.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The URL
//! `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/PREFIX][?NAME=VALUE[&NAME=VALUE…]]`, where `%XX` stands for a
//! byte in the user, the password, the prefix and the values. Name all members: a call goes on with the next one when
//! one fails. Without a port it is 2379, without a prefix `eventstores`.
//!
//! | parameter | value |
//! |---|---|
//! | `tls` | `on`: TLS, trusting the system's authorities; `off`, the default |
//! | `ca` | TLS, trusting the authorities in this PEM file alone |
//! | `cert`, `key` | TLS, showing the certificate in these PEM files |
//! | `timeout_ms` | how long one member may take to answer; 3000 |
//! | `max_txn_ops` | the members' `--max-txn-ops`; 128 |
//! | `max_request_bytes` | the members' `--max-request-bytes`; 1572864 |
//!
//! With authentication enabled the user needs the permission `readwrite` on the prefix
//! (`etcdctl role grant-permission ROLE --prefix=true readwrite PREFIX`). Over a network without TLS anybody on the way
//! can read the password and everything else.
//!
//! # When to choose it
//! - **For stores that several processes write to** and that must go on when a machine dies, in gigabytes: etcd keeps
//!   its data in one file per member, at most 8 GiB as its makers advise, and its index in memory.
//! - **Not for much data or many events per second**: each commit is written and synced by a majority, and each member has all
//!   data.
//!
//! # What a commit does
//! One transaction of etcd: compares, then writes, in one round trip. A condition that fails is known at that moment,
//! for the other branch of the transaction reads what was compared. When it is acknowledged a majority has it on disk:
//! [`Durability::Buffered`] is [`Durability::Durable`] here. Reads are linearizable, by a majority too.
//!
//! A transaction is bounded (`--max-txn-ops`), and transactions within a transaction are not counted together: a batch of more writes
//! becomes some of them in one, as atomic. A batch of more conditions than half that bound, 64 at most,
//! takes more round trips: its conditions are read, and the transaction requires that nobody has committed meanwhile.
//!
//! # What is left when something fails
//! - A commit that was not answered in time, or whose connection broke, is [`Error::OutcomeUnknown`]: it happened whole
//!   or not at all, and may still happen until the member that got it has given up.
//! - A commit that could not be sent goes to the next member. When none takes it, it is [`Error::Unavailable`].
//! - What etcd refuses is [`Error::Unavailable`] with what to do about it: a full database (alarm `NOSPACE`), limits
//!   lower than the store was told, a user without permission.
//! - A read goes on, from member to member, for four times `timeout_ms`.
//!
//! # What the cluster needs
//! - **Compaction**: etcd keeps every value that a key ever had until it is compacted. Start its members with
//!   `--auto-compaction-mode=periodic --auto-compaction-retention=10m`, and defragment now and then.
//! - **A quota** that fits (`--quota-backend-bytes`, 2 GiB unless it is given), and an eye on it.
//! - One version for all members; 3.4 is what this crate is tested with.
//!
//! # Limits
//! Keys of 1 KiB. With etcd's defaults and a short prefix batches have 2048 operations and about 1.3 MiB, and a value
//! may be nearly as large; with other `max_txn_ops` and `max_request_bytes` they follow those. A range costs
//! etcd a walk over the keys in it, also for a page at its beginning; backwards it is narrowed first, by counting,
//! because etcd reads all of a range to turn it around.
//!
//! [etcd]: https://etcd.io
#![forbid(unsafe_code)]

mod client;
mod commit;
mod error;
mod layout;
mod messages;
mod opening;
mod options;
mod reads;
mod url;
mod watch;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kv_core::{
    Batch, Bytes, Capabilities, Durability, Error, KeyValueStore, Outcome, Page, Result, Scan, Watch,
};
use tokio::sync::{RwLock, RwLockReadGuard, watch as signal};

use crate::client::Client;
use crate::commit::Limits;
use crate::layout::Layout;
pub use crate::options::Options;
use crate::reads::Sizes;

/// A key-value store at a prefix of an etcd cluster. See the [crate documentation](crate) for what it promises, and for
/// an example.
///
/// Dropping it without [`close`](KeyValueStore::close) loses nothing: there is nothing of it here.
pub struct Store {
    location: String,
    layout: Layout,
    limits: Limits,
    sizes: Sizes,
    /// `None` once the store is closed. Calls hold it for reading from beginning to end, so that a close waits for
    /// them: when it returns, no commit of this handle is on its way.
    open: RwLock<Option<Open>>,
}

struct Open {
    client: Arc<Client>,
    /// Dropped at the close, which ends the watches.
    signal: signal::Sender<()>,
}

impl Store {
    /// Opens the store that a [URL](crate#the-url) names, creating it if there is none.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with), and [`Error::Invalid`] for a URL that is wrong.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let error = kv_etcd::Store::open("etcd://10.0.0.1?cafile=ca.pem").await.unwrap_err();
    /// assert!(error.to_string().contains("use tls, ca, cert"));
    /// # }
    /// ```
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url.parse()?).await
    }

    /// Opens the store at the prefix that the options name, creating it if there is none.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: an option is out of its limits.
    /// - [`Error::Incompatible`]: the prefix holds a store of another version.
    /// - [`Error::Unavailable`]: no member answers, or etcd refuses the user; the text says what to do.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// // Nothing listens there.
    /// let options = kv_etcd::Options::new(["127.0.0.1:1"]).timeout(Duration::from_millis(50));
    /// let error = kv_etcd::Store::open_with(options).await.unwrap_err();
    /// assert!(error.to_string().contains("no member of the etcd cluster"), "{error}");
    /// # }
    /// ```
    pub async fn open_with(options: Options) -> Result<Self> {
        options.check()?;
        let layout = Layout::new(&options.prefix);
        let client = Client::new(&options).await?;
        client.claim(&layout, &options).await?;
        let open = Open {
            client: Arc::new(client),
            signal: signal::Sender::new(()),
        };
        Ok(Self {
            location: options.location(),
            limits: Limits::new(&options, &layout),
            layout,
            sizes: Sizes::new(),
            open: RwLock::new(Some(open)),
        })
    }

    async fn open_store(&self) -> Result<RwLockReadGuard<'_, Open>> {
        RwLockReadGuard::try_map(self.open.read().await, Option::as_ref).map_err(|_| Error::Closed)
    }
}

impl fmt::Debug for Store {
    /// Says where the store is, without secrets, and never waits for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.open.try_read().map(|open| open.is_none()).ok();
        f.debug_struct("Store")
            .field("location", &self.location)
            .field("closed", &closed)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValueStore for Store {
    fn capabilities(&self) -> Capabilities {
        self.limits.capabilities
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let open = self.open_store().await?;
        open.client.value(self.layout.key(key)).await
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let open = self.open_store().await?;
        let keys: Vec<_> = keys.iter().map(|key| self.layout.key(key)).collect();
        open.client.values(&keys, self.limits.compares()).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        let open = self.open_store().await?;
        open.client.page(&self.layout, &self.sizes, scan).await
    }

    async fn commit(&self, batch: Batch, _durability: Durability) -> Result<Outcome> {
        let open = self.open_store().await?;
        open.client.commit(&self.layout, &self.limits, batch).await
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        let open = self.open_store().await?;
        let client = Arc::clone(&open.client);
        let watch = watch::Watch::new(client, open.signal.subscribe(), self.layout.commits()).await?;
        Ok(Some(Box::new(watch)))
    }

    async fn close(&self) -> Result<()> {
        self.open.write().await.take();
        Ok(())
    }
}
