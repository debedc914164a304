//! The store: calls, each of which is one statement on a connection of a pool.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kv_core::{
    Batch, Bytes, Capabilities, Condition, Durability, Error, KeyValueStore, Outcome, Page, PageBuilder,
    Result, Scan, Watch, waits,
};
use tokio::sync::Mutex;
use tokio_postgres::{Row, Statement};

use crate::connection::{Connection, Place, connect};
use crate::error::{CommitFailure, lost, of_commit, of_read};
use crate::pool::Pool;
use crate::statements::{ABSENT, Commits, EQUALS, MAX_PAGE_ITEMS, PRESENT, Read, Reads};
use crate::url;
use crate::wake::Listener;

const CAPABILITIES: Capabilities = Capabilities {
    durable: true,
    shared: true,
    // The index takes 2,704 bytes.
    max_key_bytes: 1024,
    max_value_bytes: 16 << 20,
    // The server takes a message of 1 GiB, and each side has some copies of it in memory.
    max_batch_bytes: 64 << 20,
    // It is one statement, whose time grows with it: this many take a second or two.
    max_batch_operations: 1 << 16,
};

/// Of all connections one in so many commits: more of them at once would mostly wait for each other.
const COMMITTING: usize = 4;
/// A commit that the server undid because of another one is sent again: so often in all. Each time the other one was
/// applied.
const COMMIT_TRIES: u32 = 200;
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// A key-value store in a table of a PostgreSQL database. See the [crate documentation](crate) for what it promises, and
/// for an example.
///
/// Dropping the store without [`close`](KeyValueStore::close) ends its connections and loses no commit that was
/// acknowledged: what was buffered is written by the server within the second, unless the server crashes before.
pub struct Store {
    place: Arc<Place>,
    reads: Pool<Reads>,
    commits: Pool<Commits>,
    listener: Mutex<Option<Listener>>,
    /// Whether a buffered commit was begun.
    unflushed: AtomicBool,
    /// Whether a close went through.
    closing: Mutex<bool>,
}

impl Store {
    /// Opens the store that `url` names, making its table if there is none. See the [crate documentation](crate) for the
    /// form of the URL.
    ///
    /// It is called within a tokio runtime, on which its connections live.
    ///
    /// # Errors
    /// - [`Error::Incompatible`]: the URL is wrong, the server refuses the user, or the table holds something else.
    /// - [`Error::Unavailable`]: the server cannot be reached, or fails.
    ///
    /// No error repeats the password.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let error = kv_postgres::Store::open("postgres://app:secret@db.example/app?table=").await.unwrap_err();
    /// assert!(error.to_string().contains("write table=NAME"));
    /// assert!(!error.to_string().contains("secret"));
    /// # }
    /// ```
    pub async fn open(url: &str) -> Result<Self> {
        let target = url::parse(url)?;
        let number = within(target.timeout, async {
            let client = connect(&target).await?;
            warn_of_lost_syncs(&client).await?;
            target.table.open(&client, &target.location).await
        })
        .await?;
        let committing = (target.max_connections / COMMITTING).max(1);
        let place = Arc::new(Place {
            table: target.table.sql(),
            channel: target.wakes.then(|| format!("kv_store_{number}")),
            target,
        });
        let store = Self {
            reads: Pool::new(Arc::clone(&place), place.target.max_connections - committing),
            commits: Pool::new(Arc::clone(&place), committing),
            listener: Mutex::default(),
            unflushed: AtomicBool::new(false),
            closing: Mutex::default(),
            place,
        };
        // What is wrong with the table is found now, and not in the first call.
        within(store.timeout(), async {
            drop(store.commits.lend().await?);
            store.reads.lend().await.map(drop)
        })
        .await?;
        Ok(store)
    }

    fn timeout(&self) -> Duration {
        self.place.target.timeout
    }

