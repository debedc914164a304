//! An exclusive session on one stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, Database, Error, EventMessage, EventStore, IdempotencyKey, OpenOptions,
    ReadOptions, Replay, Result, Session, SessionId, Settings, Snapshot, StreamId, Timestamp, Version,
};
use parking_lot::Mutex;

use crate::hold::{self, Writer};
use crate::limits::Cost;
use crate::log::Core;
use crate::sequencer::{Action, Hold, Reply};
use crate::stream_reader;

/// How long a waiting open sleeps at most before it looks again: releases in other processes are
/// not announced.
const SHARED_POLL: Duration = Duration::from_millis(100);

/// An open session. Dropping it drops the hold, which releases the stream.
#[derive(Debug)]
pub(crate) struct SessionStore {
    core: Arc<Core>,
    settings: Settings,
    database: Database,
    stream: StreamId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    session: Session,
    /// `None` once the session is closed.
    hold: Option<Hold>,
}

/// Opens a session on `stream`, waiting while another holds it.
pub(crate) async fn open(
    core: Arc<Core>,
    settings: Settings,
    database: &Database,
    stream: &StreamId,
    options: OpenOptions,
) -> Result<SessionStore> {
    let settings = settings.overridden_by(&options)?;
    let owner = options
        .owner
        .unwrap_or_else(|| format!("process {}", std::process::id()));
    let session = SessionId::generate();
    let deadline = core.clock.now().saturating_add(settings.open_timeout);
    let action = || Action::Acquire {
        session,
        owner: owner.clone(),
        timeout: settings.session_timeout,
    };
    let (hold, session) = loop {
        // Listening begins before the attempt, so that no release in between is missed.
        let mut released = pin!(core.sequencer.released().notified());
        released.as_mut().enable();
        let held_by = match core.ask(database, stream, action(), Cost::of_keys(1)).await? {
            Reply::Opened(hold, session) => break (hold, session),
            Reply::Held(held_by) => held_by,
            other => unreachable!("an open is not answered with {other:?}"),
        };
        if core.clock.now() >= deadline {
            return Err(Error::OpenStoreFailed {
                stream: stream.clone(),
                held_by,
            });
        }
        let wake = wake_up(&core, held_by.until, deadline);
        tokio::select! {
            biased;
            () = released => {}
            () = core.clock.sleep_until(wake) => {}
        }
    };
    let state = Mutex::new(State {
        session,
        hold: Some(hold),
    });
    Ok(SessionStore {
        core,
        settings,
        database: database.clone(),
        stream: stream.clone(),
        state,
    })
}

/// When to look again at a stream that is held `until` then.
fn wake_up(core: &Core, until: Timestamp, deadline: Timestamp) -> Timestamp {
    let wake = until.min(deadline);
    if core.capabilities.shared {
        wake.min(core.clock.now().saturating_add(SHARED_POLL))
    } else {
        wake
    }
}

impl SessionStore {
    /// The session as a writer; an error when it is closed.
    fn writer(&self) -> Result<Writer> {
        let state = self.state.lock();
        if state.hold.is_none() {
            return Err(Error::StoreNotOpen {
                stream: self.stream.clone(),
            });
        }
        Ok(Writer::Session {
            id: state.session.id,
            expires_at: state.session.expires_at,
        })
    }

    /// Checks the session for a read; writes are checked inside their commit.
    async fn check(&self) -> Result<()> {
        let writer = self.writer()?;
        let lease = self.core.reader.lease(&self.database, &self.stream).await?;
        hold::check(&self.stream, lease.as_ref(), writer, self.core.clock.now())
    }

    /// What is wrong in itself never reaches the commit that would check the session: then it is
    /// checked here, so that a caller whose session is over is told that first.
    async fn session_first<T>(&self, result: Result<T>) -> Result<T> {
        if matches!(result, Err(Error::InvalidInput { .. })) {
            self.check().await?;
        }
        result
    }
}

#[async_trait]
impl EventStore for SessionStore {
    fn database(&self) -> &Database {
        &self.database
    }

    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn session(&self) -> Session {
        self.state.lock().session
    }

    async fn append_with(&self, events: Vec<EventMessage>, options: AppendOptions) -> Result<Appended> {
        let writer = self.writer()?;
        let appended = self
            .core
            .append(&self.database, &self.stream, writer, events, options)
            .await;
        self.session_first(appended).await
    }

    async fn read_with(&self, options: ReadOptions) -> Result<Replay> {
        self.check().await?;
        stream_reader::read(self.core.reader.clone(), &self.database, &self.stream, options).await
    }

    async fn version(&self) -> Result<Version> {
        self.check().await?;
        let head = self.core.reader.stream_head(&self.database, &self.stream).await?;
        Ok(Version::new(head.version))
    }

    async fn find_append(&self, key: &IdempotencyKey) -> Result<Appended> {
        self.check().await?;
        self.core
            .reader
            .find_append(&self.database, &self.stream, key)
            .await
    }

    async fn snapshot(&self, version: Version, snapshot: EventMessage) -> Result<()> {
        let writer = self.writer()?;
        let taken = self
            .core
            .snapshot(&self.database, &self.stream, writer, version, snapshot)
            .await;
        self.session_first(taken).await
    }

    async fn read_snapshot(&self, version: Version) -> Result<Option<Snapshot>> {
        self.check().await?;
        self.core
            .reader
            .snapshot(&self.database, &self.stream, version)
            .await
    }

    async fn snapshot_versions(&self) -> Result<Vec<Version>> {
        self.check().await?;
        self.core
            .reader
            .usable_snapshots(&self.database, &self.stream)
            .await
    }

    async fn clear_snapshot(&self, version: Version) -> Result<()> {
        let writer = self.writer()?;
        self.core
            .clear_snapshot(&self.database, &self.stream, writer, version)
            .await
    }

    async fn clear_snapshots(&self) -> Result<()> {
        let writer = self.writer()?;
        self.core
            .clear_snapshots(&self.database, &self.stream, writer)
            .await
    }

    async fn renew(&self, timeout: Option<Duration>) -> Result<Session> {
        let writer = self.writer()?;
        let timeout = timeout.unwrap_or(self.settings.session_timeout);
        let settings = self.settings.clone().session_timeout(timeout);
        self.session_first(settings.validate()).await?;
        let session = self.session().id;
        let action = Action::Renew {
            writer,
            session,
            timeout,
        };
        match self
            .core
            .ask(&self.database, &self.stream, action, Cost::of_keys(1))
            .await?
        {
            Reply::Renewed(session) => {
                self.state.lock().session = session;
                Ok(session)
            }
            other => unreachable!("a renewal is not answered with {other:?}"),
        }
    }

    async fn close(&self) -> Result<()> {
        // From here on the session is closed; if this future is dropped, the hold releases the stream.
        let hold = self.state.lock().hold.take();
        if hold.is_none() {
            return Ok(());
        }
        let session = self.session().id;
        let action = Action::Release { session };
        self.core
            .ask(&self.database, &self.stream, action, Cost::of_keys(1))
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use eventstore_abstractions::EventStoreProvider;

    use super::*;
    use crate::Provider;

    #[tokio::test]
    async fn session_knows_what_it_was_opened_on() {
        let engine = Arc::new(kv_memory::Store::new());
        let provider = Provider::open(engine, Settings::default())
            .await
            .expect("it opens");
        let database = Database::new("other").expect("valid");
        let stream = StreamId::new("case", "a").expect("valid");
        let session = provider
            .open_with(&database, &stream, OpenOptions::default())
            .await
            .expect("nobody holds it");
        assert_eq!((session.database(), session.stream()), (&database, &stream));
    }
}
