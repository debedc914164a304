//! SQLite with an events table written by hand: the store that many begin with. Durable as its documentation
//! says: a write-ahead log with `synchronous=FULL` syncs at every commit.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::Result;
use crate::contender::request::Request;
use crate::contender::{Client, Contender, Outcome, Stored};

/// Statements that are kept prepared are few; the rest is the cache of pages, as much as ours has.
const SETUP: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -65536;
    CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        payload BLOB NOT NULL,
        UNIQUE (stream, version)
    );";
const TIP: &str = "SELECT version FROM events WHERE stream = ?1 ORDER BY version DESC LIMIT 1";
const INSERT: &str = "INSERT INTO events (stream, version, type, payload) VALUES (?1, ?2, ?3, ?4)";
const READ_STREAM: &str =
    "SELECT version, type, payload, stream FROM events WHERE stream = ?1 ORDER BY version";
const READ_ALL: &str = "SELECT version, type, payload, stream, position FROM events ORDER BY position";
/// Most appends of one transaction.
const MAX_GROUP: usize = 4096;

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.execute_batch(SETUP)?;
    Ok(connection)
}

fn name(stream: u64) -> String {
    format!("bench-{stream}")
}

/// Checks and inserts, within the transaction that is open.
fn insert(
    connection: &Connection,
    stream: u64,
    payloads: &[Vec<u8>],
    expected: Option<u64>,
) -> Result<Outcome> {
    let stream = name(stream);
    let mut version = tip_of(connection, &stream)?;
    if expected.is_some_and(|expected| expected != version) {
        return Ok(Outcome::Conflict(Some(version)));
    }
    let mut statement = connection.prepare_cached(INSERT)?;
    for payload in payloads {
        version += 1;
        statement.execute(params![stream, version.cast_signed(), "Measured", payload])?;
    }
    Ok(Outcome::Appended(version))
}

fn tip_of(connection: &Connection, stream: &str) -> Result<u64> {
    let mut statement = connection.prepare_cached(TIP)?;
    let version: Option<i64> = statement.query_row([stream], |row| row.get(0)).optional()?;
    Ok(version.map_or(0, i64::cast_unsigned))
}

/// A connection of its own for one client's reads, opened at the first.
struct Reader {
    path: PathBuf,
    connection: Option<Connection>,
}

impl Reader {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            connection: None,
        }
    }

    fn connection(&mut self) -> Result<&Connection> {
        if self.connection.is_none() {
            self.connection = Some(connect(&self.path)?);
        }
        Ok(self.connection.as_ref().expect("it was just opened"))
    }

    fn tip(&mut self, stream: u64) -> Result<u64> {
        tip_of(self.connection()?, &name(stream))
    }

    fn read_stream(&mut self, stream: u64, each: impl FnMut(Stored<'_>)) -> Result<()> {
        let mut statement = self.connection()?.prepare_cached(READ_STREAM)?;
        drain(statement.query([name(stream)])?, each)
    }

    fn read_all(&mut self, each: impl FnMut(Stored<'_>)) -> Result<()> {
        let mut statement = self.connection()?.prepare_cached(READ_ALL)?;
        drain(statement.query([])?, each)
    }
}

fn drain(mut rows: rusqlite::Rows<'_>, mut each: impl FnMut(Stored<'_>)) -> Result<()> {
    while let Some(row) = rows.next()? {
        each(Stored {
            number: row.get::<_, i64>(0)?.cast_unsigned(),
            event_type: row.get_ref(1)?.as_str()?,
            payload: row.get_ref(2)?.as_blob()?,
        });
        black_box(row.get_ref(3)?.as_str()?);
    }
    Ok(())
}

/// A transaction per append, one after another on one connection.
pub(crate) struct Alone {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

impl Contender for Alone {
    type Client = AloneClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let path = directory.join("events.sqlite");
        let connection = Arc::new(Mutex::new(connect(&path)?));
        Ok(Self { path, connection })
    }

    fn client(&self) -> Result<AloneClient> {
        Ok(AloneClient {
            connection: Arc::clone(&self.connection),
            reader: Reader::new(&self.path),
        })
    }

    async fn close(self) -> Result<()> {
        let connection = Arc::into_inner(self.connection).ok_or("a client is left")?;
        Ok(connection.into_inner().close().map_err(|(_, error)| error)?)
    }
}

pub(crate) struct AloneClient {
    connection: Arc<Mutex<Connection>>,
    reader: Reader,
}

impl Client for AloneClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        let outcome = insert(&transaction, stream, &payloads, expected)?;
        transaction.commit()?;
        Ok(outcome)
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        self.reader.tip(stream)
    }

    async fn read_stream(&mut self, stream: u64, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.reader.read_stream(stream, each)
    }

    async fn read_all(&mut self, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.reader.read_all(each)
    }
}

/// One writer thread with the only connection that writes: all that waited are one transaction.
pub(crate) struct Grouped {
    path: PathBuf,
    queue: mpsc::Sender<Request>,
    writer: JoinHandle<Result<()>>,
}

impl Contender for Grouped {
    type Client = GroupedClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let path = directory.join("events.sqlite");
        let connection = connect(&path)?;
        let (queue, requests) = mpsc::channel();
        let writer = std::thread::spawn(move || write(connection, &requests));
        Ok(Self { path, queue, writer })
    }

    fn client(&self) -> Result<GroupedClient> {
        Ok(GroupedClient {
            queue: self.queue.clone(),
            reader: Reader::new(&self.path),
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.queue);
        self.writer.join().map_err(|_| "the writer panicked")?
    }
}

fn write(mut connection: Connection, requests: &mpsc::Receiver<Request>) -> Result<()> {
    let mut replies = Vec::new();
    while let Ok(first) = requests.recv() {
        let transaction = connection.transaction()?;
        for request in std::iter::once(first).chain(requests.try_iter().take(MAX_GROUP - 1)) {
            let (stream, payloads, expected, reply) = request.into_parts();
            replies.push((reply, insert(&transaction, stream, &payloads, expected)?));
        }
        transaction.commit()?;
        for (reply, outcome) in replies.drain(..) {
            reply.send(outcome);
        }
    }
    Ok(connection.close().map_err(|(_, error)| error)?)
}

pub(crate) struct GroupedClient {
    queue: mpsc::Sender<Request>,
    reader: Reader,
}

impl Client for GroupedClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let (request, outcome) = Request::new(stream, payloads, expected);
        self.queue.send(request).map_err(|_| "the writer has ended")?;
        Ok(outcome.await?)
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        self.reader.tip(stream)
    }

    async fn read_stream(&mut self, stream: u64, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.reader.read_stream(stream, each)
    }

    async fn read_all(&mut self, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.reader.read_all(each)
    }
}
