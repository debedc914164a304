//! No name reaches another's data.

use eventstore_abstractions::{
    Database, Error, EventLog, EventLogExt, EventStoreProviderExt, ExpectedVersion, IdempotencyId, StreamId,
    Version,
};

use super::ProviderHarness;
use super::bench::{Bench, event, events, refused, text, texts};

/// Streams whose names are prefixes of each other, have separators, or look alike, stay apart.
pub async fn hostile_names_stay_apart(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let parts = [
        "a",
        "aa",
        "a/a",
        "a b",
        " a",
        "á",
        "a\u{301}",
        "\u{10ffff}",
        "%00",
        "..",
        "a\u{a0}",
        "\u{202e}a",
        "ÿ",
        "a|b",
        "A",
    ];
    let mut streams = Vec::new();
    for category in parts {
        streams.extend(
            parts
                .iter()
                .map(|id| StreamId::new(category, *id).expect("a valid name")),
        );
    }
    for stream in &streams {
        let text = format!("{stream:?}");
        bench
            .log
            .append(stream, ExpectedVersion::NoStream, [event(&text)])
            .await
            .expect("nobody else's stream");
    }
    for stream in &streams {
        assert_eq!(texts(&bench.events(stream).await), [format!("{stream:?}")]);
    }
}

/// Names of databases, categories and streams, and ids, that together spell the same, lead to
/// different data: events, snapshots, sessions and what was appended with an id.
pub async fn hostile_names_stay_apart_in_every_part(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let parts = ["a", "aa", "a/a", "a|a", "ÿ", "\u{10ffff}"];
    let mut places = Vec::new();
    for database in parts {
        for category in parts {
            let ids = parts.map(|id| StreamId::new(category, id).expect("a valid name"));
            places.extend(ids.map(|stream| (bench.database(database), stream)));
        }
    }
    let say = |log: &dyn EventLog, stream: &StreamId| format!("{} {stream:?}", log.database());
    for (number, (log, stream)) in (0..).zip(&places) {
        let key = IdempotencyId::new(parts[number % parts.len()]).expect("a valid id");
        let said = event(&say(&**log, stream)).with_idempotency_id(key.clone());
        let appended = log
            .append(stream, ExpectedVersion::NoStream, [said])
            .await
            .expect("nobody else's stream");
        let found = log.find_append(stream, &key.into()).await.expect("found");
        assert_eq!(found, appended);
        let state = event(&say(&**log, stream));
        log.snapshot(stream, Version::FIRST, state).await.expect("stored");
    }
    // All are held at the same time, so that none releases or refuses another.
    let mut sessions = Vec::new();
    for (log, stream) in &places {
        let said = say(&**log, stream);
        assert_eq!(texts(&events(&**log, stream).await), [&*said]);
        let snapshot = log
            .read_snapshot(stream, Version::MAX)
            .await
            .expect("read")
            .expect("a snapshot");
        assert_eq!(text(&snapshot.message), said);
        let session = bench
            .provider
            .open_in(log.database(), stream)
            .await
            .expect("nobody holds it");
        log.clear_snapshots(stream).await.expect_err("it is held");
        session.clear_snapshots().await.expect("cleared");
        sessions.push(session);
    }
    for database in parts {
        let log = bench.database(database);
        assert_eq!(
            log.head().await.expect("read").get(),
            (parts.len() * parts.len()) as u64
        );
    }
}

/// The longest names work, and longer or malformed ones are errors that say what is possible.
pub async fn names_have_limits(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let longest = StreamId::new(
        "c".repeat(StreamId::MAX_CATEGORY_BYTES),
        "i".repeat(StreamId::MAX_ID_BYTES),
    );
    bench.note(&longest.expect("a valid name"), "x").await;
    let database = Database::new("d".repeat(Database::MAX_BYTES)).expect("a valid name");
    let log = bench.provider.log(&database);
    assert_eq!(
        super::bench::append(&*log, &StreamId::new("c", "i").expect("a valid name"), 1)
            .await
            .version
            .get(),
        1
    );
    for bad in [
        "",
        "a\0b",
        "\n",
        "\u{7f}",
        &"x".repeat(StreamId::MAX_ID_BYTES + 1),
    ] {
        refused!(StreamId::new("category", bad), Error::InvalidInput { .. });
        refused!(StreamId::new(bad, "id"), Error::InvalidInput { .. });
        refused!(Database::new(bad), Error::InvalidInput { .. });
    }
}
