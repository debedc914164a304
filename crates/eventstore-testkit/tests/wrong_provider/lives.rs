//! Providers that keep too much of a stream, or too little, or tell it wrongly.

use std::collections::{BTreeMap, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventstore_abstractions::{
    Appended, Deletion, Error, EventLog, EventMessage, EventStream, ExpectedVersion, IdempotencyKey,
    LogReadOptions, ReadOptions, Replay, Result, Retention, Scavenged, Selection, Snapshot, StreamId,
    Timestamp, Version,
};
use futures_util::stream::TryStreamExt;

use crate::right::Right;
use crate::wrong::{Wrong, wrong};

wrong! {
    KeepsOneMore: set_retention |right, retention| {
        let mut retention = retention;
        retention.max_count = retention.max_count.map(|most| most + 1);
        right.log.set_retention(&right.stream, retention).await
    };
    CorrectsRetentions: set_retention |right, retention| {
        let mut retention = retention;
        let next = right.version().await?.next();
        retention.max_count = retention.max_count.map(|most| most.max(1));
        retention.truncate_before = retention.truncate_before.map(|first| first.min(next));
        right.log.set_retention(&right.stream, retention).await
    };
    ReadsNothingFromBelowTheFirst: read |right, options| match options.selection {
        Selection::Slice { first, .. }
            if first > Version::FIRST && first < right.log.stream_info(&right.stream).await?.first =>
        {
            Ok(Replay { snapshot: None, events: EventStream::from_events([]) })
        }
        _ => right.read(options).await,
    };
    TakesRemovedEventsForLost: read |right, options| {
        let replay = right.read(options).await?;
        let mut before = None;
        let events = replay.events.and_then(move |event| {
            let is_next = |before: u64| before.abs_diff(event.version.get()) == 1;
            let follows = before.replace(event.version.get()).is_none_or(is_next);
            let lost = || Error::Corrupt { reason: "an event is missing".to_owned(), source: None };
            ready(if follows { Ok(event) } else { Err(lost()) })
        });
        Ok(Replay { snapshot: replay.snapshot, events: EventStream::new(events) })
    };
    DeletesByTruncating: delete_stream |right, expected, deletion| match deletion {
        Deletion::Soft => {
            let retention = Retention::default().truncate_before(right.version().await?.next());
            right.log.set_retention(&right.stream, retention).await
        }
        Deletion::Hard => right.log.delete_stream(&right.stream, expected, deletion).await,
    };
    DeletesSoftly: delete_stream |right, expected, _deletion| {
        right.log.delete_stream(&right.stream, expected, Deletion::Soft).await
    };
    DeletesWhateverIsThere: delete_stream |right, _expected, deletion| {
        right.log.delete_stream(&right.stream, ExpectedVersion::Any, deletion).await
    };
    ScavengesNothing: scavenge |right, _events| {
        let mut done = Scavenged::default();
        done.position = right.head().await?;
        done.is_complete = true;
        Ok(done)
    };
    ScavengesAllAtOnce: scavenge |right, events| right.scavenge(events.saturating_mul(1_000)).await;
    ScavengesAllButTheNewest: scavenge |right, events| {
        let all = right.read_all(LogReadOptions::forward()).collect().await?;
        let streams = all.into_iter().map(|event| (event.stream.clone(), event.version));
        for (stream, newest) in streams.collect::<BTreeMap<_, _>>() {
            let retention = Retention::default().truncate_before(newest);
            match right.set_retention(&stream, retention).await {
                Ok(()) | Err(Error::StreamDeleted { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        right.scavenge(events).await
    };
    LeavesOutRemovedEvents: read_all |right, options| {
        EventStream::new(right.read_all(options).try_filter(|event| ready(!event.is_removed())))
    };
}

/// Leaves events out of reads only once they are removed.
#[derive(Debug, Default)]
pub(crate) struct HidesOnlyWhenScavenging(Mutex<HashMap<StreamId, Retention>>);

#[async_trait]
impl Wrong for HidesOnlyWhenScavenging {
    async fn set_retention(&self, right: &Right, retention: Retention) -> Result<()> {
        let mut asked = self.0.lock().expect("no panic under the lock");
        asked.insert(right.stream.clone(), retention);
        Ok(())
    }

    async fn scavenge(&self, right: &Arc<dyn EventLog>, events: u64) -> Result<Scavenged> {
        let asked = std::mem::take(&mut *self.0.lock().expect("no panic under the lock"));
        for (stream, retention) in asked {
            right.set_retention(&stream, retention).await?;
        }
        right.scavenge(events).await
    }
}

/// Begins a replay with the newest snapshot that was ever taken, whatever is kept of the events after it.
#[derive(Debug, Default)]
pub(crate) struct UsesSnapshotsBelowGaps(Mutex<BTreeMap<Version, EventMessage>>);

#[async_trait]
impl Wrong for UsesSnapshotsBelowGaps {
    async fn snapshot(&self, right: &Right, version: Version, message: EventMessage) -> Result<()> {
        right.snapshot(version, message.clone()).await?;
        self.0
            .lock()
            .expect("no panic under the lock")
            .insert(version, message);
        Ok(())
    }

    async fn read(&self, right: &Right, options: ReadOptions) -> Result<Replay> {
        let replay = right.read(options).await?;
        let Selection::Replay {
            as_of,
            snapshots: true,
        } = options.selection
        else {
            return Ok(replay);
        };
        let taken = self.0.lock().expect("no panic under the lock");
        let newest = taken.range(..=as_of.unwrap_or(Version::MAX)).next_back();
        let snapshot = newest
            .map(|(version, message)| Snapshot::new(*version, Timestamp::from_micros(0), message.clone()));
        Ok(Replay { snapshot, ..replay })
    }
}

/// Answers for an id what it was appended with, also when it is removed.
#[derive(Debug, Default)]
pub(crate) struct RemembersWhereIdsWere(Mutex<HashMap<IdempotencyKey, Appended>>);

#[async_trait]
impl Wrong for RemembersWhereIdsWere {
    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: eventstore_abstractions::AppendOptions,
    ) -> Result<Appended> {
        let ids = events.iter().map(|event| event.id().into()).collect::<Vec<_>>();
        let appended = right.append(events, options).await?;
        let mut remembered = self.0.lock().expect("no panic under the lock");
        remembered.extend(ids.into_iter().map(|id| (id, appended)));
        Ok(appended)
    }

    async fn find_append(&self, right: &Right, key: &IdempotencyKey) -> Result<Appended> {
        let known = self.0.lock().expect("no panic under the lock").get(key).copied();
        match known {
            Some(appended) => Ok(appended),
            None => right.find_append(key).await,
        }
    }
}
