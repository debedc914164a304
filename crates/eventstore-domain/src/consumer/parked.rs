//! Events that were set aside: listed, replayed, discarded.

use std::collections::HashSet;
use std::pin::pin;

use eventstore_abstractions::{
    Bytes, Changes, Committed, Durability, Error, LogReadOptions, RecordedEvent, Result, SessionId, StreamId,
};

use super::handler::{Handler, error_text, handle_guarded};
use super::keys::partition_of;
use super::lease::{Claim, Lease};
use super::records::{Failure, LeaseRecord, ParkedEvent};
use super::{Consumer, Shared};
use crate::record::{decode, encode};

/// Parked events that are read at a time: a page is read again after each stream.
const PAGE: usize = 32;

/// Which parked events are meant.
///
/// See [`ParkedEvent`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parked {
    /// All.
    All,
    /// Those of one stream.
    Of(StreamId),
}

/// What a replay did.
///
/// See [`Consumer::replay`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Events that were handled, and are parked no more.
    pub handled: u64,
    /// Events that failed again: at most one of each stream, whose later events stay parked behind it.
    pub failed: u64,
}

impl Consumer {
    /// Up to `limit` parked events after `after`: stream by stream, those of a stream in order. Fewer than `limit` may
    /// be returned, but none only at the end.
    ///
    /// See [`ParkedEvent`] for an example.
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn parked(
        &self,
        which: &Parked,
        after: Option<&ParkedEvent>,
        limit: usize,
    ) -> Result<Vec<ParkedEvent>> {
        let shared = &self.shared;
        let prefix = shared.prefix(which);
        let after = after.map(|parked| shared.parked_key(parked));
        let mut page = Vec::new();
        let mut cursor = after;
        while page.is_empty() {
            let entries = shared.namespace.scan(&prefix, cursor.as_deref(), limit).await?;
            let Some((last, _)) = entries.last() else { break };
            cursor = Some(last.clone());
            for (_, stored) in &entries {
                let parked = shared.decode_parked(stored)?;
                if which.means(&parked) {
                    page.push(parked);
                }
            }
        }
        Ok(page)
    }

    /// Hands parked events to `handler`, those of a stream in order, each once. An event that is handled is parked no
    /// more; of a stream whose event fails again the later ones stay where they are.
    ///
    /// Workers go on meanwhile: what comes in a stream that has parked events is parked, too, and replayed with them.
    ///
    /// ```no_run
    /// # use eventstore_domain::consumer::{Consumer, Handler, Parked};
    /// async fn replay(consumer: &Consumer, handler: &dyn Handler) -> eventstore_abstractions::Result<()> {
    ///     let replayed = consumer.replay(&Parked::All, handler).await?;
    ///     println!("{} handled, {} failed again", replayed.handled, replayed.failed);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when another replay of the same partition goes on; as the storage fails. What was
    /// handled before stays so.
    pub async fn replay(&self, which: &Parked, handler: &dyn Handler) -> Result<Replayed> {
        let shared = &*self.shared;
        let partitions = match which {
            Parked::All => 0..shared.definition.partitions,
            Parked::Of(stream) => {
                let partition = partition_of(stream, shared.definition.partitions);
                partition..partition + 1
            }
        };
        let mut replayed = Replayed::default();
        for partition in partitions {
            let prefix = shared.keys.parked_in(partition);
            if !shared.namespace.scan(&prefix, None, 1).await?.is_empty() {
                let mut replay = Replay::begin(shared, handler, partition).await?;
                let outcome = replay.run(which, &mut replayed).await;
                // Its lease ends by itself if it cannot be given back.
                let released = replay.end().await;
                outcome.and(released)?;
            }
        }
        Ok(replayed)
    }

    /// Discards parked events without handling them, and says how many.
    ///
    /// See [`discard_event`](Self::discard_event) for an example.
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn discard(&self, which: &Parked) -> Result<u64> {
        let mut discarded = 0;
        loop {
            let page = self.parked(which, None, PAGE).await?;
            if page.is_empty() {
                return Ok(discarded);
            }
            for parked in &page {
                discarded += u64::from(self.discard_event(parked).await?);
            }
        }
    }

