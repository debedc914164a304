//! Random reads.

use eventstore_abstractions::{
    EventMessage, IdempotencyId, IdempotencyKey, LogReadOptions, MessageId, Position, ReadOptions,
};

use super::writes::COMMANDS;
use super::{DATABASES, Place, Run, STREAMS};
use crate::provider::bench::{Bench, stream_id};

impl Run {
    /// A read of a stream, whole or in part, forward or backward, and its version.
    pub(super) async fn check_stream(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let way = self.way(bench, &place);
        let (one, other) = (self.version_near(&place), self.version_near(&place));
        let options = match self.rng.u8(..8) {
            0 => ReadOptions::backward(),
            1 | 2 => ReadOptions::slice(one, other),
            3 | 4 => ReadOptions::as_of(one),
            5 => ReadOptions::as_of(one).without_snapshots(),
            6 => ReadOptions::replay().without_snapshots(),
            _ => ReadOptions::replay(),
        };
        let options = options.page_size(self.rng.usize(1..20));
        let answer = self.read_answer(bench, &place, &way, |model| model.read(&place.stream, options));
        let read = way.read(&place.stream, options).await;
        self.compare(&format!("{options:?}"), &place, read, answer);
        let answer = self.read_answer(bench, &place, &way, |model| {
            Ok(model.version(&place.stream).into())
        });
        let version = way.version(&place.stream).await;
        self.compare("version", &place, version, answer);
    }

    /// A read of the log from anywhere, forward or backward, and its head.
    pub(super) async fn check_log(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let (log, model) = (self.log(bench, place.database), &self.models[place.database]);
        let from = Position::new(self.rng.u64(..model.head().get() + 3));
        let options = match self.rng.u8(..4) {
            0 => LogReadOptions::forward(),
            1 => LogReadOptions::backward(),
            2 => LogReadOptions::forward_from(from),
            _ => LogReadOptions::backward_from(from),
        };
        let options = options.page_size(self.rng.usize(1..20));
        let options = match self.rng.bool() {
            true => options.limit(self.rng.u64(..30)),
            false => options,
        };
        let (all, head) = (model.read_all(options.clone()), model.head());
        let read = log.read_all(options.clone()).collect().await;
        self.compare(&format!("{options:?}"), &place, read, Ok(all));
        self.compare("head", &place, log.head().await, Ok(head));
    }

    /// What became of an append that was tried, or of one that never was.
    pub(super) async fn check_append(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let way = self.way(bench, &place);
        let tried = self.tried.iter().filter(|(of, _)| *of == place);
        let tried: Vec<MessageId> = tried
            .flat_map(|(_, events)| events)
            .map(EventMessage::id)
            .collect();
        let command = format!("command {}", self.rng.usize(..=COMMANDS));
        let key: IdempotencyKey = match self.rng.usize(..tried.len() + 1 + COMMANDS) {
            at if at < tried.len() => tried[at].into(),
            at if at == tried.len() => MessageId::generate().into(),
            _ => IdempotencyId::new(command).expect("a valid id").into(),
        };
        let answer = self.read_answer(bench, &place, &way, |model| {
            model.find_append(&place.stream, &key)
        });
        let found = way.find_append(&place.stream, &key).await;
        self.compare(&format!("{key}"), &place, found, answer);
    }

    /// The snapshots of a stream, and the newest one up to some version.
    pub(super) async fn check_snapshots(&mut self, bench: &Bench<'_>) {
        let place = self.place();
        let way = self.way(bench, &place);
        let version = self.version_near(&place);
        let answer = self.read_answer(bench, &place, &way, |model| {
            Ok(model.read_snapshot(&place.stream, version))
        });
        let read = way.read_snapshot(&place.stream, version).await;
        self.compare(&format!("snapshot for {version}"), &place, read, answer);
        let answer = self.read_answer(bench, &place, &way, |model| {
            Ok(model.snapshot_versions(&place.stream))
        });
        let versions = way.snapshot_versions(&place.stream).await;
        self.compare("versions of snapshots", &place, versions, answer);
    }

    /// Every database and stream, whole.
    pub(super) async fn check_everything(&mut self, bench: &Bench<'_>) {
        for database in 0..DATABASES {
            let log = self.log(bench, database);
            for stream in STREAMS.map(stream_id) {
                let place = Place { database, stream };
                let model = &mut self.models[database];
                let options = ReadOptions::replay().without_snapshots();
                let (answer, snapshots) = (
                    model.read(&place.stream, options),
                    model.snapshot_versions(&place.stream),
                );
                let read = log
                    .read_stream(&place.stream, options)
                    .await
                    .expect("the stream is read");
                self.compare("every event", &place, read.collect().await, answer);
                let versions = log.snapshot_versions(&place.stream).await;
                self.compare("every snapshot", &place, versions, Ok(snapshots));
                let all = self.models[database].read_all(LogReadOptions::forward());
                let read = log.read_all(LogReadOptions::forward()).collect().await;
                self.compare("the whole log", &place, read, Ok(all));
            }
        }
    }
}
