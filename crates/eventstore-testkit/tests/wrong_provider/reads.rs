//! Providers that read streams wrongly.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use eventstore_abstractions::{
    Direction, Error, EventLog, EventStream, History, LogReadOptions, ReadOptions, RecordedEvent, Replay,
    Result, Selection, Snapshot, StreamId, Version,
};
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};

use crate::right::Right;
use crate::wrong::{Wrong, wrong};

const EVERY_EVENT: fn() -> ReadOptions = || ReadOptions::replay().without_snapshots();

wrong! {
    AbsentStreamIsAnError: read |right, options| match right.version().await? {
        Version::ZERO => Err(Error::VersionNotFound {
            stream: right.stream.clone(),
            version: Version::FIRST,
            current: Version::ZERO,
        }),
        _ => right.read(options).await,
    };
    LosesTheEventAfterEachPage: read |right, options| {
        let lost = move |index: usize| index % (options.page_size + 1) == options.page_size;
        Ok(with_events(right.read(options).await?, |events| {
            events.enumerate().filter_map(move |(index, event)| ready((!lost(index)).then_some(event)))
        }))
    };
    ReadsAllAheadFromTheThirdPage: read |right, options| {
        let Replay { snapshot, events } = right.read(options).await?;
        let rest = (events, VecDeque::new(), 0);
        let read = stream::try_unfold(rest, move |(mut events, mut ahead, taken)| async move {
            if taken == 2 * options.page_size {
                while let Some(event) = events.next().await {
                    ahead.push_back(event?);
                }
            }
            let next = match ahead.pop_front() {
                Some(event) => Some(event),
                None => events.next().await.transpose()?,
            };
            Ok(next.map(|event| (event, (events, ahead, taken + 1))))
        });
        Ok(Replay { snapshot, events: EventStream::new(read) })
    };
    BeginsAtTheFirstPoll: read |right, options| {
        let right = right.clone();
        let read = async move { right.read(options).await.map(|replay| replay.events) };
        Ok(Replay { snapshot: None, events: EventStream::new(stream::once(read).try_flatten()) })
    };
    UsesTheOldestSnapshot: read |right, options| match options.selection {
        Selection::Replay { as_of, snapshots: true } => {
            let oldest = right.snapshot_versions().await?.first().copied().unwrap_or_default();
            let oldest = right.read_snapshot(oldest).await?;
            replay_from(right, oldest, as_of).await
        }
        _ => right.read(options).await,
    };
    UsesTheNewestSnapshotAlways: read |right, options| match options.selection {
        Selection::Replay { as_of, snapshots: true } => {
            let newest = right.read_snapshot(Version::MAX).await?;
            replay_from(right, newest, as_of).await
        }
        _ => right.read(options).await,
    };
    UsesSnapshotsUnasked: read |right, options| {
        let selection = match options.selection {
            Selection::Replay { as_of, .. } => Selection::Replay { as_of, snapshots: true },
            slice => slice,
        };
        right.read(selecting(options, selection)).await
    };
    ReadsAsOfTheHeadAtMost: read |right, options| {
        let selection = match options.selection {
            Selection::Replay { as_of: Some(version), snapshots } => {
                Selection::Replay { as_of: Some(version.min(right.version().await?)), snapshots }
            }
            selection => selection,
        };
        right.read(selecting(options, selection)).await
    };
    SliceExcludesItsEnd: read |right, options| {
        let selection = match options.selection {
            Selection::Slice { first, last, direction } => {
                Selection::Slice { first, last: Version::new(last.get().saturating_sub(1)), direction }
            }
            replay => replay,
        };
        right.read(selecting(options, selection)).await
    };
    BackwardIsForward: read |right, options| {
        let selection = match options.selection {
            Selection::Slice { first, last, .. } => {
                Selection::Slice { first, last, direction: Direction::Forward }
            }
            replay => replay,
        };
        right.read(selecting(options, selection)).await
    };
    ReadsWhatTheSnapshotReplaces: read |right, options| match options.selection {
        Selection::Replay { as_of, snapshots: true } => {
            let snapshot = right.read_snapshot(as_of.unwrap_or(Version::MAX)).await?;
            let replaced = snapshot.as_ref().map(|snapshot| snapshot.version).unwrap_or_default();
            let replay = right.read(options.without_snapshots()).await?;
            let replay = with_events(replay, |events| {
                events.try_filter(move |event| ready(event.version > replaced))
            });
            Ok(Replay { snapshot, ..replay })
        }
        _ => right.read(options).await,
    };
    NeedsAnEventAfterTheSnapshot: read |right, options| {
        let replay = right.read(options).await?;
        match &replay.snapshot {
            Some(snapshot) if snapshot.version == right.version().await? => Err(Error::VersionNotFound {
                stream: right.stream.clone(),
                version: snapshot.version.next(),
                current: snapshot.version,
            }),
            _ => Ok(replay),
        }
    };
    LeavesOutTheFirstEvent: read |right, options| {
        Ok(with_events(right.read(options).await?, |events| {
            events.try_filter(|event| ready(event.version > Version::FIRST))
        }))
    };
    NeedsASession: read |right, options| {
        if right.session.is_none() {
            // An append is refused while another has the session, also one of no event.
            right.append(Vec::new(), eventstore_abstractions::AppendOptions::default()).await?;
        }
        right.read(options).await
    };
    DoesNotNameTheDamage: read |right, options| {
        Ok(with_events(right.read(options).await?, |events| {
            events.map_err(|error| match error {
                Error::Corrupt { source, .. } => {
                    Error::Corrupt { reason: "a record is damaged".to_owned(), source }
                }
                error => error,
            })
        }))
    };
    CountsEventsForTheVersion: version |right| {
        let events = right.read(EVERY_EVENT()).await?.events.collect().await?;
        Ok(Version::new(events.len() as u64))
    };
    ProbesForTheVersion: version |right| {
        let mut version = Version::ZERO;
        loop {
            let next = ReadOptions::slice(version.next(), version.next());
            if right.read(next).await?.events.collect().await?.is_empty() {
                return Ok(version);
            }
            version = version.next();
        }
    };
}

