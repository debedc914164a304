//! An engine through `kv-core` alone, with the keys that a store cannot do without: per event its record, its
//! entry in the log and the head of its stream.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kv_core::{Batch, Bytes, Durability, KeyValueStore, Outcome as Committed, Scan};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::Result;
use crate::contender::request::Request;
use crate::contender::{Client, Contender, Outcome, Stored};

/// Prefixes of the three kinds of keys.
const RECORD: u8 = b'e';
const ENTRY: u8 = b'p';
const HEAD: u8 = b'h';
/// Most appends of one commit, and most that wait for one.
const MAX_GROUP: usize = 4096;
/// Most entries of a page of a read.
const PAGE: usize = 1024;

pub(crate) struct Bare {
    engine: Arc<dyn KeyValueStore>,
    queue: mpsc::Sender<Request>,
    writer: JoinHandle<Result<()>>,
}

impl Contender for Bare {
    type Client = BareClient;

    async fn open(name: &str, directory: &Path) -> Result<Self> {
        let engine = open_engine(name, directory).await?;
        let last = engine
            .scan(Scan::prefix(vec![ENTRY]).reverse().max_items(1))
            .await?;
        let next = last.entries.first().map_or(0, |entry| number_in(&entry.key) + 1);
        let (queue, requests) = mpsc::channel(MAX_GROUP);
        let writer = Writer {
            engine: Arc::clone(&engine),
            next,
            heads: HashMap::new(),
        };
        let writer = tokio::spawn(writer.run(requests));
        Ok(Self {
            engine,
            queue,
            writer,
        })
    }

    fn client(&self) -> Result<BareClient> {
        Ok(BareClient {
            engine: Arc::clone(&self.engine),
            queue: self.queue.clone(),
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.queue);
        self.writer.await??;
        Ok(self.engine.close().await?)
    }
}

async fn open_engine(name: &str, directory: &Path) -> Result<Arc<dyn KeyValueStore>> {
    match name {
        #[cfg(feature = "fjall")]
        "bare-fjall" => Ok(Arc::new(kv_fjall::Store::open(directory).await?)),
        #[cfg(feature = "redb")]
        "bare-redb" => Ok(Arc::new(kv_redb::Store::open(directory).await?)),
        #[cfg(feature = "lmdb")]
        "bare-lmdb" => Ok(Arc::new(kv_lmdb::Store::open(directory).await?)),
        #[cfg(feature = "sled")]
        "bare-sled" => Ok(Arc::new(kv_sled::Store::open(directory).await?)),
        _ => Err(format!("{name} names no engine").into()),
    }
}

/// The one writer: what waits while a commit is synced is the next commit.
struct Writer {
    engine: Arc<dyn KeyValueStore>,
    /// Position of the next event in the log.
    next: u64,
    heads: HashMap<u64, u64>,
}

impl Writer {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<()> {
        let mut group = Vec::new();
        while requests.recv_many(&mut group, MAX_GROUP).await > 0 {
            self.commit(&mut group).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, group: &mut Vec<Request>) -> Result<()> {
        let mut batch = Batch::new();
        let mut before = HashMap::new();
        let mut replies = Vec::with_capacity(group.len());
        for request in group.drain(..) {
            let (stream, payloads, expected, reply) = request.into_parts();
            let head = self.head(stream).await?;
            if expected.is_some_and(|expected| expected != head) {
                reply.send(Outcome::Conflict(Some(head)));
                continue;
            }
            before.entry(stream).or_insert(head);
            let mut version = head;
            for payload in payloads {
                version += 1;
                let place = key(RECORD, &[stream, version]);
                batch = batch
                    .put(key(ENTRY, &[self.next]), place.clone())
                    .put(place, payload);
                self.next += 1;
            }
            self.heads.insert(stream, version);
            replies.push((reply, version));
        }
        for (stream, head) in before {
            let name = key(HEAD, &[stream]);
            batch = match head {
                0 => batch.require_absent(name.clone()),
                _ => batch.require_equals(name.clone(), head.to_be_bytes().to_vec()),
            }
            .put(name, self.heads[&stream].to_be_bytes().to_vec());
        }
        if replies.is_empty() {
            return Ok(());
        }
        match self.engine.commit(batch, Durability::Durable).await? {
            Committed::Applied => {}
            Committed::ConditionFailed { .. } => return Err("another writer is in the engine".into()),
        }
        for (reply, version) in replies {
            reply.send(Outcome::Appended(version));
        }
        Ok(())
    }

    async fn head(&mut self, stream: u64) -> Result<u64> {
        if let Some(head) = self.heads.get(&stream) {
            return Ok(*head);
        }
        let head = read_head(&*self.engine, stream).await?;
        self.heads.insert(stream, head);
        Ok(head)
    }
}

pub(crate) struct BareClient {
    engine: Arc<dyn KeyValueStore>,
    queue: mpsc::Sender<Request>,
}

impl Client for BareClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let (request, outcome) = Request::new(stream, payloads, expected);
        self.queue
            .send(request)
            .await
            .map_err(|_| "the writer has ended")?;
        Ok(outcome.await?)
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        read_head(&*self.engine, stream).await
    }

    async fn read_stream(&mut self, stream: u64, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let mut scan = Some(Scan::prefix(key(RECORD, &[stream])).max_items(PAGE));
        while let Some(next) = scan {
            let page = self.engine.scan(next).await?;
            for entry in &page.entries {
                each(stored(number_in(&entry.key), &entry.value));
            }
            scan = page.next;
        }
        Ok(())
    }

    async fn read_all(&mut self, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let mut scan = Some(Scan::prefix(vec![ENTRY]).max_items(PAGE));
        while let Some(next) = scan {
            let page = self.engine.scan(next).await?;
            let places: Vec<Bytes> = page.entries.into_iter().map(|entry| entry.value).collect();
            let records = self.engine.get_many(&places).await?;
            for (place, record) in places.iter().zip(records) {
                let record = record.ok_or("an entry of the log has no record")?;
                each(stored(number_in(place), &record));
            }
            scan = page.next;
        }
        Ok(())
    }
}

fn stored(version: u64, payload: &[u8]) -> Stored<'_> {
    Stored {
        event_type: "",
        number: version,
        payload,
    }
}

async fn read_head(engine: &dyn KeyValueStore, stream: u64) -> Result<u64> {
    let head = engine.get(&key(HEAD, &[stream])).await?;
    Ok(head.map_or(0, |value| number_in(&value)))
}

fn key(kind: u8, numbers: &[u64]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + numbers.len() * 8);
    bytes.push(kind);
    for number in numbers {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.into()
}

/// The number that ends a key or a value.
fn number_in(bytes: &[u8]) -> u64 {
    let (_, number) = bytes.split_at(bytes.len() - 8);
    u64::from_be_bytes(number.try_into().expect("eight bytes are a number"))
}
