//! Projections: states that follow from the events of a log, kept in the same engine.
//!
//! - **Exactly once.** What events change and the checkpoint are one commit, which requires the checkpoint to be as it
//!   was read: two runners, a crash or a commit of unknown outcome neither lose an effect nor double one.
//! - **Read your writes.** [`Reader::wait_for`] returns once a position is applied; also when no event up to it
//!   matches the query.
//! - **Built anew beside the live one.** A higher [`version`](Projection::version), or [`Projector::rebuild`], begins
//!   another generation at the start of the log. The live one is read, and goes on where its code still runs, until the
//!   new one has caught up. Then one commit swaps them, and the old state is deleted page by page.
//!
//! # Effects elsewhere
//! Only what is written through the [`View`] is exactly once. A projection must do nothing else in `apply`: events are
//! applied again after a conflict or a failure. For effects elsewhere use a
//! [consumer](crate::consumer), which is at least once, and make them idempotent: write under a key that follows from
//! the event, such as its position or message id, only if that key is absent; or store the position beside what is
//! written, in one transaction of the other database, and skip what is not above it.

mod follow;
mod generation;
mod reader;
mod runner;
mod store;
mod view;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Durability, Error, EventLog, Query, RecordedEvent, Result};

pub use crate::names::ProjectionName;
pub use reader::Reader;
pub use view::View;

use crate::clock::SystemClock;
use crate::running::{Running, Stop};
use runner::Runner;
use store::Store;

/// A state that follows from the events of a log.
///
/// ```
/// use async_trait::async_trait;
/// use eventstore_abstractions::{Query, RecordedEvent, Result};
/// use eventstore_domain::projection::{Projection, View};
///
/// /// How many events each account has.
/// struct Counts;
///
/// #[async_trait]
/// impl Projection for Counts {
///     fn name(&self) -> &str {
///         "counts"
///     }
///
///     fn query(&self) -> Query {
///         Query::category("account")
///     }
///
///     async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
///         let account = event.stream.id();
///         let count: u64 = view.get_json(account).await?.unwrap_or(0);
///         view.put_json(account, &(count + 1))
///     }
/// }
/// ```
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// Its name in the database: see [`ProjectionName`] for the limits.
    fn name(&self) -> &str;

    /// Which version of the code makes the state. Raise it when the same events lead to another state: the state is
    /// then built anew beside the old one, which is read until it is replaced.
    fn version(&self) -> u32 {
        1
    }

    /// Which events are applied. Raise the [`version`](Self::version) when it changes.
    fn query(&self) -> Query {
        Query::all()
    }

    /// Applies `event`. Events come in the order of their positions; those that were removed do not come.
    ///
    /// # Errors
    /// Any: an event that cannot be applied is not skipped. What is before it is stored, the runner tries again when
    /// the error [may pass](Error::is_retryable), and ends with it otherwise.
    async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()>;
}

#[async_trait]
impl<P: Projection + ?Sized> Projection for Arc<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn version(&self) -> u32 {
        (**self).version()
    }

    fn query(&self) -> Query {
        (**self).query()
    }

    async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        (**self).apply(event, view).await
    }
}

/// How a projection is run.
///
/// ```
/// use eventstore_abstractions::Durability;
/// use eventstore_domain::projection::ProjectorOptions;
///
/// let options = ProjectorOptions::default().commit_events(1_000).durability(Durability::Durable);
/// assert!(options.validate().is_ok());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ProjectorOptions {
    /// How many events are applied in one commit at most; 256 unless set.
    pub commit_events: usize,
    /// How many keys are written in one commit at most; 100 unless set: what every backend accepts. What one event writes
    /// is never divided.
    pub commit_keys: usize,
    /// Bytes of keys and values after which a commit is made; 512 KiB unless set.
    pub commit_bytes: usize,
    /// When a commit is acknowledged; buffered unless set: state that a crash loses is made again from its events.
    pub durability: Durability,
    /// Where time comes from, which is used for pauses alone; the system unless set.
    pub clock: Arc<dyn Clock>,
}

impl ProjectorOptions {
    /// Sets how many events are applied in one commit at most.
    #[must_use]
    pub fn commit_events(self, events: usize) -> Self {
        Self {
            commit_events: events,
            ..self
        }
    }

    /// Sets how many keys are written in one commit at most.
    #[must_use]
    pub fn commit_keys(self, keys: usize) -> Self {
        Self {
            commit_keys: keys,
            ..self
        }
    }

    /// Sets the bytes after which a commit is made.
    #[must_use]
    pub fn commit_bytes(self, bytes: usize) -> Self {
        Self {
            commit_bytes: bytes,
            ..self
        }
    }

    /// Sets when a commit is acknowledged.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Sets where time comes from.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Checks all limits.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when a commit could have no event.
    pub fn validate(&self) -> Result<()> {
        if self.commit_events == 0 || self.commit_keys == 0 || self.commit_bytes == 0 {
            return Err(Error::invalid(
                "a commit of 0 events, keys or bytes is not possible; use 1 or more",
            ));
        }
        Ok(())
    }
}

