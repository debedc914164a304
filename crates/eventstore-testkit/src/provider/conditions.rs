//! Conditions of appends: nothing that they exclude is there, or nothing is written.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use eventstore_abstractions::{
    AppendCondition, ContextMetadata, Error, EventLog, EventLogExt, EventMessage, ExpectedVersion,
    LogReadOptions, MultiAppend, MultiAppended, Position, Query, QueryItem, Result, Tag,
};
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{Bench, event, positions, refused, stream_id, up_to};
use crate::fault::Moment;

const RACERS: usize = 16;
const ROUNDS: usize = 80;
/// Appends that wait while a commit is held.
const WAITING: usize = 40;

pub(super) fn tag(text: &str) -> Tag {
    Tag::new(text).expect("a valid tag")
}

pub(super) fn tagged(type_name: &str, tags: &[&str]) -> EventMessage {
    let event = EventMessage::json(type_name, &()).expect("a valid type name");
    event.with_tags(tags.iter().copied().map(tag))
}

fn tags(tags: &[&str]) -> QueryItem {
    QueryItem::tags(tags.iter().copied().map(tag))
}

/// An append of one event to a stream, if nothing matches `query` after `after`.
fn unless(stream: &str, event: EventMessage, query: impl Into<Query>, after: u64) -> MultiAppend {
    let condition = AppendCondition::fail_if_after(query.into(), Position::new(after));
    MultiAppend::new()
        .to(&stream_id(stream), ExpectedVersion::Any, [event])
        .condition(condition)
}

/// The position of the event that an append failed for, or `None` when it was appended.
async fn excluded(log: &dyn EventLog, query: impl Into<Query>, after: u64) -> Option<u64> {
    match log
        .append_all(unless("probe", event("probe"), query, after))
        .await
    {
        Ok(_) => None,
        Err(Error::AppendConditionFailed { position, .. }) => Some(position.get()),
        Err(error) => panic!("{error}"),
    }
}

/// An event that matches the query after the position fails the append; one at it, before it, or that does not match
/// in all points, does not.
pub async fn condition_excludes_what_matches_after_its_position(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let log = &*bench.log;
    let stream = stream_id("a");
    let events = [
        tagged("Defined", &["course:1"]),
        tagged("Subscribed", &["course:1", "student:1"]),
        tagged("Subscribed", &["course:2", "student:1"]),
        tagged("Renamed", &[]),
    ];
    log.append(&stream, ExpectedVersion::Any, events)
        .await
        .expect("appended");
    let types = |names: &[&str]| QueryItem::types(names.iter().copied()).expect("valid");
    let both = tags(&["course:1", "student:1"]);
    assert_eq!(excluded(log, both.clone(), 0).await, Some(2));
    assert_eq!(excluded(log, both, 2).await, None);
    assert_eq!(excluded(log, tags(&["course:2", "student:2"]), 0).await, None);
    assert_eq!(
        excluded(log, types(&["Defined"]).tag(tag("student:1")), 0).await,
        None
    );
    assert_eq!(excluded(log, types(&["Renamed"]), 0).await, Some(4));
    assert_eq!(excluded(log, types(&["Renamed"]), 4).await, None);
    assert_eq!(excluded(log, QueryItem::type_prefix("Re"), 3).await, Some(4));
    assert_eq!(excluded(log, QueryItem::category("other"), 0).await, None);
    assert!(excluded(log, QueryItem::category("case"), 4).await.is_some());
    let head = log.head().await.expect("read").get();
    assert_eq!(excluded(log, Query::all(), head - 1).await, Some(head));
    assert_eq!(excluded(log, Query::all(), head).await, None);
    let either = Query::item(tags(&["student:9"])).or(tags(&["course:2"]));
    assert_eq!(excluded(log, either, 0).await, Some(3));
}

/// The error says which condition failed and for which event, and nothing is written, to no stream.
pub async fn failed_condition_is_named_and_writes_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    bench.append(&a, 2).await;
    let told = bench
        .log
        .append(&b, ExpectedVersion::Any, [tagged("T", &["x"])])
        .await;
    assert_eq!(told.expect("appended").position, Position::new(3));
    let before = bench.dump().await;
    let append = MultiAppend::new()
        .to(&a, ExpectedVersion::Any, [event("a")])
        .to(&b, ExpectedVersion::Any, [tagged("T", &["y"])])
        .condition(AppendCondition::fail_if_exists(tags(&["y"]).into()))
        .condition(AppendCondition::fail_if_exists(tags(&["x"]).into()));
    let error = refused!(
        bench.log.append_all(append).await,
        Error::AppendConditionFailed { condition: 1, position } if position == Position::new(3)
    );
    assert!(error.is_conflict());
    assert!(bench.dump().await == before, "a refused append left something");
}

