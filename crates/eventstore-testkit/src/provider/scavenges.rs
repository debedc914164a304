//! What a scavenge removes: the space of what is not kept, and nothing else.

use eventstore_abstractions::{
    Deletion, Error, EventLog, EventLogExt, EventMessage, ExpectedVersion, IdempotencyId, LogReadOptions,
    MessageId, ReadOptions, RecordedEvent, Retention, Scavenged, StreamId, Version,
};
use kv_core::{Batch, Durability, Outcome};

use super::ProviderHarness;
use super::bench::{Bench, event, refused, sized, stream_id, texts, up_to, versions};
use super::life::{delete, from_to, retain};

/// Removes everything that is not kept, by `events` events at a time. It returns how many were removed.
pub(super) async fn scavenge(log: &dyn EventLog, events: u64) -> u64 {
    let mut removed = 0;
    loop {
        let Scavenged {
            events, is_complete, ..
        } = log.scavenge(events).await.expect("scavenged");
        removed += events;
        if is_complete {
            return removed;
        }
    }
}

/// Appends one event after the other, so that each can be removed alone: with `text`, and with much more.
pub(super) async fn append_secrets(bench: &Bench<'_>, stream: &StreamId, count: u64) {
    for number in 1..=count {
        let mut message = event(&format!("secret {number}"));
        if number % 3 == 0 {
            message = event(&format!("secret {number} {}", "x".repeat(10_000)));
        }
        let id = IdempotencyId::new(format!("{stream} {number}")).expect("a valid id");
        let message = message.with_idempotency_id(id);
        let appended = bench.log.append(stream, ExpectedVersion::Any, [message]).await;
        appended.expect("appended");
    }
}

/// How many keys and bytes the engine has, and in how many records `text` stands.
async fn stored(bench: &Bench<'_>, text: &str) -> (usize, usize, usize) {
    let dump = bench.dump().await;
    let bytes = dump.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let with_text = dump.iter().filter(|entry| has(&entry.key) || has(&entry.value));
    (dump.len(), bytes, with_text.count())
}

/// After a scavenge nothing is stored any more of events that are not kept, nor of the snapshots and ids that belong to
/// them; what it says that it gave back is gone from the engine, and a second one has nothing to do.
pub async fn scavenge_gives_back_space(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (deleted, truncated) = (stream_id("deleted"), stream_id("truncated"));
    for stream in [&deleted, &truncated] {
        append_secrets(&bench, stream, 12).await;
        let state = event("secret state");
        bench
            .log
            .snapshot(stream, Version::new(4), state)
            .await
            .expect("stored");
    }
    delete(&bench, &deleted, Deletion::Soft).await;
    retain(&bench, &truncated, Retention::default().max_count(4)).await;
    let bench = bench.settled().await;
    let (keys, bytes, secrets) = stored(&bench, "secret").await;
    // Each event in its run, and the short ones in the log.
    assert!(secrets > 24, "{secrets}");
    let scavenged = bench.log.scavenge(u64::MAX).await.expect("scavenged");
    assert_eq!((scavenged.events, scavenged.is_complete), (20, true));
    assert_eq!(scavenged.position, bench.log.head().await.expect("read"));
    let (keys_after, bytes_after, _) = stored(&bench, "secret").await;
    // Idempotency entries and two snapshots; and the place where the scavenge is. Runs may have shared a record.
    assert!(
        keys_after <= keys - 20 - 2 + 1,
        "{keys} keys before, {keys_after} after"
    );
    let gone = (bytes - bytes_after) as u64;
    let said = scavenged.bytes;
    assert!(
        said > gone / 2 && said < gone * 2,
        "{gone} bytes are gone, {said} were said to be"
    );
    delete(&bench, &truncated, Deletion::Hard).await;
    assert_eq!(scavenge(&*bench.log, 5).await, 4);
    assert_eq!(
        stored(&bench, "secret").await.2,
        0,
        "content of removed events is stored"
    );
    assert_eq!(scavenge(&*bench.log, 5).await, 0);
}

/// A scavenge goes on where the last one has stopped, also in another provider; at the end it begins anew.
pub async fn scavenge_resumes_where_it_stopped(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    let stream = stream_id("a");
    append_secrets(&bench, &stream, 20).await;
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(19)),
    )
    .await;
    let (mut removed, mut position) = (0, 0);
    for round in 1..=20 {
        let scavenged = bench.log.scavenge(1).await.expect("scavenged");
        assert!(scavenged.position.get() > position, "it does not get on");
        position = scavenged.position.get();
        removed += scavenged.events;
        assert_eq!(
            (position, removed),
            (round, round.min(18)),
            "one event after the other"
        );
        assert_eq!(scavenged.is_complete, round == 20);
        if round % 7 == 0 {
            bench = bench.restart().await;
        }
        if round % 9 == 0 {
            bench = bench.crash().await;
        }
    }
    // What is not kept since is removed in the next round.
    retain(&bench, &stream, Retention::default().max_count(1)).await;
    let scavenged = bench.log.scavenge(1).await.expect("scavenged");
    assert_eq!((scavenged.position.get(), scavenged.events), (1, 0));
    assert_eq!(scavenge(&*bench.log, 7).await, 1);
}

