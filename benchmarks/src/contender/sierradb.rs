//! [sierradb](https://docs.rs/sierradb): partitions, each a log with an order of its own. Its appends wait for the
//! sync of their partition's file, whenever that comes.

use std::path::Path;
use std::sync::Arc;

use ::sierradb::IterDirection;
use ::sierradb::StreamId;
use ::sierradb::bucket::PartitionId;
use ::sierradb::bucket::segment::EventRecord;
use ::sierradb::database::{
    CurrentVersion, Database, DatabaseBuilder, ExpectedVersion, NewEvent, Transaction,
};
use ::sierradb::error::WriteError;
use ::sierradb::id::{uuid_to_partition_hash, uuid_v7_with_partition_hash};
use uuid::Uuid;

use crate::Result;
use crate::contender::{Client, Contender, Outcome, Stored};

/// Its server has more of them; here they only spread the work over its buckets.
const PARTITIONS: u16 = 16;
/// Most appends of a page of a read.
const PAGE: usize = 1024;

pub(crate) struct Sierra {
    database: Arc<Database>,
}

impl Contender for Sierra {
    type Client = SierraClient;

    async fn open(name: &str, directory: &Path) -> Result<Self> {
        let mut builder = DatabaseBuilder::new();
        if name == "sierradb" {
            builder.max_batch_size(1);
        }
        let database = Arc::new(builder.open(directory)?);
        Ok(Self { database })
    }

    fn client(&self) -> Result<SierraClient> {
        Ok(SierraClient {
            database: Arc::clone(&self.database),
        })
    }

    async fn close(self) -> Result<()> {
        self.database.shutdown().await;
        Ok(())
    }
}

/// Where a stream is: its name, and the partition that its key belongs to.
struct Place {
    stream: StreamId,
    key: Uuid,
    partition: PartitionId,
}

impl Place {
    fn of(stream: u64) -> Result<Self> {
        let key = Uuid::from_u128(u128::from(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        Ok(Self {
            stream: StreamId::new(format!("bench-{stream}"))?,
            key,
            partition: uuid_to_partition_hash(key) % PARTITIONS,
        })
    }

    fn transaction(&self, payloads: Vec<Vec<u8>>, expected: Option<u64>) -> Result<Transaction> {
        let hash = uuid_to_partition_hash(self.key);
        let timestamp = std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64;
        let mut version = expected.map(exactly);
        let event = |payload| {
            let stream_version = version.unwrap_or(ExpectedVersion::Any);
            version = version.map(following);
            NewEvent {
                event_id: uuid_v7_with_partition_hash(hash),
                stream_id: self.stream.clone(),
                stream_version,
                event_name: "Measured".to_owned(),
                timestamp,
                metadata: Vec::new(),
                payload,
            }
        };
        let events = payloads.into_iter().map(event).collect();
        Ok(Transaction::new(self.key, self.partition, events)?)
    }
}

/// A stream of so many events. It counts versions from 0.
fn exactly(events: u64) -> ExpectedVersion {
    match events.checked_sub(1) {
        Some(version) => ExpectedVersion::Exact(version),
        None => ExpectedVersion::Empty,
    }
}

fn following(version: ExpectedVersion) -> ExpectedVersion {
    match version {
        ExpectedVersion::Exact(version) => ExpectedVersion::Exact(version + 1),
        _ => ExpectedVersion::Exact(0),
    }
}

pub(crate) struct SierraClient {
    database: Arc<Database>,
}

impl Client for SierraClient {
    async fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> Result<Outcome> {
        let place = Place::of(stream)?;
        let transaction = place.transaction(payloads, expected)?;
        match self.database.append_events(transaction).await {
            Ok(appended) => {
                let version = appended.stream_versions.get(&place.stream);
                Ok(Outcome::Appended(version.ok_or("the stream has no version")? + 1))
            }
            Err(WriteError::WrongExpectedVersion { current, .. }) => {
                Ok(Outcome::Conflict(Some(match current {
                    CurrentVersion::Current(version) => version + 1,
                    CurrentVersion::Empty => 0,
                })))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn tip(&mut self, stream: u64) -> Result<u64> {
        let place = Place::of(stream)?;
        let latest = self.database.get_stream_version(place.partition, &place.stream);
        Ok(latest.await?.map_or(0, |latest| latest.version + 1))
    }

    async fn read_stream(&mut self, stream: u64, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        let Place {
            stream, partition, ..
        } = Place::of(stream)?;
        let events = self
            .database
            .read_stream(partition, stream, 0, IterDirection::Forward);
        let mut events = events.await?;
        while let Some(page) = events.next_batch(PAGE).await? {
            for event in page.into_iter().flatten() {
                each(stored(&event));
            }
        }
        Ok(())
    }

    async fn read_all(&mut self, mut each: impl FnMut(Stored<'_>) + Send) -> Result<()> {
        for partition in 0..PARTITIONS {
            let events = self.database.read_partition(partition, 0, IterDirection::Forward);
            let mut events = events.await?;
            while let Some(page) = events.next_batch(PAGE).await? {
                for event in page.into_iter().flatten() {
                    each(stored(&event));
                }
            }
        }
        Ok(())
    }
}

fn stored(event: &EventRecord) -> Stored<'_> {
    Stored {
        event_type: &event.event_name,
        number: event.stream_version,
        payload: &event.payload,
    }
}
