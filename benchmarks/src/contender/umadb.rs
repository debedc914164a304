//! [umadb-core](https://docs.rs/umadb-core), with the writer thread that its server runs. A stream is a tag.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{
    DcbAppendCondition, DcbError, DcbEvent, DcbEventStoreSync as _, DcbQuery, DcbQueryItem, DcbSequencedEvent,
};

use crate::Result;
use crate::contender::{Client, Contender, Outcome, Stored};

/// As much as ours has.
const CACHE_MB: usize = 64;
/// Most appends that wait, and most events of one commit.
const QUEUE: usize = 4096;
/// A read collects its events before it gives them; the log is read in parts of this size.
const PAGE: u32 = 4096;

pub(crate) struct Uma {
    mvcc: Arc<Mvcc>,
    queue: mpsc::Sender<WriterThreadRequest>,
    writer: JoinHandle<()>,
}

impl Contender for Uma {
    type Client = UmaClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let options = StorageOptions::default()
            .db_path(directory)
            .page_cache_max_mb(CACHE_MB);
        let mvcc = Arc::new(Mvcc::new(false, options)?);
        let (queue, requests) = mpsc::channel(QUEUE);
        let (head, _) = watch::channel(None);
        let for_writer = Arc::clone(&mvcc);
        let writer = std::thread::spawn(|| writer_thread_blocking(for_writer, requests, head, QUEUE));
        Ok(Self { mvcc, queue, writer })
    }

    fn client(&self) -> Result<UmaClient> {
        Ok(UmaClient {
            database: UmaDb::from_arc(Arc::clone(&self.mvcc)),
            queue: self.queue.clone(),
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.queue);
        Ok(self.writer.join().map_err(|_| "the writer panicked")?)
    }
}

pub(crate) struct UmaClient {
    database: UmaDb,
    queue: mpsc::Sender<WriterThreadRequest>,
}

impl Client for UmaClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let event = |payload| {
            DcbEvent::new()
                .event_type("Measured")
                .tags([tag(stream)])
                .data::<Vec<u8>>(payload)
        };
        let (reply, outcome) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events: payloads.into_iter().map(event).collect(),
            condition: expected.map(|position| after(stream, position)),
            tracking_info: None,
            response_tx: reply,
            cancel: None,
        };
        self.queue
            .send(request)
            .await
            .map_err(|_| "the writer has ended")?;
        match outcome.await? {
            Ok(position) => Ok(Outcome::Appended(position)),
            Err(DcbError::IntegrityError(_)) => Ok(Outcome::Conflict(None)),
            Err(error) => Err(error.into()),
        }
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        let mut newest = self.database.read(Some(of_stream(stream)), None, true, Some(1))?;
        let position = newest.next().transpose()?.map(|event| event.position);
        Ok(position.unwrap_or(0))
    }

    async fn read_stream(&mut self, stream: u64, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        for event in self.database.read(Some(of_stream(stream)), None, false, None)? {
            each(stored(&event?));
        }
        Ok(())
    }

    async fn read_all(&mut self, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let mut next = 1;
        loop {
            let page = self.database.read(None, Some(next), false, Some(PAGE))?;
            let before = next;
            for event in page {
                let event = event?;
                each(stored(&event));
                next = event.position + 1;
            }
            if next == before {
                return Ok(());
            }
        }
    }
}

fn tag(stream: u64) -> String {
    format!("bench:{stream}")
}

fn of_stream(stream: u64) -> DcbQuery {
    DcbQuery::new().item(DcbQueryItem::new().tags([tag(stream)]))
}

/// That nothing was appended to the stream after a position; 0 is before all.
fn after(stream: u64, position: u64) -> DcbAppendCondition {
    DcbAppendCondition::new(of_stream(stream)).after(Some(position).filter(|&position| position > 0))
}

fn stored(event: &DcbSequencedEvent) -> Stored<'_> {
    Stored {
        event_type: &event.event.event_type,
        number: event.position,
        payload: &event.event.data,
    }
}
