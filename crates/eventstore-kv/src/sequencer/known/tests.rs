use std::sync::Arc;

use eventstore_abstractions::{
    ContentType, Durability, EventMessage, ExpectedVersion, IdempotencyId, MessageId, Payload, StreamId,
};
use kv_core::KeyValueStore;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::SystemClock;
use crate::hold::Writer;
use crate::limits::Cost;
use crate::options::Options;
use crate::sequencer::Append;
use crate::sequencer::plan::tests::limits;

fn event(id: MessageId) -> EventMessage {
    let payload = Payload::new(ContentType::OCTET_STREAM, vec![7]);
    let mut event = EventMessage::new("Noted", payload).expect("valid");
    event.metadata.message.id = id;
    event
}

/// An id that tells its time.
fn sorted(time: u128) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(time << 80 | 7 << 76 | 2 << 62))
}

/// One that does not.
fn unsorted(number: u128) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(number))
}

fn append(events: Vec<EventMessage>) -> Queued {
    let append = Append {
        writer: Writer::Free,
        events: Arc::new(events),
        expected: ExpectedVersion::Any,
        durability: Durability::Durable,
    };
    let stream = StreamId::new("case", "a").expect("valid");
    let (reply, _) = oneshot::channel();
    Box::new(Request::new(
        Database::default(),
        stream,
        Action::Append(append),
        Cost::of_keys(1),
        reply,
    ))
}

/// What is known for `request`, with `flying` on its way.
async fn known(
    reader: &Reader,
    flying: Option<&Plan>,
    plan: &mut Plan,
    request: Queued,
) -> (Queued, Option<KnownRequest>) {
    let requests = [request];
    let sources = Sources {
        reader,
        cache: &mut Cache::new(10),
        flying,
        shared: false,
        turns: &mut Turns::new(Arc::new(SystemClock)),
        may_move: false,
    };
    let known = gather(sources, plan, &requests).await.expect("it is read");
    let [request] = requests;
    (request, known.into_iter().next().expect("one of each"))
}

/// A plan that appends `events` to what is stored.
async fn planned(reader: &Reader, events: Vec<EventMessage>) -> Plan {
    let mut plan = Plan::new(limits());
    let (request, known) = known(reader, None, &mut plan, append(events)).await;
    assert!(plan.decide(&request, known));
    plan
}

/// What is known of an append, or nothing where it has to wait: `stored` is in the stream and `flying` on its way.
async fn judged(
    stored: &[MessageId],
    flying: Vec<EventMessage>,
    events: Vec<EventMessage>,
) -> Option<Verdict> {
    let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
    let reader = Reader::new(Arc::clone(&engine), &Options::default());
    let stored = stored.iter().map(|id| event(*id)).collect();
    let (batch, _, durability) = planned(&reader, stored).await.take_batch();
    let committed = engine.commit(batch, durability).await;
    assert_eq!(committed.expect("it is written"), kv_core::Outcome::Applied);
    let mut flying = planned(&reader, flying).await;
    // As when it takes off.
    let _changes = flying.take_batch();
    let (_, known) = known(&reader, Some(&flying), &mut Plan::new(limits()), append(events)).await;
    match known?.facts.expect("it is sound") {
        Facts::Append(verdict) => Some(verdict),
        other => panic!("an append does not need {other:?}"),
    }
}

/// The same of ids alone.
async fn judged_ids(stored: &[MessageId], flying: &[MessageId], id: MessageId) -> Option<Verdict> {
    let flying = flying.iter().map(|id| event(*id)).collect();
    judged(stored, flying, vec![event(id)]).await
}

#[tokio::test]
async fn retry_of_what_flies_waits_for_it() {
    for id in [sorted(20), sorted(22), unsorted(1)] {
        let flying = [sorted(20), unsorted(1), sorted(22)];
        assert!(judged_ids(&[sorted(10)], &flying, id).await.is_none(), "{id}");
    }
    let command = |id: u128| {
        let command = IdempotencyId::new("command").expect("valid");
        event(sorted(id)).with_idempotency_id(command)
    };
    let waits = judged(&[sorted(10)], vec![command(20)], vec![command(30)]).await;
    assert!(waits.is_none());
}

#[tokio::test]
async fn event_that_does_not_fly_is_known_to_be_new_without_waiting() {
    let flying = [sorted(20), unsorted(1), sorted(22)];
    // Behind all, between those that fly, and with an entry of its own if it were there.
    for id in [sorted(30), sorted(21), unsorted(2)] {
        let verdict = judged_ids(&[sorted(10)], &flying, id).await;
        assert!(matches!(verdict, Some(Verdict::New)), "{id}: {verdict:?}");
    }
}

#[tokio::test]
async fn stored_event_is_recognised_while_its_stream_flies() {
    // It has an entry, which is read.
    let verdict = judged_ids(&[sorted(10), unsorted(3)], &[sorted(20)], unsorted(3)).await;
    assert!(
        matches!(&verdict, Some(Verdict::Done(done)) if done.version == Version::new(2)),
        "{verdict:?}"
    );
    // It is searched for among runs of which the newest are not there yet: it waits for them.
    let verdict = judged_ids(&[sorted(10)], &[sorted(20)], sorted(9)).await;
    assert!(verdict.is_none(), "{verdict:?}");
}
