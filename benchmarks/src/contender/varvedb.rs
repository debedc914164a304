//! [varvedb](https://docs.rs/varvedb), on LMDB. It wants one owner for writes (`&mut self`), so one thread has it;
//! and it knows no expected versions, so that thread compares them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use ::varvedb::{
    GlobalReader, GlobalSequence, Stream, StreamId, StreamReader, Varve as Database, VarveConfig,
};
use rkyv::{Archive, Deserialize, Serialize};

use crate::Result;
use crate::contender::request::Request;
use crate::contender::{Client, Contender, Outcome, Stored};
use crate::event::PAYLOAD_BYTES;

/// Address space, not memory or disk; LMDB never gives it back within a process.
const MAP_BYTES: usize = 64 << 30;
/// Its stream is a table of events of one type; the streams of the benchmark are ids in it.
const STREAM: &str = "measured";
/// The buffer that it serializes into, larger than an event as its documentation asks.
const BUFFER_BYTES: usize = 1024;

/// The simplest event for it: of a fixed size, it is its own serialized form.
#[derive(Archive, Serialize, Deserialize)]
struct Measured {
    payload: [u8; PAYLOAD_BYTES],
}

type Events = Stream<Measured, BUFFER_BYTES>;

pub(crate) struct Varve {
    database: Database,
    reader: StreamReader<Measured>,
    queue: mpsc::Sender<Request>,
    writer: JoinHandle<Result<()>>,
}

impl Contender for Varve {
    type Client = VarveClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let config = VarveConfig {
            map_size: MAP_BYTES,
            ..VarveConfig::default()
        };
        let mut database = Database::with_config(directory, config)?;
        let stream: Events = database.stream(STREAM)?;
        let reader = stream.reader();
        let (queue, requests) = mpsc::channel();
        let writer = std::thread::spawn(move || write(stream, &requests));
        Ok(Self {
            database,
            reader,
            queue,
            writer,
        })
    }

    fn client(&self) -> Result<VarveClient> {
        Ok(VarveClient {
            queue: self.queue.clone(),
            reader: self.reader.clone(),
            log: self.database.global_reader(),
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.queue);
        self.writer.join().map_err(|_| "the writer panicked")?
    }
}

/// Each append is a transaction, which LMDB syncs.
fn write(mut stream: Events, requests: &mpsc::Receiver<Request>) -> Result<()> {
    let mut lengths = HashMap::new();
    while let Ok(request) = requests.recv() {
        let (id, payloads, expected, reply) = request.into_parts();
        if let Some(expected) = expected {
            let length = match lengths.get(&id) {
                Some(&length) => length,
                None => length_of(&stream.reader(), id)?,
            };
            if length != expected {
                reply.send(Outcome::Conflict(Some(length)));
                continue;
            }
        }
        let events = payloads.into_iter().map(event).collect::<Result<Vec<_>>>()?;
        let last = match events.as_slice() {
            [event] => stream.append(StreamId(id), event)?,
            events => *stream
                .append_batch(StreamId(id), events)?
                .last()
                .ok_or("nothing to append")?,
        };
        // It counts from 0.
        let length = last.0.0 + 1;
        lengths.insert(id, length);
        reply.send(Outcome::Appended(length));
    }
    Ok(())
}

fn event(payload: Vec<u8>) -> Result<Measured> {
    let payload = payload.try_into().map_err(|_| "a payload has another size")?;
    Ok(Measured { payload })
}

fn length_of(reader: &StreamReader<Measured>, stream: u64) -> Result<u64> {
    let mut length = 0;
    reader
        .iter_stream(StreamId(stream), None)?
        .for_each(|_, _| length += 1)?;
    Ok(length)
}

pub(crate) struct VarveClient {
    queue: mpsc::Sender<Request>,
    reader: StreamReader<Measured>,
    log: GlobalReader,
}

impl Client for VarveClient {
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
        length_of(&self.reader, stream)
    }

    async fn read_stream(&mut self, stream: u64, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let events = self.reader.iter_stream(StreamId(stream), None)?;
        // The bytes are those of `Measured`, whose one field they are.
        events.for_each(|version, payload| each(stored(version.0, payload)))?;
        Ok(())
    }

    async fn read_all(&mut self, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let events = self.log.iter_from(GlobalSequence(0))?;
        events.for_each(|event| each(stored(event.stream_seq.0, &event.payload)))?;
        Ok(())
    }
}

fn stored(version: u64, payload: &[u8]) -> Stored<'_> {
    Stored {
        event_type: STREAM,
        number: version,
        payload,
    }
}
