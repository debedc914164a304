//! What the disk allows: an append-only file with checksums and group commit, and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::Result;
use crate::contender::{Client, Contender, Outcome, Stored};

/// A record's length, checksum and stream.
const HEADER_BYTES: usize = 4 + 4 + 8;
const READ_BYTES: usize = 1 << 20;

pub(crate) struct Raw {
    path: PathBuf,
    queue: Arc<Queue>,
    writer: JoinHandle<std::io::Result<()>>,
}

/// What waits for the next sync.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    records: Vec<u8>,
    clients: Vec<oneshot::Sender<()>>,
    closed: bool,
}

impl Contender for Raw {
    type Client = RawClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let path = directory.join("log");
        // Recovery is what every log does at least: read all, and cut off what is torn.
        let whole = if path.exists() {
            read_records(&path, |_| {})?
        } else {
            0
        };
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.set_len(whole)?;
        let queue = Arc::new(Queue::default());
        let for_writer = Arc::clone(&queue);
        let writer = std::thread::spawn(move || for_writer.write(file));
        Ok(Self { path, queue, writer })
    }

    fn client(&self) -> Result<RawClient> {
        Ok(RawClient {
            path: self.path.clone(),
            queue: Arc::clone(&self.queue),
        })
    }

    async fn close(self) -> Result<()> {
        self.queue.waiting.lock().closed = true;
        self.queue.filled.notify_one();
        Ok(self.writer.join().map_err(|_| "the writer panicked")??)
    }
}

impl Queue {
    /// Adds records to the next write; what is returned is told when they are synced.
    fn push(&self, records: &[u8]) -> oneshot::Receiver<()> {
        let (client, synced) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.records.extend_from_slice(records);
        waiting.clients.push(client);
        drop(waiting);
        self.filled.notify_one();
        synced
    }

    /// Writes and syncs whatever waits, until the queue is closed.
    fn write(&self, mut file: File) -> std::io::Result<()> {
        let (mut records, mut clients) = (Vec::new(), Vec::new());
        loop {
            let mut waiting = self.waiting.lock();
            while waiting.clients.is_empty() {
                if waiting.closed {
                    return Ok(());
                }
                self.filled.wait(&mut waiting);
            }
            std::mem::swap(&mut waiting.records, &mut records);
            std::mem::swap(&mut waiting.clients, &mut clients);
            drop(waiting);
            file.write_all(&records)?;
            file.sync_data()?;
            records.clear();
            for client in clients.drain(..) {
                // A client that no longer waits is not told.
                let _ = client.send(());
            }
        }
    }
}

pub(crate) struct RawClient {
    path: PathBuf,
    queue: Arc<Queue>,
}

impl Client for RawClient {
    async fn append(&mut self, stream: u64, payloads: Vec<Vec<u8>>, _: Option<u64>) -> Result<Outcome> {
        let mut records = Vec::new();
        for payload in payloads {
            put_record(&mut records, stream, &payload);
        }
        self.queue.push(&records).await?;
        Ok(Outcome::Appended(0))
    }

    async fn tip(&mut self, _: u64) -> Result<u64> {
        Err("a file without an index has no tips".into())
    }

    async fn read_stream(&mut self, _: u64, _: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        Err("a file without an index has no streams".into())
    }

    async fn read_all(&mut self, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let mut number = 0;
        read_records(&self.path, |payload| {
            number += 1;
            each(Stored {
                event_type: "",
                number,
                payload,
            });
        })?;
        Ok(())
    }
}

fn put_record(records: &mut Vec<u8>, stream: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are small");
    records.extend_from_slice(&length.to_le_bytes());
    records.extend_from_slice(&checksum(stream, payload).to_le_bytes());
    records.extend_from_slice(&stream.to_le_bytes());
    records.extend_from_slice(payload);
}

/// Reads every whole record: how many bytes they have.
fn read_records(path: &Path, mut each: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let mut file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
    let mut payload = Vec::new();
    let mut whole = 0;
    let mut header = [0; HEADER_BYTES];
    while file.read_exact(&mut header).is_ok() {
        let part = |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().expect("four bytes"));
        let stream = u64::from_le_bytes(header[8..].try_into().expect("eight bytes"));
        payload.resize(part(0) as usize, 0);
        if file.read_exact(&mut payload).is_err() || checksum(stream, &payload) != part(4) {
            break;
        }
        each(&payload);
        whole += (HEADER_BYTES + payload.len()) as u64;
    }
    Ok(whole)
}

fn checksum(stream: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&stream.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
