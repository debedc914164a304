//! A store that is too plain to be wrong: lists and maps in memory, and no thought for speed.

use std::collections::BTreeMap;
use std::ops::Range;

use eventstore_abstractions::{
    Appended, Direction, EventMessage, ExpectedVersion, History, IdempotencyId, IdempotencyKey,
    LogReadOptions, Position, ReadOptions, RecordedEvent, Selection, Session, SessionId, Snapshot, StreamId,
    Timestamp, Version,
};

/// What a call gives: errors are told apart by what they mean, not by their texts.
pub(super) type Answer<T> = Result<T, &'static str>;

/// One database.
#[derive(Debug, Default)]
pub(super) struct Plain {
    streams: BTreeMap<StreamId, Stream>,
    log: Vec<RecordedEvent>,
    last_token: u64,
}

#[derive(Debug, Default)]
struct Stream {
    events: Vec<RecordedEvent>,
    snapshots: BTreeMap<Version, Snapshot>,
    /// Which events each idempotency id was appended with.
    commands: BTreeMap<IdempotencyId, Range<usize>>,
    held: Option<Session>,
}

/// Who calls, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// `None` for calls without a session.
    pub(super) session: Option<SessionId>,
    pub(super) now: Timestamp,
}

impl Plain {
    pub(super) fn version(&self, stream: &StreamId) -> u64 {
        self.streams.get(stream).map_or(0, |it| it.events.len() as u64)
    }

    pub(super) fn head(&self) -> Position {
        Position::new(self.log.len() as u64)
    }

    /// Whether the caller may work on the stream; without a session, whether it may write.
    pub(super) fn check(&mut self, stream: &StreamId, caller: Caller) -> Answer<()> {
        let holder = self.stream(stream).holder(caller.now).map(|session| session.id);
        match (caller.session, holder) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err("StreamHeld"),
            (Some(own), Some(holder)) if own == holder => Ok(()),
            (Some(_), Some(_)) => Err("InvalidStoreSession"),
            (Some(_), None) => Err("StoreSessionExpired"),
        }
    }

    pub(super) fn append(
        &mut self,
        stream: &StreamId,
        caller: Caller,
        expected: ExpectedVersion,
        events: &[EventMessage],
    ) -> Answer<Appended> {
        self.check(stream, caller)?;
        if let Some(earlier) = self.stream(stream).earlier(events) {
            return earlier;
        }
        let version = self.version(stream);
        let in_sequence = events.iter().zip(version + 1..).all(|(event, version)| {
            let number = event.metadata.context.sequence_number;
            number.is_none_or(|number| number.get() == version)
        });
        if !expected.accepts(Version::new(version)) || !in_sequence {
            return Err("StoreVersionMismatch");
        }
        for event in events {
            let (version, position) = (Version::new(self.version(stream)).next(), self.head().next());
            let event = RecordedEvent::new(stream.clone(), version, position, caller.now, event.clone());
            self.log.push(event.clone());
            self.stream(stream).events.push(event);
        }
        let range = version as usize..self.stream(stream).events.len();
        for id in events
            .iter()
            .filter_map(|it| it.metadata.context.idempotency_id.clone())
        {
            self.stream(stream).commands.insert(id, range.clone());
        }
        let version = Version::new(self.version(stream));
        Ok(Appended::new(version, self.head(), events.len() as u64))
    }

    pub(super) fn snapshot(
        &mut self,
        stream: &StreamId,
        caller: Caller,
        version: Version,
        message: &EventMessage,
    ) -> Answer<()> {
        self.check(stream, caller)?;
        if version.get() > self.version(stream) {
            return Err("VersionNotFound");
        }
        let snapshot = Snapshot::new(version, caller.now, message.clone());
        self.stream(stream).snapshots.insert(version, snapshot);
        Ok(())
    }

    pub(super) fn clear_snapshot(
        &mut self,
        stream: &StreamId,
        caller: Caller,
        version: Version,
    ) -> Answer<()> {
        self.check(stream, caller)?;
        let removed = self.stream(stream).snapshots.remove(&version);
        removed.map(drop).ok_or("SnapshotVersionNotFound")
    }

    pub(super) fn clear_snapshots(&mut self, stream: &StreamId, caller: Caller) -> Answer<()> {
        self.check(stream, caller)?;
        self.stream(stream).snapshots.clear();
        Ok(())
    }

    /// Whether a session can be opened; `opened` is the one that was, if one was.
    pub(super) fn open(&mut self, stream: &StreamId, now: Timestamp, opened: Option<Session>) -> Answer<()> {
        if self.stream(stream).holder(now).is_some() {
            return Err("OpenStoreFailed");
        }
        if let Some(session) = opened {
            let token = session.fencing_token;
            assert!(
                token > self.last_token,
                "token {token} follows {}",
                self.last_token
            );
            self.last_token = token;
            self.stream(stream).held = Some(session);
        }
        Ok(())
    }

    pub(super) fn renew(&mut self, stream: &StreamId, caller: Caller, until: Timestamp) -> Answer<Session> {
        self.check(stream, caller)?;
        let held = self.stream(stream).held.as_mut().expect("the check passed");
        held.expires_at = until;
        Ok(*held)
    }

    pub(super) fn close(&mut self, stream: &StreamId, session: SessionId) {
        let stream = self.stream(stream);
        stream.held = stream.held.filter(|held| held.id != session);
    }

    /// The end of the process: sessions end with it.
    pub(super) fn restart(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.held = None);
    }

    pub(super) fn read(&mut self, stream: &StreamId, options: ReadOptions) -> Answer<History> {
        let current = self.version(stream);
        let mut history = History::default();
        let (first, last, direction) = match options.selection {
            Selection::Slice {
                first,
                last,
                direction,
            } => (first.get(), last.get(), direction),
            Selection::Replay { as_of, snapshots } => {
                let last = as_of.map_or(current, Version::get);
                if last > current {
                    return Err("VersionNotFound");
                }
                if snapshots {
                    history.snapshot = self.read_snapshot(stream, Version::new(last));
                }
                let first = history
                    .snapshot
                    .as_ref()
                    .map_or(1, |snapshot| snapshot.version.get() + 1);
                (first, last, Direction::Forward)
            }
        };
        let events = self.stream(stream).events.iter();
        let selected = events.filter(|event| (first..=last).contains(&event.version.get()));
        history.events = selected.cloned().collect();
        if direction == Direction::Backward {
            history.events.reverse();
        }
        Ok(history)
    }

    pub(super) fn read_all(&self, options: LogReadOptions) -> Vec<RecordedEvent> {
        let limit = options.limit.map_or(usize::MAX, |limit| limit as usize);
        let (all, from) = (self.log.iter().cloned(), options.from);
        match options.direction {
            Direction::Forward => all.filter(|it| it.position >= from).take(limit).collect(),
            Direction::Backward => all.rev().filter(|it| it.position <= from).take(limit).collect(),
        }
    }

    pub(super) fn read_snapshot(&mut self, stream: &StreamId, version: Version) -> Option<Snapshot> {
        let snapshots = &self.stream(stream).snapshots;
        snapshots
            .range(..=version)
            .next_back()
            .map(|(_, snapshot)| snapshot.clone())
    }

    pub(super) fn snapshot_versions(&mut self, stream: &StreamId) -> Vec<Version> {
        self.stream(stream).snapshots.keys().copied().collect()
    }

    pub(super) fn find_append(&mut self, stream: &StreamId, key: &IdempotencyKey) -> Answer<Appended> {
        let stream = self.stream(stream);
        let range = match key {
            IdempotencyKey::Message(id) => {
                let at = stream.events.iter().position(|event| event.message.id() == *id);
                at.map(|at| at..at + 1)
            }
            IdempotencyKey::Idempotency(id) => stream.commands.get(id).cloned(),
        };
        range
            .map(|range| stream.outcome(range))
            .ok_or("IdempotencyIdNotFound")
    }

    fn stream(&mut self, stream: &StreamId) -> &mut Stream {
        self.streams.entry(stream.clone()).or_default()
    }
}

