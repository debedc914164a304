//! Who may write to a stream: the rules of sessions, in one place.
//!
//! A session is a lease in the store. Only the clock of the store that looks at it decides whether it is over, and
//! a write that finds it over ends it for good, so that a clock that jumps back revives nothing.

use eventstore_abstractions::{Error, HeldBy, Result, SessionId, StreamId, Timestamp};
use uuid::Uuid;

use crate::record::Lease;

/// Who wants to write, or to read through a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writer {
    /// Anybody, without a session.
    Free,
    /// A session, with the end that it knows of.
    Session { id: SessionId, expires_at: Timestamp },
}

impl Lease {
    pub(crate) fn session(&self) -> SessionId {
        SessionId::from_uuid(Uuid::from_bytes(self.session))
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.expires_at)
    }

    pub(crate) fn held_by(&self) -> HeldBy {
        HeldBy::new(self.session(), self.owner.clone(), self.expires_at())
    }

    fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at()
    }
}

/// The session other than `own` that holds the stream now, if there is one.
pub(crate) fn holder(lease: Option<&Lease>, own: Option<SessionId>, now: Timestamp) -> Option<Box<HeldBy>> {
    let other = lease.filter(|lease| lease.is_live(now) && Some(lease.session()) != own)?;
    Some(Box::new(other.held_by()))
}

/// Checks that `writer` may work on a stream that has `lease`.
pub(crate) fn check(stream: &StreamId, lease: Option<&Lease>, writer: Writer, now: Timestamp) -> Result<()> {
    let stream = || stream.clone();
    match writer {
        Writer::Free => match holder(lease, None, now) {
            Some(held_by) => Err(Error::StreamHeld {
                stream: stream(),
                held_by,
            }),
            None => Ok(()),
        },
        Writer::Session { id, expires_at } => {
            if let Some(held_by) = holder(lease, Some(id), now) {
                return Err(Error::InvalidStoreSession {
                    stream: stream(),
                    session: id,
                    held_by,
                });
            }
            match lease.filter(|lease| lease.session() == id) {
                Some(lease) if lease.is_live(now) => Ok(()),
                own => {
                    let expired_at = own.map_or(expires_at, Lease::expires_at);
                    Err(Error::StoreSessionExpired {
                        stream: stream(),
                        session: id,
                        expired_at,
                    })
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: SessionId = SessionId::from_uuid(Uuid::from_u128(1));
    const OTHER: SessionId = SessionId::from_uuid(Uuid::from_u128(2));

    fn lease(session: SessionId, expires_at: i64) -> Lease {
        Lease {
            session: *session.as_uuid().as_bytes(),
            token: 1,
            expires_at,
            owner: "test".to_owned(),
        }
    }

    fn checked(lease: Option<&Lease>, writer: Writer, now: i64) -> &'static str {
        let stream = StreamId::new("c", "i").expect("valid");
        match check(&stream, lease, writer, Timestamp::from_micros(now)) {
            Ok(()) => "ok",
            Err(Error::StreamHeld { .. }) => "held",
            Err(Error::InvalidStoreSession { .. }) => "invalid",
            Err(Error::StoreSessionExpired { .. }) => "expired",
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn rules_of_a_session() {
        let mine = Writer::Session {
            id: MINE,
            expires_at: Timestamp::from_micros(10),
        };
        let (own, other) = (lease(MINE, 10), lease(OTHER, 10));
        assert_eq!(checked(Some(&own), mine, 9), "ok");
        assert_eq!(
            checked(Some(&own), mine, 10),
            "expired",
            "a session is over at its end"
        );
        assert_eq!(checked(Some(&other), mine, 9), "invalid");
        assert_eq!(
            checked(Some(&other), mine, 10),
            "expired",
            "nobody holds the stream any more"
        );
        assert_eq!(
            checked(None, mine, 9),
            "expired",
            "a lease that was ended stays ended"
        );
        assert_eq!(checked(Some(&own), Writer::Free, 9), "held");
        assert_eq!(checked(Some(&own), Writer::Free, 10), "ok");
        assert_eq!(checked(None, Writer::Free, 0), "ok");
    }
}