/// Appends that share a commit see each other: of those that exclude each other one is applied.
pub async fn condition_sees_its_own_commit_group(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let rivals = |name: &'static str| {
        (0..WAITING).map(move |number| {
            let query = match number % 3 {
                0 => tags(&[name]),
                1 => QueryItem::types(["Taken"]).expect("valid").tag(tag(name)),
                _ => QueryItem::types([name]).expect("valid"),
            };
            // Each has the type and the tag for which the others look.
            let event = tagged(if number % 3 == 1 { "Taken" } else { name }, &[name]);
            unless(&format!("{name} {number}"), event, query, 0)
        })
    };
    let appends = rivals("one").chain(rivals("two"));
    let outcomes = while_a_commit_is_held(&bench, appends).await;
    for (name, outcomes) in [("one", &outcomes[..WAITING]), ("two", &outcomes[WAITING..])] {
        let all = bench
            .log
            .read_all(LogReadOptions::forward().query(tags(&[name]).into()));
        let all = all.collect().await.expect("read");
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(won > 0 && all.len() == won, "{won} appends to {name} succeeded");
        for (append, outcome) in rivals(name).zip(outcomes) {
            let query = &append.conditions[0].fail_if;
            let mut excluded = all.iter().filter(|event| query.matches(event));
            match outcome {
                Ok(told) => assert!(
                    excluded.all(|event| event.position >= told.position),
                    "{append:?}"
                ),
                Err(Error::AppendConditionFailed { position, .. }) => {
                    assert!(excluded.any(|event| event.position == *position), "{append:?}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Appends under conditions share commits as others do.
pub async fn conditional_appends_share_commits(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let before = bench.engine.commits();
    let appends = (0..WAITING).map(|number| {
        let name = format!("student:{number}");
        unless(&name, tagged("Subscribed", &[&name]), tags(&[&name]), 0)
    });
    for outcome in while_a_commit_is_held(&bench, appends).await {
        outcome.expect("nothing is in its way");
    }
    let commits = bench.engine.commits() - before;
    assert!(
        commits <= 4,
        "{WAITING} appends that waited took {commits} commits"
    );
}

/// The outcomes of appends that were all begun while another's commit was held.
async fn while_a_commit_is_held(
    bench: &Bench<'_>,
    appends: impl Iterator<Item = MultiAppend>,
) -> Vec<Result<MultiAppended>> {
    let mut gate = bench.engine.hold_next_commit(Moment::BeforeApplying);
    let log = Arc::clone(&bench.log);
    let held = tokio::spawn(async move {
        log.append(&stream_id("held"), ExpectedVersion::Any, [event("x")])
            .await
    });
    gate.reached().await;
    type Call = Pin<Box<dyn Future<Output = Result<MultiAppended>> + Send>>;
    let mut calls = Vec::new();
    for append in appends {
        let log = Arc::clone(&bench.log);
        let mut call: Call = Box::pin(async move { log.append_all(append).await });
        // Whatever it needs, it has been looked at once: it is in the queue.
        poll_fn(|context| {
            assert!(
                call.as_mut().poll(context).is_pending(),
                "the commit before is held"
            );
            Poll::Ready(())
        })
        .await;
        calls.push(call);
    }
    gate.release();
    held.await.expect("the task ends").expect("appended");
    let mut outcomes = Vec::with_capacity(calls.len());
    for call in calls {
        outcomes.push(call.await);
    }
    outcomes
}

/// Of those who race under one condition one wins, each time, and the others are told its position.
pub async fn racing_conditions_let_one_win(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    race(&[&bench.log]).await;
    assert_eq!(positions(&bench.all().await), up_to(ROUNDS as u64));
}

/// The same holds for those who race through several providers.
pub async fn conditions_are_linearizable_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    race(&[&one.log, &two.log]).await;
    assert_eq!(positions(&two.all().await), up_to(ROUNDS as u64));
}

async fn race(logs: &[&Arc<dyn EventLog>]) {
    for round in 0..ROUNDS {
        let name = format!("username:{round}");
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let log = Arc::clone(logs[racer % logs.len()]);
            let append = unless(
                &format!("{round} {racer}"),
                tagged("Registered", &[&name]),
                tags(&[&name]),
                0,
            );
            racers.spawn(async move { log.append_all(append).await });
        }
        let outcomes = racers.join_all().await;
        let winners = outcomes.iter().flatten().collect::<Vec<_>>();
        assert_eq!(winners.len(), 1, "winners of round {round}");
        for lost in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            match lost {
                Error::AppendConditionFailed { position, .. } => assert_eq!(*position, winners[0].position),
                error => panic!("{error}"),
            }
        }
    }
}

/// An append that is tried again is recognised, though its own events are what its condition excludes.
pub async fn retry_under_a_condition_is_recognised(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let append = unless(
        "a",
        tagged("Registered", &["username:a"]),
        tags(&["username:a"]),
        0,
    );
    let first = bench.log.append_all(append.clone()).await.expect("appended");
    for _ in 0..2 {
        let again = bench.log.append_all(append.clone()).await;
        assert_eq!(again.expect("recognised"), first);
    }
    let other = unless(
        "b",
        tagged("Registered", &["username:a"]),
        tags(&["username:a"]),
        0,
    );
    refused!(
        bench.log.append_all(other).await,
        Error::AppendConditionFailed { .. }
    );
    assert_eq!(bench.all().await.len(), 1);
}

/// Tags that differ in a byte are two: prefixes of each other, other cases and forms of a letter, spaces.
pub async fn tags_are_compared_exactly(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let longest = "x".repeat(Tag::MAX_BYTES);
    let hostile = [
        "a",
        "A",
        "aa",
        "a ",
        " a",
        "a:",
        "a\u{a0}",
        "a\u{301}",
        "\u{e1}",
        "a\u{1f600}",
        "a\u{10ffff}",
        "%",
        "*",
        "..",
        "!",
        "~",
        &longest,
        &longest[1..],
    ];
    for (number, name) in hostile.iter().enumerate() {
        let append = unless(&format!("s{number}"), tagged("T", &[name]), tags(&[name]), 0);
        let told = bench.log.append_all(append).await;
        told.unwrap_or_else(|error| panic!("{name:?} is taken for another: {error}"));
    }
    let bench = bench.restart().await;
    for (position, name) in (1..).zip(&hostile) {
        let found = bench
            .log
            .read_all(LogReadOptions::forward().query(tags(&[name]).into()));
        let found = found.collect().await.expect("read");
        assert_eq!(positions(&found), [position], "{name:?}");
        assert_eq!(found[0].message.metadata.context.tags, [tag(name)]);
    }
    let all: BTreeSet<_> = hostile.iter().collect();
    assert_eq!(all.len(), hostile.len());
}

/// More tags than an event may have are refused, and so is a tag that it has twice.
pub async fn impossible_tags_are_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let many = |count: usize| event("x").with_tags((0..count).map(|number| tag(&format!("t{number}"))));
    for wrong in [many(ContextMetadata::MAX_TAGS + 1), tagged("T", &["a", "b", "a"])] {
        let result = bench.log.append(&stream, ExpectedVersion::Any, [wrong]).await;
        refused!(result, Error::InvalidInput { .. });
    }
    let most = many(ContextMetadata::MAX_TAGS);
    let appended = bench
        .log
        .append(&stream, ExpectedVersion::Any, [most.clone()])
        .await;
    appended.expect("as many as are possible");
    assert_eq!(bench.events(&stream).await[0].message, most);
}

/// The type of removed events is refused: nobody can append an event that looks as if it was removed.
pub async fn type_of_removed_events_is_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let removed = || tagged("$removed", &[]);
    let alone = bench.log.append(&stream, ExpectedVersion::Any, [removed()]).await;
    refused!(alone, Error::InvalidInput { .. });
    let append = MultiAppend::new().to(&stream, ExpectedVersion::Any, [event("x"), removed()]);
    refused!(bench.log.append_all(append).await, Error::InvalidInput { .. });
    assert!(bench.all().await.is_empty());
}

/// More conditions, or names in a query, than are possible are refused.
pub async fn impossible_conditions_are_refused(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let append = |queries: Vec<Query>| {
        let append = MultiAppend::new().to(&stream_id("a"), ExpectedVersion::Any, [event("x")]);
        let conditions = queries.into_iter().map(AppendCondition::fail_if_exists);
        conditions.fold(append, MultiAppend::condition)
    };
    let names = |count: usize| {
        let tags = (0..count).map(|number| tag(&format!("t{number}")));
        Query::item(QueryItem::tags(tags))
    };
    let wrong = [
        vec![names(1); MultiAppend::MAX_CONDITIONS + 1],
        vec![names(Query::MAX_NAMES + 1)],
    ];
    for queries in wrong {
        refused!(
            bench.log.append_all(append(queries)).await,
            Error::InvalidInput { .. }
        );
    }
    let read = LogReadOptions::forward().query(names(Query::MAX_NAMES + 1));
    refused!(
        bench.log.read_all(read).collect().await,
        Error::InvalidInput { .. }
    );
    let most = vec![names(Query::MAX_NAMES); MultiAppend::MAX_CONDITIONS];
    bench
        .log
        .append_all(append(most))
        .await
        .expect("as many as are possible");
}