    /// Discards one parked event, and says whether it was still there. The later ones of its stream stay parked until
    /// they are replayed or discarded.
    ///
    /// ```no_run
    /// # use eventstore_domain::consumer::{Consumer, Parked};
    /// # use eventstore_abstractions::StreamId;
    /// async fn give_up(consumer: &Consumer, stream: StreamId) -> eventstore_abstractions::Result<()> {
    ///     let stream = Parked::Of(stream);
    ///     if let [first, ..] = &consumer.parked(&stream, None, 1).await?[..] {
    ///         consumer.discard_event(first).await?; // The one that failed.
    ///     }
    ///     let others = consumer.discard(&stream).await?;
    ///     println!("{others} events that waited behind it were discarded, too");
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As the storage fails.
    pub async fn discard_event(&self, parked: &ParkedEvent) -> Result<bool> {
        let key = self.shared.parked_key(parked);
        let Some(stored) = self.shared.namespace.get(&key).await? else {
            return Ok(false);
        };
        let changes = Changes::new().require_equals(key.clone(), stored).delete(key);
        let committed = self.shared.namespace.commit(changes, Durability::Durable).await?;
        Ok(committed == Committed::Applied)
    }
}

impl Parked {
    fn means(&self, parked: &ParkedEvent) -> bool {
        match self {
            Self::All => true,
            Self::Of(stream) => parked.stream == *stream,
        }
    }
}

impl Shared {
    fn prefix(&self, which: &Parked) -> Bytes {
        match which {
            Parked::All => self.keys.parked(),
            Parked::Of(stream) => {
                let partition = partition_of(stream, self.definition.partitions);
                self.keys.parked_of(partition, stream)
            }
        }
    }

    fn parked_key(&self, parked: &ParkedEvent) -> Bytes {
        self.keys
            .parked_event(parked.partition, &parked.stream, parked.position)
    }

    fn decode_parked(&self, stored: &[u8]) -> Result<ParkedEvent> {
        decode(&format!("a parked event of consumer {}", self.name), stored)
    }
}

/// The streams of `partition` that have parked events.
pub(super) async fn streams(shared: &Shared, partition: u16) -> Result<HashSet<StreamId>> {
    let prefix = shared.keys.parked_in(partition);
    let mut streams = HashSet::new();
    let mut after: Option<Bytes> = None;
    loop {
        let page = shared.namespace.scan(&prefix, after.as_deref(), PAGE).await?;
        for (_, stored) in &page {
            streams.insert(shared.decode_parked(stored)?.stream);
        }
        match page.last() {
            Some((key, _)) => after = Some(key.clone()),
            None => return Ok(streams),
        }
    }
}

/// A parked event of `stream`, as it is stored, if there is one.
pub(super) async fn any_of(
    shared: &Shared,
    partition: u16,
    stream: &StreamId,
) -> Result<Option<(Bytes, Bytes)>> {
    let prefix = shared.keys.parked_of(partition, stream);
    let mut after: Option<Bytes> = None;
    loop {
        let page = shared.namespace.scan(&prefix, after.as_deref(), PAGE).await?;
        for (key, stored) in &page {
            // Another stream can have the same hash.
            if shared.decode_parked(stored)?.stream == *stream {
                return Ok(Some((key.clone(), stored.clone())));
            }
        }
        match page.last() {
            Some((key, _)) => after = Some(key.clone()),
            None => return Ok(None),
        }
    }
}

/// A replay of the parked events of a partition. It has a lease of its own, so that two replays do not disorder a
/// stream.
struct Replay<'a> {
    shared: &'a Shared,
    handler: &'a dyn Handler,
    partition: u16,
    lease: Lease,
}

impl<'a> Replay<'a> {
    async fn begin(shared: &'a Shared, handler: &'a dyn Handler, partition: u16) -> Result<Self> {
        let key = shared.keys.replay(partition);
        let read = shared.namespace.get(&key).await?;
        let current: Option<LeaseRecord> = read
            .as_deref()
            .map(|stored| shared.decode_lease(stored))
            .transpose()?;
        let now = shared.now();
        let claim = Claim {
            session: SessionId::generate(),
            name: shared.options.worker.clone(),
            until: now.saturating_add(shared.options.lease),
        };
        let lease = Lease::claimed(key, current.as_ref(), &claim);
        let busy = match current {
            Some(current) if current.is_held(now) => {
                Some(format!("{} until {}", current.name, current.until))
            }
            _ => {
                let changes = lease.taking(shared.changes(), read);
                match shared.namespace.commit(changes, Durability::Buffered).await? {
                    Committed::Applied => None,
                    Committed::Conflict => Some("somebody else".to_owned()),
                }
            }
        };
        match busy {
            None => Ok(Self {
                shared,
                handler,
                partition,
                lease,
            }),
            Some(by) => Err(Error::invalid(format!(
                "parked events of partition {partition} of consumer {} are being replayed by {by}; wait for its end",
                shared.name
            ))),
        }
    }

