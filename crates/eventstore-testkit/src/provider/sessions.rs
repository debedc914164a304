//! Opening, renewing and closing a session, and what others may do meanwhile.

use std::time::Duration;

use eventstore_abstractions::{
    Clock, Database, Error, EventLogExt, EventStoreExt, EventStoreProviderExt, ExpectedVersion, HeldBy,
    Metadata, OpenOptions, Settings, StreamId, TypeName, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, SESSION, append, event, numbered, refused, state, stream_id, versions};

/// Opening a stream that does not exist opens an empty one, at version 0.
pub async fn open_gives_an_empty_stream_at_version_zero(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("new");
    let session = bench.session(&stream).await;
    assert_eq!(
        (session.stream(), session.database()),
        (&stream, &Database::default())
    );
    assert_eq!(session.version().await.expect("read"), Version::ZERO);
    assert!(session.read().await.expect("read").events.is_empty());
    assert_eq!(
        session.append(numbered(2)).await.expect("appended").version,
        Version::new(2)
    );
}

/// A store can be opened in a named database; its events are there and nowhere else.
pub async fn open_in_a_database_reaches_that_database(harness: &dyn ProviderHarness) {
    let bench = Bench::open_with(harness, Settings::default().database(database("home"))).await;
    let stream = stream_id("a");
    bench
        .provider
        .open(&stream)
        .await
        .expect("opened")
        .append(numbered(1))
        .await
        .expect("appended");
    let elsewhere = bench
        .provider
        .open_in(&database("elsewhere"), &stream)
        .await
        .expect("opened");
    elsewhere.append(numbered(2)).await.expect("appended");
    assert_eq!(
        bench.database("home").version(&stream).await.expect("read"),
        Version::new(1)
    );
    assert_eq!(
        bench.database("elsewhere").version(&stream).await.expect("read"),
        Version::new(2)
    );
    assert_eq!(
        bench
            .database("EventStores")
            .version(&stream)
            .await
            .expect("read"),
        Version::ZERO
    );
}

/// A store can be opened by the metadata of a message: its domain, in its partition or the default database.
pub async fn open_by_metadata_reaches_its_stream(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let mut metadata = Metadata::new(TypeName::new("Noted").expect("valid"));
    refused!(
        bench.provider.open_for(&metadata).await,
        Error::InvalidInput { .. }
    );
    metadata.message.domain = Some(stream_id("a"));
    let session = bench.provider.open_for(&metadata).await.expect("opened");
    assert_eq!(
        (session.stream(), session.database()),
        (&stream_id("a"), &Database::default())
    );
    metadata.context.partition_id = Some(database("tenant"));
    let session = bench.provider.open_for(&metadata).await.expect("opened");
    session.append(numbered(1)).await.expect("appended");
    assert_eq!(
        bench
            .database("tenant")
            .version(&stream_id("a"))
            .await
            .expect("read"),
        Version::FIRST
    );
}

/// Time-outs and owners out of their limits are refused before anything is opened.
pub async fn open_options_are_validated(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let options = OpenOptions::default;
    for wrong in [
        options().session_timeout(Duration::ZERO),
        options().session_timeout(Settings::MAX_SESSION_TIMEOUT * 2),
        options().open_timeout(Settings::MAX_OPEN_TIMEOUT * 2),
        options().owner(""),
        options().owner("a\0b"),
        options().owner("x".repeat(OpenOptions::MAX_OWNER_BYTES + 1)),
    ] {
        let result = bench
            .provider
            .open_with(&Database::default(), &stream, wrong)
            .await;
        refused!(result, Error::InvalidInput { .. });
    }
    bench.try_session(&stream).await.expect("nobody holds the stream");
}

/// A session ends at its opening plus its time-out: its own, or that of the settings.
pub async fn session_lasts_for_its_timeout(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let now = bench.clock.now();
    let session = bench.session(&stream_id("a")).await.session();
    assert_eq!(session.expires_at, now.saturating_add(SESSION));
    let short = OpenOptions::default().session_timeout(Duration::from_secs(2));
    let opened = bench
        .provider
        .open_with(&Database::default(), &stream_id("b"), short)
        .await;
    let session = opened.expect("opened").session();
    assert_eq!(session.expires_at, now.saturating_add(Duration::from_secs(2)));
}

/// Closing releases the stream before it returns.
pub async fn close_releases_the_stream(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    for _ in 0..3 {
        let session = bench.try_session(&stream).await.expect("the stream is free");
        session.append(numbered(1)).await.expect("appended");
        session.close().await.expect("closed");
    }
    assert_eq!(bench.note(&stream, "free").await.version, Version::new(4));
}

/// Closing again does nothing, also when another session holds the stream by then.
pub async fn closing_again_does_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let first = bench.session(&stream).await;
    first.close().await.expect("closed");
    first.close().await.expect("closed again");
    let second = bench.session(&stream).await;
    first.close().await.expect("closed once more");
    second
        .append(numbered(1))
        .await
        .expect("the second session holds the stream still");
    refused!(bench.try_session(&stream).await, Error::OpenStoreFailed { .. });
}

/// A store that is dropped releases its stream in the background.
pub async fn dropped_store_releases_the_stream(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    drop(bench.session(&stream).await);
    let session = bench.session_soon(&stream).await;
    session
        .append(numbered(1))
        .await
        .expect("the new session holds the stream");
}

