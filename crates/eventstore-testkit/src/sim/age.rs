//! Retention by age: what is too old by the clock of who reads, and what is young by every clock.
//!
//! Clocks jump, so that the times of a stream need not be in order. What is promised then is that the first event that
//! is read is young, and that nothing is left out behind which all is young.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{RecordedEvent, StreamInfo, Timestamp};

use super::checks::Check;
use super::clock::{Shown, SimClock};
use super::plan::AGED;
use super::world::World;

/// How long events are kept: some steps of a client.
pub(super) const AGE: Duration = Duration::from_millis(80);

/// What is known of the times of the stream of which what is young is kept.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// When a version was recorded, as it was last read: one that is removed does not tell.
    times: BTreeMap<u64, Timestamp>,
    /// The latest time by which events were left out for good.
    excluded_at: Option<Timestamp>,
}

/// The oldest time that is kept at `now`.
fn oldest(now: Timestamp) -> Timestamp {
    let age = i64::try_from(AGE.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros() - age)
}

impl Ages {
    /// Checks the stream as it is at `now`, with all its `events`, when nothing goes on.
    pub(super) fn check(&mut self, info: &StreamInfo, events: &[&RecordedEvent], now: Timestamp) -> Check {
        self.times.retain(|version, _| *version <= info.version.get());
        self.read(events.iter().copied());
        let first = self.times.get(&info.first.get());
        if first.is_some_and(|first| *first < oldest(now)) {
            return Err(format!(
                "the first event that is kept is too old at {now}: {info:?}"
            ));
        }
        let limit = oldest(self.excluded_at.map_or(now, |excluded| excluded.max(now)));
        let is_young = |version: &u64| self.times.get(version).is_some_and(|time| *time >= limit);
        let young = (1..=info.version.get()).rev().take_while(is_young).last();
        match young {
            Some(young) if young < info.first.get() => Err(format!(
                "version {young} is young at {now} and left out: {info:?}"
            )),
            _ => Ok(()),
        }
    }

    fn read<'a>(&mut self, events: impl Iterator<Item = &'a RecordedEvent>) {
        let there = events.filter(|event| !event.is_removed());
        self.times
            .extend(there.map(|event| (event.version.get(), event.recorded_at)));
    }
}

/// A call that leaves out for good what is too old by the clock of its process.
pub(super) struct Excluding {
    world: Arc<World>,
    shown: Shown,
}

impl Excluding {
    pub(super) fn begin(world: &Arc<World>, clock: &Arc<SimClock>) -> Self {
        Self {
            world: Arc::clone(world),
            shown: Shown::since_now(clock),
        }
    }
}

/// Also when it is given up.
impl Drop for Excluding {
    fn drop(&mut self) {
        let latest = Some(self.shown.latest());
        let mut known = self.world.known();
        let before = &mut known.life.ages.excluded_at;
        *before = (*before).max(latest);
    }
}

/// A read of a stream while time passes.
pub(super) struct Aging(Option<Shown>);

impl Aging {
    pub(super) fn begin(stream: usize, world: &World, clock: &Arc<SimClock>) -> Self {
        let is_aged = stream == AGED && world.known().life.is_retained(AGED);
        Self(is_aged.then(|| Shown::since_now(clock)))
    }

    /// Checks that the first of the events that were read was young at some moment of the read.
    pub(super) fn check(self, world: &World, events: &[RecordedEvent]) {
        let Some(shown) = self.0 else { return };
        world.known().life.ages.read(events.iter());
        if let Some(first) = events.first()
            && first.recorded_at < oldest(shown.earliest())
        {
            world.wrong(format!(
                "version {} was read and is too old: {}",
                first.version, first.recorded_at
            ));
        }
    }
}
