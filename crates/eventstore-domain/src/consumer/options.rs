//! How a consumer is made and how its workers work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{Clock, Error, Position, Query, Result};

use crate::clock::SystemClock;

/// Where a consumer begins.
///
/// See [`ConsumerOptions`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// With the first event of the log.
    #[default]
    Start,
    /// With the next event that is appended after the consumer was made.
    End,
    /// With the event after this position.
    After(Position),
}

/// How often an event that fails is tried, and how long the pauses are: each is twice as long as the one before.
///
/// ```
/// use std::time::Duration;
/// use eventstore_domain::consumer::RetryPolicy;
///
/// let policy = RetryPolicy::attempts(4).pause(Duration::from_secs(1)).longest_pause(Duration::from_secs(3));
/// assert_eq!([1, 2, 3].map(|failed| policy.pause_after(failed).as_secs()), [1, 2, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often it is tried before it is parked, at least 1; 5 unless set.
    pub attempts: u32,
    /// The pause after the first failure; 100 ms unless set.
    pub pause: Duration,
    /// No pause is longer; 10 s unless set.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::attempts(5)
    }
}

impl RetryPolicy {
    /// `attempts` attempts with the usual pauses.
    #[must_use]
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
        }
    }

    /// Sets the pause after the first failure.
    #[must_use]
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Sets the longest pause.
    #[must_use]
    pub fn longest_pause(self, longest_pause: Duration) -> Self {
        Self {
            longest_pause,
            ..self
        }
    }

    /// The pause after `failed` failures.
    #[must_use]
    pub fn pause_after(&self, failed: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        self.pause.saturating_mul(doubled).min(self.longest_pause)
    }
}

/// What a consumer is, and how its workers work.
///
/// The query, where it begins and the number of partitions are stored when the consumer is made. The rest is how the
/// workers of this process work; all workers of a consumer should agree on the lease time.
///
/// ```
/// use std::time::Duration;
/// use eventstore_abstractions::Query;
/// use eventstore_domain::consumer::{Begin, ConsumerOptions, RetryPolicy};
///
/// let options = ConsumerOptions::default()
///     .query(Query::category("account"))
///     .begin(Begin::End)
///     .partitions(4)
///     .retry(RetryPolicy::attempts(3))
///     .lease(Duration::from_secs(10))
///     .checkpoint_every(50, Duration::from_millis(500));
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// Which events it consumes; all unless set.
    pub query: Query,
    /// Where it begins when it is made; the start of the log unless set.
    pub begin: Begin,
    /// Over how many partitions its streams are spread: as many workers can share the work. Unless set, as many as it
    /// has, and [`DEFAULT_PARTITIONS`](Self::DEFAULT_PARTITIONS) when it is made. It is fixed then.
    pub partitions: Option<u16>,
    /// What is done with an event that fails.
    pub retry: RetryPolicy,
    /// How long a partition stays with a worker that is not heard of; 30 s unless set.
    pub lease: Duration,
    /// How often a worker looks for others, for free partitions and whether it has too many; 1 s unless set.
    pub balance: Duration,
    /// The checkpoint is stored after so many handled events; 100 unless set.
    pub checkpoint_events: u64,
    /// The checkpoint is stored when it has moved for so long; 1 s unless set.
    pub checkpoint_time: Duration,
    /// How a worker is shown to others; the id of the process unless set.
    pub worker: String,
    /// Where time comes from; the system unless set.
    pub clock: Arc<dyn Clock>,
}

impl ConsumerOptions {
    /// Partitions of a consumer unless set.
    pub const DEFAULT_PARTITIONS: u16 = 16;
    /// Most partitions: all of them change in one commit when a consumer is reset.
    pub const MAX_PARTITIONS: u16 = 1_024;
    /// Shortest lease: below it a lease could end before its first renewal.
    pub const MIN_LEASE: Duration = Duration::from_millis(100);

    /// Sets which events it consumes.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    /// Sets where it begins when it is made.
    #[must_use]
    pub fn begin(self, begin: Begin) -> Self {
        Self { begin, ..self }
    }

    /// Sets over how many partitions its streams are spread.
    #[must_use]
    pub fn partitions(self, partitions: u16) -> Self {
        Self {
            partitions: Some(partitions),
            ..self
        }
    }

    /// Sets what is done with an event that fails.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// Sets how long a partition stays with a worker that is not heard of.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Sets how often a worker looks for others.
    #[must_use]
    pub fn balance(self, balance: Duration) -> Self {
        Self { balance, ..self }
    }

    /// Sets after how many handled events, and after what time at most, the checkpoint is stored.
    #[must_use]
    pub fn checkpoint_every(self, events: u64, time: Duration) -> Self {
        Self {
            checkpoint_events: events,
            checkpoint_time: time,
            ..self
        }
    }

    /// Sets how a worker is shown to others.
    #[must_use]
    pub fn worker(self, worker: impl Into<String>) -> Self {
        Self {
            worker: worker.into(),
            ..self
        }
    }

    /// Sets where time comes from.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Checks all limits.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] that names the option and its limits.
    pub fn validate(&self) -> Result<()> {
        let partitions = self.partitions.unwrap_or(Self::DEFAULT_PARTITIONS);
        if !(1..=Self::MAX_PARTITIONS).contains(&partitions) {
            return Err(Error::invalid(format!(
                "a consumer of {partitions} partitions is not possible; use 1 to {}",
                Self::MAX_PARTITIONS
            )));
        }
        if self.lease < Self::MIN_LEASE {
            return Err(Error::invalid(format!(
                "a lease of {:?} is too short; use {:?} or more",
                self.lease,
                Self::MIN_LEASE
            )));
        }
        if self.retry.attempts == 0 || self.checkpoint_events == 0 || self.balance.is_zero() {
            return Err(Error::invalid(
                "attempts, events per checkpoint and the time between balances must not be 0; use 1 or more",
            ));
        }
        Ok(())
    }
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            query: Query::all(),
            begin: Begin::Start,
            partitions: None,
            retry: RetryPolicy::default(),
            lease: Duration::from_secs(30),
            balance: Duration::from_secs(1),
            checkpoint_events: 100,
            checkpoint_time: Duration::from_secs(1),
            worker: format!("process {}", std::process::id()),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for ConsumerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerOptions")
            .field("query", &self.query)
            .field("begin", &self.begin)
            .field("partitions", &self.partitions)
            .field("retry", &self.retry)
            .field("lease", &self.lease)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}