    /// Sends a read, again on another connection if the one it was sent on had ended.
    async fn read(&self, read: Read<'_>) -> Result<Vec<Row>> {
        within(self.timeout(), async {
            let mut tries = 1;
            loop {
                let lent = self.reads.lend().await?;
                let Connection { client, statements } = lent.connection();
                match statements.run(client, &read).await {
                    Ok(rows) => return Ok(rows),
                    // Those that wait may all have ended, and it is noticed one by one.
                    Err(error) if lost(&error) && tries <= self.reads.size() => tries += 1,
                    Err(error) => return Err(of_read(error)),
                }
                lent.discard();
            }
        })
        .await
    }

    async fn flush(&self) -> Result<()> {
        if !self.unflushed.load(Ordering::SeqCst) {
            return Ok(());
        }
        within(self.timeout(), async {
            let last = self.commits.last().await?;
            // The log of the server is one: what syncs this syncs all before it.
            let flushed = last.client.execute(&last.statements.flush, &[]).await;
            flushed.map(drop).map_err(of_read)
        })
        .await
    }
}

/// `call`, or an error that says that nothing was applied when it takes too long.
async fn within<T>(timeout: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    waits::within(timeout, call).await.unwrap_or_else(|| {
        Err(Error::Unavailable {
            reason: silent(timeout),
            source: None,
        })
    })
}

fn silent(timeout: Duration) -> String {
    format!("the server did not answer within {} seconds", timeout.as_secs())
}

async fn warn_of_lost_syncs(client: &tokio_postgres::Client) -> Result<()> {
    let sql = "SELECT current_setting('fsync', true) = 'off'";
    let row = client.query_one(sql, &[]).await.map_err(of_read)?;
    if row.try_get::<_, Option<bool>>(0).map_err(of_read)? == Some(true) {
        tracing::warn!(
            "the PostgreSQL server runs with fsync = off: a power cut may lose what was acknowledged"
        );
    }
    Ok(())
}

#[async_trait]
impl KeyValueStore for Store {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if key.is_empty() {
            self.reads.check_open()?;
            return Ok(None);
        }
        let rows = self.read(Read::Get(key)).await?;
        rows.first().map_or(Ok(None), |row| bytes(row, 0))
    }

    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let asked: Vec<&[u8]> = keys.iter().map(Bytes::as_ref).collect();
        let rows = self.read(Read::GetMany(&asked)).await?;
        // The empty key is the table's own, and no key.
        let values = rows.iter().zip(keys);
        values
            .map(|(row, key)| if key.is_empty() { Ok(None) } else { bytes(row, 0) })
            .collect()
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.reads.check_open()?;
        if scan.is_empty() {
            return Ok(PageBuilder::new(scan).finish());
        }
        let limit = scan.max_items.clamp(1, MAX_PAGE_ITEMS);
        let rows = self.read(Read::Scan { scan: &scan, limit }).await?;
        let mut page = PageBuilder::new(scan.max_items(limit));
        for row in &rows {
            let key = bytes(row, 0)?.ok_or_else(not_ours)?;
            match bytes(row, 1)? {
                Some(value) => drop(page.push(key, value)),
                // The server left it out: with it the page has too many bytes.
                None => page.cut(),
            }
        }
        Ok(page.finish())
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        self.commits.check_open()?;
        batch.check(&CAPABILITIES)?;
        if batch.is_empty() {
            return Ok(Outcome::Applied);
        }
        let parameters = Parameters::of(&batch);
        let lent = within(self.timeout(), self.commits.lend()).await?;
        let Connection { client, statements } = lent.connection();
        let statement = match durability {
            Durability::Durable => &statements.durable,
            Durability::Buffered => {
                self.unflushed.store(true, Ordering::SeqCst);
                &statements.buffered
            }
        };
        let mut tries = 1;
        loop {
            let sent = parameters.send(client, statement);
            let error = match waits::within(self.timeout(), sent).await {
                Some(Ok(rows)) => return outcome(&rows),
                Some(Err(error)) => error,
                None => {
                    lent.discard();
                    return Err(Error::OutcomeUnknown {
                        reason: silent(self.timeout()),
                        source: None,
                    });
                }
            };
            match of_commit(error) {
                CommitFailure::Final(error) => return Err(error),
                CommitFailure::Conflict(error) if tries == COMMIT_TRIES => {
                    let reason = format!("other commits were in the way {COMMIT_TRIES} times");
                    return Err(Error::unavailable(reason, error));
                }
                CommitFailure::Conflict(_) => tries += 1,
            }
            // The first ones lose to a commit that has ended: they need not wait.
            if tries > 4 {
                let _runtime_is_there =
                    waits::slept(MAX_PAUSE.min(Duration::from_millis(tries.into()))).await;
            }
        }
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        let mut listener = self.listener.lock().await;
        self.reads.check_open()?;
        let Some(channel) = &self.place.channel else {
            return Ok(None);
        };
        if listener.is_none() {
            let start = Listener::start(Arc::clone(&self.place), channel.clone());
            *listener = Some(within(self.timeout(), start).await?);
        }
        Ok(listener.as_ref().map(Listener::watch))
    }

    async fn close(&self) -> Result<()> {
        let mut closed = self.closing.lock().await;
        if *closed {
            return Ok(());
        }
        self.reads.refuse();
        self.commits.refuse();
        self.listener.lock().await.take();
        self.reads.drain(async {}).await;
        let flushed = self.commits.drain(self.flush()).await;
        *closed = true;
        flushed
    }
}

