//! What must be true of a log, given what is known of a run.

use std::collections::BTreeMap;

use eventstore_abstractions::{
    Clock, EventLog, ExpectedVersion, LogReadOptions, ReadOptions, RecordedEvent, Result, Snapshot, Version,
};

use super::clock::SimClock;
use super::plan::{DELETED, STREAMS};
use super::world::{Attempt, Known, Part, State, World, may_be_removed, stream_id};

/// A check that fails says what is wrong.
pub(super) type Check = std::result::Result<(), String>;

impl World {
    /// Checks the events of a stream as they were read.
    pub(super) fn check_events(&self, stream: usize, events: &[RecordedEvent]) {
        let checked = {
            let known = self.known();
            let first = events.first().map_or(1, |event| event.version.get());
            let is_whole = may_be_removed(stream) || first == 1;
            let mut numbered = (first..).zip(events);
            if !is_whole || numbered.any(|(version, event)| event.version.get() != version) {
                Err(format!("stream {stream} has a gap: {:?}", versions(events)))
            } else {
                events.iter().try_for_each(|event| known.check_event(event))
            }
        };
        self.report(checked);
    }

    /// Checks the log as it was read.
    pub(super) fn check_log(&self, events: &[RecordedEvent]) {
        let checked = self.known().check_read(events);
        self.report(checked);
    }

    /// Checks a snapshot that was read when versions up to `deleted` were deleted.
    pub(super) fn check_snapshot(&self, stream: usize, snapshot: &Snapshot, deleted: u64) {
        let text = String::from_utf8_lossy(&snapshot.message.payload.bytes).into_owned();
        let version = snapshot.version.get();
        let is_known = self.known().snapshots[stream].contains(&(version, text.clone()));
        if !is_known {
            self.wrong(format!(
                "stream {stream} has a snapshot at {version} that nobody stored: {text}"
            ));
        }
        if version <= deleted {
            self.wrong(format!(
                "stream {stream} has a snapshot at {version} and was deleted at {deleted}"
            ));
        }
    }

    /// Notes and checks what a subscription of `process` yields.
    pub(super) fn saw(&self, process: usize, event: &RecordedEvent) {
        let checked = {
            let mut known = self.known();
            let seen = &mut known.seen[process];
            let next = seen.len() as u64 + 1;
            seen.push((!event.is_removed()).then(|| event.message.id()));
            if event.position.get() == next {
                known.check_event(event)
            } else {
                Err(format!(
                    "a subscription of process {process} is told {} and not {next}",
                    event.position
                ))
            }
        };
        self.report(checked);
    }

    /// Looks at everything at a moment when nothing goes on, and decides what nobody knew. `was_cut` tells whether what
    /// was not durable may be gone.
    pub(super) async fn look(&self, log: &dyn EventLog, clock: &SimClock, was_cut: bool) -> Result<()> {
        let events = log.read_all(LogReadOptions::forward()).collect().await?;
        self.trace.add(format!(
            "the log of {} has {} events",
            self.database,
            events.len()
        ));
        let checked = self.known().resolve(&events, was_cut);
        self.report(checked);
        for stream in 0..STREAMS {
            self.look_at(log, clock, stream, &events).await?;
        }
        Ok(())
    }

