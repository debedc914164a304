//! How long events of a stream are kept, and what becomes of those that are not.

use std::time::Duration;

use crate::{Position, Version};

/// Which events of a stream are kept: those that every given bound allows, and all when none is given. The others are
/// no longer read from the stream at once; [`scavenge`](crate::EventLog::scavenge) gives their space back.
///
/// See [`set_retention`](crate::EventLog::set_retention) for how it is used.
///
/// ```
/// use std::time::Duration;
/// use eventstore_abstractions::{Retention, Version};
///
/// let week = Retention::default().max_age(Duration::from_secs(7 * 24 * 60 * 60)).max_count(1_000);
/// let since_snapshot = Retention::default().truncate_before(Version::new(500));
/// # let _ = (week, since_snapshot);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Events of lower versions are not kept.
    pub truncate_before: Option<Version>,
    /// Only so many of the newest events are kept: 1 or more.
    pub max_count: Option<u64>,
    /// Only events that were recorded at most so long ago are kept, by the store's clock, in whole microseconds: 1 or
    /// more. Events of a stream are taken to be in the order of their times. A clock that is ahead leaves out too much;
    /// what was removed by it is gone.
    pub max_age: Option<Duration>,
}

impl Retention {
    /// Keeps no events of versions below `version`, which is at most the one after the stream's newest event.
    #[must_use]
    pub fn truncate_before(self, version: Version) -> Self {
        Self {
            truncate_before: Some(version),
            ..self
        }
    }

    /// Keeps the newest `events` events.
    #[must_use]
    pub fn max_count(self, events: u64) -> Self {
        Self {
            max_count: Some(events),
            ..self
        }
    }

    /// Keeps events that were recorded at most `age` ago.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        Self {
            max_age: Some(age),
            ..self
        }
    }
}

/// How a stream is deleted.
///
/// See [`delete_stream`](crate::EventLog::delete_stream) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Its events are no longer kept, and it reads as empty. It may be appended to again, as a stream that does not
    /// exist; versions go on where they were.
    Soft,
    /// Likewise, and for ever: every later write to it is refused with
    /// [`Error::StreamDeleted`](crate::Error::StreamDeleted).
    Hard,
}

/// What a stream is.
///
/// See [`set_retention`](crate::EventLog::set_retention) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The version of its newest event, kept or not; 0 when there was none.
    pub version: Version,
    /// The version of the first event that is kept; above `version` when none is.
    pub first: Version,
    /// Which events are kept.
    pub retention: Retention,
    /// Whether it was deleted, and not appended to since.
    pub deleted: Option<Deletion>,
}

impl StreamInfo {
    /// What a stream is, from its parts: for implementations of a store.
    ///
    /// ```
    /// use eventstore_abstractions::{Retention, StreamInfo, Version};
    ///
    /// let empty = StreamInfo::new(Version::ZERO, Version::FIRST, Retention::default(), None);
    /// assert!(empty.first > empty.version, "no event is kept");
    /// ```
    #[must_use]
    pub fn new(version: Version, first: Version, retention: Retention, deleted: Option<Deletion>) -> Self {
        Self {
            version,
            first,
            retention,
            deleted,
        }
    }
}

/// What one call of [`scavenge`](crate::EventLog::scavenge) did.
///
/// See there for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scavenged {
    /// Where it has come to; the next call goes on there.
    pub position: Position,
    /// Events that it has removed.
    pub events: u64,
    /// About how many bytes it has given back to the engine, which frees them in its own time.
    pub bytes: u64,
    /// Whether it has come to the end of the log; the next call begins anew.
    pub is_complete: bool,
}
