//! Durable consumers: named readers of the log that several workers share and that remember how far they are.
//!
//! - **At least once.** The checkpoint of a partition is stored after its events were handled.
//! - **In the order of each stream.** Streams are spread over partitions by a [hash](#partitions) of their names, and a
//!   partition is leased to one worker at a time.
//! - **Fenced.** Every change of a checkpoint requires the record of the lease to be as its holder left it: a worker
//!   that lost its lease, by whatever clock, moves nothing any more.
//! - **Nothing blocks for ever.** An event that fails is tried again with growing pauses, then parked with its error,
//!   and the later events of its stream are parked behind it. Parked events are listed, replayed or discarded.
//!
//! # What waits for what
//! While an event is tried again, its partition waits, and so do the other streams of that partition; other partitions
//! go on. Once the event is parked, the other streams of its partition go on, too.
//!
//! # Partitions
//! The partition of a stream is FNV-1a (64 bits) of its category, a NUL and its id, with the upper half folded into the
//! lower by exclusive or, modulo the number of partitions. Each partition follows the log by itself and drops
//! what is of other partitions; what is new is read once for all of them.
//!
//! # When a worker is lost
//! Its partitions go to others when its leases end. Until its own clock tells it so, it may go on to handle an
//! event that its successor handles, too: at least once holds, and the checkpoint is its successor's.

mod control;
mod handler;
mod keys;
mod lease;
mod options;
mod parked;
mod partition;
mod records;
mod status;
mod worker;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use eventstore_abstractions::{
    Bytes, Changes, Committed, Durability, Error, EventLog, Namespace, NamespaceName, Position, Result,
    SessionId, Timestamp,
};

pub use crate::names::ConsumerName;
pub use control::WhenHeld;
pub use handler::{Handler, handler_fn};
pub use options::{Begin, ConsumerOptions, RetryPolicy};
pub use parked::{Parked, Replayed};
pub use records::{Failure, ParkedEvent};
pub use status::{ConsumerStatus, Holder, PartitionStatus};

use crate::record::{decode, encode};
use crate::running::{Running, Stop};
use keys::Keys;
use lease::Lease;
use records::{Checkpoint, Definition, LeaseRecord};

/// A durable consumer of a log. It is cheap to clone.
///
/// ```
/// use eventstore_abstractions::{EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, StreamId};
/// use eventstore_domain::consumer::{Consumer, ConsumerName, ConsumerOptions, handler_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstore_abstractions::Result<()> {
/// let log = eventstores::connect("memory:").await?.default_log();
/// let alice = StreamId::new("account", "alice")?;
/// log.append(&alice, ExpectedVersion::Any, [EventMessage::json("Opened", &())?]).await?;
///
/// let consumer = Consumer::open(log, ConsumerName::new("mailer")?, ConsumerOptions::default()).await?;
/// let (handled, mut handled_events) = tokio::sync::mpsc::unbounded_channel();
/// let worker = consumer.start(handler_fn(move |event| {
///     let handled = handled.clone();
///     async move { Ok(handled.send(event.message.type_name().to_owned())?) }
/// }));
/// assert_eq!(handled_events.recv().await.as_deref(), Some("Opened"));
///
/// // Stores the checkpoints and gives the partitions to other workers.
/// worker.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Consumer {
    shared: Arc<Shared>,
}

/// What a consumer and all its work in this process have in common.
struct Shared {
    log: Arc<dyn EventLog>,
    namespace: Arc<dyn Namespace>,
    name: ConsumerName,
    keys: Keys,
    definition: Definition,
    /// The definition as it is stored.
    stored: Bytes,
    options: ConsumerOptions,
}

impl Consumer {
    /// Opens the consumer `name`, and makes it if there is none.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it was made with another query or number of partitions, is being removed, or
    /// an option is out of its limits.
    pub async fn open(log: Arc<dyn EventLog>, name: ConsumerName, options: ConsumerOptions) -> Result<Self> {
        options.validate()?;
        loop {
            if let Some(consumer) = Self::load(&log, &name, options.clone()).await? {
                consumer.shared.check()?;
                return Ok(consumer);
            }
            // Nothing is done when somebody else has made it by now.
            let _ = make(&*log, &name, &options).await?;
        }
    }

