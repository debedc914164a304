//! What can be asked of an open, an append and a read.

use std::time::Duration;

use crate::{Error, ExpectedVersion, Position, Query, Result, Version};

/// How a session is opened. Fields that are `None` take their value from the provider's
/// [`Settings`](crate::Settings).
///
/// ```
/// use std::time::Duration;
/// use eventstore_abstractions::OpenOptions;
///
/// let options = OpenOptions::default()
///     .owner("importer")
///     .session_timeout(Duration::from_secs(30))
///     .open_timeout(Duration::ZERO);
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// How long the session lasts without being renewed.
    pub session_timeout: Option<Duration>,
    /// How long to wait while another session holds the stream; zero means not at all.
    pub open_timeout: Option<Duration>,
    /// Who opens it, as shown to those who are refused meanwhile; the process id unless set.
    pub owner: Option<String>,
}

impl OpenOptions {
    /// Most bytes of an owner.
    pub const MAX_OWNER_BYTES: usize = 255;

    /// Sets how long the session lasts without being renewed.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = Some(timeout);
        self
    }

    /// Sets how long to wait while another session holds the stream; zero means not at all.
    #[must_use]
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.open_timeout = Some(timeout);
        self
    }

    /// Sets who opens it.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Checks the owner's name; the time-outs are checked together with the settings that they override.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the owner is empty, too long, or has control characters.
    pub fn validate(&self) -> Result<()> {
        match &self.owner {
            Some(owner) => crate::text::check("session owner", Self::MAX_OWNER_BYTES, owner),
            None => Ok(()),
        }
    }
}

/// When an append may be acknowledged.
///
/// See [`AppendOptions`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// After it would survive a power cut, as far as the backend can promise it.
    #[default]
    Durable,
    /// As soon as readers see it: faster, and a crash may lose it together with everything appended after it.
    Buffered,
}

/// What an append requires and promises.
///
/// ```
/// use eventstore_abstractions::{AppendOptions, Durability, ExpectedVersion};
///
/// let options = AppendOptions::expecting(ExpectedVersion::NoStream).durability(Durability::Buffered);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendOptions {
    /// What the append requires of its stream.
    pub expected: ExpectedVersion,
    /// When it may be acknowledged.
    pub durability: Durability,
}

impl AppendOptions {
    /// A durable append with an expected version.
    #[must_use]
    pub fn expecting(expected: ExpectedVersion) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// Sets when the append may be acknowledged.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }
}

/// The order of a read.
///
/// See [`Selection`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// Events per page unless set: a page is what a read holds in memory.
const DEFAULT_PAGE_SIZE: usize = 1_024;
/// Most events per page.
const MAX_PAGE_SIZE: usize = 10_000;

fn check_page_size(page_size: usize) -> Result<()> {
    if (1..=MAX_PAGE_SIZE).contains(&page_size) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a page of {page_size} events is not possible; use 1 to {MAX_PAGE_SIZE}"
    )))
}

/// Which events of a stream are read.
///
/// [`ReadOptions`] makes the usual ones; this makes the others:
///
/// ```
/// use eventstore_abstractions::{Direction, ReadOptions, Selection, Version};
///
/// let mut options = ReadOptions::backward();
/// options.selection = Selection::Slice {
///     first: Version::new(11),
///     last: Version::new(20),
///     direction: Direction::Backward,
/// };
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// What rebuilds the state: a snapshot, unless they are left out, and the events after it.
    Replay {
        /// The version whose state is wanted; the newest if `None`. One above the stream's version is
        /// an error.
        as_of: Option<Version>,
        /// Whether the newest snapshot that fits is used.
        snapshots: bool,
    },
    /// The events numbered `first` to `last`, both included. What is out of range is left out, without
    /// an error.
    Slice {
        /// First version.
        first: Version,
        /// Last version.
        last: Version,
        /// The order.
        direction: Direction,
    },
}

/// How a stream is read.
///
/// ```
/// use eventstore_abstractions::{ReadOptions, Version};
///
/// let now = ReadOptions::replay();
/// let then = ReadOptions::as_of(Version::new(10)).without_snapshots();
/// let newest_first = ReadOptions::backward();
/// let some = ReadOptions::slice(Version::new(11), Version::new(20)).page_size(10);
/// assert!(some.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Which events are read.
    pub selection: Selection,
    /// About how many events are held in memory at a time, and as many again when it is read ahead: 1 to 10,000. What is
    /// stored together is held together, so that it can be more of small events.
    pub page_size: usize,
}

