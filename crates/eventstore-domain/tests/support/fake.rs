//! A log in memory that does just what consumers and projections need of one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use eventstore_abstractions::*;
use parking_lot::Mutex;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Log {
    database: Database,
    events: Arc<watch::Sender<Vec<RecordedEvent>>>,
    namespaces: Mutex<BTreeMap<NamespaceName, Arc<Space>>>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            database: Database::default(),
            events: Arc::new(watch::Sender::new(Vec::new())),
            namespaces: Mutex::default(),
        }
    }
}

fn unsupported() -> Error {
    Error::Unsupported { what: "do that" }
}

#[async_trait]
impl EventLog for Log {
    fn database(&self) -> &Database {
        &self.database
    }

    async fn append_with(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        _: AppendOptions,
    ) -> Result<Appended> {
        let mut version = self.version(stream).await?;
        let count = events.len() as u64;
        self.events.send_modify(|log| {
            for message in events {
                version = version.next();
                let position = Position::new(log.len() as u64 + 1);
                let moment = Timestamp::from_micros(0);
                log.push(RecordedEvent::new(
                    stream.clone(),
                    version,
                    position,
                    moment,
                    message,
                ));
            }
        });
        Ok(Appended::new(version, self.head().await?, count))
    }

    async fn read_stream(&self, _: &StreamId, _: ReadOptions) -> Result<Replay> {
        Err(unsupported())
    }

    fn read_all(&self, options: LogReadOptions) -> EventStream {
        let events = self.events.borrow();
        let from = events.iter().filter(|event| event.position >= options.from);
        let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
        EventStream::from_events(from.take(limit).cloned().map(Ok).collect::<Vec<_>>())
    }

    async fn version(&self, stream: &StreamId) -> Result<Version> {
        let events = self.events.borrow();
        let count = events.iter().filter(|event| event.stream == *stream).count();
        Ok(Version::new(count as u64))
    }

    async fn head(&self) -> Result<Position> {
        Ok(Position::new(self.events.borrow().len() as u64))
    }

    async fn find_append(&self, _: &StreamId, _: &IdempotencyKey) -> Result<Appended> {
        Err(unsupported())
    }

    async fn snapshot(&self, _: &StreamId, _: Version, _: EventMessage) -> Result<()> {
        Err(unsupported())
    }

    async fn read_snapshot(&self, _: &StreamId, _: Version) -> Result<Option<Snapshot>> {
        Err(unsupported())
    }

    async fn snapshot_versions(&self, _: &StreamId) -> Result<Vec<Version>> {
        Err(unsupported())
    }

    async fn clear_snapshot(&self, _: &StreamId, _: Version) -> Result<()> {
        Err(unsupported())
    }

    async fn clear_snapshots(&self, _: &StreamId) -> Result<()> {
        Err(unsupported())
    }

    fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        let mut events = self.events.subscribe();
        let mut position = match options.from {
            SubscribeFrom::After(position) => position,
            SubscribeFrom::End => Position::new(events.borrow().len() as u64),
        };
        let (sender, mut receiver) = tokio::sync::mpsc::channel(16);
        let query = options.query;
        tokio::spawn(async move {
            // It is told at first, and when something came since: not when nothing of it matched.
            let mut to_tell = true;
            loop {
                let page: VecDeque<_> = {
                    let all = events.borrow_and_update();
                    all[position.get() as usize..].iter().take(64).cloned().collect()
                };
                let is_last = page.len() < 64;
                for event in page {
                    position = event.position;
                    if query.matches(&event) {
                        to_tell = true;
                        if sender.send(Ok(Notice::Event(Box::new(event)))).await.is_err() {
                            return;
                        }
                    }
                }
                if is_last {
                    if to_tell && sender.send(Ok(Notice::CaughtUp(position))).await.is_err() {
                        return;
                    }
                    to_tell = false;
                    tokio::select! {
                        changed = events.changed() => if changed.is_err() { return },
                        () = sender.closed() => return,
                    }
                }
            }
        });
        Subscription::new(Receiving(Box::new(move |context| receiver.poll_recv(context))))
    }

    fn namespace(&self, name: &NamespaceName) -> Arc<dyn Namespace> {
        let mut namespaces = self.namespaces.lock();
        let space = namespaces.entry(name.clone()).or_insert_with(|| {
            Arc::new(Space {
                name: name.clone(),
                entries: Mutex::default(),
            })
        });
        space.clone()
    }
}

type PollNotice = dyn FnMut(&mut std::task::Context<'_>) -> Poll<Option<Result<Notice>>> + Send;

struct Receiving(Box<PollNotice>);

impl futures_core::Stream for Receiving {
    type Item = Result<Notice>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        (self.0)(context)
    }
}

#[derive(Debug)]
struct Space {
    name: NamespaceName,
    entries: Mutex<BTreeMap<Bytes, Bytes>>,
}

#[async_trait]
impl Namespace for Space {
    fn name(&self) -> &NamespaceName {
        &self.name
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        tokio::task::yield_now().await;
        Ok(self.entries.lock().get(key).cloned())
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        tokio::task::yield_now().await;
        let entries = self.entries.lock();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = entries.range::<[u8], _>((from, Bound::Unbounded));
        let range = range.take_while(|(key, _)| key.starts_with(prefix));
        // Pages are as small as may be, so that whoever takes one for all is found out.
        Ok(range
            .take(limit.min(3))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    async fn commit(&self, changes: Changes, _: Durability) -> Result<Committed> {
        tokio::task::yield_now().await;
        let committed = self.apply(changes);
        tokio::task::yield_now().await;
        Ok(committed)
    }
}

impl Space {
    fn apply(&self, changes: Changes) -> Committed {
        let mut entries = self.entries.lock();
        let holds = |(key, requirement): &(Bytes, Requirement)| match requirement {
            Requirement::Absent => !entries.contains_key(key),
            Requirement::Equals(value) => entries.get(key) == Some(value),
        };
        if !changes.requirements.iter().all(holds) {
            return Committed::Conflict;
        }
        for (key, value) in changes.writes {
            assert!(!key.is_empty() && key.len() <= MAX_KEY_BYTES);
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
        }
        Committed::Applied
    }
}
