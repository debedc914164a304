//! Time: the one module that reads the clock.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A moment in UTC, in whole microseconds since 1970-01-01.
///
/// ```
/// use eventstore_abstractions::Timestamp;
///
/// let moment: Timestamp = "2026-11-23T10:30:00.25Z".parse()?;
/// assert_eq!(moment.to_string(), "2026-11-23T10:30:00.25Z");
/// assert_eq!(moment.as_micros() % 1_000_000, 250_000);
///
/// let later = moment.saturating_add(std::time::Duration::from_secs(60));
/// assert_eq!(later.saturating_since(moment).as_secs(), 60);
/// assert!(Timestamp::now() > Timestamp::from_micros(0));
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The system's clock, now. Stores take their time from a [`Clock`] instead.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The moment `micros` microseconds after (or before, if negative) 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment `duration` later. At the end of the range it stays there.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Rounds towards 1970 to whole microseconds.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(micros(since)),
            Err(before) => Self(-micros(before.duration())),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_micros(timestamp.0.unsigned_abs());
        if timestamp.0 < 0 {
            Self::UNIX_EPOCH - distance
        } else {
            Self::UNIX_EPOCH + distance
        }
    }
}

/// RFC 3339 in UTC; outside of the years -9999 to 9999 the number of microseconds.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment}"),
            Err(_) => write!(f, "{}µs", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(Ok(micros)) = text.strip_suffix("µs").map(str::parse) {
            return Ok(Self(micros));
        }
        text.parse::<jiff::Timestamp>()
            .map(|moment| Self(moment.as_microsecond()))
            .map_err(|error| {
                Error::invalid(format!(
                    "{text:?} is no moment ({error}); write it like 2026-11-23T10:30:00Z"
                ))
            })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

/// Where a store takes its time from. Tests and simulations inject their own.
///
/// No promise of a store depends on the clock being right: one that jumps may end a session early or
/// late, and never lets two sessions write to one stream.
///
/// ```
/// use eventstore_abstractions::{Clock, Timestamp};
///
/// /// A clock that stands still, for a test in which no time passes.
/// #[derive(Debug)]
/// struct Stopped(Timestamp);
///
/// #[async_trait::async_trait]
/// impl Clock for Stopped {
///     fn now(&self) -> Timestamp {
///         self.0
///     }
///
///     async fn sleep_until(&self, deadline: Timestamp) {
///         assert!(deadline <= self.0, "a clock that stands still never reaches {deadline}");
///     }
/// }
/// ```
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Returns when [`now`](Self::now) has reached `deadline`.
    async fn sleep_until(&self, deadline: Timestamp);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_time_goes_there_and_back() {
        for micros in [0, 1, -1, 1_700_000_000_000_000] {
            let timestamp = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::from(SystemTime::from(timestamp)), timestamp);
        }
    }

    #[test]
    fn every_moment_is_read_back_from_its_text() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, i64::MAX, i64::MIN] {
            let timestamp = Timestamp::from_micros(micros);
            assert_eq!(
                timestamp.to_string().parse::<Timestamp>().expect("read back"),
                timestamp
            );
        }
        assert!("soon".parse::<Timestamp>().is_err() && "1.5µs".parse::<Timestamp>().is_err());
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        assert_eq!(
            Timestamp::from_micros(i64::MIN).saturating_since(last),
            Duration::ZERO
        );
        assert!(!last.to_string().is_empty());
    }
}
