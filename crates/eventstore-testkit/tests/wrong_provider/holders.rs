//! Providers that know who holds a stream, and make the wrong use of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, Deletion, Error, EventMessage, EventStore, ExpectedVersion, HeldBy, Result,
    Session, StreamId,
};
use tokio::sync::Notify;

use crate::right::{Opening, Right};
use crate::wrong::Wrong;

/// Gives one session to all who wait for it.
#[derive(Debug, Default)]
pub(crate) struct GivesOneSessionToAll {
    holders: Holders,
    opened: Notify,
}

#[async_trait]
impl Wrong for GivesOneSessionToAll {
    async fn open(&self, right: &Opening) -> Result<Arc<dyn EventStore>> {
        tokio::select! {
            opened = self.holders.open(right) => {
                self.opened.notify_waiters();
                opened
            }
            () = self.opened.notified() => Ok(self.holders.of(&right.stream).expect("just opened")),
        }
    }
}

/// The session that was opened last on each stream, as long as it is there.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<HashMap<StreamId, Weak<dyn EventStore>>>);

impl Holders {
    async fn open(&self, right: &Opening) -> Result<Arc<dyn EventStore>> {
        let opened = right.open().await?;
        let mut holders = self.0.lock().expect("no panic under the lock");
        holders.insert(right.stream.clone(), Arc::downgrade(&opened));
        Ok(opened)
    }

    fn of(&self, stream: &StreamId) -> Option<Arc<dyn EventStore>> {
        let holders = self.0.lock().expect("no panic under the lock");
        holders.get(stream)?.upgrade()
    }

    fn in_category(&self, category: &str) -> Option<Arc<dyn EventStore>> {
        let holders = self.0.lock().expect("no panic under the lock");
        let of_category = holders.iter().find(|(stream, _)| stream.category() == category);
        of_category?.1.upgrade()
    }

    async fn append(
        &self,
        stream: &StreamId,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let holder = self.of(stream).expect("somebody holds it");
        holder.append_with(events, options).await
    }
}

/// Ends the session that holds a stream, and deletes it.
#[derive(Debug, Default)]
pub(crate) struct DeletesHeldStreams(Holders);

#[async_trait]
impl Wrong for DeletesHeldStreams {
    async fn open(&self, right: &Opening) -> Result<Arc<dyn EventStore>> {
        self.0.open(right).await
    }

    async fn delete_stream(
        &self,
        right: &Right,
        expected: ExpectedVersion,
        deletion: Deletion,
    ) -> Result<()> {
        if let Some(holder) = self.0.of(&right.stream) {
            holder.close().await?;
        }
        right.log.delete_stream(&right.stream, expected, deletion).await
    }
}

/// Declares providers that know who holds a stream, and are wrong in one method.
macro_rules! knows_holders {
    ($($name:ident: $method:ident |$holders:ident, $($argument:ident),+| $body:expr;)+) => {$(
        #[derive(Debug, Default)]
        pub(crate) struct $name(Holders);

        knows_holders! { @impl $name $method $holders ($($argument),+) $body }
    )+};
    (@impl $name:ident open $holders:ident ($right:ident) $body:expr) => {
        #[async_trait]
        impl Wrong for $name {
            async fn open(&self, $right: &Opening) -> Result<Arc<dyn EventStore>> {
                let $holders = &self.0;
                $body
            }
        }
    };
    (@impl $name:ident append $holders:ident ($right:ident, $events:ident, $options:ident) $body:expr) => {
        #[async_trait]
        impl Wrong for $name {
            async fn open(&self, right: &Opening) -> Result<Arc<dyn EventStore>> {
                self.0.open(right).await
            }

            async fn append(
                &self,
                $right: &Right,
                $events: Vec<EventMessage>,
                $options: AppendOptions,
            ) -> Result<Appended> {
                let $holders = &self.0;
                $body
            }
        }
    };
    (@impl $name:ident close $holders:ident ($right:ident) $body:expr) => {
        #[async_trait]
        impl Wrong for $name {
            async fn open(&self, right: &Opening) -> Result<Arc<dyn EventStore>> {
                self.0.open(right).await
            }

            async fn close(&self, $right: &Right) -> Result<()> {
                let $holders = &self.0;
                $body
            }
        }
    };
}

knows_holders! {
    HoldsTheCategory: append |holders, right, events, options| {
        let holder = holders.in_category(right.stream.category());
        match (&right.session, holder) {
            (None, Some(holder)) => {
                let Session { id, expires_at, .. } = holder.session();
                let held_by = Box::new(HeldBy::new(id, "the category", expires_at));
                Err(Error::StreamHeld { stream: right.stream.clone(), held_by })
            }
            _ => right.append(events, options).await,
        }
    };
    LetsAnybodyWrite: append |holders, right, events, options| {
        match right.append(events.clone(), options).await {
            Err(Error::StreamHeld { .. }) => holders.append(&right.stream, events, options).await,
            ended => ended,
        }
    };
    LetsStaleSessionsWrite: append |holders, right, events, options| {
        match right.append(events.clone(), options).await {
            Err(Error::InvalidStoreSession { .. }) => holders.append(&right.stream, events, options).await,
            Err(Error::StoreSessionExpired { .. }) => right.without_session().append(events, options).await,
            ended => ended,
        }
    };
    CloseReleasesWhoeverHolds: close |holders, right| {
        match holders.of(&right.stream) {
            Some(holder) => holder.close().await,
            None => right.own().close().await,
        }
    };
    StealsLiveSessions: open |holders, right| {
        if let Some(holder) = holders.of(&right.stream) {
            holder.close().await?;
        }
        holders.open(right).await
    };
    TakesOverAtTheFirstEnd: open |holders, right| {
        if let Some(holder) = holders.of(&right.stream) {
            // A renewal moves the end, and this does not look again.
            right.clock.sleep_until(holder.session().expires_at).await;
            holder.close().await?;
        }
        holders.open(right).await
    };
}