    /// Looks at a stream, of a log that has these events.
    async fn look_at(
        &self,
        log: &dyn EventLog,
        clock: &SimClock,
        stream: usize,
        events: &[RecordedEvent],
    ) -> Result<()> {
        let id = stream_id(stream);
        let of_stream = events
            .iter()
            .filter(|event| event.stream == id)
            .collect::<Vec<_>>();
        let version = log.version(&id).await?;
        if version != Version::new(of_stream.len() as u64) {
            self.wrong(format!(
                "stream {stream} is at {version} and the log has {} events of it",
                of_stream.len()
            ));
        }
        let options = ReadOptions::slice(Version::FIRST, Version::MAX);
        let read = log.read_stream(&id, options).await?.events.collect().await?;
        self.check_events(stream, &read);
        let info = log.stream_info(&id).await?;
        let kept = of_stream.iter().filter(|event| event.version >= info.first);
        if info.version != version || !kept.copied().eq(read.iter()) {
            self.wrong(format!(
                "stream {stream} and the log differ, where it is {info:?}"
            ));
        }
        let checked = self.known().check_life(stream, &info, &of_stream, clock.now());
        self.report(checked);
        let deleted = self.known().life.deleted(stream);
        for at in log.snapshot_versions(&id).await? {
            if at > version || at.next() < info.first {
                self.wrong(format!("stream {stream} is {info:?} and has a snapshot at {at}"));
            }
            if let Some(snapshot) = log.read_snapshot(&id, at).await? {
                self.check_snapshot(stream, &snapshot, deleted);
            }
        }
        Ok(())
    }

    /// Notes that everything was closed in order: what was told is durable.
    pub(super) fn closed(&self) {
        for attempt in &mut self.known().attempts {
            attempt.is_durable |= attempt.is_acked();
        }
    }

    pub(super) fn report(&self, checked: Check) {
        if let Err(what) = checked {
            self.wrong(what);
        }
    }
}

impl Known {
    /// Checks that somebody appended this event, as it is, to this stream.
    pub(super) fn check_event(&self, event: &RecordedEvent) -> Check {
        if event.is_removed() {
            return match self.life.may_have_removed(&event.stream) {
                true => Ok(()),
                false => Err(format!(
                    "the event at {} was removed and must be kept",
                    event.position
                )),
            };
        }
        let id = event.message.id();
        let attempt = self.owners.get(&id).map(|at| &self.attempts[*at]);
        let parts = attempt.iter().flat_map(|attempt| &attempt.parts);
        let mut of_stream = parts.filter(|part| stream_id(part.stream) == event.stream);
        if of_stream.any(|part| part.events.contains(&event.message)) {
            return Ok(());
        }
        Err(format!(
            "the event at {} is not what anybody appended: {event:?}",
            event.position
        ))
    }

    /// Checks a log that was read while others write.
    fn check_read(&self, events: &[RecordedEvent]) -> Check {
        for (position, event) in (1..).zip(events) {
            if event.position.get() != position {
                return Err(format!("the log has {} at {position}", event.position));
            }
            self.check_event(event)?;
        }
        if events.len() < self.log.len() {
            return Err(format!(
                "the log had {} events and has {}",
                self.log.len(),
                events.len()
            ));
        }
        let mut pairs = self.log.iter().zip(events);
        match pairs.find(|(before, now)| !is_same(before, now)) {
            Some((before, now)) => Err(format!("the log had {before:?} and has {now:?}")),
            None => Ok(()),
        }
    }