/// In the log a removed event has its stream, version and position, no content, and says that it was removed; the
/// others are as they were, and every position is there once, in both directions and with any page.
pub async fn removed_events_are_reported_as_removed(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (gone, kept) = (stream_id("gone"), stream_id("kept"));
    for _ in 0..4 {
        bench.append(&gone, 3).await;
        for bytes in [100, 5_000, 100] {
            let appended = bench
                .log
                .append(&gone, ExpectedVersion::Any, [sized(bytes)])
                .await;
            appended.expect("appended");
        }
        bench.append(&kept, 2).await;
    }
    let before = bench.all().await;
    retain(
        &bench,
        &gone,
        Retention::default().truncate_before(Version::new(20)),
    )
    .await;
    let hidden = bench.all().await;
    assert!(hidden == before, "what is not removed yet is in the log");
    scavenge(&*bench.log, 10).await;
    let removed = |event: &RecordedEvent| match event.stream == gone && event.version.get() <= 18 {
        true => RecordedEvent::removed(event.stream.clone(), event.version, event.position),
        false => event.clone(),
    };
    let expected = before.iter().map(removed).collect::<Vec<_>>();
    assert_eq!(expected.iter().filter(|event| event.is_removed()).count(), 18);
    for page in [1, 3, 1_000] {
        let forward = bench.log.read_all(LogReadOptions::forward().page_size(page));
        assert_eq!(forward.collect().await.expect("read"), expected, "by {page}");
        let backward = bench.log.read_all(LogReadOptions::backward().page_size(page));
        let mut backward = backward.collect().await.expect("read");
        backward.reverse();
        assert_eq!(backward, expected, "backward by {page}");
    }
    // From and to the middle of what is removed.
    let part = bench
        .log
        .read_all(LogReadOptions::forward_from(before[1].position).limit(4));
    assert_eq!(part.collect().await.expect("read"), expected[1..5]);
    assert_eq!(versions(&bench.events(&gone).await), from_to(20, 24));
    assert_eq!(versions(&bench.events(&kept).await), up_to(8));
}

/// An id that does not tell its time.
const FOREIGN_ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

/// The id of an event that was removed is not known any more: it is not found, and used again it is a new event. That of
/// an event that is not kept, and not removed yet, is known.
pub async fn id_of_a_removed_event_is_unknown(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let command = |number: u64| IdempotencyId::new(format!("command {number}")).expect("a valid id");
    let messages: Vec<EventMessage> = (1..=10)
        .map(|number| event(&format!("event {number}")).with_idempotency_id(command(number)))
        .collect();
    let foreign = event("foreign").with_message_id(FOREIGN_ID.parse::<MessageId>().expect("an id"));
    let append = async |message: &EventMessage| {
        let appended = bench
            .log
            .append(&stream, ExpectedVersion::Any, [message.clone()])
            .await;
        appended.expect("appended").version.get()
    };
    assert_eq!(append(&foreign).await, 1);
    for (message, version) in messages.iter().zip(2..) {
        assert_eq!(append(message).await, version);
    }
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(8)),
    )
    .await;
    assert_eq!(append(&messages[0]).await, 2, "it is there still");
    scavenge(&*bench.log, 3).await;
    let found = async |key| match bench.log.find_append(&stream, &key).await {
        Ok(appended) => Some(appended.version.get()),
        Err(Error::IdempotencyIdNotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    };
    for (message, version) in messages.iter().zip(2..) {
        let expected = (version >= 8).then_some(version);
        assert_eq!(found(message.id().into()).await, expected, "message {version}");
        assert_eq!(
            found(command(version - 1).into()).await,
            expected,
            "command {version}"
        );
    }
    assert_eq!(found(foreign.id().into()).await, None);
    assert_eq!(append(&messages[9]).await, 11, "it is known");
    assert_eq!(append(&messages[2]).await, 12);
    assert_eq!(append(&foreign).await, 13);
    for (message, version) in [(&messages[2], 12), (&foreign, 13)] {
        assert_eq!(append(message).await, version, "it is known again");
        assert_eq!(found(message.id().into()).await, Some(version));
    }
    delete(&bench, &stream, Deletion::Soft).await;
    scavenge(&*bench.log, 3).await;
    assert_eq!(append(&messages[9]).await, 14, "nothing is left of the stream");
    assert_eq!(texts(&bench.events(&stream).await), ["event 10"]);
}

/// A run that is lost is an error in a stream that was truncated and scavenged, too.
pub async fn lost_run_is_not_taken_for_a_removed_one(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    append_secrets(&bench, &stream, 12).await;
    retain(
        &bench,
        &stream,
        Retention::default().truncate_before(Version::new(5)),
    )
    .await;
    scavenge(&*bench.log, 100).await;
    // Runs may share a record, which is under the last of their versions.
    let mut first = 5_u64;
    let runs = bench
        .dump()
        .await
        .into_iter()
        .filter(|entry| entry.key[0] == 0x13);
    for run in runs.collect::<Vec<_>>() {
        let version = first;
        let last = run.key.last_chunk().expect("it ends with a version");
        first = u64::from_be_bytes(*last) + 1;
        bench.engine.remove(&run.key).await.expect("removed");
        let log = bench.another_log().await.expect("opened");
        let options = ReadOptions::replay().without_snapshots();
        let replay = log.read_stream(&stream, options).await.expect("begun");
        let error = refused!(replay.events.collect().await, Error::Corrupt { .. });
        let named = format!("version {version}");
        assert!(
            error.to_string().contains(&named),
            "{error} does not name {named}"
        );
        let batch = Batch::new().put(run.key.clone(), run.value.clone());
        let applied = bench.engine.inner().commit(batch, Durability::Buffered).await;
        assert_eq!(applied.expect("put back"), Outcome::Applied);
    }
    assert_eq!(first, 13, "all that is kept is in records");
    // Version 9 stands in its run alone.
    let dump = bench.dump().await;
    let large = dump
        .iter()
        .find(|entry| entry.key[0] == 0x13 && entry.value.len() > 9_000);
    bench
        .engine
        .remove(&large.expect("it is kept").key)
        .await
        .expect("removed");
    refused!(
        bench.log.read_all(LogReadOptions::forward()).collect().await,
        Error::Corrupt { .. }
    );
}
