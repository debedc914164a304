//! Providers that open, renew and close sessions wrongly, or answer in those that are over.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Clock, Error, EventMessage, EventStore, OpenOptions, Result, Session, SessionId, Settings,
};

use eventstore_kv::SystemClock;

use crate::right::{Opening, Right};
use crate::wrong::{Wrong, wrong};

wrong! {
    OpenWritesAnEvent: open |right| {
        let opened = right.open().await?;
        let event = EventMessage::json("Opened", "")?;
        opened.append_with(vec![event], AppendOptions::default()).await?;
        Ok(opened)
    };
    OpensInTheDefaultDatabase: open |right| {
        let database = right.provider.settings().database.clone();
        Opening { database, ..right.clone() }.open().await
    };
    OpensInLowerCase: open |right| {
        let database = right.database.as_str().to_lowercase().try_into()?;
        Opening { database, ..right.clone() }.open().await
    };
    CorrectsOpenOptions: open |right| match right.provider.settings().overridden_by(&right.options) {
        Ok(_) => right.open().await,
        Err(_) => right.with(OpenOptions::default()).open().await,
    };
    IgnoresTheSessionTimeout: open |right| {
        let mut options = right.options.clone();
        options.session_timeout = None;
        right.with(options).open().await
    };
    EndsSessionsAMomentLate: open |right| {
        let timeout = right.options.session_timeout.unwrap_or(right.provider.settings().session_timeout);
        let options = right.options.clone().session_timeout(timeout + Duration::from_micros(1));
        right.with(options).open().await
    };
    IgnoresTheOpenTimeout: open |right| {
        let mut options = right.options.clone();
        options.open_timeout = None;
        right.with(options).open().await
    };
    ForgetsTheOwner: open |right| {
        let mut options = right.options.clone();
        options.owner = None;
        right.with(options).open().await
    };
    LooksAgainAtTheEndOnly: open |right| match right.open_at_once().await {
        Err(Error::OpenStoreFailed { .. }) => {
            let timeout = right.options.open_timeout.unwrap_or(right.provider.settings().open_timeout);
            right.clock.sleep_until(right.clock.now().saturating_add(timeout)).await;
            right.open_at_once().await
        }
        opened => opened,
    };
    RenewsForTheUsualTime: renew |right, _timeout| right.own().renew(None).await;
    CorrectsRenewals: renew |right, timeout| {
        let valid = |timeout: &Duration| Settings::default().session_timeout(*timeout).validate().is_ok();
        right.own().renew(timeout.filter(valid)).await
    };
    ChecksTheRenewalFirst: renew |right, timeout| {
        if let Some(timeout) = timeout {
            Settings::default().session_timeout(timeout).validate()?;
        }
        right.own().renew(timeout).await
    };
    RenewRevives: renew |right, timeout| match right.own().renew(timeout).await {
        Err(Error::StoreSessionExpired { .. }) => {
            let (database, options) = (right.log.database(), OpenOptions::default());
            let revived = right.provider.open_with(database, &right.stream, options).await?;
            Ok(revived.session())
        }
        renewed => renewed,
    };
    ClosingAgainIsAnError: close |right| {
        right.version().await?;
        right.own().close().await
    };
    AnswersWhenClosed: snapshot_versions |right| match right.snapshot_versions().await {
        Err(Error::StoreNotOpen { .. }) => right.without_session().snapshot_versions().await,
        answer => answer,
    };
    AnswersWhenExpired: version |right| match right.version().await {
        Err(Error::StoreSessionExpired { .. }) => right.without_session().version().await,
        answer => answer,
    };
    AnswersWhenOvertaken: read_snapshot |right, version| match right.read_snapshot(version).await {
        Err(Error::InvalidStoreSession { .. }) => right.without_session().read_snapshot(version).await,
        answer => answer,
    };
    ChecksTheTimeAfterTheCommit: append |right, events, options| {
        let appended = right.append(events, options).await?;
        match right.session.as_ref().map(|session| session.session()) {
            Some(session) if session.expires_at <= right.clock.now() => Err(expired(right, session)),
            _ => Ok(appended),
        }
    };
    ComparesWithTheSystemsClock: append |right, events, options| {
        match right.session.as_ref().map(|session| session.session()) {
            Some(session) if session.expires_at <= SystemClock.now() => Err(expired(right, session)),
            _ => right.append(events, options).await,
        }
    };
    EndsSessionsThatLastTooLong: append |right, events, options| {
        match right.session.as_ref().map(|session| session.session()) {
            Some(session)
                if session.expires_at.saturating_since(right.clock.now()) > Settings::MAX_SESSION_TIMEOUT =>
            {
                Err(expired(right, session))
            }
            _ => right.append(events, options).await,
        }
    };
}

fn expired(right: &Right, session: Session) -> Error {
    Error::StoreSessionExpired {
        stream: right.stream.clone(),
        session: session.id,
        expired_at: session.expires_at,
    }
}

/// Leaves the stream of a closed session to the session's time-out.
#[derive(Debug)]
pub(crate) struct CloseReleasesNothing;

#[async_trait]
impl Wrong for CloseReleasesNothing {
    async fn close(&self, _right: &Right) -> Result<()> {
        Ok(())
    }

    fn dropped(&self, right: &Arc<dyn EventStore>) {
        mem::forget(Arc::clone(right));
    }
}

/// Leaves the stream of a dropped session to the session's time-out.
#[derive(Debug)]
pub(crate) struct DropReleasesNothing;

impl Wrong for DropReleasesNothing {
    fn dropped(&self, right: &Arc<dyn EventStore>) {
        mem::forget(Arc::clone(right));
    }
}

/// Gives out tokens from a counter in memory.
#[derive(Debug, Default)]
pub(crate) struct CountsTokensInMemory(Mutex<HashMap<SessionId, u64>>);

impl Wrong for CountsTokensInMemory {
    fn starts(&self) {
        self.0.lock().expect("no panic under the lock").clear();
    }

    fn session(&self, right: Session) -> Session {
        let mut tokens = self.0.lock().expect("no panic under the lock");
        let next = tokens.len() as u64 + 1;
        let token = *tokens.entry(right.id).or_insert(next);
        Session::new(right.id, token, right.expires_at)
    }
}

/// Takes the time for a token.
#[derive(Debug)]
pub(crate) struct TokensAreTimes;

impl Wrong for TokensAreTimes {
    fn session(&self, right: Session) -> Session {
        let token = right.expires_at.as_micros().unsigned_abs();
        Session::new(right.id, token, right.expires_at)
    }
}
