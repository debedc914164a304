//! Appends to several streams at once.

use eventstore_abstractions::{AppendCondition, IdempotencyKey, MultiAppend};

use super::*;
use crate::sequencer::AppendAll;

fn other_stream() -> StreamId {
    StreamId::new("case", "b").expect("valid")
}

/// A plan that knows two streams.
fn plan_of_two() -> Plan {
    let mut plan = plan(limits());
    let key = keys::stream_head(&database(), &other_stream());
    plan.add_stream(0, key, Ok(StreamState::default()));
    plan
}

/// Events for the two streams, durably, if they are as expected.
fn for_both(first: Vec<EventMessage>, second: Vec<EventMessage>) -> MultiAppend {
    MultiAppend::new().to(&stream(), ExpectedVersion::Any, first).to(
        &other_stream(),
        ExpectedVersion::Any,
        second,
    )
}

/// Has the plan decide an append to the two streams of [`plan_of_two`].
fn append_all(plan: &mut Plan, append: MultiAppend, verdicts: [Verdict; 2]) -> Result<MultiAppended> {
    append_all_unless(plan, append, verdicts, None)
}

fn append_all_unless(
    plan: &mut Plan,
    append: MultiAppend,
    verdicts: [Verdict; 2],
    excluded: Option<(usize, Position)>,
) -> Result<MultiAppended> {
    let (first, append) = AppendAll::new(&database(), append);
    let (reply, _) = oneshot::channel();
    let action = Action::AppendAll(Box::new(append));
    let request = Request::new(database(), first, action, Cost::of_keys(1), reply);
    let known = KnownRequest {
        database: 0,
        stream: 0,
        others: vec![1],
        facts: Ok(Facts::AppendAll {
            verdicts: verdicts.to_vec(),
            excluded,
        }),
    };
    assert!(plan.decide(&request, Some(known)), "it has to wait");
    match plan.answers.pop().expect("an answer") {
        Ok(Done::AppendedAll(done)) => Ok(done),
        Err(error) => Err(error),
        other => panic!("an append to several streams is not answered with {other:?}"),
    }
}

const NEW: [Verdict; 2] = [Verdict::New, Verdict::New];

fn appended(version: u64, position: u64, events: u64) -> Appended {
    Appended::new(Version::new(version), Position::new(position), events)
}

fn done(version: u64, position: u64, events: u64) -> Verdict {
    Verdict::Done(appended(version, position, events))
}

#[test]
fn append_to_several_streams_needs_no_stream_that_it_leaves_alone() {
    let mut held = plan_of_two();
    held.streams[1].state.lease = Some(Lease {
        session: *SessionId::generate().as_uuid().as_bytes(),
        token: 1,
        expires_at: NEVER.as_micros(),
        owner: String::new(),
    });
    let refused = append_all(&mut held, for_both(vec![event(1)], vec![event(1)]), NEW);
    assert!(matches!(refused, Err(Error::StreamHeld { .. })), "{refused:?}");
    let all = append_all(&mut held, for_both(vec![event(1)], Vec::new()), NEW).expect("it is appended");
    assert_eq!(all.streams, [appended(1, 1, 1), appended(0, 1, 0)]);
    assert_eq!(all.position, Position::new(1));
}

#[test]
fn append_to_several_streams_is_synced_if_it_has_events() {
    let mut nothing = plan_of_two();
    append_all(&mut nothing, for_both(Vec::new(), Vec::new()), NEW).expect("nothing is appended");
    assert!(asks_nothing(&nothing));
    assert_eq!(durability(nothing), Commit::Buffered);

    let mut buffered = plan_of_two();
    let append = for_both(vec![event(1)], Vec::new()).durability(Durability::Buffered);
    append_all(&mut buffered, append, NEW).expect("it is appended");
    assert_eq!(durability(buffered), Commit::Buffered);

    // What comes after it does not take that back.
    for second in [Vec::new(), vec![event(1)]] {
        let mut durable = plan_of_two();
        append_all(&mut durable, for_both(Vec::new(), vec![event(1)]), NEW).expect("it is appended");
        append_all(&mut durable, for_both(Vec::new(), second), NEW).expect("it is appended");
        assert_eq!(durability(durable), Commit::Durable);
    }
}

