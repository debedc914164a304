//! Providers that do not recognise what is tried again, or that go on wrongly where a call was broken off.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, Error, EventMessage, EventStore, ExpectedVersion, IdempotencyKey, MessageId,
    OpenOptions, Position, Result, Settings, Version,
};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::appends::{each, expecting};
use crate::right::Right;
use crate::wrong::{Wrong, wrong};

wrong! {
    TakesEveryTryForNew: append |right, events, options| right.append(renamed(events), options).await;
    KnowsMessageIdsOnly: append |right, events, options| {
        right.append(each(events, |event| event.metadata.context.idempotency_id = None), options).await
    };
    RecognisesByIdAlone: append |right, events, options| match right.append(events, options).await {
        Err(Error::DuplicateIdempotencyId { key, .. }) => right.find_append(&key).await,
        ended => ended,
    };
    LooksIdsUpOutsideTheCommit: append |right, events, options| {
        for event in &events {
            if let Ok(found) = right.find_append(&event.id().into()).await {
                return Ok(found);
            }
        }
        yield_now().await;
        right.append(renamed(events), options).await
    };
    FindsAbsentIdsAtZero: find_append |right, key| match right.find_append(key).await {
        Err(Error::IdempotencyIdNotFound { .. }) => Ok(Appended::new(Version::ZERO, Position::ZERO, 0)),
        found => found,
    };
    FindsCommandsOnly: find_append |right, key| match key {
        IdempotencyKey::Idempotency(_) => right.find_append(key).await,
        IdempotencyKey::Message(_) => {
            let (stream, key) = (right.stream.clone(), key.clone());
            Err(Error::IdempotencyIdNotFound { stream, key })
        }
    };
    TriesDroppedAppendsAgain: append |right, events, options| {
        let mut again = Again(Some((right.clone(), events.clone())));
        let ended = right.append(events, options).await;
        again.0 = None;
        ended
    };
    LosesTheHoldInADroppedAppend: append |right, events, options| {
        let mut lost = Lost(right.session.clone());
        let ended = right.append(events, options).await;
        lost.0 = None;
        ended
    };
    KeepsSessionsThatNobodyTook: open |right| {
        let ((sender, opened), right) = (oneshot::channel(), right.clone());
        tokio::spawn(async move {
            if let Err(nobody_took) = sender.send(right.open().await) {
                mem::forget(nobody_took);
            }
        });
        opened.await.expect("the task ends")
    };
    OpensAgainWhenNotSure: open |right| {
        let opened = right.open().await;
        if matches!(opened, Err(Error::OutcomeUnknown { .. })) {
            let longest = OpenOptions::default().session_timeout(Settings::MAX_SESSION_TIMEOUT);
            mem::forget(right.with(longest).open_at_once().await);
        }
        opened
    };
}

/// Forgets which ids were used when the outcome of a commit is not known.
#[derive(Debug, Default)]
pub(crate) struct ForgetsIdsAfterAnUnknownOutcome(AtomicBool);

#[async_trait]
impl Wrong for ForgetsIdsAfterAnUnknownOutcome {
    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let forgot = self.0.swap(false, Ordering::SeqCst);
        let events = if forgot { renamed(events) } else { events };
        let ended = right.append(events, options).await;
        let unknown = ended.as_ref().is_err_and(Error::outcome_unknown);
        self.0.store(unknown, Ordering::SeqCst);
        ended
    }
}

/// Appends its events once more, as new ones, unless they are taken out before it is dropped.
struct Again(Option<(Right, Vec<EventMessage>)>);

impl Drop for Again {
    fn drop(&mut self) {
        if let Some((right, events)) = self.0.take() {
            let any = expecting(AppendOptions::default(), ExpectedVersion::Any);
            tokio::spawn(async move { right.append(renamed(events), any).await });
        }
    }
}

/// Keeps a session for good, unless it is taken out before this is dropped.
struct Lost(Option<Arc<dyn EventStore>>);

impl Drop for Lost {
    fn drop(&mut self) {
        mem::forget(self.0.take());
    }
}

/// The same events with ids that were never used.
fn renamed(events: Vec<EventMessage>) -> Vec<EventMessage> {
    each(events, |event| {
        event.metadata.message.id = MessageId::generate();
        event.metadata.context.idempotency_id = None;
    })
}