/// Renewing lets the session last from now: for what is asked, or for as long as it was opened for.
pub async fn renew_prolongs_the_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    let opened = session.session();
    for timeout in [None, Some(SESSION * 3), None] {
        bench.clock.advance(SESSION / 2);
        let until = bench.clock.now().saturating_add(timeout.unwrap_or(SESSION));
        let renewed = session.renew(timeout).await.expect("renewed");
        assert_eq!(
            (renewed.id, renewed.fencing_token),
            (opened.id, opened.fencing_token)
        );
        assert_eq!((renewed.expires_at, session.session()), (until, renewed));
    }
    bench.clock.advance(SESSION - Duration::from_secs(1));
    session
        .append(numbered(1))
        .await
        .expect("the session lasts since it was renewed");
    bench.clock.advance(Duration::from_secs(2));
    bench
        .try_session(&stream)
        .await
        .expect("the session is over at its new end");
}

/// A renewal for a time out of its limits is refused, and the session stays as it was.
pub async fn renew_for_an_invalid_time_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let session = bench.session(&stream_id("a")).await;
    let before = session.session();
    for timeout in [Duration::ZERO, Settings::MAX_SESSION_TIMEOUT * 2] {
        refused!(session.renew(Some(timeout)).await, Error::InvalidInput { .. });
    }
    assert_eq!(session.session(), before);
    session.append(numbered(1)).await.expect("the session goes on");
}

/// Fencing tokens grow with every session of a database, over restarts too.
pub async fn fencing_tokens_grow(harness: &dyn ProviderHarness) {
    let mut bench = Bench::open(harness).await;
    let mut last = 0;
    for round in 0..3 {
        for name in ["a", "b", "a"] {
            let session = bench.session(&stream_id(name)).await;
            let token = session.session().fencing_token;
            assert!(token > last, "round {round}: token {token} follows {last}");
            last = token;
            session.close().await.expect("closed");
        }
        bench = if round == 0 {
            bench.crash().await
        } else {
            bench.restart().await
        };
    }
}

/// While a session is open nobody else writes to its stream: the error says who holds it and until when.
pub async fn held_stream_refuses_writes_without_the_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 2).await;
    bench.snapshot(&stream, 1).await;
    let options = OpenOptions::default().owner("the importer");
    let session = bench
        .provider
        .open_with(&Database::default(), &stream, options)
        .await
        .expect("opened");
    let holder = HeldBy::new(session.session().id, "the importer", session.session().expires_at);
    let log = &bench.log;
    let refused = [
        log.append(&stream, ExpectedVersion::Any, [event("x")])
            .await
            .map(|_| ()),
        log.snapshot(&stream, Version::new(2), state(2)).await,
        log.clear_snapshot(&stream, Version::new(1)).await,
        log.clear_snapshots(&stream).await,
    ];
    for result in refused {
        match result {
            Err(Error::StreamHeld {
                stream: held,
                held_by,
            }) => {
                assert_eq!((held, *held_by), (stream.clone(), holder.clone()));
            }
            other => panic!("{other:?} does not say who holds the stream"),
        }
    }
    assert_eq!(bench.events(&stream).await.len(), 2);
    assert_eq!(
        log.snapshot_versions(&stream).await.expect("read"),
        [Version::new(1)]
    );
}

/// Reads of a stream need no session, and go on while somebody else has one.
pub async fn readers_need_no_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 2).await;
    bench.snapshot(&stream, 1).await;
    let known = event("known");
    let session = bench.session(&stream).await;
    session.append([known.clone()]).await.expect("appended");
    let log = &bench.log;
    assert_eq!(versions(&bench.events(&stream).await), [1, 2, 3]);
    assert_eq!(bench.all().await.len(), 3);
    let history = log
        .read(&stream)
        .await
        .expect("read")
        .collect()
        .await
        .expect("read");
    assert_eq!(versions(&history.events), [2, 3]);
    assert_eq!(log.version(&stream).await.expect("read"), Version::new(3));
    assert_eq!(log.head().await.expect("read").get(), 3);
    assert_eq!(
        log.find_append(&stream, &known.id().into())
            .await
            .expect("found")
            .version,
        Version::new(3)
    );
    assert_eq!(
        log.snapshot_versions(&stream).await.expect("read"),
        [Version::new(1)]
    );
    assert!(
        log.read_snapshot(&stream, Version::MAX)
            .await
            .expect("read")
            .is_some()
    );
}

/// A session holds one stream: neither other streams, nor the same name in another database.
pub async fn session_holds_its_own_stream_only(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let _session = bench.session(&stream_id("a")).await;
    bench.append(&stream_id("b"), 1).await;
    bench.append(&stream_id("a "), 1).await;
    let same_id = StreamId::new("other category", "a").expect("valid");
    bench.append(&same_id, 1).await;
    append(&*bench.database("elsewhere"), &stream_id("a"), 1).await;
    let _second = bench.session(&stream_id("b")).await;
    bench
        .provider
        .open_in(&database("elsewhere"), &stream_id("a"))
        .await
        .expect("opened");
}

/// When a session is over, writes without one are possible again.
pub async fn stream_is_free_after_the_session(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    bench.clock.advance(SESSION);
    assert_eq!(
        bench.note(&stream, "after its time").await.version,
        Version::FIRST
    );
    refused!(
        session.append(numbered(1)).await,
        Error::StoreSessionExpired { .. }
    );
}

fn database(name: &str) -> Database {
    Database::new(name).expect("a valid name")
}
