//! Decides an append to several streams.

use eventstore_abstractions::{Appended, Error, IdempotencyKey, MultiAppended, Position, Result, Version};

use super::{Done, Plan, Target};
use crate::hold::Writer;
use crate::idempotency::Verdict;
use crate::sequencer::request::AppendAll;

impl Plan {
    /// Decides `append`, whose streams are `targets`, with a verdict each. `excluded` says which of its conditions an
    /// event that is not of this plan fails, and where that event is.
    pub(super) fn append_all(
        &mut self,
        targets: &[Target<'_>],
        append: &AppendAll,
        verdicts: &[Verdict],
        excluded: Option<(usize, Position)>,
    ) -> Result<Done> {
        let parts = || targets.iter().copied().zip(&append.parts);
        for (target, _) in parts().filter(|(_, part)| !part.events.is_empty()) {
            self.check(target, Writer::Free)?;
        }
        let is_durable = append.is_durable();
        if let Some(done) = self.repeated(targets, append, verdicts)? {
            // As in an append to one stream.
            self.durable |= is_durable;
            return Ok(Done::AppendedAll(done));
        }
        for (target, part) in parts() {
            self.require(target, part.expected, &part.events)?;
        }
        if let Some((condition, position)) = excluded.or_else(|| self.excluded(targets[0].database, append)) {
            return Err(Error::AppendConditionFailed { condition, position });
        }
        let appended = parts().map(|(target, part)| self.add(target, Writer::Free, &part.events));
        let appended = appended.collect::<Vec<_>>();
        self.durable |= is_durable && appended.iter().any(|appended| appended.events > 0);
        let position = Position::new(self.databases[targets[0].database].state.head.position);
        Ok(Done::AppendedAll(MultiAppended::new(appended, position)))
    }

    /// What the append did, if it was done before: then all of its streams have its events.
    fn repeated(
        &mut self,
        targets: &[Target<'_>],
        append: &AppendAll,
        verdicts: &[Verdict],
    ) -> Result<Option<MultiAppended>> {
        let mut first_done = None;
        let mut is_new = false;
        let mut position = Position::ZERO;
        for ((target, part), verdict) in targets.iter().zip(&append.parts).zip(verdicts) {
            match verdict {
                Verdict::Conflict { key, version } => {
                    return Err(Error::DuplicateIdempotencyId {
                        stream: target.name.clone(),
                        key: key.clone(),
                        version: *version,
                    });
                }
                Verdict::New => is_new |= !part.events.is_empty(),
                Verdict::Done(done) => {
                    position = position.max(done.position);
                    first_done = first_done.or(Some((target, &part.events[0], done)));
                }
            }
        }
        let Some((target, event, done)) = first_done else {
            return Ok(None);
        };
        if is_new {
            // Another append has used some of the ids: this one was not done, and cannot be.
            let idempotency_id = event.metadata.context.idempotency_id.clone();
            return Err(Error::DuplicateIdempotencyId {
                stream: target.name.clone(),
                key: idempotency_id.map_or_else(|| event.id().into(), IdempotencyKey::from),
                version: Version::new(done.version.get() - (done.events - 1)),
            });
        }
        let outcomes = targets
            .iter()
            .zip(verdicts)
            .map(|(target, verdict)| match verdict {
                Verdict::Done(done) => *done,
                _ => Appended::new(Version::new(self.state(*target).head.version), position, 0),
            });
        Ok(Some(MultiAppended::new(outcomes.collect(), position)))
    }

    /// The first condition that an event of this plan fails, and where that event is.
    fn excluded(&self, database: usize, append: &AppendAll) -> Option<(usize, Position)> {
        let tail = &self.databases[database].tail;
        append.conditions.iter().enumerate().find_map(|(at, condition)| {
            let position = tail.find(&condition.fail_if, condition.after)?;
            Some((at, position))
        })
    }
}
