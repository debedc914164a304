//! Numbers of events: in their stream, in their log, and what an append expects of them.

use serde::{Deserialize, Serialize};

/// 1-based number of an event in its stream, without gaps; 0 is the version of an empty stream.
///
/// ```
/// use eventstore_abstractions::Version;
///
/// let version = Version::new(3);
/// assert_eq!((version.get(), version.next(), version.advanced_by(10)), (3, 4.into(), 13.into()));
/// assert_eq!(Version::ZERO.next(), Version::FIRST);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u64);

/// 1-based number of an event in its database's log, without gaps; 0 lies before the first event.
///
/// Nothing ever appears at or below a position that a reader has seen.
///
/// ```
/// use eventstore_abstractions::Position;
///
/// let checkpoint = Position::new(41);
/// assert_eq!((checkpoint.get(), checkpoint.next(), checkpoint.advanced_by(10)), (41, 42.into(), 51.into()));
/// assert!(Position::ZERO < Position::FIRST);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

macro_rules! number_type {
    ($name:ident) => {
        impl $name {
            /// Before the first event.
            pub const ZERO: Self = Self(0);
            /// The first event.
            pub const FIRST: Self = Self(1);
            /// Above every event.
            pub const MAX: Self = Self(u64::MAX);

            /// The number `value`.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number as an integer.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The number of the event after this one. At the end of the range it stays there.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number `events` further on. At the end of the range it stays there.
            #[must_use]
            pub const fn advanced_by(self, events: u64) -> Self {
                Self(self.0.saturating_add(events))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> Self {
                number.0
            }
        }
    };
}

number_type!(Version);
number_type!(Position);

/// What an append requires of its stream, checked inside the commit.
///
/// ```
/// use eventstore_abstractions::{ExpectedVersion, Version};
///
/// assert!(ExpectedVersion::Exact(Version::new(3)).accepts(Version::new(3)));
/// assert!(!ExpectedVersion::NoStream.accepts(Version::new(3)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Nothing: append whatever the stream's version is.
    #[default]
    Any,
    /// The stream has no events.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream's version is exactly this one; `Exact(0)` means no events.
    Exact(Version),
}

impl ExpectedVersion {
    /// Whether a stream at version `actual` meets the expectation.
    #[must_use]
    pub fn accepts(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == Version::ZERO,
            Self::StreamExists => actual > Version::ZERO,
            Self::Exact(version) => actual == version,
        }
    }
}

impl From<Version> for ExpectedVersion {
    fn from(version: Version) -> Self {
        Self::Exact(version)
    }
}

impl std::fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no events"),
            Self::StreamExists => f.write_str("at least one event"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_accept_what_they_say() {
        let accepted = |expected: ExpectedVersion| {
            [0, 1, 2]
                .into_iter()
                .filter(|version| expected.accepts(Version::new(*version)))
                .collect::<Vec<_>>()
        };
        assert_eq!(accepted(ExpectedVersion::Any), [0, 1, 2]);
        assert_eq!(accepted(ExpectedVersion::NoStream), [0]);
        assert_eq!(accepted(ExpectedVersion::StreamExists), [1, 2]);
        assert_eq!(accepted(ExpectedVersion::Exact(Version::new(2))), [2]);
    }
}