    /// Replays stream by stream.
    async fn run(&mut self, which: &Parked, replayed: &mut Replayed) -> Result<()> {
        let (shared, prefix) = (self.shared, self.prefix(which));
        let mut failed: HashSet<StreamId> = HashSet::new();
        let mut after: Option<Bytes> = None;
        loop {
            let page = shared.namespace.scan(&prefix, after.as_deref(), PAGE).await?;
            let Some((first, _)) = page.first() else {
                return Ok(());
            };
            // The page is read again after each stream, or what is parked behind it meanwhile would be missed.
            let hash = first[..first.len() - size_of::<u64>()].to_vec();
            for (key, stored) in page.iter().take_while(|(key, _)| key.starts_with(&hash)) {
                let parked = shared.decode_parked(stored)?;
                if which.means(&parked) && !failed.contains(&parked.stream) {
                    match self.replay(key, stored, &parked).await? {
                        Ok(()) => replayed.handled += 1,
                        Err(()) => {
                            replayed.failed += 1;
                            failed.insert(parked.stream);
                        }
                    }
                }
                after = Some(key.clone());
            }
        }
    }

    fn prefix(&self, which: &Parked) -> Bytes {
        match which {
            Parked::All => self.shared.keys.parked_in(self.partition),
            Parked::Of(_) => self.shared.prefix(which),
        }
    }

    /// Hands one event to the handler, and stores what became of it.
    async fn replay(&mut self, key: &Bytes, stored: &Bytes, parked: &ParkedEvent) -> Result<Result<(), ()>> {
        let outcome = match self.event(parked).await? {
            Some(event) => self.attempt(&event).await?,
            // It was removed from its stream since: nothing is left to handle.
            None => Ok(()),
        };
        let changes = self.lease.changes().require_equals(key.clone(), stored.clone());
        let changes = match &outcome {
            Ok(()) => changes.delete(key.clone()),
            Err(error) => {
                let before = parked.failure.as_ref().map_or(0, |failure| failure.attempts);
                let failure = Some(Failure {
                    error: error.clone(),
                    attempts: before.saturating_add(1),
                });
                let parked = ParkedEvent {
                    failure,
                    ..parked.clone()
                };
                changes.put(key.clone(), encode(&parked))
            }
        };
        let committed = self.shared.namespace.commit(changes, Durability::Durable).await?;
        // Somebody may have discarded the event meanwhile.
        if committed == Committed::Conflict && !self.lease.is_held(&*self.shared.namespace).await? {
            return Err(self.lost());
        }
        Ok(outcome.map_err(drop))
    }

    async fn event(&self, parked: &ParkedEvent) -> Result<Option<RecordedEvent>> {
        let options = LogReadOptions::forward_from(parked.position).limit(1);
        let event = self.shared.log.read_all(options).next().await.transpose()?;
        match event {
            Some(event) if event.position == parked.position => {
                Ok(Some(event).filter(|event| !event.is_removed()))
            }
            _ => Err(Error::Corrupt {
                reason: format!(
                    "the log has no event at position {}, which is parked",
                    parked.position
                ),
                source: None,
            }),
        }
    }

    /// Handles `event` once, and keeps the lease meanwhile.
    async fn attempt(&mut self, event: &RecordedEvent) -> Result<Result<(), String>> {
        let shared = self.shared;
        self.renew_if_due().await?;
        let mut handling = pin!(handle_guarded(self.handler, event));
        loop {
            let renew_at = shared.renew_at(&self.lease);
            tokio::select! {
                biased;
                outcome = &mut handling => return Ok(outcome.map_err(|error| error_text(&error))),
                () = shared.sleep_until(renew_at) => self.renew_if_due().await?,
            }
        }
    }

    async fn renew_if_due(&mut self) -> Result<()> {
        match self.lease.keep(self.shared).await? {
            true => Ok(()),
            false => Err(self.lost()),
        }
    }

    fn lost(&self) -> Error {
        Error::invalid(format!(
            "another replay of parked events of consumer {} took over; let it go on alone",
            self.shared.name
        ))
    }

    async fn end(self) -> Result<()> {
        let changes = self.lease.release(self.lease.changes());
        // Whoever took it over has it.
        let _ = self
            .shared
            .namespace
            .commit(changes, Durability::Buffered)
            .await?;
        Ok(())
    }
}
