//! Random retentions, deletions and scavenges, compared with lists that are too plain to be wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use eventstore_abstractions::{
    Clock, Deletion, EventLog, EventLogExt, ExpectedVersion, LogReadOptions, ReadOptions, RecordedEvent,
    Result, Retention, StreamId, StreamInfo, Timestamp, Version,
};
use fastrand::Rng;

use super::ProviderHarness;
use super::bench::{Bench, event, kind, positions, state, stream_id, up_to};
use super::scavenges::scavenge;
use crate::seed::Seed;

const OPERATIONS: usize = 250;
const STREAMS: [&str; 3] = ["a", "b", "c"];
const MINUTE: Duration = Duration::from_secs(60);

/// Any sequence of appends, snapshots, retentions, deletions and scavenges, with time passing and providers closed or
/// dropped in between, leaves of every stream what a plain list says, and in the log every other event as removed or as it
/// was. The seeds are chosen as in [`model`](super::model).
pub async fn scavenge_leaves_kept_events_alone(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    for seed in Seed::of_run() {
        let mut run = Run {
            rng: seed.rng(),
            database: seed.to_string(),
            streams: BTreeMap::new(),
            log: Vec::new(),
        };
        for operation in 0..OPERATIONS {
            let context = format!("at operation {operation}; {seed}");
            if run.rng.usize(..OPERATIONS) < 3 {
                bench = if run.rng.bool() {
                    bench.restart().await
                } else {
                    bench.crash().await
                };
            }
            run.operation(&bench, &context).await;
        }
        run.check_everything(&bench, &format!("at the end; {seed}")).await;
    }
}

struct Run {
    rng: Rng,
    database: String,
    streams: BTreeMap<StreamId, Plain>,
    log: Vec<RecordedEvent>,
}

/// One stream.
#[derive(Debug, Default)]
struct Plain {
    /// All that it ever had, with the moments at which they were recorded.
    events: Vec<RecordedEvent>,
    /// Those before this one are not kept any more, whatever their age.
    first: u64,
    retention: Retention,
    deleted: Option<Deletion>,
    deleted_at: u64,
    snapshots: Vec<u64>,
}

impl Plain {
    fn version(&self) -> u64 {
        self.events.len() as u64
    }

    /// The first version that is kept.
    fn first(&self, now: Timestamp) -> u64 {
        let first = self.first.max(1);
        let Some(age) = self.retention.max_age else {
            return first;
        };
        let is_old = |event: &&RecordedEvent| now.saturating_since(event.recorded_at) > age;
        first.max(self.events.iter().take_while(is_old).count() as u64 + 1)
    }

    fn count(&mut self) {
        if let Some(most) = self.retention.max_count {
            self.first = self.first.max((self.version() + 1).saturating_sub(most));
        }
    }

    fn retain(&mut self, retention: Retention, now: Timestamp) -> Result<(), &'static str> {
        if self.deleted == Some(Deletion::Hard) {
            return Err("StreamDeleted");
        }
        let truncated = retention.truncate_before.map_or(0, Version::get);
        if truncated > self.version() + 1 {
            return Err("InvalidInput");
        }
        self.first = self.first(now).max(truncated);
        self.retention = retention;
        self.count();
        Ok(())
    }

    fn delete(&mut self, deletion: Deletion) -> Result<(), &'static str> {
        if self.deleted == Some(Deletion::Hard) {
            return Err("StreamDeleted");
        }
        if deletion == Deletion::Hard || (self.deleted.is_none() && self.version() > 0) {
            self.first = self.version() + 1;
            self.deleted_at = self.version();
            self.deleted = Some(deletion);
        }
        Ok(())
    }

    fn accepts(&self, expected: ExpectedVersion) -> Result<(), &'static str> {
        let accepts = match (self.deleted, expected) {
            (Some(Deletion::Hard), _) => return Err("StreamDeleted"),
            (Some(_), ExpectedVersion::NoStream) => true,
            (Some(_), ExpectedVersion::StreamExists) => false,
            _ => expected.accepts(Version::new(self.version())),
        };
        if accepts {
            Ok(())
        } else {
            Err("StoreVersionMismatch")
        }
    }

    fn info(&self, now: Timestamp) -> StreamInfo {
        let (version, first) = (Version::new(self.version()), Version::new(self.first(now)));
        StreamInfo::new(version, first, self.retention, self.deleted)
    }

    /// The lowest version of a snapshot that is of use.
    fn usable(&self, first: u64) -> u64 {
        (first - 1).max(self.deleted_at + 1)
    }
}