/// A batch as the statement takes it.
struct Parameters<'a> {
    keys: Vec<&'a [u8]>,
    kinds: Vec<i16>,
    values: Vec<Option<&'a [u8]>>,
    put_keys: Vec<&'a [u8]>,
    put_values: Vec<&'a [u8]>,
    deleted: Vec<&'a [u8]>,
}

impl<'a> Parameters<'a> {
    fn of(batch: &'a Batch) -> Self {
        let mut parameters = Self {
            keys: Vec::new(),
            kinds: Vec::new(),
            values: Vec::new(),
            put_keys: Vec::new(),
            put_values: Vec::new(),
            deleted: Vec::new(),
        };
        for condition in batch.conditions() {
            let (kind, value) = match condition {
                Condition::Absent(_) => (ABSENT, None),
                Condition::Present(_) => (PRESENT, None),
                Condition::Equals { value, .. } => (EQUALS, Some(value.as_ref())),
            };
            parameters.keys.push(condition.key());
            parameters.kinds.push(kind);
            parameters.values.push(value);
        }
        for (key, value) in batch.writes() {
            match value {
                Some(value) => {
                    parameters.put_keys.push(key);
                    parameters.put_values.push(value);
                }
                None => parameters.deleted.push(key),
            }
        }
        parameters
    }

    /// Returns when the transaction has ended, which is after the statement has.
    async fn send(
        &self,
        client: &tokio_postgres::Client,
        statement: &Statement,
    ) -> std::result::Result<Vec<Row>, tokio_postgres::Error> {
        client
            .query(
                statement,
                &[
                    &self.keys,
                    &self.kinds,
                    &self.values,
                    &self.put_keys,
                    &self.put_values,
                    &self.deleted,
                ],
            )
            .await
    }
}

fn outcome(rows: &[Row]) -> Result<Outcome> {
    let row = rows.first().ok_or_else(not_ours)?;
    // It was applied, or was not, and an answer in another form does not say which.
    let failed = row.try_get::<_, Option<i64>>(0);
    let failed =
        failed.map_err(|error| Error::outcome_unknown("the server's answer is not understood", error))?;
    Ok(match failed {
        None => Outcome::Applied,
        Some(number) => Outcome::ConditionFailed {
            condition: usize::try_from(number - 1).unwrap_or_default(),
        },
    })
}

fn bytes(row: &Row, column: usize) -> Result<Option<Bytes>> {
    let value = row.try_get::<_, Option<&[u8]>>(column).map_err(of_read)?;
    Ok(value.map(Bytes::copy_from_slice))
}

fn not_ours() -> Error {
    Error::Corrupt {
        reason: "the server's answer lacks a key".to_owned(),
        source: None,
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("location", &self.place.target.location)
            .finish_non_exhaustive()
    }
}
