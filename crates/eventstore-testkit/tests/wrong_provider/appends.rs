//! Providers that append wrongly.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, Durability, Error, EventMessage, ExpectedVersion, Position, Result, Settings,
    Version,
};
use tokio::task::yield_now;

use crate::right::Right;
use crate::wrong::{Wrong, wrong};

wrong! {
    TellsTheFirstPosition: append |right, events, options| {
        let mut told = right.append(events, options).await?;
        told.position = Position::new(told.position.get() - told.events.saturating_sub(1));
        Ok(told)
    };
    ReversesEvents: append |right, events, options| {
        right.append(events.into_iter().rev().collect(), options).await
    };
    EmptyAppendTellsNothing: append |right, events, options| {
        let told = right.append(events, options).await?;
        Ok(if told.events == 0 { Appended::new(Version::ZERO, Position::ZERO, 0) } else { told })
    };
    EmptyAppendExpectsNothing: append |right, events, options| {
        let expects = if events.is_empty() { expecting(options, ExpectedVersion::Any) } else { options };
        right.append(events, expects).await
    };
    AppendsOneByOne: append |right, events, options| in_chunks(right, events, options, 1).await;
    SplitsLargeAppends: append |right, events, options| {
        let bytes = events.iter().map(|event| event.payload.bytes.len()).sum::<usize>();
        let events_at_once = if bytes > right.capabilities.max_batch_bytes / 2 { 10 } else { usize::MAX };
        in_chunks(right, events, options, events_at_once).await
    };
    RemovesAddresses: append |right, events, options| {
        let events = each(events, |event| {
            event.metadata.message.domain = None;
            event.metadata.context.partition_id = None;
        });
        right.append(events, options).await
    };
    CutsScopes: append |right, events, options| {
        let events = each(events, |event| {
            event.metadata.context.scopes.truncate(eventstore_abstractions::ContextMetadata::MAX_SCOPES);
        });
        right.append(events, options).await
    };
    CutsLargePayloads: append |right, events, options| {
        let most = right.capabilities.max_value_bytes / 2;
        right.append(each(events, |event| event.payload.bytes.truncate(most)), options).await
    };
    CutsPayloadsAt64KiB: append |right, events, options| {
        right.append(each(events, |event| event.payload.bytes.truncate(u16::MAX.into())), options).await
    };
    LosesUserIds: append |right, events, options| {
        right.append(each(events, |event| event.metadata.context.user_id = None), options).await
    };
    CutsSchemaVersions: append |right, events, options| {
        right.append(each(events, |event| event.metadata.message.schema_version &= 0xff), options).await
    };
    CorrectsSettings: settings |asked| if asked.validate().is_ok() { asked } else { Settings::default() };
    HasDefaultsOfItsOwn: settings |asked| {
        asked.session_timeout(std::time::Duration::from_secs(30))
    };
    AnyMeansNoStream: append |right, events, options| {
        let expected = match options.expected {
            ExpectedVersion::Any => ExpectedVersion::NoStream,
            expected => expected,
        };
        right.append(events, expecting(options, expected)).await
    };
    NoStreamMeansAny: append |right, events, options| {
        let expected = match options.expected {
            ExpectedVersion::NoStream => ExpectedVersion::Any,
            expected => expected,
        };
        right.append(events, expecting(options, expected)).await
    };
    StreamExistsMeansAny: append |right, events, options| {
        let expected = match options.expected {
            ExpectedVersion::StreamExists => ExpectedVersion::Any,
            expected => expected,
        };
        right.append(events, expecting(options, expected)).await
    };
    ExactMeansAtLeast: append |right, events, options| {
        let actual = right.version().await?;
        let expected = match options.expected {
            ExpectedVersion::Exact(version) if version <= actual => ExpectedVersion::Any,
            expected => expected,
        };
        right.append(events, expecting(options, expected)).await
    };
    SessionsExpectNothing: append |right, events, options| {
        let any = expecting(options, ExpectedVersion::Any);
        right.append(events, if right.session.is_some() { any } else { options }).await
    };
    NamesTheVersionAfter: append |right, events, options| {
        right.append(events, options).await.map_err(|error| match error {
            Error::StoreVersionMismatch { stream, expected, actual } => {
                Error::StoreVersionMismatch { stream, expected, actual: actual.next() }
            }
            error => error,
        })
    };
    CountsSequenceNumbersFromZero: append |right, events, options| {
        let events = each(events, |event| {
            let number = &mut event.metadata.context.sequence_number;
            *number = number.map(Version::next);
        });
        right.append(events, options).await
    };
    IgnoresSequenceNumbers: append |right, events, options| {
        right.append(each(events, |event| event.metadata.context.sequence_number = None), options).await
    };
    LosesMessagesWithoutNumber: append |right, events, options| {
        let numbered = |event: &EventMessage| event.metadata.context.sequence_number.is_some();
        let mut events = events;
        if events.iter().any(numbered) {
            events.retain(numbered);
        }
        IgnoresSequenceNumbers.append(right, events, options).await
    };
    ChecksTheExpectationFirst: append |right, events, options| {
        check_expectation(right, options).await?;
        right.append(events, options).await
    };
    ChecksTheExpectationOutsideTheCommit: append |right, events, options| {
        check_expectation(right, options).await?;
        yield_now().await;
        right.append(events, expecting(options, ExpectedVersion::Any)).await
    };
    TellsTheVersionItSawBefore: append |right, events, options| {
        let foretold = right.foretold(events.len() as u64).await?;
        yield_now().await;
        right.append(events, options).await.map(|_| foretold)
    };
    TellsFailuresAsConflicts: append |right, events, options| {
        match right.append(events, options).await {
            Err(Error::Unavailable { .. }) => Err(Error::StoreVersionMismatch {
                stream: right.stream.clone(),
                expected: options.expected,
                actual: right.version().await?,
            }),
            ended => ended,
        }
    };
}

