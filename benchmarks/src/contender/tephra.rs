//! [tephra](https://docs.rs/tephra), called from threads and from tasks. A stream is a tag, and an exact version
//! is the condition that nothing with the tag was appended after a position.

use std::path::Path;
use std::sync::Arc;

use ::tephra::{
    AppendCondition, AppendError, Event, EventRef, EventType, Position, Query, QueryItem, ReadPool,
    SegmentConfig, SegmentSet, Tag, Tags, WriteCoordinator, WriteHandle, WriterConfig,
};
use futures_util::StreamExt as _;

use crate::Result;
use crate::contender::{Client, Contender, Outcome, Stored};

/// As in its README.
const SEGMENT_BYTES: usize = 256 << 20;

fn open(directory: &Path) -> Result<(WriteCoordinator, WriteHandle)> {
    let set = SegmentSet::open(directory, SegmentConfig::new(SEGMENT_BYTES))?;
    Ok(WriteCoordinator::start(set, WriterConfig::default())?)
}

fn tags(stream: u64) -> Result<Tags> {
    Ok(Tags::new([Tag::new(format!("bench:{stream}"))?])?)
}

fn of_stream(stream: u64) -> Result<Query> {
    Ok(Query::item(QueryItem::with_tags(tags(stream)?)))
}

fn events(stream: u64, payloads: &[Vec<u8>]) -> Result<Vec<Event>> {
    let (event_type, tags) = (EventType::new("Measured")?, tags(stream)?);
    let event = |payload: &Vec<u8>| Ok(Event::new(&event_type, &tags, payload)?);
    payloads.iter().map(event).collect()
}

fn condition(stream: u64, expected: Option<u64>) -> Result<Option<AppendCondition>> {
    let Some(position) = expected else {
        return Ok(None);
    };
    let condition = AppendCondition::new(of_stream(stream)?).after(Position::new(position));
    Ok(Some(condition))
}

fn outcome(result: std::result::Result<::tephra::PositionRange, AppendError>) -> Result<Outcome> {
    match result {
        Ok(positions) => Ok(Outcome::Appended(positions.last.get())),
        // Its position is that of some event in the way, not of the last one.
        Err(AppendError::Conflict { .. }) => Ok(Outcome::Conflict(None)),
        Err(error) => Err(error.into()),
    }
}

fn stored(position: Position, event: EventRef<'_>) -> Stored<'_> {
    Stored {
        event_type: event.event_type(),
        number: position.get(),
        payload: event.data(),
    }
}

/// The position of the stream's last event.
fn tip(handle: &WriteHandle, stream: u64) -> Result<u64> {
    let mut newest = handle.read_back(&of_stream(stream)?, Position::MAX, Some(1));
    let position = newest.next().transpose()?.map(|event| event.position.get());
    Ok(position.unwrap_or(0))
}

/// Called from threads.
pub(crate) struct Blocking {
    coordinator: WriteCoordinator,
    handle: WriteHandle,
}

impl Contender for Blocking {
    type Client = BlockingClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let (coordinator, handle) = open(directory)?;
        Ok(Self { coordinator, handle })
    }

    fn client(&self) -> Result<BlockingClient> {
        Ok(BlockingClient(self.handle.clone()))
    }

    async fn close(self) -> Result<()> {
        self.coordinator.shutdown();
        Ok(())
    }
}

pub(crate) struct BlockingClient(WriteHandle);

impl BlockingClient {
    fn read(&self, query: &Query, mut each: impl FnMut(Stored<'_>)) -> Result<()> {
        let mut events = self.0.read(query, Position::ZERO, None);
        while let Some(event) = events.next() {
            let event = event?;
            each(stored(event.position, event.event));
        }
        Ok(())
    }
}

impl Client for BlockingClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let events = events(stream, &payloads)?;
        outcome(self.0.append(events, condition(stream, expected)?))
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        tip(&self.0, stream)
    }

    async fn read_stream(&mut self, stream: u64, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.read(&of_stream(stream)?, each)
    }

    async fn read_all(&mut self, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.read(&Query::all(), each)
    }
}

/// Called from tasks.
pub(crate) struct Tasks {
    coordinator: WriteCoordinator,
    handle: WriteHandle,
    pool: Arc<ReadPool>,
}

impl Contender for Tasks {
    type Client = TaskClient;

    async fn open(_: &str, directory: &Path) -> Result<Self> {
        let (coordinator, handle) = open(directory)?;
        let pool = ReadPool::with_config(handle.reader(), ::tephra::ReadPoolConfig::default());
        Ok(Self {
            coordinator,
            handle,
            pool: Arc::new(pool),
        })
    }

    fn client(&self) -> Result<TaskClient> {
        Ok(TaskClient {
            handle: self.handle.clone(),
            pool: Arc::clone(&self.pool),
        })
    }

    async fn close(self) -> Result<()> {
        drop(self.pool);
        self.coordinator.shutdown();
        Ok(())
    }
}

pub(crate) struct TaskClient {
    handle: WriteHandle,
    pool: Arc<ReadPool>,
}

impl TaskClient {
    async fn read(&self, query: Query, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let mut pages = self.pool.read(query, Position::ZERO, None);
        while let Some(page) = pages.next().await {
            for (position, event) in page? {
                each(stored(position, event.as_ref()));
            }
        }
        Ok(())
    }
}

impl Client for TaskClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let events = events(stream, &payloads)?;
        let condition = condition(stream, expected)?;
        outcome(self.handle.append_async(events, condition).await)
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        // One indexed read of one event: what its documentation runs on the caller's thread.
        tip(&self.handle, stream)
    }

    async fn read_stream(&mut self, stream: u64, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.read(of_stream(stream)?, each).await
    }

    async fn read_all(&mut self, each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        self.read(Query::all(), each).await
    }
}
