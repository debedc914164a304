//! What is not kept: deletions, retentions and scavenges, the steps of clients and what must be true of them.

use std::sync::Arc;

use eventstore_abstractions::{
    Deletion, Error, EventLog, RecordedEvent, Result, Retention, StreamId, StreamInfo, Timestamp, Version,
};

use super::age::{AGE, Ages, Excluding};
use super::bugs;
use super::checks::Check;
use super::client::Client;
use super::clock::SimClock;
use super::plan::{AGED, DELETED, Expected, KEPT, RETAINED, STREAMS};
use super::world::{Known, State, World, may_be_removed, stream_id};
use crate::linear::{Call, History, Told};

/// What is known of what is kept.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Whether the retention of a stream was asked for, and whether it was told to be set.
    retentions: [Asked; STREAMS],
    pub(super) ages: Ages,
    /// Whether the stream was to be deleted, ever, and for good.
    deletion: Option<Deletion>,
    /// How it was deleted when it was last looked at, unless somebody has appended to it since.
    state: Option<Deletion>,
    /// Versions up to here are deleted.
    deleted_to: u64,
    /// Deletions since it was last looked at whose outcome is not known.
    open: usize,
    /// When the last deletion was told.
    told: u64,
    /// Scavenges that were begun, and those that have not ended well.
    scavenges: (u64, u64),
}

/// What became of something that is asked for again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asked {
    #[default]
    Never,
    /// It may have happened.
    Once,
    Told,
}

impl Life {
    /// The history of the stream that is deleted from here on.
    pub(super) fn begin(&self, history: History) -> History {
        history.deleted(usize::try_from(self.deleted_to).unwrap_or(usize::MAX), self.state)
    }

    /// Up to which version `stream` was told to be deleted.
    pub(super) fn deleted(&self, stream: usize) -> u64 {
        if stream == DELETED { self.deleted_to } else { 0 }
    }

    /// The same before and after a read through which no scavenge went.
    pub(super) fn scavenges(&self) -> Option<u64> {
        (self.scavenges.1 == 0).then_some(self.scavenges.0)
    }

    /// Whether a call may end with `error` by what was asked for before.
    pub(super) fn explains(&self, error: &Error) -> bool {
        let is_gone = self.deletion == Some(Deletion::Hard);
        matches!(error, Error::StreamDeleted { stream } if is_gone && *stream == stream_id(DELETED))
    }

    /// Whether an event of `stream` may have been removed.
    pub(super) fn may_have_removed(&self, stream: &StreamId) -> bool {
        let is = |number| *stream == stream_id(number);
        let is_retained = |number| is(number) && self.retentions[number] > Asked::Never;
        is_retained(RETAINED) || is_retained(AGED) || (is(DELETED) && self.deletion.is_some())
    }

    /// Whether `stream` has its retention for certain.
    pub(super) fn is_retained(&self, stream: usize) -> bool {
        self.retentions[stream] == Asked::Told
    }
}

/// The retention that a stream may have.
fn retention(stream: usize) -> Retention {
    match stream {
        RETAINED => Retention::default().max_count(KEPT),
        AGED => Retention::default().max_age(AGE),
        _ => Retention::default(),
    }
}

impl Client {
    pub(super) async fn retain(&self, stream: usize) {
        let ask = |asked: Asked| {
            let before = &mut self.world.known().life.retentions[stream];
            *before = (*before).max(asked);
        };
        ask(Asked::Once);
        // What is too old by the retention before is left out for good.
        let _excluding = Excluding::begin(&self.world, &self.clock);
        let set = self
            .log
            .set_retention(&stream_id(stream), retention(stream))
            .await;
        if set.is_ok() {
            ask(Asked::Told);
        }
        self.told(
            &format!("sets the retention of {stream}"),
            set.map(|()| "set".to_owned()),
        );
    }

    pub(super) async fn scavenge(&self, events: u64) {
        let _excluding = Excluding::begin(&self.world, &self.clock);
        {
            let scavenges = &mut self.world.known().life.scavenges;
            *scavenges = (scavenges.0 + 1, scavenges.1 + 1);
        }
        let scavenged = self.log.scavenge(events).await;
        // Of one that fails or is given up, a commit may still be under way.
        if scavenged.is_ok() {
            self.world.known().life.scavenges.1 -= 1;
        }
        self.told(
            "scavenges",
            scavenged.map(|done| format!("{} removed", done.events)),
        );
    }

    pub(super) async fn delete(&mut self, expected: Expected, deletion: Deletion) {
        let (stream, history) = (stream_id(DELETED), &self.histories[DELETED]);
        let expected = self.expected(DELETED, expected);
        let begun = self.world.now();
        {
            let life = &mut self.world.known().life;
            life.open += 1;
            if life.deletion != Some(Deletion::Hard) {
                life.deletion = Some(deletion);
            }
        }
        let call = history.begin(Call::Delete { expected, deletion });
        let deleted = bugs::delete(&self.logs, &*self.log, &stream, expected, deletion, self.bug).await;
        let what = format!("deletes stream {DELETED} ({deletion:?}), expecting {expected}");
        match &deleted {
            Ok(()) => history.end(call, Told::Deleted),
            Err(Error::StoreVersionMismatch { actual, .. }) => {
                history.end(call, Told::Conflict(actual.get()));
            }
            Err(Error::StreamDeleted { .. }) => history.end(call, Told::Gone),
            Err(error) if error.outcome_unknown() => return self.note(format!("{what}: nobody knows")),
            Err(_) => history.forget(call),
        }
        self.world.deletion_ended(begun, deleted.is_ok());
        if let Err(Error::StoreVersionMismatch { actual, .. }) = &deleted {
            self.seen[DELETED] = actual.get();
        }
        self.told(&what, deleted.map(|()| "deleted".to_owned()));
    }
}

