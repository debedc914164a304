//! Short forms of what a session does.

use async_trait::async_trait;

use crate::{
    AppendOptions, Appended, Error, EventMessage, EventStore, History, ReadOptions, RecordedEvent, Result,
    Snapshot, Version,
};

/// Computes the state at a version from the snapshot before it and the events since: see
/// [`EventStoreExt::snapshot_all`].
type Fold<'a> = dyn FnMut(Option<&Snapshot>, &[RecordedEvent]) -> Result<EventMessage> + Send + 'a;

/// Short forms of what an [`EventStore`] does.
///
/// See [`EventStore`] for an example.
#[async_trait]
pub trait EventStoreExt: EventStore {
    /// Appends `events` durably, all or nothing.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// let events = [EventMessage::json("Opened", &())?, EventMessage::json("Deposited", &500)?];
    /// assert_eq!(store.append(events).await?.version, Version::new(2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`append_with`](EventStore::append_with).
    async fn append<I>(&self, events: I) -> Result<Appended>
    where
        I: IntoIterator<Item = EventMessage> + Send,
    {
        let events = events.into_iter().collect();
        self.append_with(events, AppendOptions::default()).await
    }

    /// The newest snapshot, if any, and the events after it, in memory.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// # store.append([EventMessage::json("Opened", &())?]).await?;
    /// let history = store.read().await?;
    /// assert_eq!((history.snapshot.is_none(), history.events.len()), (true, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read(&self) -> Result<History> {
        self.read_with(ReadOptions::replay()).await?.collect().await
    }

    /// All events from version 1, in memory.
    ///
    /// See [`read_as_of`](Self::read_as_of) for an example.
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read_without_snapshots(&self) -> Result<Vec<RecordedEvent>> {
        self.read_with(ReadOptions::replay().without_snapshots())
            .await?
            .events
            .collect()
            .await
    }

    /// The state as of `version`: the newest snapshot not above it and the events up to it, in memory.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// # let deposits = (0..5).map(|_| EventMessage::json("Deposited", &1)).collect::<Result<Vec<_>>>()?;
    /// # store.append(deposits).await?;
    /// store.snapshot(Version::new(2), EventMessage::json("Balance", &2)?).await?;
    /// let then = store.read_as_of(Version::new(4)).await?;
    /// assert_eq!(then.snapshot.map(|snapshot| snapshot.version), Some(Version::new(2)));
    /// assert_eq!(then.events.len(), 2);
    ///
    /// assert_eq!(store.read_without_snapshots().await?.len(), 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read_as_of(&self, version: Version) -> Result<History> {
        self.read_with(ReadOptions::as_of(version)).await?.collect().await
    }

    /// The events numbered `first` to `last`, both included, in memory; those that there are.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// # let deposits = (0..5).map(|_| EventMessage::json("Deposited", &1)).collect::<Result<Vec<_>>>()?;
    /// # store.append(deposits).await?;
    /// let events = store.read_slice(Version::new(4), Version::new(100)).await?;
    /// assert_eq!(events.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read_with`](EventStore::read_with).
    async fn read_slice(&self, first: Version, last: Version) -> Result<Vec<RecordedEvent>> {
        self.read_with(ReadOptions::slice(first, last))
            .await?
            .events
            .collect()
            .await
    }

    /// The version of the newest snapshot: 0 when there is none.
    ///
    /// See [`snapshot_all`](Self::snapshot_all) for an example.
    ///
    /// # Errors
    /// As [`read_snapshot`](EventStore::read_snapshot).
    async fn last_snapshot_version(&self) -> Result<Version> {
        Ok(self
            .read_snapshot(Version::MAX)
            .await?
            .map_or(Version::ZERO, |snapshot| snapshot.version))
    }

    /// Takes a snapshot at `interval`, 2 · `interval` and so on, up to the stream's version.
    ///
    /// `fold` is called once per snapshot, in order, with the snapshot before it and the `interval`
    /// events since, and returns the state: every event is read and folded once. Each snapshot is a
    /// commit of its own, so that those taken before an error stay. Returns how many were taken. The
    /// snapshot that `fold` is given says that it was taken when its last event was recorded.
    ///
    /// ```
    /// # use eventstore_abstractions::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// # let provider = eventstores::connect("memory:").await?;
    /// # let alice = StreamId::new("account", "alice")?;
    /// # let store = provider.open(&alice).await?;
    /// use eventstore_abstractions::typed::{DomainEvent, Json, PayloadCodec};
    ///
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// struct Balance { cents: u64 }
    /// impl DomainEvent for Balance {
    ///     const TYPE_NAME: &'static str = "Balance";
    /// }
    ///
    /// let deposits = (0..25).map(|_| EventMessage::json("Deposited", &1u64)).collect::<Result<Vec<_>>>()?;
    /// store.append(deposits).await?;
    /// let taken = store
    ///     .snapshot_all(10, |previous, events| {
    ///         let previous = previous.map(|snapshot| snapshot.decode::<Balance>(&Json)).transpose()?;
    ///         let mut balance = previous.flatten().unwrap_or_default();
    ///         for event in events {
    ///             balance.cents += Json.decode::<u64>(&event.message.payload)?;
    ///         }
    ///         EventMessage::of(&balance)
    ///     })
    ///     .await?;
    /// assert_eq!((taken, store.last_snapshot_version().await?), (2, Version::new(20)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// **Contract**
    /// - `snapshot_all_folds_state_and_events`: in order, from the snapshot before.
    /// - `snapshot_all_reads_every_event_once`: and no event that no snapshot is of.
    /// - `snapshot_interval_of_zero_is_invalid`: in a session that is not over.
    /// - `failing_fold_keeps_what_was_taken`: before it failed.
    ///
    /// # Errors
    /// Those of the session check; [`Error::InvalidInput`] when `interval` is 0; what `fold` returns (see
    /// [`Error::application`]).
    async fn snapshot_all<F>(&self, interval: u64, mut fold: F) -> Result<u64>
    where
        F: FnMut(Option<&Snapshot>, &[RecordedEvent]) -> Result<EventMessage> + Send,
    {
        snapshot_all(self, interval, &mut fold).await
    }
}

impl<T: EventStore + ?Sized> EventStoreExt for T {}

async fn snapshot_all<S: EventStore + ?Sized>(store: &S, interval: u64, fold: &mut Fold<'_>) -> Result<u64> {
    // It checks the session before the arguments, as every operation does.
    let version = store.version().await?;
    if interval == 0 {
        return Err(Error::invalid(
            "an interval of 0 events takes no snapshots; use 1 or more",
        ));
    }
    let last = Version::new(version.get() - version.get() % interval);
    let mut events = store
        .read_with(ReadOptions::slice(Version::FIRST, last))
        .await?
        .events;
    let mut previous: Option<Snapshot> = None;
    let mut since = Vec::new();
    let mut taken = 0;
    while let Some(event) = events.next().await {
        let event = event?;
        let version = event.version;
        let recorded_at = event.recorded_at;
        since.push(event);
        if version.get() % interval == 0 {
            let message = fold(previous.as_ref(), &since)?;
            store.snapshot(version, message.clone()).await?;
            previous = Some(Snapshot::new(version, recorded_at, message));
            since.clear();
            taken += 1;
        }
    }
    Ok(taken)
}
