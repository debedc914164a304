//! What a copy can be asked for, and what it tells.

use std::fmt;
use std::sync::Arc;

/// What a copy can be asked for.
///
/// ```
/// use eventstore_kv::CopyOptions;
///
/// let options = CopyOptions::default().on_progress(|progress| println!("{progress}"));
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    progress: Option<Arc<dyn Fn(CopyProgress) + Send + Sync>>,
}

/// How far a copy is.
///
/// ```
/// use eventstore_kv::{CopyOptions, CopyStep};
///
/// let options = CopyOptions::default().on_progress(|progress| {
///     if progress.step == CopyStep::Verifying {
///         println!("{} records are equal, {} bytes", progress.records, progress.bytes);
///     }
/// });
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// What is done now.
    pub step: CopyStep,
    /// Records of the source that this step is done with.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// The steps of a copy, in their order. See [`CopyProgress`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyStep {
    /// The source is read, to see whether every record fits into the target. It is left out where the target takes
    /// whatever the source takes.
    Sizing,
    /// Records are written to the target.
    Copying,
    /// The records of both are compared.
    Verifying,
}

/// What was copied and compared.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), eventstore_abstractions::Error> {
/// # use std::sync::Arc;
/// # let (source, target) = (Arc::new(kv_memory::Store::new()), kv_memory::Store::new());
/// # drop(eventstore_kv::Provider::open(source.clone(), Default::default()).await?);
/// let copied = eventstore_kv::copy(&*source, &target).await?;
/// println!("{} events of {} streams, {} snapshots", copied.events, copied.streams, copied.snapshots);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Databases that were written to.
    pub databases: u64,
    /// Streams that have or had events, or a retention.
    pub streams: u64,
    /// Events that are stored.
    pub events: u64,
    /// Events that a scavenge has removed, whose positions are kept.
    pub removed: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Records of all kinds.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl CopyOptions {
    /// Calls `progress` after each page, of about a mebibyte. It is called between two reads: it should return soon.
    #[must_use]
    pub fn on_progress(self, progress: impl Fn(CopyProgress) + Send + Sync + 'static) -> Self {
        Self {
            progress: Some(Arc::new(progress)),
        }
    }

    /// Tells that `step` is done with so many records and bytes.
    pub(super) fn tell(&self, step: CopyStep, (records, bytes): (u64, u64)) {
        if let Some(progress) = &self.progress {
            progress(CopyProgress { step, records, bytes });
        }
    }
}

impl fmt::Debug for CopyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOptions").finish_non_exhaustive()
    }
}

impl fmt::Display for CopyProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            CopyStep::Sizing => "looked at",
            CopyStep::Copying => "copied",
            CopyStep::Verifying => "compared",
        };
        let mebibytes = self.bytes >> 20;
        write!(f, "{what} {} records, {mebibytes} MiB", self.records)
    }
}
