//! What an opening derives of the log, and what it refuses.

use super::*;

#[tokio::test]
async fn what_was_not_written_is_derived_at_the_next_opening() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    for round in 0..3 {
        for id in ["a", "b"] {
            append(&*log, id, &[&format!("{id}{round}")]).await;
        }
    }
    drop((provider, log));
    let (_provider, log) = open(&engine).await;
    assert_eq!(texts(&*log, "a").await, ["a0", "a1", "a2"]);
    assert_eq!(append(&*log, "a", &["a3"]).await, 4);
    assert_eq!(texts(&*log, "b").await, ["b0", "b1", "b2"]);
}

#[tokio::test]
async fn what_the_log_does_not_say_is_written_at_once_and_not_derived_over() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    append(&*log, "a", &["1"]).await;
    append(&*log, "a", &["2"]).await;
    append(&*log, "b", &["1"]).await;
    let retained = log
        .set_retention(&stream("a"), Retention::default().max_count(2))
        .await;
    retained.expect("it is set");
    let deleted = log
        .delete_stream(&stream("b"), ExpectedVersion::Any, Deletion::Hard)
        .await;
    deleted.expect("it is deleted");
    append(&*log, "a", &["3"]).await;
    let long = "x".repeat(5_000);
    append(&*log, "c", &["1"]).await;
    append(&*log, "c", &[&long]).await;
    append(&*log, "c", &["3"]).await;
    drop((provider, log));
    let (_provider, log) = open(&engine).await;
    assert_eq!(texts(&*log, "a").await, ["2", "3"]);
    assert!(texts(&*log, "b").await.is_empty());
    let refused = log.append(&stream("b"), ExpectedVersion::Any, [event("2")]).await;
    assert!(matches!(refused, Err(Error::StreamDeleted { .. })), "{refused:?}");
    assert_eq!(texts(&*log, "c").await, ["1", &long, "3"]);
}

#[tokio::test]
async fn store_that_has_lost_where_it_is_settled_is_refused() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    append(&*log, "a", &["1"]).await;
    append(&*log, "a", &["2"]).await;
    drop((provider, log));
    let settled = stored(&engine, SETTLED).await;
    engine.remove(&settled[0].key).await.expect("it is lost");
    let refused = try_open(&engine, 1 << 20)
        .await
        .expect_err("events would be lost")
        .to_string();
    assert!(
        refused.contains("the settled position of database") && refused.contains("is missing"),
        "{refused}"
    );
}

#[tokio::test]
async fn damaged_or_lost_head_of_a_database_hides_no_stream() {
    for is_lost in [false, true] {
        let engine = engine();
        let (provider, log) = open(&engine).await;
        for text in ["1", "2", "3"] {
            append(&*log, "a", &[text]).await;
        }
        drop((provider, log));
        let head = &stored(&engine, DATABASE_HEAD).await[0].key;
        if is_lost {
            engine.remove(head).await.expect("it is lost");
        } else {
            let damaged = engine.edit(head, |value| value[1] ^= 1).await;
            damaged.expect("it is damaged");
        }
        let (_provider, log) = open(&engine).await;
        assert_eq!(texts(&*log, "a").await, ["1", "2", "3"]);
        let head = log.head().await;
        assert!(matches!(head, Err(Error::Corrupt { .. })), "{head:?}");
        let refused = log.append(&stream("a"), ExpectedVersion::Any, [event("4")]).await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn log_that_has_lost_a_block_which_is_not_settled_is_refused() {
    // Also the newest one: the head of the database says where the log ends.
    for lost in [2, 3] {
        let engine = engine();
        let (provider, log) = open(&engine).await;
        for text in ["1", "2", "3"] {
            append(&*log, "a", &[text]).await;
        }
        drop((provider, log));
        let blocks = stored(&engine, LOG_BLOCK).await;
        engine.remove(&blocks[lost - 1].key).await.expect("it is lost");
        let refused = try_open(&engine, 1 << 20)
            .await
            .expect_err("an event would be lost")
            .to_string();
        assert!(
            refused.contains(&format!("position {lost}")) && refused.contains("is missing"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn streams_of_one_commit_are_derived_apart() {
    let engine = engine();
    let (provider, log) = open(&engine).await;
    append(&*log, "c", &["1"]).await;
    let both = MultiAppend::new()
        .to(
            &stream("a"),
            ExpectedVersion::NoStream,
            [event("a1"), event("a2")],
        )
        .to(&stream("b"), ExpectedVersion::NoStream, [event("b1")]);
    log.append_all(both).await.expect("it is appended");
    drop((provider, log));
    let (_provider, log) = open(&engine).await;
    assert_eq!(texts(&*log, "a").await, ["a1", "a2"]);
    assert_eq!(texts(&*log, "b").await, ["b1"]);
    assert_eq!(append(&*log, "a", &["a3"]).await, 3);
    assert_eq!(append(&*log, "b", &["b2"]).await, 2);
}
