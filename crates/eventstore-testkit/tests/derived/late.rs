//! Commits of unknown outcome that land later than they should.

use super::rest::on_one_thread;
use super::*;

#[tokio::test]
async fn commit_that_lands_late_is_seen_with_all_that_it_leads_to() {
    let engine = engine();
    let (_provider, log) = open(&engine).await;
    append(&*log, "a", &["1"]).await;
    append(&*log, "a", &["2"]).await;
    let straggler = engine.detach_next_commit(kv_core::Error::outcome_unknown("no answer", "time-out"));
    let tried = log.append(&stream("a"), ExpectedVersion::Any, [event("3")]).await;
    assert!(tried.is_err_and(|error| error.outcome_unknown()));
    assert_eq!(texts(&*log, "a").await, ["1", "2"]);
    assert_eq!(straggler.land().await.expect("it lands"), Outcome::Applied);
    assert_eq!(log.head().await.expect("read").get(), 3);
    assert_eq!(texts(&*log, "a").await, ["1", "2", "3"]);
    assert_eq!(append(&*log, "a", &["4"]).await, 4);
    assert_eq!(texts(&*log, "a").await, ["1", "2", "3", "4"]);
}

/// Such a commit has the records of a stream itself where an event is too long to stand in the log twice, where the first
/// snapshot is in it, and where it deletes the stream. They are newer than what was put off before.
#[tokio::test(start_paused = true)]
async fn commit_that_lands_late_with_records_of_its_own_goes_before_what_was_put_off() {
    let long = "3".repeat(5_000);
    let (engine, clock, log) = on_one_thread().await;
    let (a, b, c) = (stream("a"), stream("b"), stream("c"));
    for text in ["1", "2"] {
        append(&*log, "a", &[text]).await;
        append(&*log, "b", &[text]).await;
        append(&*log, "c", &[text]).await;
    }
    let straggler = engine.detach_next_commit(kv_core::Error::outcome_unknown("no answer", "time-out"));
    let (appended, also, snapshot, deleted) = tokio::join!(
        log.append(&a, ExpectedVersion::Any, [event(&long)]),
        log.append(&b, ExpectedVersion::Any, [event("3")]),
        log.snapshot(&b, Version::new(2), event("two")),
        log.delete_stream(&c, ExpectedVersion::Any, Deletion::Hard),
    );
    for error in [appended.err(), also.err(), snapshot.err(), deleted.err()] {
        assert!(error.is_some_and(|error| error.outcome_unknown()));
    }
    assert_eq!(straggler.land().await.expect("it lands"), Outcome::Applied);
    let refused = log.append(&c, ExpectedVersion::Any, [event("3")]).await;
    assert!(matches!(refused, Err(Error::StreamDeleted { .. })), "{refused:?}");
    let thirds = [("a", &long[..]), ("b", "3")];
    for (id, third) in thirds {
        assert_eq!(texts(&*log, id).await, ["1", "2", third]);
        assert_eq!(append(&*log, id, &["4"]).await, 4);
    }
    tokio::time::sleep(rest::REST).await;
    clock.advance(rest::REST);
    tokio::time::sleep(rest::REST).await;
    assert!(
        stored(&engine, RUN).await.len() > 5,
        "what was put off is written"
    );
    drop(log);
    let (_provider, log) = open(&engine).await;
    for (id, third) in thirds {
        assert_eq!(texts(&*log, id).await, ["1", "2", third, "4"]);
        let backward = log.read_stream(&stream(id), ReadOptions::backward()).await;
        let backward = backward.expect("begun").collect().await.expect("it is read");
        assert_eq!(backward.events.len(), 4);
    }
    let snapshots = log.snapshot_versions(&b).await.expect("read");
    assert_eq!(snapshots, [Version::new(2)]);
}