impl Run {
    async fn operation(&mut self, bench: &Bench<'_>, context: &str) {
        let stream = stream_id(STREAMS[self.rng.usize(..STREAMS.len())]);
        let log = bench.database(&self.database);
        match self.rng.u8(..20) {
            0..8 => self.append(bench, &*log, &stream, context).await,
            8 => self.snapshot(&*log, &stream, context).await,
            9..12 => {
                let retention = self.any_retention(&stream);
                let now = bench.clock.now();
                let answer = self.plain(&stream).retain(retention, now);
                let set = log.set_retention(&stream, retention).await;
                compare(&format!("{retention:?} of {stream}"), set, answer, context);
            }
            12 => {
                let deletion = if self.rng.u8(..16) == 0 {
                    Deletion::Hard
                } else {
                    Deletion::Soft
                };
                let answer = self.plain(&stream).delete(deletion);
                let deleted = log.delete_stream(&stream, ExpectedVersion::Any, deletion).await;
                compare(
                    &format!("{deletion:?} deletion of {stream}"),
                    deleted,
                    answer,
                    context,
                );
            }
            13..15 => drop(log.scavenge(self.rng.u64(1..40)).await.expect("scavenged")),
            15 => bench.clock.advance(MINUTE * self.rng.u32(1..5)),
            16 => drop(self.check_log(bench, &*log, context).await),
            _ => self.check_stream(bench, &*log, &stream, context).await,
        }
    }

    fn plain(&mut self, stream: &StreamId) -> &mut Plain {
        self.streams.entry(stream.clone()).or_default()
    }

    async fn append(&mut self, bench: &Bench<'_>, log: &dyn EventLog, stream: &StreamId, context: &str) {
        let version = self.plain(stream).version();
        let expected = match self.rng.u8(..6) {
            0 => ExpectedVersion::NoStream,
            1 => ExpectedVersion::StreamExists,
            2 => ExpectedVersion::Exact(Version::new(version)),
            _ => ExpectedVersion::Any,
        };
        // Small ones are copied into the log, large ones are not.
        let padding = if self.rng.u8(..4) == 0 { 5_000 } else { 0 };
        let count = self.rng.u64(1..6);
        let messages = (1..=count).map(|number| {
            let said = version + number;
            event(&format!("{stream} {said} {:padding$}", ""))
        });
        let messages = messages.collect::<Vec<_>>();
        let answer = self.plain(stream).accepts(expected);
        let appended = log.append(stream, expected, messages.clone()).await;
        let (is_appended, now) = (answer.is_ok(), bench.clock.now());
        compare(
            &format!("append to {stream}"),
            appended.map(drop),
            answer,
            context,
        );
        if !is_appended {
            return;
        }
        for message in messages {
            let position = (self.log.len() as u64 + 1).into();
            let plain = self.plain(stream);
            let version = Version::new(plain.version() + 1);
            let event = RecordedEvent::new(stream.clone(), version, position, now, message);
            plain.events.push(event.clone());
            self.log.push(event);
        }
        let plain = self.plain(stream);
        plain.deleted = None;
        plain.count();
    }

    async fn snapshot(&mut self, log: &dyn EventLog, stream: &StreamId, context: &str) {
        let version = self.plain(stream).version();
        let at = self.rng.u64(..version + 2);
        let plain = self.plain(stream);
        // What is too old now is not yet left out for ever, unless a scavenge was there.
        if plain.retention.max_age.is_some() {
            return;
        }
        let answer = match () {
            () if at == 0 => Err("InvalidInput"),
            () if plain.deleted == Some(Deletion::Hard) => Err("StreamDeleted"),
            () if at > version => Err("VersionNotFound"),
            () if at < plain.usable(plain.first.max(1)) => Err("InvalidInput"),
            () => Ok(()),
        };
        if answer.is_ok() && !plain.snapshots.contains(&at) {
            plain.snapshots.push(at);
        }
        let taken = log.snapshot(stream, Version::new(at), state(at)).await;
        compare(&format!("snapshot of {stream} at {at}"), taken, answer, context);
    }

    fn any_retention(&mut self, stream: &StreamId) -> Retention {
        let version = self.plain(stream).version();
        let mut retention = Retention::default();
        if self.rng.u8(..3) == 0 {
            retention = retention.truncate_before(Version::new(self.rng.u64(..version + 3)));
        }
        if self.rng.u8(..3) == 0 {
            retention = retention.max_count(self.rng.u64(1..12));
        }
        if self.rng.u8(..3) == 0 {
            retention = retention.max_age(MINUTE * self.rng.u32(1..10));
        }
        retention
    }

