//! A worker: it takes its share of the partitions and works on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventstore_abstractions::{Bytes, Changes, Committed, Durability, Error, Result, SessionId, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Shared;
use super::handler::Handler;
use super::lease::{Claim, Lease};
use super::partition::{Ended, Partition};
use super::records::{LeaseRecord, WorkerRecord};
use crate::record::{decode, encode, scan_all};
use crate::running::Stop;

/// Works until it is told to stop.
///
/// Dropping it ends its tasks where they are; their leases end at their time.
pub(super) async fn work(shared: Arc<Shared>, handler: Arc<dyn Handler>, stop: Stop) -> Result<()> {
    let mut worker = Worker {
        shared,
        handler,
        session: SessionId::generate(),
        partitions: BTreeMap::new(),
        tasks: JoinSet::new(),
        shown_until: None,
    };
    let worked = worker.work(stop).await;
    let left = worker.leave().await;
    worked.and(left)
}

type TaskEnd = (u16, Result<(), Ended>);

struct Worker {
    shared: Arc<Shared>,
    handler: Arc<dyn Handler>,
    session: SessionId,
    /// The partitions that it works on, and what tells each to stop.
    partitions: BTreeMap<u16, watch::Sender<bool>>,
    tasks: JoinSet<TaskEnd>,
    /// Until when others see it.
    shown_until: Option<Timestamp>,
}

impl Worker {
    async fn work(&mut self, mut stop: Stop) -> Result<()> {
        while !stop.now() {
            match self.balance().await {
                // It may work at the next balance.
                Err(error) if error.is_retryable() => {}
                balanced => balanced?,
            }
            self.wait(&mut stop).await?;
        }
        Ok(())
    }

