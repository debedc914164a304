//! What is measured.

pub(crate) mod aged;
pub(crate) mod append;
pub(crate) mod load;
pub(crate) mod open;
pub(crate) mod race;
pub(crate) mod read;

use std::fmt;

use crate::Result;
use load::Dataset;

/// A workload. Its name is its [`Display`](fmt::Display).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Durable appends of one event by so many clients, each to streams of its own.
    Append { clients: u64 },
    /// Durable appends of so many events at once by one client.
    Batch { events: u64 },
    /// So many writers append one event at a time to one stream, each expecting the tip that it knows.
    Race { writers: u64 },
    /// One client reads whole streams of so many events.
    Read { length: u64 },
    /// One client reads the log of the million.
    ReadAll,
    /// The million is opened, and one stream of one event is read.
    Open { after: End },
    /// How long appends of one client take when so many events are stored.
    Aged { stored: u64 },
    /// The size of the million on disk after a clean close, per event.
    Disk,
    /// The peak memory of a process that appends the million.
    LoadMemory,
    /// The peak memory of a process that opens the million and reads its log.
    ReadMemory,
    /// The same with ten million, and appends after it.
    AgedMemory,
}

/// How the process ended that wrote what is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It closed the store.
    Close,
    /// It was killed while it appended.
    Kill,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    EventsPerSecond,
    Milliseconds,
    Microseconds,
    BytesPerEvent,
    Mebibytes,
}

/// Every workload, in the order of the report.
pub(crate) const ALL: [Workload; 19] = [
    Workload::Append { clients: 1 },
    Workload::Append { clients: 16 },
    Workload::Append { clients: 64 },
    Workload::Append { clients: 256 },
    Workload::Batch { events: 100 },
    Workload::Batch { events: 1000 },
    Workload::Race { writers: 64 },
    Workload::Read { length: 10 },
    Workload::Read { length: 1000 },
    Workload::Read { length: 100_000 },
    Workload::ReadAll,
    Workload::Open { after: End::Close },
    Workload::Open { after: End::Kill },
    Workload::Disk,
    Workload::LoadMemory,
    Workload::ReadMemory,
    Workload::Aged { stored: 10_000 },
    Workload::Aged { stored: 10_000_000 },
    Workload::AgedMemory,
];

impl Workload {
    pub(crate) fn by_name(name: &str) -> Result<Self> {
        let known = || ALL.map(|workload| workload.to_string()).join(", ");
        ALL.into_iter()
            .find(|workload| workload.to_string() == name)
            .ok_or_else(|| format!("there is no workload {name}; there are {}", known()).into())
    }

    /// What it is called in the report.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Append { clients: 1 } => "durable append, 1 client".to_owned(),
            Self::Append { clients } => format!("durable append, {clients} clients"),
            Self::Batch { events } => format!("durable batches of {events}, 1 client"),
            Self::Race { writers } => format!("{writers} writers on one stream, exact version"),
            Self::Read { length } => format!("read streams of {length}"),
            Self::ReadAll => "global read".to_owned(),
            Self::Open { after: End::Close } => "open after a clean close".to_owned(),
            Self::Open { after: End::Kill } => "open after a kill".to_owned(),
            Self::Aged { stored } => format!("p99 of a durable append, 1 client, {stored} events stored"),
            Self::Disk => "disk per event".to_owned(),
            Self::LoadMemory => "peak memory, appending".to_owned(),
            Self::ReadMemory => "peak memory, reading".to_owned(),
            Self::AgedMemory => "peak memory, reading and appending, 10000000 events stored".to_owned(),
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Append { .. } | Self::Batch { .. } | Self::Race { .. } => Unit::EventsPerSecond,
            Self::Read { .. } | Self::ReadAll => Unit::EventsPerSecond,
            Self::Open { .. } => Unit::Milliseconds,
            Self::Aged { .. } => Unit::Microseconds,
            Self::Disk => Unit::BytesPerEvent,
            Self::LoadMemory | Self::ReadMemory | Self::AgedMemory => Unit::Mebibytes,
        }
    }

    /// What has to be stored before it can be measured.
    pub(crate) fn dataset(self) -> Option<(Dataset, End)> {
        match self {
            Self::Read { length: 10 } => Some((Dataset::Short, End::Close)),
            Self::Read { length: 1000 } => Some((Dataset::Medium, End::Close)),
            Self::Read { .. } => Some((Dataset::Long, End::Close)),
            Self::ReadAll | Self::Disk | Self::ReadMemory => Some((Dataset::Million, End::Close)),
            Self::Aged { stored: 10_000 } => Some((Dataset::TenThousand, End::Close)),
            Self::Aged { .. } | Self::AgedMemory => Some((Dataset::TenMillion, End::Close)),
            Self::Open { after } => Some((Dataset::Million, after)),
            Self::Append { .. } | Self::Batch { .. } | Self::Race { .. } | Self::LoadMemory => None,
        }
    }

    /// Whether each measurement needs a fresh copy of what is stored, because measuring changes it.
    pub(crate) fn changes_dataset(self) -> bool {
        self == Self::Open { after: End::Kill }
    }

    /// Whether its figure is the cost of waiting for the disk.
    pub(crate) fn is_durable(self) -> bool {
        matches!(self, Self::Append { .. } | Self::Batch { .. } | Self::Race { .. })
    }

    /// Whether it has no meaning for a store in memory.
    pub(crate) fn needs_disk(self) -> bool {
        matches!(self, Self::Open { .. } | Self::Disk) || self.is_aged()
    }

    /// Whether it compares a store with itself, when it holds little and when it holds much. Storing ten million
    /// events takes some of the others very long, for a figure that nothing is held against.
    pub(crate) fn is_aged(self) -> bool {
        matches!(self, Self::Aged { .. } | Self::AgedMemory)
    }

    /// Whether it has no meaning for a log without streams.
    pub(crate) fn needs_streams(self) -> bool {
        matches!(self, Self::Race { .. } | Self::Read { .. })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { clients } => write!(f, "append-{clients}"),
            Self::Batch { events } => write!(f, "batch-{events}"),
            Self::Race { writers } => write!(f, "race-{writers}"),
            Self::Read { length } => write!(f, "read-{length}"),
            Self::ReadAll => f.write_str("read-all"),
            Self::Open { after: End::Close } => f.write_str("open-closed"),
            Self::Open { after: End::Kill } => f.write_str("open-killed"),
            Self::Aged { stored } => write!(f, "aged-{stored}"),
            Self::Disk => f.write_str("disk"),
            Self::LoadMemory => f.write_str("memory-append"),
            Self::ReadMemory => f.write_str("memory-read"),
            Self::AgedMemory => f.write_str("memory-aged"),
        }
    }
}

impl Unit {
    /// Whether a larger figure is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::EventsPerSecond
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events/s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::BytesPerEvent => "bytes",
            Self::Mebibytes => "MiB",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_found_by_its_name() {
        for workload in ALL {
            assert_eq!(Workload::by_name(&workload.to_string()).unwrap(), workload);
        }
        assert!(
            Workload::by_name("append")
                .unwrap_err()
                .to_string()
                .contains("append-1,")
        );
    }
}
