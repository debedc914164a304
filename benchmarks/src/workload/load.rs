//! What is stored before reads, openings and sizes are measured.

use std::fmt;

use crate::clients::{self, Kind};
use crate::contender::{Client, Contender, Outcome};
use crate::event::{Tally, payloads};
use crate::{Result, Size};

/// A set of streams, all of the same length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dataset {
    /// Many streams of 10, grown event by event as applications do.
    Short,
    /// 100,000 events in streams of 1,000, grown by 10 at a time.
    Medium,
    /// One stream of 100,000.
    Long,
    /// A million events in streams of 1,000, grown by 100 at a time.
    Million,
    /// 10,000 events in streams of 100.
    TenThousand,
    /// Ten million events in streams of 1,000, each appended at once.
    TenMillion,
}

const ALL: [Dataset; 6] = [
    Dataset::Short,
    Dataset::Medium,
    Dataset::Long,
    Dataset::Million,
    Dataset::TenThousand,
    Dataset::TenMillion,
];

/// How a dataset is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) streams: u64,
    pub(crate) length: u64,
    /// Events of each append.
    batch: u64,
    clients: u64,
}

impl Dataset {
    pub(crate) fn by_name(name: &str) -> Result<Self> {
        ALL.into_iter()
            .find(|dataset| dataset.to_string() == name)
            .ok_or_else(|| format!("there is no dataset {name}").into())
    }

    pub(crate) fn shape(self, size: Size) -> Shape {
        let (streams, length, batch, clients) = match (self, size) {
            (Self::Short, Size::Full) => (10_000, 10, 1, 64),
            (Self::Short, Size::Quick) => (1_000, 10, 1, 64),
            (Self::Medium, Size::Full) => (100, 1_000, 10, 16),
            (Self::Medium, Size::Quick) => (16, 1_000, 10, 16),
            (Self::Long, _) => (1, 100_000, 1_000, 1),
            (Self::Million, Size::Full) => (1_000, 1_000, 100, 4),
            (Self::Million, Size::Quick) => (50, 1_000, 100, 4),
            (Self::TenThousand, _) => (100, 100, 10, 4),
            (Self::TenMillion, Size::Full) => (10_000, 1_000, 1_000, 4),
            (Self::TenMillion, Size::Quick) => (100, 1_000, 1_000, 4),
        };
        Shape {
            streams,
            length,
            batch,
            clients,
        }
    }
}

impl Shape {
    /// Events of all streams, without the marker.
    pub(crate) fn events(self) -> u64 {
        self.streams * self.length
    }

    /// The stream of one event that is written last: what is read to see that a store is open.
    pub(crate) fn marker(self) -> u64 {
        self.streams
    }

    /// What a read of the whole log adds up to, the marker included.
    pub(crate) fn tally(self) -> Tally {
        let streams = (0..self.streams).map(|stream| Tally::of(stream, self.length));
        streams.fold(Tally::of(self.marker(), 1), Tally::plus)
    }
}

/// Stores the dataset: the streams of each client grow in turn, so that their events are mixed in the log.
pub(crate) async fn load<C: Contender>(store: &C, kind: Kind, shape: Shape) -> Result<()> {
    let all = (0..shape.clients)
        .map(|client| Ok(grow(store.client()?, client, shape)))
        .collect::<Result<Vec<_>>>()?;
    clients::run(kind, all).await?;
    let mut client = store.client()?;
    clients::run_one(
        kind,
        async move { append(&mut client, shape.marker(), 0, 1).await },
    )
    .await
}

async fn grow(mut client: impl Client, number: u64, shape: Shape) -> Result<()> {
    let mut length = 0;
    while length < shape.length {
        for stream in (number..shape.streams).step_by(shape.clients as usize) {
            append(&mut client, stream, length, shape.batch).await?;
        }
        length += shape.batch;
    }
    Ok(())
}

/// Appends the events `first..first + count` of the maker that has the stream's number.
pub(crate) async fn append(client: &mut impl Client, stream: u64, first: u64, count: u64) -> Result<()> {
    match client
        .append(stream, payloads(stream, first, count), None)
        .await?
    {
        Outcome::Appended(_) => Ok(()),
        Outcome::Conflict(_) => Err("an append that expects nothing met a conflict".into()),
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "short",
            Self::Medium => "medium",
            Self::Long => "long",
            Self::Million => "million",
            Self::TenThousand => "ten-thousand",
            Self::TenMillion => "ten-million",
        })
    }
}