    /// Waits until it is time to balance again, or to stop.
    async fn wait(&mut self, stop: &mut Stop) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let deadline = shared.now().saturating_add(shared.options.balance);
        let mut sleep = std::pin::pin!(shared.sleep_until(deadline));
        loop {
            tokio::select! {
                biased;
                () = stop.told() => return Ok(()),
                Some(end) = self.tasks.join_next() => {
                    self.ended(end.map_err(Error::application)?)?;
                }
                () = &mut sleep => return Ok(()),
            }
        }
    }

    fn ended(&mut self, (partition, end): TaskEnd) -> Result<()> {
        self.partitions.remove(&partition);
        match end {
            Err(Ended::Failed(error)) if !error.is_retryable() => Err(error),
            // Lost, or failed and to be taken again: see `balance`.
            _ => Ok(()),
        }
    }

    /// Shows itself to the other workers, and gives back or takes partitions until it has its share.
    async fn balance(&mut self) -> Result<()> {
        self.shared.check_there().await?;
        let now = self.shared.now();
        self.show(now).await?;
        let workers = self.workers(now).await?;
        let mine = self.shared.keys.worker(self.session);
        let rank = workers.iter().position(|worker| *worker == mine);
        let (rank, count) = (rank.unwrap_or(0), workers.len().max(1));
        let all = usize::from(self.shared.definition.partitions);
        let share = all / count + usize::from(rank < all % count);
        let surplus = self.partitions.len().saturating_sub(share);
        for stop in self.partitions.values().rev().take(surplus) {
            stop.send_replace(true);
        }
        if self.partitions.len() < share {
            // Each begins elsewhere, so that workers that start together do not all want the same ones.
            self.take(share, all * rank / count, now).await?;
        }
        Ok(())
    }

    /// Tells others that it is there.
    async fn show(&mut self, now: Timestamp) -> Result<()> {
        let lease = self.shared.options.lease;
        let half = now.saturating_add(lease / 2);
        if self.shown_until.is_some_and(|until| until > half) {
            return Ok(());
        }
        let until = now.saturating_add(lease);
        let record = WorkerRecord {
            name: self.shared.options.worker.clone(),
            until,
        };
        let key = self.shared.keys.worker(self.session);
        let changes = self.shared.changes().put(key, encode(&record));
        // A conflict is a consumer that was removed: the next balance says so.
        if self
            .shared
            .namespace
            .commit(changes, Durability::Buffered)
            .await?
            == Committed::Applied
        {
            self.shown_until = Some(until);
        }
        Ok(())
    }

    /// The keys of those who work, in the order that all agree on. Those that were not heard of for long are forgotten.
    async fn workers(&self, now: Timestamp) -> Result<Vec<Bytes>> {
        let shared = &self.shared;
        let (prefix, mine) = (shared.keys.workers(), shared.keys.worker(self.session));
        let mut workers = Vec::new();
        for (key, stored) in scan_all(&*shared.namespace, &prefix).await? {
            let what = format!("a worker of consumer {}", shared.name);
            let record: WorkerRecord = decode(&what, &stored)?;
            if key == mine || record.until > now {
                workers.push(key);
            } else if record.until.saturating_add(shared.options.lease) <= now {
                let changes = Changes::new().require_equals(key.clone(), stored).delete(key);
                // A conflict is a worker that is back.
                let _ = shared.namespace.commit(changes, Durability::Buffered).await?;
            }
        }
        if !workers.contains(&mine) {
            workers.push(mine);
        }
        workers.sort_unstable();
        Ok(workers)
    }

    /// Takes free partitions, from `first` on, until it has `share`.
    async fn take(&mut self, share: usize, first: usize, now: Timestamp) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut leases: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        leases.extend(scan_all(&*shared.namespace, &shared.keys.leases()).await?);
        let all = shared.definition.partitions;
        let begin = u16::try_from(first).unwrap_or(0);
        for partition in (begin..all).chain(0..begin) {
            if self.partitions.len() >= share {
                return Ok(());
            }
            if self.partitions.contains_key(&partition) {
                continue;
            }
            let read = leases.get(&shared.keys.lease(partition)).cloned();
            let current = read
                .as_deref()
                .map(|stored| shared.decode_lease(stored))
                .transpose()?;
            // One of its own on which it does not work is left from a failure.
            let held = |lease: &LeaseRecord| lease.is_held(now) && lease.holder != Some(self.session);
            if !current.as_ref().is_some_and(held) {
                self.claim(partition, current, read, now).await?;
            }
        }
        Ok(())
    }

    /// Takes `partition`, unless somebody else is faster, and begins to work on it.
    async fn claim(
        &mut self,
        partition: u16,
        current: Option<LeaseRecord>,
        read: Option<Bytes>,
        now: Timestamp,
    ) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let claim = Claim {
            session: self.session,
            name: shared.options.worker.clone(),
            until: now.saturating_add(shared.options.lease),
        };
        let lease = Lease::claimed(shared.keys.lease(partition), current.as_ref(), &claim);
        let changes = lease.taking(shared.changes(), read);
        // Nobody may ever take a lease with the same token: it is not to be lost in a crash.
        let committed = shared.namespace.commit(changes, Durability::Durable).await?;
        if committed == Committed::Applied {
            let (stop, stopped) = Stop::channel();
            self.partitions.insert(partition, stop);
            let handler = Arc::clone(&self.handler);
            self.tasks.spawn(async move {
                let end = Partition::work(shared, handler, partition, lease, stopped).await;
                (partition, end)
            });
        }
        Ok(())
    }

    /// Gives everything back.
    async fn leave(&mut self) -> Result<()> {
        for stop in self.partitions.values() {
            stop.send_replace(true);
        }
        let mut left = Ok(());
        while let Some(end) = self.tasks.join_next().await {
            let ended = match end {
                // What was handled after the last checkpoint comes again, whether or not the failure passes.
                Ok((_, Err(Ended::Failed(error)))) => Err(error),
                Ok(_) => Ok(()),
                Err(error) => Err(Error::application(error)),
            };
            left = left.and(ended);
        }
        let changes = self
            .shared
            .changes()
            .delete(self.shared.keys.worker(self.session));
        // A conflict is a consumer that was removed, its workers with it.
        let gone = self.shared.namespace.commit(changes, Durability::Buffered).await;
        left.and(gone.map(drop))
    }
}
