//! Decides which events of a stream are kept, and whether it is deleted.

use eventstore_abstractions::{Deletion, Error, ExpectedVersion, Result, Retention, Version};

use super::{Done, Plan, Target};
use crate::hold::Writer;
use crate::record::StreamHead;
use crate::sequencer::request::LifeChange;

impl Plan {
    pub(super) fn change_life(&mut self, target: Target<'_>, change: &LifeChange) -> Result<Done> {
        let mut head = self.state(target).head;
        match change {
            // What the stream's readers do not see any more is nothing that a session could miss.
            LifeChange::Exclude { seen, first } => {
                if head.exclude(seen, *first) {
                    self.put_life(target, head);
                }
                return Ok(Done::Written);
            }
            LifeChange::Retain(retention) => {
                self.check(target, Writer::Free)?;
                check_truncation(&head, retention)?;
                head.retain(*retention);
            }
            LifeChange::Delete { expected, deletion } => {
                self.check(target, Writer::Free)?;
                if !head.accepts(*expected) {
                    return Err(mismatch(target, *expected, &head));
                }
                // There is nothing to delete of what is empty, but its name can be taken for ever.
                if *deletion == Deletion::Hard || (head.deletion().is_none() && head.version > 0) {
                    head.delete(*deletion);
                }
            }
        }
        // What is answered as done survives a crash, also when somebody else has just done it.
        self.durable = true;
        if head != self.state(target).head {
            self.end_dead_lease(target, Writer::Free);
            self.put_life(target, head);
        }
        Ok(Done::Written)
    }

    fn put_life(&mut self, target: Target<'_>, head: StreamHead) {
        let stream = self.planned(target);
        stream.state.head = head;
        stream.is_changed = true;
        stream.is_underivable = true;
        self.durable = true;
        self.bump(target, 0);
    }
}

/// Refuses to leave out events that are not there yet: they would be lost as they are appended.
fn check_truncation(head: &StreamHead, retention: &Retention) -> Result<()> {
    let version = Version::new(head.version);
    match retention.truncate_before {
        Some(first) if first > version.next() => Err(Error::invalid(format!(
            "events before version {first} cannot be left out of a stream of version {version}; truncate it before \
             version {} at most, which leaves out all that it has",
            version.next()
        ))),
        _ => Ok(()),
    }
}

fn mismatch(target: Target<'_>, expected: ExpectedVersion, head: &StreamHead) -> Error {
    Error::StoreVersionMismatch {
        stream: target.name.clone(),
        expected,
        actual: Version::new(head.version),
    }
}