impl Default for ProjectorOptions {
    fn default() -> Self {
        Self {
            commit_events: 256,
            commit_keys: 100,
            commit_bytes: 512 << 10,
            durability: Durability::Buffered,
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for ProjectorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectorOptions")
            .field("commit_events", &self.commit_events)
            .field("commit_keys", &self.commit_keys)
            .field("commit_bytes", &self.commit_bytes)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

/// Runs a projection over a log. It is cheap to clone.
///
/// ```
/// use async_trait::async_trait;
/// use eventstore_abstractions::{
///     EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, RecordedEvent, Result, StreamId,
/// };
/// use eventstore_domain::projection::{Projection, Projector, ProjectorOptions, View};
///
/// struct Counts;
///
/// #[async_trait]
/// impl Projection for Counts {
///     fn name(&self) -> &str {
///         "counts"
///     }
///
///     async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
///         let account = event.stream.id();
///         let count: u64 = view.get_json(account).await?.unwrap_or(0);
///         view.put_json(account, &(count + 1))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let log = eventstores::connect("memory:").await?.default_log();
/// let projector = Projector::open(log.clone(), Counts, ProjectorOptions::default()).await?;
/// let running = projector.start();
///
/// let alice = StreamId::new("account", "alice")?;
/// let appended = log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
/// let counts = projector.reader();
/// counts.wait_for(appended.position).await?;
/// assert_eq!(counts.get_json::<u64>("alice").await?, Some(1));
/// running.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Projector {
    runner: Arc<Runner>,
}

impl Projector {
    /// Prepares to run `projection` over `log`. If it never was, its state is empty, and readable, from now on.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the name or an option is out of its limits, or the state was made by a higher
    /// version of the projection: run that, or [`rebuild`](Self::rebuild_lower) on purpose.
    pub async fn open(
        log: Arc<dyn EventLog>,
        projection: impl Projection,
        options: ProjectorOptions,
    ) -> Result<Self> {
        let projector = Self::new(log, projection, options)?;
        projector.runner.prepare().await?;
        Ok(projector)
    }

    /// As [`open`](Self::open), also where the state was made by a higher version: the state of this version is built
    /// anew beside it and replaces it. It is how a projection goes back to older code; stop the newer code first.
    ///
    /// ```
    /// # use eventstore_abstractions::{EventLog, Result};
    /// # use eventstore_domain::projection::{Projection, Projector, ProjectorOptions};
    /// # use std::sync::Arc;
    /// async fn go_back(log: Arc<dyn EventLog>, older: impl Projection) -> Result<Projector> {
    ///     Projector::rebuild_lower(log, older, ProjectorOptions::default()).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when the name or an option is out of its limits; as the storage fails.
    pub async fn rebuild_lower(
        log: Arc<dyn EventLog>,
        projection: impl Projection,
        options: ProjectorOptions,
    ) -> Result<Self> {
        let projector = Self::new(log, projection, options)?;
        projector.rebuild().await?;
        Ok(projector)
    }

    fn new(log: Arc<dyn EventLog>, projection: impl Projection, options: ProjectorOptions) -> Result<Self> {
        options.validate()?;
        let name = ProjectionName::new(projection.name())?;
        let store = Store::open_with(&*log, &name, Arc::clone(&options.clock))?;
        let runner = Arc::new(Runner {
            log,
            projection: Box::new(projection),
            options,
            store: Arc::new(store),
        });
        Ok(Self { runner })
    }

    /// Reads the state that is live.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.runner.store))
    }

    /// Runs it in a task of its own. Several may run, here and in other processes: each event is applied once.
    ///
    /// See [`Projector`] for an example.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self) -> Running {
        let runner = Arc::clone(&self.runner);
        Running::spawn(|stop| async move { runner.run(stop).await })
    }

    /// Runs it until `until` is ready. It can be dropped at any time: what is not committed is applied again.
    ///
    /// ```no_run
    /// # use eventstore_domain::projection::Projector;
    /// async fn serve(projector: Projector) -> eventstore_abstractions::Result<()> {
    ///     projector.run(std::future::pending()).await
    /// }
    /// ```
    ///
    /// # Errors
    /// What will not pass: an event cannot be applied, a higher version took over, stored data is damaged, the provider
    /// is closed.
    pub async fn run(&self, until: impl Future<Output = ()>) -> Result<()> {
        let (_stop, never) = Stop::channel();
        tokio::select! {
            biased;
            ended = self.runner.run(never) => ended,
            () = until => Ok(()),
        }
    }

    /// Begins to build the state anew from the start of the log, beside the live one. Whoever runs this version
    /// builds it, and swaps the two when it has caught up. A build that was begun before is begun again.
    ///
    /// ```
    /// # use eventstore_abstractions::{EventLog, Result};
    /// # use eventstore_domain::projection::Projector;
    /// async fn rebuild(projector: &Projector) -> Result<()> {
    ///     let old = projector.reader().generation().await?;
    ///     projector.rebuild().await?;
    ///     // It is read until the new one has caught up, which takes as long as reading the log does.
    ///     assert!(projector.reader().generation().await? >= old);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn rebuild(&self) -> Result<()> {
        self.runner.rebuild().await
    }
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector")
            .field("name", &self.runner.store.name)
            .field("version", &self.runner.projection.version())
            .finish_non_exhaustive()
    }
}
