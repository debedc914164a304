mod multi;

use std::sync::Arc;
use std::time::Duration;

use eventstore_abstractions::{
    ContentType, Durability, EventMessage, ExpectedVersion, Payload, Position, Query, SessionId, Version,
};
use kv_core::Durability as Commit;
use tokio::sync::oneshot;

use super::append::{MAX_RUN_BYTES, run_length};
use super::log::MAX_BLOCK_BYTES;
use super::*;
use crate::hold::Writer;
use crate::idempotency::Verdict;
use crate::keys;
use crate::limits::Cost;
use crate::record::{EncodedRun, Lease, message_bytes};
use crate::sequencer::Append;

const RECORD_BYTES: usize = 16 << 20;
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// Those of an engine of one process.
pub(in crate::sequencer) fn limits() -> Limits {
    Limits {
        durable_leases: false,
        record_bytes: RECORD_BYTES,
        indexes: Indexes::default(),
        requires_heads: false,
        defers: false,
    }
}

fn database() -> Database {
    Database::default()
}

fn stream() -> StreamId {
    StreamId::new("case", "a").expect("valid")
}

fn key() -> Bytes {
    keys::stream_head(&database(), &stream())
}

fn event(bytes: usize) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, vec![7; bytes]);
    EventMessage::new("Noted", payload).expect("valid")
}

/// Whether the engine is asked for nothing: all requests were refused, or done already.
fn asks_nothing(plan: &Plan) -> bool {
    !plan.durable && plan.writes.is_empty() && plan.changed().next().is_none()
}

/// A plan that knows the database and the stream, and has decided nothing.
fn plan(limits: Limits) -> Plan {
    let mut plan = Plan::new(limits);
    plan.add_database(database(), Ok(DatabaseState::default()));
    plan.add_stream(0, key(), Ok(StreamState::default()));
    plan
}

/// Has the plan decide an action; `None` when that has to wait.
fn decide(plan: &mut Plan, action: Action, facts: Facts) -> Option<Result<Done>> {
    let (reply, _) = oneshot::channel();
    let request = Request::new(database(), stream(), action, Cost::of_keys(1), reply);
    let known = KnownRequest {
        database: 0,
        stream: 0,
        others: Vec::new(),
        facts: Ok(facts),
    };
    plan.decide(&request, Some(known))
        .then(|| plan.answers.pop().expect("an answer"))
}

fn append(plan: &mut Plan, events: Vec<EventMessage>, durability: Durability, verdict: Verdict) {
    let append = Append {
        writer: Writer::Free,
        events: Arc::new(events),
        expected: ExpectedVersion::Any,
        durability,
    };
    let done = decide(plan, Action::Append(append), Facts::Append(verdict));
    assert!(matches!(done, Some(Ok(Done::Appended(_)))), "{done:?}");
}

/// Appends through nobody's session: with one, everything else needs it.
fn append_new(plan: &mut Plan, events: usize, durability: Durability) {
    let events = (0..events).map(|_| event(10)).collect();
    append(plan, events, durability, Verdict::New);
}

/// What a plan that knows a session's lease does in turn: renew it, release it.
fn hold(plan: &mut Plan, session: SessionId) {
    plan.streams[0].state.lease = Some(Lease {
        session: *session.as_uuid().as_bytes(),
        token: 1,
        expires_at: NEVER.as_micros(),
        owner: String::new(),
    });
}

fn renew(plan: &mut Plan, session: SessionId) {
    let writer = Writer::Session {
        id: session,
        expires_at: NEVER,
    };
    let timeout = Duration::from_secs(1);
    let renew = Action::Renew {
        writer,
        session,
        timeout,
    };
    let done = decide(plan, renew, Facts::None);
    assert!(matches!(done, Some(Ok(Done::Renewed(_)))), "{done:?}");
}

fn release(plan: &mut Plan, session: SessionId) {
    let done = decide(plan, Action::Release { session }, Facts::None);
    assert!(matches!(done, Some(Ok(Done::Written))), "{done:?}");
}

fn durability(mut plan: Plan) -> Commit {
    plan.take_batch().2
}

#[test]
fn plan_is_as_durable_as_what_asks_for_most() {
    type Then = fn(&mut Plan, SessionId);
    let after: [Then; 5] = [
        |plan, _| append_new(plan, 1, Durability::Buffered),
        |plan, _| append_new(plan, 0, Durability::Durable),
        |plan, _| {
            let done = Appended::new(Version::new(1), Position::new(1), 1);
            append(plan, vec![event(1)], Durability::Buffered, Verdict::Done(done));
        },
        |plan, session| {
            hold(plan, session);
            renew(plan, session);
        },
        |plan, session| {
            hold(plan, session);
            release(plan, session);
        },
    ];
    for then in after {
        let mut plan = plan(limits());
        append_new(&mut plan, 1, Durability::Durable);
        then(&mut plan, SessionId::generate());
        assert_eq!(durability(plan), Commit::Durable);
    }
}

