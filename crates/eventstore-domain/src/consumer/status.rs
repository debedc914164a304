//! How far a consumer is, and who works on it.

use eventstore_abstractions::{Bytes, Position, Result, SessionId, Timestamp};

use super::Consumer;
use super::records::LeaseRecord;

/// Entries that are counted at a time.
const PAGE: usize = 256;

/// How far a consumer is, and who works on it.
///
/// See [`Consumer::status`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStatus {
    /// The newest position of the log.
    pub head: Position,
    /// Every partition, by its number.
    pub partitions: Vec<PartitionStatus>,
}

impl ConsumerStatus {
    /// The position up to which every partition is handled, as far as checkpoints are stored.
    #[must_use]
    pub fn checkpoint(&self) -> Position {
        let checkpoints = self.partitions.iter().map(|partition| partition.checkpoint);
        checkpoints.min().unwrap_or_default()
    }

    /// How many positions of the log are not handled in every partition yet: the lag of the slowest partition.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partitions
            .iter()
            .map(|partition| partition.lag)
            .max()
            .unwrap_or(0)
    }

    /// How many events are parked.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.parked).sum()
    }
}

/// How far a partition is, and who works on it.
///
/// See [`Consumer::status`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStatus {
    /// Its number, from 0.
    pub partition: u16,
    /// Up to where its events are handled or parked, as far as that is stored.
    pub checkpoint: Position,
    /// How many positions of the log are after its checkpoint. Events of other partitions count: it passes them, too.
    pub lag: u64,
    /// Who works on it.
    pub holder: Option<Holder>,
    /// How many of its events are parked.
    pub parked: u64,
}

/// A worker that has a partition.
///
/// See [`Consumer::status`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Identifies the worker.
    pub session: SessionId,
    /// How it is shown: see [`ConsumerOptions::worker`](super::ConsumerOptions::worker).
    pub worker: String,
    /// When its lease ends unless it is renewed.
    pub until: Timestamp,
}

impl Holder {
    /// Who has the lease, by a clock that says `now`.
    pub(super) fn of(lease: Option<LeaseRecord>, now: Timestamp) -> Option<Self> {
        let lease = lease.filter(|lease| lease.is_held(now))?;
        Some(Self {
            session: lease.holder?,
            worker: lease.name,
            until: lease.until,
        })
    }
}

impl Consumer {
    /// How far it is, and who works on it.
    ///
    /// ```
    /// use eventstore_abstractions::EventStoreProviderExt;
    /// use eventstore_domain::consumer::{Consumer, ConsumerName, ConsumerOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventstore_abstractions::Result<()> {
    /// let log = eventstores::connect("memory:").await?.default_log();
    /// let consumer = Consumer::open(log, ConsumerName::new("mailer")?, ConsumerOptions::default()).await?;
    /// let status = consumer.status().await?;
    /// assert_eq!((status.lag(), status.parked()), (0, 0));
    /// for partition in &status.partitions {
    ///     let worker = partition.holder.as_ref().map_or("nobody", |holder| &holder.worker);
    ///     println!("{}: {} behind, worked on by {worker}", partition.partition, partition.lag);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn status(&self) -> Result<ConsumerStatus> {
        let now = self.shared.now();
        let mut partitions = Vec::new();
        for partition in 0..self.partitions() {
            let (lease, _) = self.shared.lease(partition).await?;
            partitions.push(PartitionStatus {
                partition,
                checkpoint: self.shared.checkpoint(partition).await?,
                lag: 0,
                holder: Holder::of(lease, now),
                parked: self.count_parked(partition).await?,
            });
        }
        // Read last: no checkpoint is above it.
        let head = self.shared.log.head().await?;
        for partition in &mut partitions {
            partition.lag = head.get().saturating_sub(partition.checkpoint.get());
        }
        Ok(ConsumerStatus { head, partitions })
    }

    async fn count_parked(&self, partition: u16) -> Result<u64> {
        let prefix = self.shared.keys.parked_in(partition);
        let (mut count, mut after) = (0, None::<Bytes>);
        loop {
            let page = self
                .shared
                .namespace
                .scan(&prefix, after.as_deref(), PAGE)
                .await?;
            let Some((last, _)) = page.last() else {
                return Ok(count);
            };
            after = Some(last.clone());
            count += page.len() as u64;
        }
    }
}
