//! The rules hold, one command after another and all at once.

use std::sync::Arc;

use dcb::{Failure, courses, invoices, usernames};
use eventstores::{EventLog, EventStoreProviderExt, Timestamp};

async fn log() -> Arc<dyn EventLog> {
    let provider = eventstores::connect("memory:").await;
    provider.expect("a store in memory opens").default_log()
}

fn refusal<R: std::fmt::Debug>(outcome: dcb::Outcome<R>) -> Option<R> {
    match outcome {
        Ok(()) => None,
        Err(Failure::Refused(refusal)) => Some(refusal),
        Err(failure) => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn course_rules_are_kept() {
    use courses::{MAX_COURSES, Refusal, change_capacity, define_course, subscribe};
    let log = log().await;
    let log = &*log;
    assert_eq!(refusal(subscribe(log, "s", "c0").await), Some(Refusal::NoCourse));
    assert_eq!(
        refusal(change_capacity(log, "c0", 1).await),
        Some(Refusal::NoCourse)
    );
    for number in 0..=MAX_COURSES {
        assert_eq!(refusal(define_course(log, &format!("c{number}"), 1).await), None);
    }
    assert_eq!(
        refusal(define_course(log, "c0", 7).await),
        Some(Refusal::CourseExists)
    );
    assert_eq!(
        refusal(change_capacity(log, "c0", 1).await),
        Some(Refusal::SameCapacity)
    );
    assert_eq!(refusal(subscribe(log, "s", "c0").await), None);
    assert_eq!(
        refusal(subscribe(log, "s", "c0").await),
        Some(Refusal::AlreadySubscribed)
    );
    assert_eq!(
        refusal(subscribe(log, "t", "c0").await),
        Some(Refusal::CourseFull)
    );
    assert_eq!(refusal(change_capacity(log, "c0", 2).await), None);
    assert_eq!(refusal(subscribe(log, "t", "c0").await), None);
    for number in 1..MAX_COURSES {
        assert_eq!(refusal(subscribe(log, "s", &format!("c{number}")).await), None);
    }
    let last = format!("c{MAX_COURSES}");
    assert_eq!(
        refusal(subscribe(log, "s", &last).await),
        Some(Refusal::TooManyCourses)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_students_never_overfill_a_course() {
    let log = log().await;
    assert_eq!(refusal(courses::define_course(&*log, "c", 7).await), None);
    let tasks = (0..50).map(|number| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { refusal(courses::subscribe(&*log, &format!("s{number}"), "c").await) })
    });
    let mut subscribed = 0;
    for task in tasks.collect::<Vec<_>>() {
        match task.await.expect("no panic") {
            None => subscribed += 1,
            Some(refusal) => assert_eq!(refusal, courses::Refusal::CourseFull),
        }
    }
    assert_eq!(subscribed, 7);
}

#[tokio::test]
async fn usernames_stay_unique() {
    use usernames::{RETENTION, Refusal, change, close, register};
    let log = log().await;
    let log = &*log;
    let now = Timestamp::now();
    let later = now.saturating_add(RETENTION * 2);
    assert_eq!(refusal(close(log, "a", "alice").await), Some(Refusal::Unknown));
    assert_eq!(refusal(register(log, "a", "alice", now).await), None);
    assert_eq!(
        refusal(register(log, "b", "alice", now).await),
        Some(Refusal::Taken)
    );
    assert_eq!(refusal(register(log, "b", "bob", now).await), None);
    assert_eq!(
        refusal(change(log, "a", "alice", "bob", now).await),
        Some(Refusal::Taken)
    );
    assert_eq!(refusal(change(log, "a", "alice", "carol", now).await), None);
    assert_eq!(
        refusal(change(log, "b", "bob", "alice", now).await),
        Some(Refusal::Taken)
    );
    assert_eq!(refusal(change(log, "b", "bob", "alice", later).await), None);
    assert_eq!(refusal(close(log, "a", "carol").await), None);
    assert_eq!(
        refusal(register(log, "c", "carol", now).await),
        Some(Refusal::Taken)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_invoices_leave_no_gap() {
    let log = log().await;
    let tasks = (0..200).map(|cents| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { invoices::create(&*log, cents).await })
    });
    let mut numbers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        numbers.push(task.await.expect("no panic").expect("created"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
}
