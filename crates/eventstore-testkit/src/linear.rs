//! Whether a history of concurrent calls on one stream can be explained by calls that happen one after the other.
//!
//! A [`History`] has calls on one stream, each with the moments at which it began and ended and with what it was told.
//! It is *linearizable* when every call can be given a moment between the two at which it happens at once, so that each
//! was told what a stream that does one thing at a time would tell. A call that nobody knows the outcome of (a time-out,
//! a crash) may have happened at any moment after its beginning, or never.
//!
//! The search is that of Wing and Gong, with what was found not to work remembered (Lowe).

use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use eventstore_abstractions::{Deletion, ExpectedVersion, Version};

use crate::fault::locked;

/// Steps of the search after which a history is given up: far more than one of a few hundred calls takes, unless almost
/// all of them overlap.
const MAX_STEPS: usize = 2_000_000;

/// What was called.
///
/// See [`History`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// An append of events, each of which has a number of its own. To append the same events again does nothing, and
    /// is told what the first time was told.
    Append {
        /// The numbers of the events.
        events: Vec<u64>,
        /// What the stream had to be.
        expected: ExpectedVersion,
    },
    /// A read of the version, or of all events.
    Read,
    /// A deletion.
    Delete {
        /// What the stream had to be.
        expected: ExpectedVersion,
        /// How it is deleted.
        deletion: Deletion,
    },
}

/// What a caller was told.
///
/// See [`History`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The events were appended, and the last has this version.
    Appended(u64),
    /// The stream was not as expected: this was its version.
    Conflict(u64),
    /// The stream is deleted.
    Deleted,
    /// The stream was deleted for good before.
    Gone,
    /// The version that was read.
    Version(u64),
    /// The events that were read: those that were not deleted.
    Events(Vec<u64>),
    /// It is not known whether it happened.
    Unknown,
}

/// Calls on one stream by any number of callers.
///
/// ```
/// use eventstore_abstractions::{ExpectedVersion, Version};
/// use eventstore_testkit::linear::{Call, History, Told};
///
/// let history = History::starting_with(vec![]);
/// let append = |event| Call::Append {
///     events: vec![event],
///     expected: ExpectedVersion::Exact(Version::ZERO),
/// };
/// let (one, other) = (history.begin(append(1)), history.begin(append(2)));
/// history.end(one, Told::Appended(1));
/// history.end(other, Told::Conflict(1));
/// assert!(history.check().is_ok());
///
/// // Somebody reads, later, what can no longer be true.
/// let read = history.begin(Call::Read);
/// history.end(read, Told::Version(0));
/// assert!(history.check().is_err());
/// ```
#[derive(Debug, Default)]
pub struct History {
    start: Stream,
    /// Counts beginnings and ends, so that all of them are in one order.
    moment: AtomicU64,
    calls: Mutex<Vec<Recorded>>,
}

#[derive(Clone, Debug)]
struct Recorded {
    call: Call,
    begun: u64,
    ended: u64,
    told: Told,
}

/// A call that was begun. When it is never ended it has an unknown outcome.
///
/// See [`History`] for an example.
#[derive(Debug)]
pub struct Begun(usize);

impl History {
    /// A history of a stream that has these events when it begins.
    #[must_use]
    pub fn starting_with(events: Vec<u64>) -> Self {
        Self {
            start: Stream {
                events,
                ..Stream::default()
            },
            ..Self::default()
        }
    }

    /// The same, of which the first events were deleted; and whether nothing was appended since.
    ///
    /// ```
    /// use eventstore_abstractions::Deletion;
    /// use eventstore_testkit::linear::{Call, History, Told};
    ///
    /// let history = History::starting_with(vec![1, 2]).deleted(2, Some(Deletion::Soft));
    /// let read = history.begin(Call::Read);
    /// history.end(read, Told::Events(vec![]));
    /// assert!(history.check().is_ok());
    /// ```
    #[must_use]
    pub fn deleted(mut self, events: usize, deletion: Option<Deletion>) -> Self {
        (self.start.hidden, self.start.deletion) = (events, deletion);
        self
    }

    /// Records that a call begins.
    pub fn begin(&self, call: Call) -> Begun {
        let mut calls = locked(&self.calls);
        calls.push(Recorded {
            call,
            begun: self.moment.fetch_add(1, Ordering::SeqCst),
            ended: u64::MAX,
            told: Told::Unknown,
        });
        Begun(calls.len() - 1)
    }

    /// Records that a call has ended.
    pub fn end(&self, begun: Begun, told: Told) {
        let mut calls = locked(&self.calls);
        let call = &mut calls[begun.0];
        if told != Told::Unknown {
            call.ended = self.moment.fetch_add(1, Ordering::SeqCst);
        }
        call.told = told;
    }

    /// Forgets a call that is known to have done nothing and to have been told nothing of the stream.
    pub fn forget(&self, begun: Begun) {
        // A read of unknown outcome explains itself.
        locked(&self.calls)[begun.0].call = Call::Read;
        self.end(begun, Told::Unknown);
    }

    /// How many calls were recorded.
    #[must_use]
    pub fn calls(&self) -> usize {
        locked(&self.calls).len()
    }

    /// Checks that the history is linearizable.
    ///
    /// # Errors
    /// What cannot be explained, or that the search was given up.
    pub fn check(&self) -> Result<(), String> {
        let calls = locked(&self.calls).clone();
        let asked = calls
            .into_iter()
            .filter(|call| call.call != Call::Read || call.told != Told::Unknown);
        let calls = asked.collect::<Vec<_>>();
        Search {
            calls: &calls,
            failed: HashSet::new(),
            steps: 0,
            furthest: BTreeSet::new(),
        }
        .run(self.start.clone())
    }
}

