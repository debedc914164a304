//! Decides who holds a stream.

use eventstore_abstractions::{Deletion, Error, Result, Session, SessionId, Timestamp};

use super::{Done, Plan, Target};
use crate::hold::{self, Writer};
use crate::keys;
use crate::record::{Lease, Record};

impl Plan {
    pub(super) fn acquire(
        &mut self,
        target: Target<'_>,
        session: SessionId,
        owner: &str,
        expires_at: Timestamp,
    ) -> Result<Done> {
        let now = self.now;
        self.check_not_deleted(target)?;
        if let Some(held_by) = hold::holder(self.state(target).lease.as_ref(), Some(session), now) {
            return Ok(Done::Held(held_by));
        }
        let token = self.bump(target, 0);
        self.durable = true;
        let lease = Lease {
            session: *session.as_uuid().as_bytes(),
            token,
            expires_at: expires_at.as_micros(),
            owner: owner.to_owned(),
        };
        self.put_lease(target, lease);
        Ok(Done::Opened(Session::new(session, token, expires_at)))
    }

    pub(super) fn renew(
        &mut self,
        target: Target<'_>,
        writer: Writer,
        session: SessionId,
        expires_at: Timestamp,
    ) -> Result<Done> {
        self.check(target, writer)?;
        let lease = self
            .state(target)
            .lease
            .clone()
            .expect("a session that passed the check has a lease");
        let token = lease.token;
        self.put_lease(
            target,
            Lease {
                expires_at: expires_at.as_micros(),
                ..lease
            },
        );
        self.durable |= self.limits.durable_leases;
        self.bump(target, 0);
        Ok(Done::Renewed(Session::new(session, token, expires_at)))
    }

    pub(super) fn release(&mut self, target: Target<'_>, session: SessionId) -> Done {
        if self
            .state(target)
            .lease
            .as_ref()
            .is_some_and(|lease| lease.session() == session)
        {
            self.delete_lease(target);
            self.durable |= self.limits.durable_leases;
            self.bump(target, 0);
        }
        Done::Written
    }

    pub(super) fn check(&mut self, target: Target<'_>, writer: Writer) -> Result<()> {
        let now = self.now;
        hold::check(target.name, self.state(target).lease.as_ref(), writer, now)?;
        self.check_not_deleted(target)
    }

    /// A stream that was deleted for good takes no write of any kind.
    fn check_not_deleted(&mut self, target: Target<'_>) -> Result<()> {
        match self.state(target).head.deletion() {
            Some(Deletion::Hard) => Err(Error::StreamDeleted {
                stream: target.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// A free write past a session whose time is over ends that session for good: if the clock jumps back, the
    /// session must not find itself alive with somebody else's events in its stream.
    pub(super) fn end_dead_lease(&mut self, target: Target<'_>, writer: Writer) {
        if matches!(writer, Writer::Free) && self.state(target).lease.is_some() {
            self.delete_lease(target);
        }
    }

    fn put_lease(&mut self, target: Target<'_>, lease: Lease) {
        let key = keys::lease(self.database_name(target), target.name);
        self.put(key, |key| lease.seal(key));
        self.state(target).lease = Some(lease);
    }

    fn delete_lease(&mut self, target: Target<'_>) {
        let key = keys::lease(self.database_name(target), target.name);
        self.delete(key);
        self.state(target).lease = None;
    }
}