    async fn check_stream(
        &mut self,
        bench: &Bench<'_>,
        log: &dyn EventLog,
        stream: &StreamId,
        context: &str,
    ) {
        let (now, page) = (bench.clock.now(), self.rng.usize(1..20));
        let version = self.plain(stream).version();
        let (one, other) = (self.rng.u64(..version + 3), self.rng.u64(..=version));
        let plain = self.plain(stream);
        let first = plain.first(now);
        let of = |from: u64, to: u64| {
            let is_meant = |event: &&RecordedEvent| (from.max(first)..=to).contains(&event.version.get());
            plain.events.iter().filter(is_meant).cloned().collect::<Vec<_>>()
        };
        let backward = of(1, version).into_iter().rev().collect();
        let slice = ReadOptions::slice(Version::new(one), Version::new(other));
        let snapshots = plain
            .snapshots
            .iter()
            .copied()
            .filter(|at| *at >= plain.usable(first));
        let mut snapshots = snapshots.collect::<Vec<_>>();
        snapshots.sort_unstable();
        let snapshot = snapshots.iter().copied().rfind(|at| *at <= other);
        let as_of = ReadOptions::as_of(Version::new(other));
        for (options, snapshot, expected) in [
            (ReadOptions::replay().without_snapshots(), None, of(1, version)),
            (ReadOptions::backward(), None, backward),
            (slice, None, of(one, other)),
            (as_of.without_snapshots(), None, of(1, other)),
            (as_of, snapshot, of(snapshot.map_or(1, |at| at + 1), other)),
        ] {
            let replay = log.read_stream(stream, options.page_size(page)).await;
            let history = replay.expect("the stream is read").collect().await;
            let history =
                history.unwrap_or_else(|error| panic!("{options:?} of {stream}: {error} {context}"));
            let used = history.snapshot.map(|snapshot| snapshot.version.get());
            assert!(
                used == snapshot && history.events == expected,
                "{options:?} of {stream} gave {used:?} and {:?}, not {snapshot:?} and {expected:?} {context}",
                history.events
            );
        }
        let listed = log.snapshot_versions(stream).await.expect("read");
        let listed = listed.into_iter().map(Version::get).collect::<Vec<_>>();
        assert_eq!(listed, snapshots, "snapshots of {stream} {context}");
        let info = log.stream_info(stream).await.expect("known");
        assert_eq!(info, plain.info(now), "{stream} {context}");
    }

    /// Every position is there once, and what is kept is as it was. It returns how many events were removed.
    async fn check_log(&self, bench: &Bench<'_>, log: &dyn EventLog, context: &str) -> usize {
        let read = log
            .read_all(LogReadOptions::forward())
            .collect()
            .await
            .expect("the log is read");
        assert_eq!(positions(&read), up_to(self.log.len() as u64), "{context}");
        for (read, event) in read.iter().zip(&self.log) {
            if !read.is_removed() {
                assert_eq!(read, event, "{context}");
                continue;
            }
            let first = self.streams[&event.stream].first(bench.clock.now());
            assert!(
                event.version.get() < first,
                "a kept event was removed: {event:?} {context}"
            );
            let removed = RecordedEvent::removed(event.stream.clone(), event.version, event.position);
            assert_eq!(*read, removed, "{context}");
        }
        read.iter().filter(|event| event.is_removed()).count()
    }

    async fn check_everything(&mut self, bench: &Bench<'_>, context: &str) {
        let log = bench.database(&self.database);
        let before = self.check_log(bench, &*log, context).await;
        // The first may have begun in the middle.
        let removed = scavenge(&*log, 30).await + scavenge(&*log, 30).await;
        let after = self.check_log(bench, &*log, context).await;
        assert_eq!((after - before) as u64, removed, "{context}");
        for stream in STREAMS.map(stream_id) {
            self.check_stream(bench, &*log, &stream, context).await;
        }
    }
}

/// Errors are told apart by what they mean, not by their texts.
fn compare(what: &str, got: Result<()>, answer: Result<(), &'static str>, context: &str) {
    let got = got.map_err(|error| (kind(&error), error));
    let told = got.as_ref().copied().map_err(|(kind, _)| *kind);
    assert_eq!(told, answer, "{what} gave {got:?} {context}");
}
