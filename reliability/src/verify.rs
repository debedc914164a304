//! What is stored, against what the writers told.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use eventstores::{
    EventLog, EventStoreProviderExt, LogReadOptions, ReadOptions, RecordedEvent, Result, StreamId, Version,
    connect,
};

use crate::backend::Backend;
use crate::ledger::Ledger;
use crate::work::{self, Append};

/// How many problems are told in words.
const MAX_TOLD: usize = 5;

/// What was found. All but the first three must be 0.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) events: u64,
    /// Appends that were stored and never acknowledged: as good as the others, since their outcome was not known.
    pub(crate) unacknowledged: u64,
    /// Appends that were acknowledged too late to count, and are not there.
    pub(crate) late_lost: u64,
    /// Acknowledged appends and snapshots that are not there.
    pub(crate) lost: u64,
    /// Appends of which a part is there, or not in one piece.
    pub(crate) torn: u64,
    /// Events that are there twice.
    pub(crate) doubled: u64,
    /// Versions or positions that do not follow each other.
    pub(crate) gaps: u64,
    /// Events that nobody wrote, or other content, or in another place than was acknowledged.
    pub(crate) wrong: u64,
    pub(crate) told: Vec<String>,
}

impl Report {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.torn + self.doubled + self.gaps + self.wrong == 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.unacknowledged += other.unacknowledged;
        self.late_lost += other.late_lost;
        self.lost += other.lost;
        self.torn += other.torn;
        self.doubled += other.doubled;
        self.gaps += other.gaps;
        self.wrong += other.wrong;
        self.told.extend(other.told);
    }

    fn tell(&mut self, problem: impl FnOnce() -> String) {
        if self.told.len() < MAX_TOLD {
            self.told.push(problem());
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            lost,
            torn,
            doubled,
            gaps,
            wrong,
            ..
        } = self;
        write!(
            f,
            "lost {lost}, torn {torn}, doubled {doubled}, gaps {gaps}, wrong {wrong}"
        )
    }
}

/// Opens the store, looks at everything, and closes it.
pub(crate) async fn check(backend: Backend, path: &Path, ledger: &Ledger) -> Result<Report> {
    let (report, closed) = open_and_close(backend, path, ledger).await?;
    closed.map(|()| report)
}

/// The same, where the store may be read and not be closed.
pub(crate) async fn open_and_close(
    backend: Backend,
    path: &Path,
    ledger: &Ledger,
) -> Result<(Report, Result<()>)> {
    let provider = connect(&backend.url(path)).await?;
    let report = check_log(backend, &*provider.default_log(), ledger).await;
    let closed = provider.close().await;
    Ok((report?, closed))
}

/// The same in an open store.
pub(crate) async fn check_log(backend: Backend, log: &dyn EventLog, ledger: &Ledger) -> Result<Report> {
    let mut found = Found {
        backend,
        ledger,
        report: Report::default(),
        appends: HashMap::new(),
        versions: HashMap::new(),
        positions: 0,
        current: None,
    };
    let mut events = log.read_all(LogReadOptions::forward());
    while let Some(event) = events.next().await {
        found.event(&event?);
    }
    found.appends();
    let head = log.head().await?.get();
    if head != found.positions {
        found.report.gaps += 1;
        let last = found.positions;
        found
            .report
            .tell(|| format!("the head is {head} and the log ends at {last}"));
    }
    found.streams(log).await?;
    found.snapshots(log).await?;
    Ok(found.report)
}

struct Found<'a> {
    backend: Backend,
    ledger: &'a Ledger,
    report: Report,
    /// The events of each append, as positions by their indexes.
    appends: HashMap<u64, BTreeMap<usize, u64>>,
    /// What each stream has, in the order of its versions.
    versions: HashMap<StreamId, Vec<eventstores::MessageId>>,
    positions: u64,
    current: Option<Append>,
}