#[test]
fn retry_of_an_append_to_several_streams_is_synced_again() {
    for (asked, expected) in [
        (Durability::Durable, Commit::Durable),
        (Durability::Buffered, Commit::Buffered),
    ] {
        let mut retried = plan_of_two();
        let append = for_both(vec![event(1)], vec![event(1)]).durability(asked);
        append_all(&mut retried, append, [done(1, 1, 1), done(1, 2, 1)]).expect("it was done");
        assert_eq!(durability(retried), expected);
    }
    let mut twice = plan_of_two();
    for _ in 0..2 {
        let append = for_both(vec![event(1)], vec![event(1)]);
        append_all(&mut twice, append, [done(1, 1, 1), done(1, 2, 1)]).expect("it was done");
    }
    assert_eq!(durability(twice), Commit::Durable);
}

#[test]
fn retry_of_an_append_to_several_streams_is_told_what_was_done() {
    let mut retried = plan_of_two();
    let both = for_both(vec![event(1), event(1)], vec![event(1)]);
    let verdicts = [done(2, 8, 2), done(4, 6, 1)];
    let all = append_all(&mut retried, both, verdicts).expect("it was done");
    assert_eq!(all.streams, [appended(2, 8, 2), appended(4, 6, 1)]);
    assert_eq!(all.position, Position::new(8), "that of the newest event");

    // A stream that nothing was appended to is told as it is now.
    retried.streams[1].state.head.version = 7;
    let one = for_both(vec![event(1)], Vec::new());
    let all = append_all(&mut retried, one, [done(2, 8, 1), Verdict::New]).expect("it was done");
    assert_eq!(all.streams, [appended(2, 8, 1), appended(7, 8, 0)]);
    assert_eq!(retried.databases[0].state.head.position, 0, "nothing is appended");
}

/// What an append was refused with that came with an id which was used before.
fn used(refused: Result<MultiAppended>) -> (StreamId, IdempotencyKey, Version) {
    match refused {
        Err(Error::DuplicateIdempotencyId { stream, key, version }) => (stream, key, version),
        other => panic!("{other:?}"),
    }
}

#[test]
fn append_to_several_streams_is_refused_where_another_has_used_some_of_its_ids() {
    let verdicts = |known: Verdict| [known, Verdict::New];
    let mut partly = plan_of_two();
    let events = vec![event(1), event(1)];
    let key = IdempotencyKey::from(events[0].id());
    let append = for_both(events, vec![event(1)]);
    let refused = append_all(&mut partly, append, verdicts(done(5, 9, 2)));
    // The version of the first event that has one.
    assert_eq!(used(refused), (stream(), key.clone(), Version::new(4)));

    let known = Verdict::Conflict {
        key: key.clone(),
        version: Version::new(3),
    };
    let append = for_both(vec![event(1)], vec![event(1)]);
    let refused = append_all(&mut partly, append, verdicts(known));
    assert_eq!(used(refused), (stream(), key, Version::new(3)));
    assert!(asks_nothing(&partly));
}

#[test]
fn condition_is_failed_by_what_is_stored_and_by_what_the_plan_appends() {
    let mut excluded = plan_of_two();
    append_new(&mut excluded, 3, Durability::Durable);
    let on = |query: Query, after: u64| AppendCondition::fail_if_after(query, Position::new(after));
    let append = |after| {
        for_both(vec![event(1)], Vec::new())
            .condition(on(Query::category("other"), 0))
            .condition(on(Query::category("case"), after))
    };
    let refused = append_all(&mut excluded, append(2), NEW);
    let Err(Error::AppendConditionFailed { condition, position }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((condition, position), (1, Position::new(3)));

    // What is stored comes first.
    let stored = Some((0, Position::new(2)));
    let refused = append_all_unless(&mut excluded, append(2), NEW, stored);
    let Err(Error::AppendConditionFailed { condition, position }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((condition, position), (0, Position::new(2)));
    append_all(&mut excluded, append(3), NEW).expect("it knew of them");
}