impl Stream {
    fn holder(&self, now: Timestamp) -> Option<Session> {
        self.held.filter(|held| now < held.expires_at)
    }

    /// What an append that used an id of `events` before means for them: its outcome if it said the
    /// same.
    fn earlier(&self, events: &[EventMessage]) -> Option<Answer<Appended>> {
        let known = |event: &EventMessage| self.events.iter().position(|it| it.message.id() == event.id());
        let context = |event: &EventMessage| event.metadata.context.idempotency_id.clone();
        if events.iter().any(|event| known(event).is_some()) {
            let versions: Vec<_> = events.iter().map(known).collect();
            let first = versions.first().copied().flatten();
            let range = first.map(|first| first..first + events.len());
            let in_order = range
                .clone()
                .is_some_and(|range| versions.into_iter().eq(range.map(Some)));
            return Some(
                range
                    .filter(|_| in_order)
                    .map_or(Err("DuplicateIdempotencyId"), |range| {
                        self.same_or_duplicate(range, events)
                    }),
            );
        }
        let command = events
            .iter()
            .filter_map(context)
            .find_map(|id| self.commands.get(&id));
        command.map(|range| self.same_or_duplicate(range.clone(), events))
    }

    fn same_or_duplicate(&self, range: Range<usize>, events: &[EventMessage]) -> Answer<Appended> {
        let stored = self.events[range.clone()].iter();
        if stored.len() == events.len()
            && stored
                .zip(events)
                .all(|(it, event)| it.message.same_content(event))
        {
            Ok(self.outcome(range))
        } else {
            Err("DuplicateIdempotencyId")
        }
    }

    fn outcome(&self, range: Range<usize>) -> Appended {
        let last = &self.events[range.end - 1];
        Appended::new(last.version, last.position, range.len() as u64)
    }
}