impl World {
    /// Notes that a deletion that was begun at `begun` was told what it did.
    fn deletion_ended(&self, begun: u64, is_done: bool) {
        let now = self.now();
        let known = &mut *self.known();
        known.life.open -= 1;
        if is_done {
            // It comes after what was told before it began.
            let told = known.attempts.iter().filter(|attempt| match attempt.state {
                State::Acked(at) => at < begun,
                _ => false,
            });
            let parts = told
                .flat_map(|attempt| &attempt.parts)
                .filter(|part| part.stream == DELETED);
            let versions = parts.filter_map(|part| part.appended.map(|told| told.version.get()));
            let version = versions.max().unwrap_or(0);
            known.life.deleted_to = known.life.deleted_to.max(version);
            known.life.told = now;
        }
    }

    /// Removes what is not kept, and checks that it is gone.
    pub(super) async fn scavenge_all(
        self: &Arc<Self>,
        log: &dyn EventLog,
        clock: &Arc<SimClock>,
    ) -> Result<()> {
        let excluding = Excluding::begin(self, clock);
        // The first may be in the middle of the log.
        for _ in 0..2 {
            while !log.scavenge(u64::MAX).await?.is_complete {}
        }
        drop(excluding);
        self.look(log, clock, false).await?;
        for stream in RETAINED..STREAMS {
            let first = log.stream_info(&stream_id(stream)).await?.first;
            let checked = self.known().check_scavenged(stream, first);
            self.report(checked);
        }
        Ok(())
    }
}

impl Known {
    /// Checks which of the events of `stream` are kept, and takes that for what is known from here on.
    pub(super) fn check_life(
        &mut self,
        stream: usize,
        info: &StreamInfo,
        events: &[&RecordedEvent],
        now: Timestamp,
    ) -> Check {
        let first = info.first.get();
        let removed = events
            .iter()
            .find(|event| event.is_removed() && event.version >= info.first);
        if let Some(event) = removed {
            return Err(format!(
                "the event at {} must be kept and was removed",
                event.position
            ));
        }
        if stream == DELETED {
            return self.check_deletion(info, events);
        }
        let is_set = info.retention == retention(stream);
        let is_told = match self.life.retentions[stream] {
            Asked::Never => info.retention == Retention::default(),
            Asked::Once => is_set || info.retention == Retention::default(),
            Asked::Told => is_set,
        };
        let is_first = match stream {
            RETAINED if is_set => first == (info.version.get() + 1).saturating_sub(KEPT).max(1),
            AGED if is_set && is_told => return self.life.ages.check(info, events, now),
            _ => first == 1,
        };
        match is_told && is_first && info.deleted.is_none() {
            true => Ok(()),
            false => Err(format!("stream {stream} is {info:?} with {:?}", self.life)),
        }
    }

    fn check_deletion(&mut self, info: &StreamInfo, events: &[&RecordedEvent]) -> Check {
        let (life, hidden) = (&self.life, info.first.get() - 1);
        let wrong = |what: &str| {
            Err(format!(
                "the stream that is deleted {what}: {info:?} with {life:?}"
            ))
        };
        if hidden < life.deleted_to {
            return wrong("has what was deleted");
        }
        let was_gone = life.state == Some(Deletion::Hard);
        if life.deletion.is_none() && (hidden > 0 || info.deleted.is_some()) {
            return wrong("was deleted by nobody");
        }
        // While it is deleted it has no events, and only then.
        let is_empty = hidden == info.version.get();
        if is_empty != info.deleted.is_some() && hidden > 0 {
            return wrong("is deleted and has events, or is not and has none");
        }
        let is_gone = info.deleted == Some(Deletion::Hard);
        if (was_gone && !is_gone) || (is_gone && life.deletion != Some(Deletion::Hard)) {
            return wrong("is deleted for good, and must not be, or the other way");
        }
        // What was begun after the last deletion was told is kept, unless one may have come later.
        let is_later = |event: &&&RecordedEvent| {
            let owner = self.owners.get(&event.message.id());
            owner.is_some_and(|owner| self.attempts[*owner].begun > life.told)
        };
        let hides = events
            .iter()
            .filter(|event| event.version < info.first)
            .any(|event| is_later(&event));
        if life.open == 0 && hides && hidden > life.deleted_to {
            return wrong("has less than what was appended after it was deleted");
        }
        let life = &mut self.life;
        (life.deleted_to, life.state) = (hidden, info.deleted);
        (life.open, life.scavenges.1) = (0, 0);
        Ok(())
    }

    /// Checks that all of `stream` is removed of which nothing is kept.
    fn check_scavenged(&self, stream: usize, first: Version) -> Check {
        let id = stream_id(stream);
        let last_of = |event: &RecordedEvent| {
            let attempt = self
                .owners
                .get(&event.message.id())
                .map(|owner| &self.attempts[*owner]);
            let part =
                attempt.and_then(|it| it.parts.iter().find(|part| part.events.contains(&event.message)));
            let ends = part.and_then(|part| {
                part.events
                    .iter()
                    .position(|it| *it == event.message)
                    .zip(Some(part))
            });
            ends.map_or(0, |(at, part)| {
                event.version.get() + (part.events.len() - 1 - at) as u64
            })
        };
        let mut left = self
            .log
            .iter()
            .filter(|event| event.stream == id && !event.is_removed());
        match left.find(|event| last_of(event) < first.get()) {
            Some(event) if may_be_removed(stream) => Err(format!(
                "a scavenge has left the event at {}, which is not kept",
                event.position
            )),
            _ => Ok(()),
        }
    }
}