impl Found<'_> {
    fn event(&mut self, event: &RecordedEvent) {
        self.report.events += 1;
        let position = event.position.get();
        let of_stream = self.versions.entry(event.stream.clone()).or_default();
        of_stream.push(event.message.id());
        let in_order = position == self.positions + 1 && event.version.get() == of_stream.len() as u64;
        self.positions = position;
        if !in_order {
            self.report.gaps += 1;
            self.report
                .tell(|| format!("{} {} at {position} does not follow", event.stream, event.version));
        }
        let (time_ms, number, index) = work::origin(event.message.id());
        if self
            .ledger
            .appends
            .get(&number)
            .is_none_or(|it| it.time_ms != time_ms)
        {
            self.report.wrong += 1;
            return self.report.tell(|| format!("nobody wrote {event:?}"));
        }
        if self.current.as_ref().is_none_or(|it| it.number != number) {
            self.current = Some(Append::new(self.backend, number, time_ms));
        }
        let expected = self.current.as_ref().and_then(|it| it.event_at(index));
        let same =
            expected.is_some_and(|(stream, message)| stream == event.stream && message == event.message);
        if !same {
            self.report.wrong += 1;
            self.report
                .tell(|| format!("append {number}, event {index} at {position} is not as it was written"));
        }
        if self
            .appends
            .entry(number)
            .or_default()
            .insert(index, position)
            .is_some()
        {
            self.report.doubled += 1;
            self.report
                .tell(|| format!("append {number}, event {index} is there twice"));
        }
    }

    /// Each append is there whole and in one piece, and where it was acknowledged.
    fn appends(&mut self) {
        for (number, begun) in &self.ledger.appends {
            let Some(events) = self.appends.get(number) else {
                if begun.acknowledged.is_none() {
                    self.report.late_lost += u64::from(begun.is_late);
                } else {
                    self.report.lost += 1;
                    self.report
                        .tell(|| format!("append {number} was acknowledged and is lost"));
                }
                continue;
            };
            self.report.unacknowledged += u64::from(begun.acknowledged.is_none());
            let append = Append::new(self.backend, *number, begun.time_ms);
            let in_order = events.values().zip(events.values().skip(1));
            let in_one_piece = in_order.into_iter().all(|(one, next)| one + 1 == *next);
            if events.len() != append.len() || !in_one_piece {
                self.report.torn += 1;
                self.report
                    .tell(|| format!("append {number} is torn: {events:?} of {}", append.len()));
            }
            let last = events.values().max().copied();
            if begun.acknowledged.is_some() && begun.acknowledged != last {
                self.report.wrong += 1;
                self.report.tell(|| {
                    format!(
                        "append {number} was acknowledged at {:?} and is at {last:?}",
                        begun.acknowledged
                    )
                });
            }
        }
        self.report.wrong += self.ledger.moved;
    }

    /// Each stream has what the log has of it.
    async fn streams(&mut self, log: &dyn EventLog) -> Result<()> {
        for stream in work::streams() {
            let options = ReadOptions::slice(Version::FIRST, Version::MAX);
            let mut events = log.read_stream(&stream, options).await?.events;
            let mut ids = Vec::new();
            while let Some(event) = events.next().await {
                ids.push(event?.message.id());
            }
            if ids != self.versions.remove(&stream).unwrap_or_default() {
                self.report.wrong += 1;
                self.report
                    .tell(|| format!("{stream} has other events than the log"));
            }
        }
        Ok(())
    }

    async fn snapshots(&mut self, log: &dyn EventLog) -> Result<()> {
        for (id, version) in &self.ledger.snapshots {
            let stream = StreamId::new("reliability", id.as_str())?;
            let found = log.read_snapshot(&stream, Version::new(*version)).await?;
            match found {
                None => {
                    self.report.lost += 1;
                    self.report
                        .tell(|| format!("the snapshot of {stream} at {version} is lost"));
                }
                Some(found) if !found.message.same_content(&work::snapshot(&stream, *version)) => {
                    self.report.wrong += 1;
                    self.report
                        .tell(|| format!("the snapshot of {stream} at {version} is another"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use eventstores::{AppendOptions, Durability};

    use super::*;
    use crate::ledger::Line;
    use crate::writer::write;

    const BACKEND: Backend = Backend::Sled;
    const TIME_MS: u64 = 1_800_000_000_000;

    /// A store that has the appends 1 to 9, and what their writer has told.
    async fn written() -> (Arc<dyn EventLog>, Ledger) {
        let log = connect("memory:").await.expect("memory").default_log();
        let mut ledger = Ledger::default();
        for number in 1..10 {
            let append = Append::new(BACKEND, number, TIME_MS);
            let position = write(&*log, &append, Durability::Durable).await.expect("written");
            ledger.add(&begin(number));
            ledger.add(&Line::Acknowledged { number, position });
        }
        (log, ledger)
    }

    fn begin(number: u64) -> Line {
        Line::Begin {
            number,
            time_ms: TIME_MS,
        }
    }

    async fn counts(log: &dyn EventLog, ledger: &Ledger) -> [u64; 5] {
        let Report {
            lost,
            torn,
            doubled,
            gaps,
            wrong,
            ..
        } = check_log(BACKEND, log, ledger).await.expect("readable");
        [lost, torn, doubled, gaps, wrong]
    }

    #[tokio::test]
    async fn what_was_told_is_found() {
        let (log, ledger) = written().await;
        assert_eq!(counts(&*log, &ledger).await, [0; 5]);
    }

    #[tokio::test]
    async fn lost_append_and_lost_snapshot_are_counted() {
        let (log, mut ledger) = written().await;
        ledger.add(&begin(10));
        assert_eq!(counts(&*log, &ledger).await, [0; 5]);
        ledger.add(&Line::Acknowledged {
            number: 10,
            position: 99,
        });
        ledger.add(&Line::Snapshot {
            stream: "s".into(),
            version: 1,
        });
        assert_eq!(counts(&*log, &ledger).await, [2, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn append_that_moved_and_event_of_nobody_are_counted() {
        let (log, mut ledger) = written().await;
        ledger.add(&Line::Acknowledged {
            number: 4,
            position: 1,
        });
        // Once for the two outcomes, and once for the place.
        assert_eq!(counts(&*log, &ledger).await, [0, 0, 0, 0, 2]);
        let (log, mut ledger) = written().await;
        let events = ledger
            .appends
            .remove(&5)
            .map(|_| Append::new(BACKEND, 5, TIME_MS).len() as u64);
        assert_eq!(counts(&*log, &ledger).await, [0, 0, 0, 0, events.expect("begun")]);
    }

    #[tokio::test]
    async fn torn_and_doubled_appends_are_counted() {
        let (log, mut ledger) = written().await;
        let number = (10..).find(|&number| Append::new(BACKEND, number, TIME_MS).len() > 1);
        let number = number.expect("most have several events");
        ledger.add(&begin(number));
        let (stream, event) = Append::new(BACKEND, number, TIME_MS)
            .event_at(0)
            .expect("an event");
        let append = async |stream: &StreamId| {
            let events = vec![event.clone()];
            log.append_with(stream, events, AppendOptions::default())
                .await
                .expect("appended");
        };
        append(&stream).await;
        assert_eq!(counts(&*log, &ledger).await, [0, 1, 0, 0, 0]);
        let other = work::streams().find(|it| *it != stream).expect("several");
        append(&other).await;
        assert_eq!(counts(&*log, &ledger).await, [0, 1, 1, 0, 1]);
    }
}
