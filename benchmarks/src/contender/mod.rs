//! What is compared, and the one trait that makes it comparable.

#[cfg(any(feature = "fjall", feature = "redb", feature = "lmdb", feature = "sled"))]
mod bare;
#[cfg(any(
    feature = "memory",
    feature = "fjall",
    feature = "redb",
    feature = "lmdb",
    feature = "sled"
))]
mod ours;
mod raw;
mod registry;
#[cfg(any(
    feature = "fjall",
    feature = "redb",
    feature = "lmdb",
    feature = "sled",
    feature = "sqlite",
    feature = "varvedb"
))]
mod request;
#[cfg(feature = "sierradb")]
mod sierradb;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "tephra")]
mod tephra;
#[cfg(test)]
mod tests;
#[cfg(feature = "umadb")]
mod umadb;
#[cfg(feature = "varvedb")]
mod varvedb;

use std::future::Future;
use std::path::Path;

use crate::Result;
pub(crate) use registry::{ALL, Entry, Family, by_name};

/// A store under measurement.
///
/// A store that blocks does so in these calls: its clients are threads, so that this is what its users see.
pub(crate) trait Contender: Sized + Send + Sync + 'static {
    /// What one client holds.
    type Client: Client;

    /// Opens the store in `directory`, which exists and is empty or was written by the same contender. `name` is
    /// the contender's: one implementation may serve several.
    fn open(name: &str, directory: &Path) -> impl Future<Output = Result<Self>> + Send;

    /// A further client of the open store.
    fn client(&self) -> Result<Self::Client>;

    /// Ends the store as its documentation says, when all clients are gone.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// One user of an open store.
///
/// Streams are numbers here; a contender makes of them the names that its users would give.
pub(crate) trait Client: Send + 'static {
    /// Appends events with these payloads to `stream`, all or nothing, and returns when they would survive a power
    /// cut. With `expected` it succeeds only if the stream's tip is this one.
    fn append(
        &mut self,
        stream: u64,
        payloads: Vec<Vec<u8>>,
        expected: Option<u64>,
    ) -> impl Future<Output = Result<Outcome>> + Send;

    /// What an append that follows what is stored now has to expect: a version, or a position where a store has
    /// no versions.
    fn tip(&mut self, stream: u64) -> impl Future<Output = Result<u64>> + Send;

    /// Gives the events of `stream` to `each`, in order.
    fn read_stream(
        &mut self,
        stream: u64,
        each: impl FnMut(Stored<'_>) + Send,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Gives all events to `each`, in the order of the store's log.
    fn read_all(&mut self, each: impl FnMut(Stored<'_>) + Send) -> impl Future<Output = Result<()>> + Send;
}

/// An event as a read gives it: whole, so that nobody is fast by leaving something out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    /// Its type; empty where a bare log has none.
    pub(crate) event_type: &'a str,
    /// Its version in its stream, or its position in the log where there are no versions.
    pub(crate) number: u64,
    pub(crate) payload: &'a [u8],
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The events are stored; the stream's tip is now this one.
    Appended(u64),
    /// Another writer was first, and nothing is stored. Some stores say what the tip is now.
    Conflict(Option<u64>),
}