impl ReadOptions {
    /// The newest snapshot, if there is one, and the events after it.
    #[must_use]
    pub fn replay() -> Self {
        Self::select(Selection::Replay {
            as_of: None,
            snapshots: true,
        })
    }

    /// The state as of `version`: the newest snapshot not above it, and the events up to it.
    #[must_use]
    pub fn as_of(version: Version) -> Self {
        Self::select(Selection::Replay {
            as_of: Some(version),
            snapshots: true,
        })
    }

    /// The events numbered `first` to `last`, both included, oldest first.
    #[must_use]
    pub fn slice(first: Version, last: Version) -> Self {
        Self::select(Selection::Slice {
            first,
            last,
            direction: Direction::Forward,
        })
    }

    /// All events, newest first.
    #[must_use]
    pub fn backward() -> Self {
        let (first, last) = (Version::FIRST, Version::MAX);
        Self::select(Selection::Slice {
            first,
            last,
            direction: Direction::Backward,
        })
    }

    /// Reads events only. A slice never has a snapshot, so there it changes nothing.
    #[must_use]
    pub fn without_snapshots(mut self) -> Self {
        if let Selection::Replay { snapshots, .. } = &mut self.selection {
            *snapshots = false;
        }
        self
    }

    /// Sets about how many events are held in memory at a time: 1 to 10,000.
    #[must_use]
    pub fn page_size(self, page_size: usize) -> Self {
        Self { page_size, ..self }
    }

    /// Checks the page size.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it is out of range.
    pub fn validate(&self) -> Result<()> {
        check_page_size(self.page_size)
    }

    fn select(selection: Selection) -> Self {
        Self {
            selection,
            page_size: DEFAULT_PAGE_SIZE,
        }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::replay()
    }
}

/// How a database's log is read.
///
/// ```
/// use eventstore_abstractions::{LogReadOptions, Position};
///
/// let after_checkpoint = LogReadOptions::forward_from(Position::new(41).next()).limit(1_000);
/// let newest_ten = LogReadOptions::backward().limit(10);
/// let before = LogReadOptions::backward_from(Position::new(40)).page_size(10);
/// let everything = LogReadOptions::forward();
/// assert!(everything.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogReadOptions {
    /// Position of the first event that is read. Forward, the read is empty when the log ends before
    /// it; backward, it then begins at the end of the log.
    pub from: Position,
    /// The order.
    pub direction: Direction,
    /// Which events are read.
    pub query: Query,
    /// Most events that are read; no bound if `None`.
    pub limit: Option<u64>,
    /// About how many events are held in memory at a time, and as many again when it is read ahead: 1 to 10,000. What is
    /// stored together is held together, so that it can be more of small events.
    pub page_size: usize,
}

impl LogReadOptions {
    /// The whole log, oldest event first.
    #[must_use]
    pub fn forward() -> Self {
        Self::forward_from(Position::FIRST)
    }

    /// The log from `position` (included) on.
    #[must_use]
    pub fn forward_from(position: Position) -> Self {
        let (direction, page_size) = (Direction::Forward, DEFAULT_PAGE_SIZE);
        Self {
            from: position,
            direction,
            query: Query::all(),
            limit: None,
            page_size,
        }
    }

    /// The whole log, newest event first.
    #[must_use]
    pub fn backward() -> Self {
        Self::backward_from(Position::MAX)
    }

    /// The log from `position` (included) back to its beginning.
    #[must_use]
    pub fn backward_from(position: Position) -> Self {
        Self {
            direction: Direction::Backward,
            ..Self::forward_from(position)
        }
    }

    /// Reads only events that match `query`.
    #[must_use]
    pub fn query(self, query: Query) -> Self {
        Self { query, ..self }
    }

    /// Reads at most `events` events.
    #[must_use]
    pub fn limit(self, events: u64) -> Self {
        Self {
            limit: Some(events),
            ..self
        }
    }

    /// Sets about how many events are held in memory at a time: 1 to 10,000.
    #[must_use]
    pub fn page_size(self, page_size: usize) -> Self {
        Self { page_size, ..self }
    }

    /// Checks the page size and the query.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the page size is out of range, or the query has too many names.
    pub fn validate(&self) -> Result<()> {
        check_page_size(self.page_size)?;
        self.query.validate()
    }
}

impl Default for LogReadOptions {
    fn default() -> Self {
        Self::forward()
    }
}