    /// Makes the consumer `name`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there is one of that name, or an option is out of its limits.
    pub async fn create(
        log: Arc<dyn EventLog>,
        name: ConsumerName,
        options: ConsumerOptions,
    ) -> Result<Self> {
        options.validate()?;
        match make(&*log, &name, &options).await? {
            Committed::Applied => Self::open(log, name, options).await,
            Committed::Conflict => Err(Error::invalid(format!(
                "there is a consumer {name} already; open it, or remove it first"
            ))),
        }
    }

    /// The consumer `name` as it is stored, if there is one: to look at it and to control it.
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn find(log: Arc<dyn EventLog>, name: ConsumerName) -> Result<Option<Self>> {
        let Some(mut found) = Self::load(&log, &name, ConsumerOptions::default()).await? else {
            return Ok(None);
        };
        if let Some(shared) = Arc::get_mut(&mut found.shared) {
            shared.options.query = shared.definition.query.clone();
            shared.options.partitions = Some(shared.definition.partitions);
        }
        Ok(Some(found))
    }

    /// The names of all consumers of `log`, in order.
    ///
    /// ```
    /// use eventstore_abstractions::EventStoreProviderExt;
    /// use eventstore_domain::consumer::{Consumer, ConsumerName, ConsumerOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventstore_abstractions::Result<()> {
    /// let log = eventstores::connect("memory:").await?.default_log();
    /// let mailer = ConsumerName::new("mailer")?;
    /// Consumer::create(log.clone(), mailer.clone(), ConsumerOptions::default()).await?;
    /// assert_eq!(Consumer::list(&*log).await?, [mailer]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn list(log: &dyn EventLog) -> Result<Vec<ConsumerName>> {
        let namespace = namespace(log)?;
        let mut names = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = namespace.scan(b"", after.as_deref(), 1).await?;
            let Some((key, _)) = page.first() else {
                return Ok(names);
            };
            let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
            // Past everything that begins with the name and a NUL.
            after = Some([name, &[1]].concat());
            names.push(ConsumerName::new(String::from_utf8_lossy(name))?);
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ConsumerName {
        &self.shared.name
    }

    /// Over how many partitions its streams are spread.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.shared.definition.partitions
    }

    /// Starts a worker in a task of its own. Any number of workers, here and in other processes, share the consumer.
    ///
    /// See [`Consumer`] for an example.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self, handler: impl Handler) -> Running {
        let shared = Arc::clone(&self.shared);
        Running::spawn(|stop| worker::work(shared, Arc::new(handler), stop))
    }

    /// Works until `until` is ready, and then stops as [`Running::stop`] does. It can be dropped at any time: leases
    /// then end at their time, and what was handled after the last checkpoint is handled again.
    ///
    /// ```no_run
    /// # use eventstore_domain::consumer::{Consumer, Handler};
    /// async fn serve(consumer: Consumer, handler: impl Handler) -> eventstore_abstractions::Result<()> {
    ///     consumer.run(handler, std::future::pending()).await
    /// }
    /// ```
    ///
    /// # Errors
    /// What will not pass: the consumer was removed, stored data is damaged, the provider is closed.
    pub async fn run(&self, handler: impl Handler, until: impl Future<Output = ()>) -> Result<()> {
        let (stop, stopped) = Stop::channel();
        let working = worker::work(Arc::clone(&self.shared), Arc::new(handler), stopped);
        let mut working = std::pin::pin!(working);
        tokio::select! {
            biased;
            ended = &mut working => return ended,
            () = until => stop.send_replace(true),
        };
        working.await
    }

    async fn load(
        log: &Arc<dyn EventLog>,
        name: &ConsumerName,
        options: ConsumerOptions,
    ) -> Result<Option<Self>> {
        let (namespace, keys) = (namespace(&**log)?, Keys::of(name));
        let Some(stored) = namespace.get(&keys.definition()).await? else {
            return Ok(None);
        };
        let definition = decode(&format!("the definition of consumer {name}"), &stored)?;
        let (log, name) = (Arc::clone(log), name.clone());
        let shared = Shared {
            log,
            namespace,
            name,
            keys,
            definition,
            stored,
            options,
        };
        Ok(Some(Self {
            shared: Arc::new(shared),
        }))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("name", &self.shared.name)
            .field("partitions", &self.shared.definition.partitions)
            .finish_non_exhaustive()
    }
}