struct Search<'a> {
    calls: &'a [Recorded],
    /// What happened, in any order, and the stream that it led to: from there the rest cannot be explained.
    failed: HashSet<(Vec<bool>, Stream)>,
    steps: usize,
    /// The most calls that could be explained, for the message.
    furthest: BTreeSet<usize>,
}

/// A place in the search.
struct Place {
    happened: Vec<bool>,
    stream: Stream,
    /// The next call to try.
    next: usize,
}

impl Search<'_> {
    fn run(mut self, start: Stream) -> Result<(), String> {
        let mut path = vec![Place {
            happened: vec![false; self.calls.len()],
            stream: start,
            next: 0,
        }];
        while let Some(place) = path.last_mut() {
            if self.is_explained(&place.happened) {
                return Ok(());
            }
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return Err(format!(
                    "given up after {MAX_STEPS} steps: too many calls overlap"
                ));
            }
            match self.step(place) {
                Some(deeper) => {
                    let count = deeper.happened.iter().filter(|it| **it).count();
                    if count > self.furthest.len() {
                        let happened = deeper.happened.iter().enumerate();
                        self.furthest = happened.filter(|(_, it)| **it).map(|(at, _)| at).collect();
                    }
                    path.push(deeper);
                }
                None => {
                    path.pop();
                }
            }
        }
        Err(self.unexplained())
    }

    /// Whether every call that was told something has happened.
    fn is_explained(&self, happened: &[bool]) -> bool {
        let mut calls = self.calls.iter().zip(happened);
        calls.all(|(call, happened)| *happened || call.told == Told::Unknown)
    }

    /// Lets one more call happen.
    fn step(&mut self, place: &mut Place) -> Option<Place> {
        let open = || self.calls.iter().zip(&place.happened).filter(|(_, it)| !**it);
        // What begins after another has ended cannot happen before it.
        let first_end = open().map(|(call, _)| call.ended).min()?;
        while place.next < self.calls.len() {
            let at = place.next;
            place.next += 1;
            let call = &self.calls[at];
            if place.happened[at] || call.begun > first_end {
                continue;
            }
            let Some(stream) = happen(&place.stream, call) else {
                continue;
            };
            let mut happened = place.happened.clone();
            happened[at] = true;
            if self.failed.insert((happened.clone(), stream.clone())) {
                return Some(Place {
                    happened,
                    stream,
                    next: 0,
                });
            }
        }
        None
    }

    fn unexplained(&self) -> String {
        let mut lines = vec![format!(
            "no order explains these calls; {} of {} could be explained, without those marked with !:",
            self.furthest.len(),
            self.calls.len()
        )];
        for (at, call) in self.calls.iter().enumerate() {
            let mark = if self.furthest.contains(&at) { ' ' } else { '!' };
            let ended = match call.ended {
                u64::MAX => "…".to_owned(),
                ended => ended.to_string(),
            };
            lines.push(format!(
                "{mark} {}..{ended} {:?} was told {:?}",
                call.begun, call.call, call.told
            ));
        }
        lines.join("\n")
    }
}

/// A stream, as far as its callers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stream {
    events: Vec<u64>,
    /// How many of the first were deleted.
    hidden: usize,
    /// How it was deleted, if nothing was appended since.
    deletion: Option<Deletion>,
}

impl Hash for Stream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.events, self.hidden).hash(state);
    }
}

impl Stream {
    fn version(&self) -> u64 {
        self.events.len() as u64
    }

    fn accepts(&self, expected: ExpectedVersion) -> bool {
        match expected {
            ExpectedVersion::NoStream if self.deletion.is_some() => true,
            ExpectedVersion::StreamExists if self.deletion.is_some() => false,
            _ => expected.accepts(Version::new(self.version())),
        }
    }

    fn append(&mut self, events: &[u64], expected: ExpectedVersion) -> Told {
        let last = events.last();
        if let Some(at) = last.and_then(|last| self.events.iter().position(|event| event == last)) {
            return Told::Appended(at as u64 + 1);
        }
        if !self.accepts(expected) {
            return Told::Conflict(self.version());
        }
        self.events.extend(events);
        self.deletion = None;
        Told::Appended(self.version())
    }

    fn delete(&mut self, expected: ExpectedVersion, deletion: Deletion) -> Told {
        if !self.accepts(expected) {
            return Told::Conflict(self.version());
        }
        self.hidden = self.events.len();
        if deletion == Deletion::Hard || !self.events.is_empty() {
            self.deletion = Some(deletion);
        }
        Told::Deleted
    }

    /// Whether a read may be told so.
    fn reads(&self, told: &Told) -> bool {
        match told {
            Told::Version(read) => *read == self.version(),
            Told::Events(read) => *read == self.events[self.hidden..],
            _ => true,
        }
    }
}

/// The stream after `call` has happened to it, if it would be told so.
fn happen(stream: &Stream, call: &Recorded) -> Option<Stream> {
    let mut after = stream.clone();
    let outcome = match &call.call {
        Call::Read => return stream.reads(&call.told).then_some(after),
        _ if stream.deletion == Some(Deletion::Hard) => Told::Gone,
        Call::Append { events, expected } => after.append(events, *expected),
        Call::Delete { expected, deletion } => after.delete(*expected, *deletion),
    };
    (call.told == Told::Unknown || call.told == outcome).then_some(after)
}

#[cfg(test)]
mod tests;
