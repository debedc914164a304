//! Databases that nobody else seems to write to: their heads need not be read for each plan.

use std::collections::HashMap;
use std::time::Duration;

use eventstore_abstractions::{Database, Timestamp};

/// So many reads of a head in a row that found it as the process had left it show that it is alone. Processes that write
/// in turn, now and then, do not come that far: what they save of reads they would lose in commits.
const CONFIRMATIONS: u32 = 4;
/// So many plans are decided without a read at most. A process that comes to the record meanwhile loses a commit to each of
/// them, which must be fewer than it gives up after.
const PLANS: u32 = 16;
/// And for so long at most: others may have written long ago.
const TIME: Duration = Duration::from_millis(100);

/// The databases that the process has had to itself, and since when.
#[derive(Debug, Default)]
pub(super) struct Alone(HashMap<Database, Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When its head was read last.
    since: Timestamp,
    /// How often in a row it was as the process had left it.
    confirmed: u32,
    /// How often it was not read since.
    trusted: u32,
}

impl Alone {
    /// The head of the database was read now, and was as the process had left it.
    pub(super) fn confirm(&mut self, name: &Database, now: Timestamp) {
        let before = self.0.get(name).map_or(0, |seen| seen.confirmed);
        let seen = Seen {
            since: now,
            confirmed: before.saturating_add(1),
            trusted: 0,
        };
        self.0.insert(name.clone(), seen);
    }

    /// Somebody else has written to the database. Returns whether its head was taken for what it had been.
    pub(super) fn end(&mut self, name: &Database) -> bool {
        self.0.remove(name).is_some_and(|seen| seen.trusted > 0)
    }

    /// Whether the head of the database may be taken for what it was, for one more plan.
    pub(super) fn trusts(&mut self, name: &Database, now: Timestamp) -> bool {
        let Some(seen) = self.0.get_mut(name) else {
            return false;
        };
        let is_alone = seen.confirmed >= CONFIRMATIONS;
        let trusts = is_alone && seen.trusted < PLANS && now.saturating_since(seen.since) < TIME;
        seen.trusted += u32::from(trusts);
        trusts
    }
}
