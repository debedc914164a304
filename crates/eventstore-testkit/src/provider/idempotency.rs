//! An append that is tried again is recognised by its ids, and applied once.

use eventstore_abstractions::{
    Error, EventLog, EventLogExt, EventMessage, EventStoreExt, ExpectedVersion, IdempotencyId,
    IdempotencyKey, MessageId, StreamId,
};

use super::ProviderHarness;
use super::bench::{Bench, event, refused, stream_id, versions};

fn with_key(text: &str, key: &str) -> EventMessage {
    event(text).with_idempotency_id(IdempotencyId::new(key).expect("a valid id"))
}

fn key(key: &str) -> IdempotencyKey {
    IdempotencyId::new(key).expect("a valid id").into()
}

async fn append(
    log: &dyn EventLog,
    stream: &StreamId,
    events: &[EventMessage],
) -> eventstore_abstractions::Result<eventstore_abstractions::Appended> {
    log.append(stream, ExpectedVersion::Any, events.to_vec()).await
}

/// The same messages again give the first outcome, whatever has been appended since, also after a restart.
pub async fn idempotent_append_applies_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let events = [event("1"), event("2")];
    let first = append(&*bench.log, &stream, &events).await.expect("appended");
    bench.note(&stream, "3").await;
    assert_eq!(
        append(&*bench.log, &stream, &events).await.expect("recognised"),
        first
    );
    let bench = bench.restart().await;
    assert_eq!(
        append(&*bench.log, &stream, &events).await.expect("recognised"),
        first
    );
    assert_eq!(versions(&bench.events(&stream).await), [1, 2, 3]);
}

/// A retry whose expected version is passed by its own first success is recognised, and is no conflict.
pub async fn retry_with_its_first_expectation_is_recognised(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let once = [event("1")];
    let first = bench
        .log
        .append(&stream, ExpectedVersion::NoStream, once.clone())
        .await
        .expect("appended");
    let again = bench
        .log
        .append(&stream, ExpectedVersion::NoStream, once)
        .await
        .expect("recognised");
    assert_eq!(again, first);
}

/// A command that runs again makes new messages; its idempotency id and the same content tell.
pub async fn idempotency_id_recognises_new_messages(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let run = || [with_key("1", "command"), with_key("2", "command")];
    let first = append(&*bench.log, &stream, &run()).await.expect("appended");
    assert_eq!(
        append(&*bench.log, &stream, &run()).await.expect("recognised"),
        first
    );
    assert_eq!(
        bench
            .log
            .find_append(&stream, &key("command"))
            .await
            .expect("found"),
        first
    );
    let shorter = append(&*bench.log, &stream, &run()[..1]).await;
    refused!(shorter, Error::DuplicateIdempotencyId { .. });
    assert_eq!(versions(&bench.events(&stream).await), [1, 2]);
}

/// An id that was used with other content is an error that names it and its version, and writes nothing.
pub async fn id_with_other_content_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let known = with_key("1", "command");
    bench.note(&stream, "0").await;
    append(&*bench.log, &stream, std::slice::from_ref(&known))
        .await
        .expect("appended");
    let before = bench.dump().await;
    let changed = event("other").with_message_id(known.id());
    match append(&*bench.log, &stream, &[changed]).await {
        Err(Error::DuplicateIdempotencyId { key, version, .. }) => {
            assert_eq!((key, version.get()), (known.id().into(), 2));
        }
        other => panic!("a changed message was taken: {other:?}"),
    }
    match append(&*bench.log, &stream, &[with_key("other", "command")]).await {
        Err(Error::DuplicateIdempotencyId {
            key: told, version, ..
        }) => {
            assert_eq!((told, version.get()), (key("command"), 2));
        }
        other => panic!("a changed command was taken: {other:?}"),
    }
    let mixed = append(&*bench.log, &stream, &[known, event("new")]).await;
    refused!(mixed, Error::DuplicateIdempotencyId { .. });
    assert!(bench.dump().await == before, "a refused append wrote something");
}

/// An id that no event of the stream has is told, also when another stream has it.
pub async fn absent_id_is_not_found(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (stream, other) = (stream_id("a"), stream_id("b"));
    append(&*bench.log, &other, &[with_key("1", "command")])
        .await
        .expect("appended");
    let looked_for = [key("command"), MessageId::generate().into()];
    let session = bench.session(&stream).await;
    for looked_for in looked_for {
        for found in [
            bench.log.find_append(&stream, &looked_for).await,
            session.find_append(&looked_for).await,
        ] {
            match found {
                Err(Error::IdempotencyIdNotFound { stream: of, key }) => {
                    assert_eq!((of, key), (stream.clone(), looked_for.clone()));
                }
                other => panic!("{other:?} does not say that {looked_for} is absent"),
            }
        }
    }
}

/// A message is found by its id, through the log and through a session.
pub async fn message_is_found_by_its_id(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    let messages = [event("1"), event("2")];
    session.append(messages.clone()).await.expect("appended");
    let found = session
        .find_append(&messages[0].id().into())
        .await
        .expect("found");
    assert_eq!(
        (found.version.get(), found.position.get(), found.events),
        (1, 1, 1)
    );
    assert_eq!(
        bench
            .log
            .find_append(&stream, &messages[0].id().into())
            .await
            .expect("found"),
        found
    );
}

/// Of many that append the same message at the same time, one writes it and all get that outcome.
pub async fn racing_retries_apply_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let message = with_key("1", "command");
    let tasks = (0..64).map(|_| {
        let (log, stream, message) = (bench.log.clone(), stream.clone(), message.clone());
        tokio::spawn(async move { append(&*log, &stream, &[message]).await })
    });
    let mut outcomes = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        outcomes.push(
            task.await
                .expect("the task ends")
                .expect("appended or recognised"),
        );
    }
    assert!(
        outcomes.iter().all(|outcome| *outcome == outcomes[0]),
        "{outcomes:?}"
    );
    assert_eq!(versions(&bench.events(&stream).await), [1]);
}