#[test]
fn nothing_is_synced_that_nobody_asks_for() {
    let mut buffered = plan(limits());
    append_new(&mut buffered, 1, Durability::Buffered);
    assert_eq!(durability(buffered), Commit::Buffered);

    let mut nothing = plan(limits());
    append_new(&mut nothing, 0, Durability::Durable);
    assert!(asks_nothing(&nothing));
    assert_eq!(durability(nothing), Commit::Buffered);
}

#[test]
fn retry_is_synced_again() {
    let mut retried = plan(limits());
    let done = Appended::new(Version::new(1), Position::new(1), 1);
    append(
        &mut retried,
        vec![event(1)],
        Durability::Durable,
        Verdict::Done(done),
    );
    assert!(!asks_nothing(&retried));
    assert_eq!(durability(retried), Commit::Durable);
}

#[test]
fn leases_are_synced_where_they_outlive_the_process() {
    for (durable_leases, expected) in [(false, Commit::Buffered), (true, Commit::Durable)] {
        let limits = Limits {
            durable_leases,
            ..limits()
        };
        let session = SessionId::generate();
        let mut renewed = plan(limits);
        hold(&mut renewed, session);
        renew(&mut renewed, session);
        assert_eq!(durability(renewed), expected);
        let mut released = plan(limits);
        hold(&mut released, session);
        release(&mut released, session);
        assert_eq!(durability(released), expected);
    }
}

#[test]
fn snapshots_are_not_cleared_in_the_plan_that_takes_one() {
    let clear = || Action::ClearSnapshots {
        writer: Writer::Free,
        limit: 10,
    };
    let mut taken = plan(limits());
    append_new(&mut taken, 1, Durability::Durable);
    let cleared = decide(&mut taken, clear(), Facts::Snapshots(Vec::new()));
    assert!(matches!(cleared, Some(Ok(Done::Cleared(0)))), "{cleared:?}");
    let snapshot = Action::Snapshot {
        writer: Writer::Free,
        version: Version::new(1),
        message: Box::new(event(1)),
    };
    assert!(decide(&mut taken, snapshot, Facts::None).is_some());
    // Which there are is read of the engine, which does not have this one yet.
    assert!(decide(&mut taken, clear(), Facts::Snapshots(Vec::new())).is_none());
}

#[test]
fn nothing_is_decided_of_a_stream_that_is_damaged_or_whose_database_is() {
    let damage = || Error::Corrupt {
        reason: "it".to_owned(),
        source: None,
    };
    let mut known = plan(limits());
    assert!(known.damage(0, 0).is_none());
    known.add_stream(0, Bytes::from_static(b"damaged"), Err(damage()));
    assert!(known.damage(0, 1).is_some());
    known.add_database(Database::new("other").expect("valid"), Err(damage()));
    known.add_stream(1, Bytes::from_static(b"sound"), Ok(StreamState::default()));
    assert!(known.damage(1, 2).is_some());
}

#[test]
fn events_of_a_plan_are_found_until_they_are_forgotten() {
    let mut found = plan(limits());
    append_new(&mut found, 2, Durability::Durable);
    assert_eq!(
        found.databases[0].tail.find(&Query::all(), Position::ZERO),
        Some(Position::new(2))
    );
    assert_eq!(
        found.databases[0].tail.find(&Query::all(), Position::new(2)),
        None
    );
    found.forget_events();
    assert_eq!(found.databases[0].tail.find(&Query::all(), Position::ZERO), None);
}

#[test]
fn run_is_closed_when_one_more_event_would_make_it_too_long() {
    let around = message_bytes(&event(0));
    let small = event(1_000 - around);
    // Sixteen of a thousand bytes, and one that fills the rest to the byte.
    let last = MAX_RUN_BYTES - 16_000;
    let events = |last: usize| {
        let mut events = vec![small.clone(); 16];
        events.push(event(last - around));
        events.push(small.clone());
        events
    };
    assert_eq!(run_length(&events(last), RECORD_BYTES), 17);
    assert_eq!(run_length(&events(last + 1), RECORD_BYTES), 16);
    assert_eq!(run_length(&events(last), 2_500), 2);
    assert_eq!(run_length(&events(last), 10), 1);
}

#[test]
fn block_is_closed_once_it_is_full() {
    let now = Timestamp::from_micros(0);
    let push = |log: &mut LogTail, position: u64, bytes: usize| {
        let (version, position) = (Version::new(position), Position::new(position));
        let events = [event(bytes)];
        let run = EncodedRun::new(position, now, None, &events, message_bytes(&events[0]));
        log.push(&stream(), (version, position), 1, &run);
    };
    let blocks = |sizes: &[usize]| {
        let mut log = LogTail::default();
        for (position, bytes) in (1..).zip(sizes) {
            push(&mut log, position, *bytes);
        }
        let database = database();
        let blocks = log.take_blocks(&database).map(|(_, value)| value.len());
        blocks.collect::<Vec<_>>()
    };
    // What a block of six such runs has beside their payloads, without its checksum. Longer ones are not copied.
    let around = blocks(&[2_700; 6])[0] - 4 - 6 * 2_700;
    let full = MAX_BLOCK_BYTES - around - 5 * 2_700;
    let filled = |last: usize| blocks(&[2_700, 2_700, 2_700, 2_700, 2_700, last, 10]).len();
    assert_eq!((filled(full), filled(full - 1)), (2, 1));
}