fn namespace(log: &dyn EventLog) -> Result<Arc<dyn Namespace>> {
    Ok(log.namespace(&NamespaceName::new(keys::NAMESPACE)?))
}

/// Stores what the consumer is, if there is none of its name.
async fn make(log: &dyn EventLog, name: &ConsumerName, options: &ConsumerOptions) -> Result<Committed> {
    let begin = match options.begin {
        Begin::Start => Position::ZERO,
        Begin::End => log.head().await?,
        Begin::After(position) => position,
    };
    let definition = Definition {
        query: options.query.clone(),
        begin,
        partitions: options.partitions.unwrap_or(ConsumerOptions::DEFAULT_PARTITIONS),
        made: SessionId::generate(),
        removing: false,
    };
    let key = Keys::of(name).definition();
    let changes = Changes::new()
        .require_absent(key.clone())
        .put(key, encode(&definition));
    namespace(log)?.commit(changes, Durability::Durable).await
}

impl Shared {
    /// Checks that the consumer is what the options say.
    fn check(&self) -> Result<()> {
        let (name, made) = (&self.name, &self.definition);
        if made.removing {
            return Err(Error::invalid(format!(
                "consumer {name} is being removed; find it and remove it again to finish that"
            )));
        }
        if let Some(partitions) = self.options.partitions
            && partitions != made.partitions
        {
            return Err(Error::invalid(format!(
                "consumer {name} has {} partitions, not {partitions}: the number is fixed when it is made; \
                 open it with {} or with none, or remove it and make it anew",
                made.partitions, made.partitions
            )));
        }
        if self.options.query != made.query {
            return Err(Error::invalid(format!(
                "consumer {name} was made with another query; use that one, or another name for the new query"
            )));
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        self.options.clock.sleep_until(deadline).await;
    }

    /// When `lease` has to be renewed: when a third of its time is over.
    fn renew_at(&self, lease: &Lease) -> Timestamp {
        let time = self.options.lease;
        let left = i64::try_from((time - time / 3).as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(lease.until().as_micros().saturating_sub(left))
    }

    /// Changes that happen only while the consumer is the one that was opened.
    fn changes(&self) -> Changes {
        Changes::new().require_equals(self.keys.definition(), self.stored.clone())
    }

    /// Checks that the consumer is still the one that was opened.
    async fn check_there(&self) -> Result<()> {
        let stored = self.namespace.get(&self.keys.definition()).await?;
        if stored.as_ref() == Some(&self.stored) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "consumer {} was removed or made anew; open it again",
            self.name
        )))
    }

    /// Whose partition `partition` is, and the record as it is stored.
    async fn lease(&self, partition: u16) -> Result<(Option<LeaseRecord>, Option<Bytes>)> {
        let stored = self.namespace.get(&self.keys.lease(partition)).await?;
        let record = stored.as_deref().map(|stored| self.decode_lease(stored));
        Ok((record.transpose()?, stored))
    }

    fn decode_lease(&self, stored: &[u8]) -> Result<LeaseRecord> {
        decode(&format!("a lease of consumer {}", self.name), stored)
    }

    async fn checkpoint(&self, partition: u16) -> Result<Position> {
        let what = || {
            format!(
                "the checkpoint of partition {partition} of consumer {}",
                self.name
            )
        };
        match self.namespace.get(&self.keys.checkpoint(partition)).await? {
            Some(stored) => Ok(decode::<Checkpoint>(&what(), &stored)?.position),
            None => Ok(self.definition.begin),
        }
    }
}