/// Answers a read that was made before as it was answered then.
#[derive(Debug, Default)]
pub(crate) struct RemembersReads(Mutex<HashMap<(StreamId, String), History>>);

#[async_trait]
impl Wrong for RemembersReads {
    async fn read(&self, right: &Right, options: ReadOptions) -> Result<Replay> {
        let history = right.read(options).await?.collect().await?;
        let mut remembered = self.0.lock().expect("no panic under the lock");
        let asked = (right.stream.clone(), format!("{options:?}"));
        Ok(given(remembered.entry(asked).or_insert(history).clone()))
    }
}

/// Takes a damaged event for the end.
#[derive(Debug)]
pub(crate) struct EndsAtDamage;

#[async_trait]
impl Wrong for EndsAtDamage {
    async fn read(&self, right: &Right, options: ReadOptions) -> Result<Replay> {
        Ok(with_events(right.read(options).await?, |events| {
            events.take_while(|event| ready(is_whole(event)))
        }))
    }

    fn read_all(&self, right: &Arc<dyn EventLog>, options: LogReadOptions) -> EventStream {
        EventStream::new(right.read_all(options).take_while(|event| ready(is_whole(event))))
    }
}

fn is_whole(event: &Result<RecordedEvent>) -> bool {
    !matches!(event, Err(Error::Corrupt { .. }))
}

fn given(History { snapshot, events, .. }: History) -> Replay {
    let events = EventStream::from_events(events.into_iter().map(Ok));
    Replay { snapshot, events }
}

/// The same replay with other events.
fn with_events<S>(replay: Replay, change: impl FnOnce(EventStream) -> S) -> Replay
where
    S: Stream<Item = Result<RecordedEvent>> + Send + 'static,
{
    let events = EventStream::new(change(replay.events));
    Replay { events, ..replay }
}

fn selecting(mut options: ReadOptions, selection: Selection) -> ReadOptions {
    options.selection = selection;
    options
}

/// `snapshot` and the events after it, up to `last`.
async fn replay_from(right: &Right, snapshot: Option<Snapshot>, last: Option<Version>) -> Result<Replay> {
    let first = snapshot
        .as_ref()
        .map_or(Version::FIRST, |snapshot| snapshot.version.next());
    let slice = ReadOptions::slice(first, last.unwrap_or(Version::MAX));
    Ok(Replay {
        snapshot,
        ..right.read(slice).await?
    })
}