    fn resolve(&mut self, events: &[RecordedEvent], was_cut: bool) -> Check {
        self.check_read(events)?;
        let mut versions = [0; STREAMS];
        let mut places = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            let stream = (0..STREAMS).find(|stream| stream_id(*stream) == event.stream);
            let stream = stream.ok_or_else(|| format!("there is a stream {}", event.stream))?;
            versions[stream] += 1;
            if event.version.get() != versions[stream] {
                return Err(format!(
                    "stream {stream} has a gap in the log at {}",
                    event.position
                ));
            }
            if !event.is_removed() && places.insert(event.message.id(), at).is_some() {
                return Err(format!("the event at {} is there twice", event.position));
            }
        }
        let look = Look { events, places };
        for number in 0..self.attempts.len() {
            let state = look.state(self, number, was_cut)?;
            let attempt = &mut self.attempts[number];
            if attempt.state != state {
                attempt.state = state;
            }
            attempt.is_durable |= attempt.is_acked();
        }
        self.check_commands(&look)?;
        self.check_fences(events)?;
        self.check_seen(events, was_cut)?;
        self.log = events.to_vec();
        Ok(())
    }

    /// A command was done once, and everybody was told so.
    fn check_commands(&self, look: &Look<'_>) -> Check {
        let mut done: BTreeMap<usize, &Attempt> = BTreeMap::new();
        for attempt in self.attempts.iter().filter(|attempt| look.count(attempt) > 0) {
            if let Some(command) = attempt.command
                && done.insert(command, attempt).is_some()
            {
                return Err(format!("command {command} was done twice"));
            }
        }
        for attempt in self.attempts.iter().filter(|attempt| attempt.is_acked()) {
            let Some(first) = attempt.command.and_then(|command| done.get(&command)) else {
                continue;
            };
            for (part, first) in attempt.parts.iter().zip(&first.parts) {
                let last = first.events.last().and_then(|event| look.places.get(&event.id()));
                let there = last.map(|at| (look.events[*at].version, look.events[*at].position));
                let told = part.appended.map(|told| (told.version, told.position));
                if told.is_some() && told != there {
                    return Err(format!("a command was told {told:?} and was done at {there:?}"));
                }
            }
        }
        Ok(())
    }

    /// Nobody writes in a session after somebody has written past it.
    fn check_fences(&self, events: &[RecordedEvent]) -> Check {
        for (stream, granted) in self.sessions.iter().enumerate() {
            let mut fence = 0;
            for event in events.iter().filter(|event| event.stream == stream_id(stream)) {
                let Some(owner) = self.owners.get(&event.message.id()) else {
                    continue;
                };
                let attempt = &self.attempts[*owner];
                match attempt.token {
                    Some(token) if token <= fence => {
                        return Err(format!(
                            "append {owner} at {} has token {token}, and somebody has written past {fence}",
                            event.position
                        ));
                    }
                    Some(token) => fence = fence.max(token - 1),
                    None => {
                        let before = granted.iter().filter(|(_, at)| **at < attempt.begun);
                        fence = fence.max(before.map(|(token, _)| *token).max().unwrap_or(0));
                    }
                }
            }
        }
        Ok(())
    }

    /// What was seen is what is there; what was not durable may be gone.
    fn check_seen(&mut self, events: &[RecordedEvent], was_cut: bool) -> Check {
        for (process, seen) in self.seen.iter_mut().enumerate() {
            if seen.len() > events.len() && !was_cut {
                return Err(format!(
                    "process {process} has seen {} of {} events",
                    seen.len(),
                    events.len()
                ));
            }
            seen.truncate(events.len());
            for (seen, event) in seen.iter().zip(events) {
                let is_other = seen.is_some_and(|id| !event.is_removed() && id != event.message.id());
                if is_other {
                    return Err(format!(
                        "process {process} has seen another event at {}",
                        event.position
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A log, and where each event is in it.
struct Look<'a> {
    events: &'a [RecordedEvent],
    places: BTreeMap<eventstore_abstractions::MessageId, usize>,
}

impl Look<'_> {
    /// How many events of `attempt` are there.
    fn count(&self, attempt: &Attempt) -> usize {
        attempt.ids().filter(|id| self.places.contains_key(id)).count()
    }

    /// What became of an attempt.
    fn state(&self, known: &Known, number: usize, was_cut: bool) -> std::result::Result<State, String> {
        let attempt = &known.attempts[number];
        let (there, all) = (self.count(attempt), attempt.ids().count());
        if there == all {
            if attempt.state == State::Nothing {
                return Err(format!("append {number} did nothing, and is there: {attempt:?}"));
            }
            self.check_whole(number, attempt)?;
            return Ok(match attempt.state {
                State::Acked(at) => State::Acked(at),
                _ => State::Acked(known.now()),
            });
        }
        if attempt.may_be_removed() {
            return self.check_removed(known, number, was_cut);
        }
        if there > 0 {
            return Err(format!(
                "append {number} is torn: {there} of {all} events are there"
            ));
        }
        // Somebody else may have done the same command.
        let is_done = |other: &Attempt| other.command == attempt.command && self.count(other) > 0;
        if attempt.command.is_some() && known.attempts.iter().any(is_done) {
            return Ok(attempt.state);
        }
        if attempt.is_acked() && (known.is_durable(attempt) || !was_cut) {
            return Err(format!(
                "append {number} was acknowledged, and is lost: {attempt:?}"
            ));
        }
        Ok(State::Nothing)
    }

    /// Checks an attempt that is there: its parts are whole, and where it was told, and as was expected.
    fn check_whole(&self, number: usize, attempt: &Attempt) -> Check {
        let mut next = None;
        for part in &attempt.parts {
            let places = part
                .events
                .iter()
                .filter_map(|event| self.places.get(&event.id()));
            let events = places.map(|at| &self.events[*at]).collect::<Vec<_>>();
            for event in &events {
                if next.is_some_and(|next| next != event.position) {
                    return Err(format!("append {number} is torn at {}", event.position));
                }
                next = Some(event.position.next());
            }
            self.check_part(number, part, &events)?;
        }
        if let Some((category, after)) = &attempt.excluded {
            let first = next.map_or(0, |next| next.get() - 1 - attempt.ids().count() as u64);
            let mut between = self
                .events
                .iter()
                .filter(|event| event.position > *after && event.position.get() <= first);
            // A condition does not see what was removed.
            let is_meant =
                |event: &&RecordedEvent| event.stream.category() == category && !event.is_removed();
            if let Some(event) = between.find(is_meant) {
                return Err(format!(
                    "append {number} was done in spite of the event at {}",
                    event.position
                ));
            }
        }
        Ok(())
    }

    fn check_part(&self, number: usize, part: &Part, events: &[&RecordedEvent]) -> Check {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Ok(());
        };
        let before = Version::new(first.version.get() - 1);
        // A history knows when a stream was deleted.
        let is_new = part.stream == DELETED && part.expected == ExpectedVersion::NoStream;
        if !part.expected.accepts(before) && !is_new {
            return Err(format!(
                "append {number} expected {} and was done after {before}",
                part.expected
            ));
        }
        match part.appended {
            Some(told) if (told.version, told.position) != (last.version, last.position) => Err(format!(
                "append {number} was told version {} at {}, and is version {} at {}",
                told.version, told.position, last.version, last.position
            )),
            _ => Ok(()),
        }
    }

    /// Checks an attempt of which some may have been removed: what was told must have been there.
    fn check_removed(
        &self,
        known: &Known,
        number: usize,
        was_cut: bool,
    ) -> std::result::Result<State, String> {
        let attempt = &known.attempts[number];
        let State::Acked(_) = attempt.state else {
            return Ok(attempt.state);
        };
        for part in &attempt.parts {
            let Some(told) = part.appended else { continue };
            let at = usize::try_from(told.position.get()).unwrap_or(usize::MAX) - 1;
            let is_there = self.events.get(at).is_some_and(|event| {
                event.is_removed() && event.version == told.version && event.stream == stream_id(part.stream)
            });
            let last = part.events.last().map(|event| event.id());
            let is_kept = last.is_some_and(|id| self.places.contains_key(&id));
            if is_there || is_kept {
                continue;
            }
            if !known.is_durable(attempt) && was_cut {
                return Ok(State::Nothing);
            }
            return Err(format!(
                "append {number} was acknowledged, and is lost: {attempt:?}"
            ));
        }
        Ok(attempt.state)
    }
}

/// Whether an event is as it was, or was removed.
fn is_same(before: &RecordedEvent, now: &RecordedEvent) -> bool {
    let at = |event: &RecordedEvent| (event.stream.clone(), event.version, event.position);
    before == now || (now.is_removed() && at(before) == at(now))
}

fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}
