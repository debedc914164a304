//! Deleted streams: what is left of them, and who may delete them.

use eventstore_abstractions::{
    Deletion, Error, EventLog, EventLogExt, ExpectedVersion, ReadOptions, Result, Retention, Version,
};

use super::ProviderHarness;
use super::bench::{Bench, event, numbered, refused, state, stream_id, up_to, versions};
use super::life::{delete, kept, read};

/// A stream that was deleted is empty, also of snapshots, and takes appends as one that does not exist; its versions
/// go on.
pub async fn soft_deleted_stream_reads_as_empty_and_goes_on(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    bench.snapshot(&stream, 3).await;
    delete(&bench, &stream, Deletion::Soft).await;
    delete(&bench, &stream, Deletion::Soft).await;
    let history = read(&bench, ReadOptions::replay()).await;
    assert_eq!((history.snapshot, history.events), (None, vec![]));
    assert_eq!(kept(&bench).await, (vec![], 4));
    let info = bench.log.stream_info(&stream).await.expect("known");
    assert_eq!(
        (info.version, info.deleted),
        (Version::new(3), Some(Deletion::Soft))
    );
    assert_eq!(bench.log.snapshot_versions(&stream).await.expect("read"), []);
    let late = bench.log.snapshot(&stream, Version::new(3), state(3)).await;
    refused!(late, Error::InvalidInput { .. });

    let append = async |expected| bench.log.append(&stream, expected, [event("again")]).await;
    refused!(
        append(ExpectedVersion::StreamExists).await,
        Error::StoreVersionMismatch { .. }
    );
    refused!(
        append(ExpectedVersion::Exact(Version::new(2))).await,
        Error::StoreVersionMismatch { .. }
    );
    let appended = append(ExpectedVersion::NoStream)
        .await
        .expect("it does not exist");
    assert_eq!(appended.version, Version::new(4));
    assert_eq!(kept(&bench).await, (vec![4], 4));
    refused!(
        append(ExpectedVersion::NoStream).await,
        Error::StoreVersionMismatch { .. }
    );
    append(ExpectedVersion::StreamExists).await.expect("it exists");

    delete(&bench, &stream, Deletion::Soft).await;
    append(ExpectedVersion::Exact(Version::new(5)))
        .await
        .expect("its version goes on");
    let history = read(&bench, ReadOptions::replay()).await;
    assert_eq!((history.snapshot, versions(&history.events)), (None, vec![6]));
    bench.snapshot(&stream, 6).await;
    assert!(read(&bench, ReadOptions::replay()).await.snapshot.is_some());
    assert_eq!(bench.log.stream_info(&stream).await.expect("known").deleted, None);
}

/// A stream that was deleted for good is empty and takes no write of any kind; so does a name that was never used.
pub async fn hard_deleted_stream_refuses_every_write(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (stream, unused) = (stream_id("a"), stream_id("unused"));
    bench.append(&stream, 3).await;
    bench.snapshot(&stream, 2).await;
    for stream in [&stream, &unused] {
        delete(&bench, stream, Deletion::Hard).await;
        let log = &*bench.log;
        let expectations = [
            ExpectedVersion::Any,
            ExpectedVersion::NoStream,
            ExpectedVersion::StreamExists,
            ExpectedVersion::Exact(Version::new(3)),
        ];
        for expected in expectations {
            let append = log.append(stream, expected, numbered(1)).await;
            refused!(append, Error::StreamDeleted { stream: ref named } if named == stream);
            let again = log.delete_stream(stream, expected, Deletion::Soft).await;
            refused!(again, Error::StreamDeleted { .. });
        }
        refused!(bench.try_session(stream).await, Error::StreamDeleted { .. });
        refused!(
            log.snapshot(stream, Version::FIRST, state(1)).await,
            Error::StreamDeleted { .. }
        );
        refused!(log.clear_snapshots(stream).await, Error::StreamDeleted { .. });
        refused!(
            log.set_retention(stream, Retention::default()).await,
            Error::StreamDeleted { .. }
        );
        assert_eq!(bench.events(stream).await, []);
        assert_eq!(log.snapshot_versions(stream).await.expect("read"), []);
        let info = log.stream_info(stream).await.expect("known");
        assert_eq!(
            (info.version, info.deleted),
            (log.version(stream).await.expect("read"), Some(Deletion::Hard))
        );
    }
    assert_eq!(bench.log.version(&stream).await.expect("read"), Version::new(3));
    bench.append(&stream_id("other"), 1).await;
}

/// A stream is deleted only if it is as expected; otherwise nothing happens, and the error says what it has.
pub async fn deletion_checks_the_expectation(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    for deletion in [Deletion::Soft, Deletion::Hard] {
        for expected in [ExpectedVersion::NoStream, ExpectedVersion::Exact(Version::new(2))] {
            let deleted = bench.log.delete_stream(&stream, expected, deletion).await;
            match deleted {
                Err(Error::StoreVersionMismatch {
                    stream: named,
                    expected: said,
                    actual,
                }) => {
                    assert_eq!((named, said, actual), (stream.clone(), expected, Version::new(3)));
                }
                other => panic!("{other:?} does not say what the stream has"),
            }
        }
    }
    assert_eq!(kept(&bench).await, (up_to(3), 1));
    let delete = async |expected| bench.log.delete_stream(&stream, expected, Deletion::Soft).await;
    delete(ExpectedVersion::Exact(Version::new(3)))
        .await
        .expect("as expected");
    refused!(
        delete(ExpectedVersion::StreamExists).await,
        Error::StoreVersionMismatch { .. }
    );
    delete(ExpectedVersion::NoStream).await.expect("it is deleted");
    assert_eq!(kept(&bench).await, (vec![], 4));
}

/// While a session holds a stream, nobody else changes what is kept of it.
pub async fn held_stream_cannot_be_deleted(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    bench.append(&stream, 3).await;
    let session = bench.session(&stream).await;
    let change = async |log: &dyn EventLog| -> [Result<()>; 2] {
        let retention = Retention::default().max_count(1);
        [
            log.delete_stream(&stream, ExpectedVersion::Any, Deletion::Soft)
                .await,
            log.set_retention(&stream, retention).await,
        ]
    };
    for changed in change(&*bench.log).await {
        match changed {
            Err(Error::StreamHeld { held_by, .. }) => assert_eq!(held_by.session, session.session().id),
            other => panic!("{other:?} although a session holds the stream"),
        }
    }
    assert_eq!(kept(&bench).await, (up_to(3), 1));
    session.close().await.expect("closed");
    for changed in change(&*bench.log).await {
        changed.expect("nobody holds the stream");
    }
    assert_eq!(kept(&bench).await, (vec![], 4));
}
