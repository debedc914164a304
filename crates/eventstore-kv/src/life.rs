//! Which events of a stream are kept: the rules, in one place.
//!
//! The head of a stream has the first version that is kept, whatever its age. It never falls, and only what is below it
//! is ever removed: so a reader that does not find a run knows from the head whether it may be gone. How old an event is
//! is found out when it is read, and goes into the head before anything is removed for it.

use std::time::Duration;

use eventstore_abstractions::{
    Database, Deletion, Error, ExpectedVersion, Result, Retention, StreamId, Timestamp, Version,
};

use crate::reader::Reader;
use crate::record::{Deleted, Life, StreamHead};

impl StreamHead {
    /// The first version that is kept, whatever its age; above the stream's version when none is.
    pub(crate) fn first(&self) -> Version {
        let first = self.life.map_or(0, |life| life.first);
        Version::new(first).max(Version::FIRST)
    }

    /// How the stream was deleted, if it is.
    pub(crate) fn deletion(&self) -> Option<Deletion> {
        self.life?.deleted.map(|deleted| match deleted {
            Deleted::Soft => Deletion::Soft,
            Deleted::Hard => Deletion::Hard,
        })
    }

    pub(crate) fn retention(&self) -> Retention {
        let life = self.life.unwrap_or_default();
        let mut retention = Retention::default();
        retention.truncate_before = life.truncate_before.map(Version::new);
        retention.max_count = life.max_count;
        retention.max_age = life.max_age.map(Duration::from_micros);
        retention
    }

    /// Whether the stream is as `expected`: one that is deleted has no events, and a version all the same.
    pub(crate) fn accepts(&self, expected: ExpectedVersion) -> bool {
        match expected {
            ExpectedVersion::NoStream if self.deletion().is_some() => true,
            ExpectedVersion::StreamExists if self.deletion().is_some() => false,
            _ => expected.accepts(Version::new(self.version)),
        }
    }

    /// The lowest version at which a snapshot is of use when `first` is the first event that is kept: no event after it
    /// may be missing, and the stream may not have been deleted since.
    pub(crate) fn first_usable_snapshot(&self, first: Version) -> Version {
        let deleted_at = self.life.map_or(0, |life| life.deleted_at);
        Version::new((first.get() - 1).max(deleted_at + 1))
    }

    /// What an append makes of it, after the version has grown.
    pub(crate) fn grow(&mut self) {
        let version = self.version;
        if let Some(life) = &mut self.life {
            life.deleted = None;
            life.count(version);
        }
    }

    /// Sets which events are kept. What was not kept before is not kept again.
    pub(crate) fn retain(&mut self, retention: Retention) {
        let mut life = self.life.unwrap_or_default();
        life.truncate_before = retention.truncate_before.map(Version::get);
        life.max_count = retention.max_count;
        life.max_age = retention.max_age.map(micros);
        life.first = life.first.max(life.truncate_before.unwrap_or_default());
        life.count(self.version);
        self.life = (life != Life::default()).then_some(life);
    }

    pub(crate) fn delete(&mut self, deletion: Deletion) {
        let life = self.life.get_or_insert_default();
        life.first = self.version + 1;
        life.deleted_at = self.version;
        life.deleted = Some(match deletion {
            Deletion::Soft => Deleted::Soft,
            Deletion::Hard => Deleted::Hard,
        });
    }

    /// Keeps no events below `first` any more, if the stream is kept for as long as `seen` says still.
    pub(crate) fn exclude(&mut self, seen: &Life, first: Version) -> bool {
        let Some(life) = self.life.as_mut().filter(|life| life.max_age == seen.max_age) else {
            return false;
        };
        let grows = life.first < first.get();
        life.first = life.first.max(first.get());
        grows
    }
}

impl Life {
    /// Leaves out what is too much, of a stream that has this version.
    fn count(&mut self, version: u64) {
        if let Some(most) = self.max_count {
            self.first = self.first.max((version + 1).saturating_sub(most));
        }
    }
}

/// Checks what can be said of a retention without its stream.
pub(crate) fn check(retention: &Retention) -> Result<()> {
    if retention.max_count == Some(0) {
        return Err(Error::invalid(
            "a maximum of 0 events keeps none for ever; use 1 or more, or delete the stream",
        ));
    }
    if retention.max_age.is_some_and(|age| micros(age) == 0) {
        return Err(Error::invalid(
            "a maximum age of less than 1 microsecond keeps no events for ever; use a longer one, or delete the stream",
        ));
    }
    Ok(())
}