/// Keeps buffered events to itself until a durable append comes.
#[derive(Debug, Default)]
pub(crate) struct HoldsBackBuffered(Mutex<Vec<EventMessage>>);

#[async_trait]
impl Wrong for HoldsBackBuffered {
    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        if options.durability == Durability::Buffered {
            let told = right.foretold(events.len() as u64).await;
            self.0.lock().expect("no panic under the lock").extend(events);
            return told;
        }
        let mut all = std::mem::take(&mut *self.0.lock().expect("no panic under the lock"));
        all.extend(events);
        right.append(all, options).await
    }
}

/// Counts positions over all databases.
#[derive(Debug, Default)]
pub(crate) struct CountsPositionsOverAllDatabases(AtomicU64);

#[async_trait]
impl Wrong for CountsPositionsOverAllDatabases {
    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let mut told = right.append(events, options).await?;
        let before = self.0.fetch_add(told.events, Ordering::SeqCst);
        told.position = Position::new(before + told.events);
        Ok(told)
    }
}

/// Acknowledges every tenth append, and forgets it.
#[derive(Debug, Default)]
pub(crate) struct LosesEveryTenthAppend(AtomicUsize);

#[async_trait]
impl Wrong for LosesEveryTenthAppend {
    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        if self.0.fetch_add(1, Ordering::SeqCst) % 10 == 9 {
            return right.foretold(events.len() as u64).await;
        }
        right.append(events, options).await
    }
}

/// Tells one of the callers of a commit that failed, and lets the others believe that it did not.
#[derive(Debug, Default)]
pub(crate) struct TellsOneCallerOfAFailedCommit(AtomicUsize);

#[async_trait]
impl Wrong for TellsOneCallerOfAFailedCommit {
    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let count = events.len() as u64;
        match right.append(events, options).await {
            Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. })
                if self.0.fetch_add(1, Ordering::SeqCst) > 0 =>
            {
                right.foretold(count).await
            }
            ended => ended,
        }
    }
}

/// The events, each of them changed.
pub(crate) fn each(mut events: Vec<EventMessage>, change: impl Fn(&mut EventMessage)) -> Vec<EventMessage> {
    events.iter_mut().for_each(change);
    events
}

/// The same options with another expectation.
pub(crate) fn expecting(mut options: AppendOptions, expected: ExpectedVersion) -> AppendOptions {
    options.expected = expected;
    options
}

async fn check_expectation(right: &Right, options: AppendOptions) -> Result<()> {
    let actual = right.version().await?;
    if options.expected.accepts(actual) {
        return Ok(());
    }
    Err(Error::StoreVersionMismatch {
        stream: right.stream.clone(),
        expected: options.expected,
        actual,
    })
}

/// Appends a few events at a time; only the first ones are subject to the expectation.
async fn in_chunks(
    right: &Right,
    events: Vec<EventMessage>,
    options: AppendOptions,
    size: usize,
) -> Result<Appended> {
    let (count, mut options) = (events.len() as u64, options);
    let mut told = None;
    for chunk in events.chunks(size) {
        told = Some(right.append(chunk.to_vec(), options).await?);
        options = expecting(options, ExpectedVersion::Any);
    }
    match told {
        Some(told) => Ok(Appended::new(told.version, told.position, count)),
        None => right.append(events, options).await,
    }
}
