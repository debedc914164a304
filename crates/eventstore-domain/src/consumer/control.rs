//! Resets and removes a consumer: explicitly, and not under the hands of its workers unless told to.

use eventstore_abstractions::{
    Changes, Committed, Durability, Error, Position, Result, SessionId, Timestamp,
};

use super::lease::{Claim, Lease};
use super::records::{Checkpoint, Definition};
use super::status::Holder;
use super::{Begin, Consumer, Shared};
use crate::record::encode;

/// Keys that are deleted in one commit, beside the requirements of the leases: some backends accept about a hundred.
const PAGE: usize = 64;
/// How often leases are taken anew when workers change them at the same time.
const MAX_TRIES: usize = 100;

/// What to do when workers have partitions.
///
/// See [`Consumer::reset`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenHeld {
    /// Do nothing and say who has them.
    #[default]
    Refuse,
    /// Take the partitions from them: they move no checkpoint any more, but may end to handle the event in hand.
    TakeOver,
}

impl Consumer {
    /// Sets all its checkpoints to `to`, and discards what is parked: what comes again must not wait for that.
    ///
    /// Workers that lost their partitions take them again and begin there.
    ///
    /// ```
    /// use eventstore_abstractions::EventStoreProviderExt;
    /// use eventstore_domain::consumer::{Begin, Consumer, ConsumerName, ConsumerOptions, WhenHeld};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventstore_abstractions::Result<()> {
    /// let log = eventstores::connect("memory:").await?.default_log();
    /// let consumer = Consumer::open(log, ConsumerName::new("mailer")?, ConsumerOptions::default()).await?;
    /// consumer.reset(Begin::Start, WhenHeld::Refuse).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when workers have partitions and are not to lose them, or the consumer was removed.
    /// After another error it may be done in part: reset again.
    pub async fn reset(&self, to: Begin, when_held: WhenHeld) -> Result<()> {
        let shared = &*self.shared;
        let position = match to {
            Begin::Start => Position::ZERO,
            Begin::End => shared.log.head().await?,
            Begin::After(position) => position,
        };
        let checkpoint = encode(&Checkpoint { position });
        let leases = shared.take_all(when_held, |changes, partition| {
            changes.put(shared.keys.checkpoint(partition), checkpoint.clone())
        });
        let leases = leases.await?;
        shared.delete(&shared.keys.parked(), &leases).await?;
        let changes = leases.iter().fold(Changes::new(), |changes, lease| {
            lease.release(lease.require(changes))
        });
        match shared.namespace.commit(changes, Durability::Durable).await? {
            Committed::Applied => Ok(()),
            Committed::Conflict => Err(shared.overtaken()),
        }
    }

    /// Removes the consumer with all that is stored of it. Its workers end with an error.
    ///
    /// ```
    /// # use eventstore_abstractions::EventStoreProviderExt;
    /// # use eventstore_domain::consumer::{Consumer, ConsumerName, ConsumerOptions, WhenHeld};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> eventstore_abstractions::Result<()> {
    /// # let log = eventstores::connect("memory:").await?.default_log();
    /// # let name = ConsumerName::new("mailer")?;
    /// # Consumer::open(log.clone(), name.clone(), ConsumerOptions::default()).await?;
    /// if let Some(consumer) = Consumer::find(log.clone(), name).await? {
    ///     consumer.remove(WhenHeld::Refuse).await?;
    /// }
    /// assert!(Consumer::list(&*log).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when workers have partitions and are not to lose them, or it was removed already. After
    /// another error it may be done in part: find it and remove it again.
    pub async fn remove(self, when_held: WhenHeld) -> Result<()> {
        let shared = &*self.shared;
        let key = shared.keys.definition();
        if !shared.definition.removing {
            let removing = encode(&Definition {
                removing: true,
                ..shared.definition.clone()
            });
            // From here on nobody takes a lease: that requires the definition as it was.
            let marked = shared.take_all(when_held, |changes, _| changes.put(key.clone(), removing.clone()));
            marked.await?;
        }
        shared.delete(shared.keys.all(), &[]).await
    }
}

impl Shared {
    /// Takes the leases of all partitions, in one commit with the changes that `with` adds for each.
    async fn take_all(
        &self,
        when_held: WhenHeld,
        with: impl Fn(Changes, u16) -> Changes + Send,
    ) -> Result<Vec<Lease>> {
        for _ in 0..MAX_TRIES {
            self.check_there().await?;
            let now = self.now();
            let claim = Claim {
                session: SessionId::generate(),
                name: format!("{} (reset or removal)", self.options.worker),
                until: now.saturating_add(self.options.lease),
            };
            let (mut leases, mut changes) = (Vec::new(), self.changes());
            for partition in 0..self.definition.partitions {
                let (current, read) = self.lease(partition).await?;
                let lease = Lease::claimed(self.keys.lease(partition), current.as_ref(), &claim);
                changes = with(lease.taking(changes, read), partition);
                leases.push(lease);
                if when_held == WhenHeld::Refuse
                    && let Some(holder) = Holder::of(current, now)
                {
                    return Err(self.held(partition, &holder, now));
                }
            }
            match self.namespace.commit(changes, Durability::Durable).await? {
                Committed::Applied => return Ok(leases),
                // A worker has renewed a lease, or taken one.
                Committed::Conflict => tokio::task::yield_now().await,
            }
        }
        Err(self.overtaken())
    }

    /// Deletes all keys that begin with `prefix` while `leases` are held, the definition last.
    async fn delete(&self, prefix: &[u8], leases: &[Lease]) -> Result<()> {
        let definition = self.keys.definition();
        loop {
            let page = self.namespace.scan(prefix, None, PAGE).await?;
            if page.is_empty() {
                return Ok(());
            }
            let others = page.iter().filter(|(key, _)| *key != definition);
            let mut keys: Vec<_> = others.map(|(key, _)| key.clone()).collect();
            if keys.is_empty() {
                keys.push(definition.clone());
            }
            let changes = leases
                .iter()
                .fold(Changes::new(), |changes, lease| lease.require(changes));
            let changes = keys.into_iter().fold(changes, Changes::delete);
            if self.namespace.commit(changes, Durability::Durable).await? == Committed::Conflict {
                return Err(self.overtaken());
            }
        }
    }

    fn held(&self, partition: u16, holder: &Holder, now: Timestamp) -> Error {
        Error::invalid(format!(
            "partition {partition} of consumer {} is held by {} until {} (it is {now}); stop its workers first, \
             or take over",
            self.name, holder.worker, holder.until
        ))
    }

    fn overtaken(&self) -> Error {
        Error::Unavailable {
            reason: format!("workers of consumer {} took partitions meanwhile", self.name),
            source: None,
        }
    }
}