/// The first version of `stream` that is kept now; above its version when none is.
///
/// Where there is a maximum age, it is searched for among the runs, as if their times never fell.
pub(crate) async fn first_kept(
    reader: &Reader,
    database: &Database,
    stream: &StreamId,
    head: &StreamHead,
) -> Result<Version> {
    let first = head.first();
    let Some(max_age) = head.life.and_then(|life| life.max_age) else {
        return Ok(first);
    };
    let max_age = i64::try_from(max_age).unwrap_or(i64::MAX);
    let oldest = Timestamp::from_micros(reader.now().as_micros().saturating_sub(max_age));
    // All before `from` are too old, and none from `to` on is. Mostly the first one is young enough.
    let (mut from, mut to) = (first.get(), head.version + 1);
    let mut next = from;
    while from < to {
        match reader.run(database, stream, Version::new(next)).await? {
            // It was removed meanwhile.
            None => from = next + 1,
            Some(run) if run.recorded_at() < oldest => from = run.last_version().get() + 1,
            Some(run) => to = run.first_version().get().max(from),
        }
        next = from.midpoint(to.max(from + 1) - 1);
    }
    Ok(Version::new(from))
}

fn micros(age: Duration) -> u64 {
    u64::try_from(age.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: u64) -> StreamHead {
        StreamHead {
            version,
            ..StreamHead::default()
        }
    }

    fn append(head: &mut StreamHead, events: u64) {
        head.version += events;
        head.grow();
    }

    #[test]
    fn what_is_not_kept_is_not_kept_again() {
        let mut head = head(10);
        head.retain(Retention::default().max_count(3));
        assert_eq!(head.first().get(), 8);
        head.retain(Retention::default());
        append(&mut head, 10);
        assert_eq!((head.first().get(), head.retention()), (8, Retention::default()));
        head.retain(
            Retention::default()
                .truncate_before(Version::new(15))
                .max_count(2),
        );
        assert_eq!(head.first().get(), 19);
        append(&mut head, 5);
        assert_eq!(head.first().get(), 24);
    }

    #[test]
    fn stream_that_keeps_everything_has_no_life() {
        let mut head = head(10);
        head.retain(Retention::default());
        assert_eq!(head.life, None);
        append(&mut head, 1);
        assert_eq!((head.life, head.first()), (None, Version::FIRST));
    }

    #[test]
    fn deleted_stream_has_no_events_and_a_version() {
        use ExpectedVersion::{Any, Exact, NoStream, StreamExists};
        let accepted = |head: &StreamHead| {
            let all = [
                Any,
                NoStream,
                StreamExists,
                Exact(Version::new(10)),
                Exact(Version::ZERO),
            ];
            all.map(|expected| head.accepts(expected))
        };
        let mut head = head(10);
        head.delete(Deletion::Soft);
        assert_eq!(accepted(&head), [true, true, false, true, false]);
        assert_eq!((head.first().get(), head.deletion()), (11, Some(Deletion::Soft)));
        assert_eq!(head.first_usable_snapshot(head.first()).get(), 11);
        head.version = 10;
        append(&mut head, 0);
        assert_eq!(accepted(&head), [true, false, true, true, false]);
        assert_eq!((head.first().get(), head.deletion()), (11, None));
    }

    #[test]
    fn age_that_was_seen_counts_only_as_long_as_it_is_asked_for() {
        let mut head = head(10);
        head.retain(Retention::default().max_age(Duration::from_secs(1)));
        let seen = head.life.expect("it has one");
        assert!(head.exclude(&seen, Version::new(5)) && !head.exclude(&seen, Version::new(4)));
        assert_eq!(head.first().get(), 5);
        head.retain(Retention::default().max_age(Duration::from_secs(2)));
        assert!(!head.exclude(&seen, Version::new(9)));
        assert_eq!(head.first().get(), 5);
    }

    #[test]
    fn retention_that_keeps_nothing_is_refused() {
        for retention in [
            Retention::default().max_count(0),
            Retention::default().max_age(Duration::from_nanos(999)),
        ] {
            assert!(
                matches!(check(&retention), Err(Error::InvalidInput { .. })),
                "{retention:?}"
            );
        }
        assert!(check(&Retention::default().max_count(1).max_age(Duration::MAX)).is_ok());
    }
}
