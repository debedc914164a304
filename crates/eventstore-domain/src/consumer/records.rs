//! What is stored of a consumer.

use eventstore_abstractions::{Position, Query, SessionId, StreamId, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// What a consumer is. It changes only when the consumer is removed, so that whoever requires it as it was read
/// works for no other consumer of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) query: Query,
    /// The checkpoint of a partition that has none.
    pub(super) begin: Position,
    pub(super) partitions: u16,
    /// Tells it from another consumer that had the name before.
    pub(super) made: SessionId,
    /// Its records are being deleted.
    #[serde(default)]
    pub(super) removing: bool,
}

/// Who works on a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    /// Nobody, when it was given back.
    pub(super) holder: Option<SessionId>,
    /// How the holder is shown to others.
    pub(super) name: String,
    /// Grows with every holder, so that no two leases of a partition are the same record.
    pub(super) token: u64,
    pub(super) until: Timestamp,
}

impl LeaseRecord {
    /// Whether somebody has it, by a clock that says `now`.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.holder.is_some() && self.until > now
    }
}

/// Up to where a partition is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
}

/// A worker that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WorkerRecord {
    pub(super) name: String,
    pub(super) until: Timestamp,
}

/// How an event failed.
///
/// See [`ParkedEvent`] for an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// What its last attempt ended with: the texts of the error and of its sources, cut at 2 KiB.
    pub error: String,
    /// How often it was tried, replays included.
    pub attempts: u32,
}

/// An event that was set aside: it failed, or an earlier event of its stream did.
///
/// ```no_run
/// use eventstore_domain::consumer::{Consumer, Parked};
///
/// async fn print(consumer: &Consumer) -> eventstore_abstractions::Result<()> {
///     let mut after = None;
///     loop {
///         let page = consumer.parked(&Parked::All, after.as_ref(), 100).await?;
///         for parked in &page {
///             match &parked.failure {
///                 Some(failure) => println!("{} {}: {}", parked.position, parked.stream, failure.error),
///                 None => println!("{} {}: waits", parked.position, parked.stream),
///             }
///         }
///         after = match page.last() {
///             Some(last) => Some(last.clone()),
///             None => return Ok(()),
///         };
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// The partition of its stream.
    pub partition: u16,
    /// Its stream.
    pub stream: StreamId,
    /// Its number in the stream.
    pub version: Version,
    /// Its number in the log.
    pub position: Position,
    /// How it failed; `None` when it was not tried, because an earlier event of its stream is parked.
    pub failure: Option<Failure>,
    /// When it was parked.
    pub parked_at: Timestamp,
}
