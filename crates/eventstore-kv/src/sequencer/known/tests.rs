use std::sync::Arc;

use eventstore_abstractions::{
    ContentType, Durability, EventMessage, ExpectedVersion, MessageId, Payload, StreamId,
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

async fn known(reader: &Reader, plan: &mut Plan, request: Queued) -> (Queued, Option<KnownRequest>) {
    let requests = [request];
    let sources = Sources {
        reader,
        cache: &mut Cache::new(10),
        shared: false,
        turns: &mut Turns::new(Arc::new(SystemClock)),
        may_move: false,
    };
    let known = gather(sources, plan, &requests).await.expect("it is read");
    let [request] = requests;
    (request, known.into_iter().next().expect("one of each"))
}

/// What is known of an append of an event with the last id to a stream that has the others.
async fn judged(stored: &[MessageId], id: MessageId) -> Verdict {
    let engine: Arc<dyn KeyValueStore> = Arc::new(kv_memory::Store::new());
    let reader = Reader::new(Arc::clone(&engine), &Options::default());
    for id in stored {
        let mut plan = Plan::new(limits());
        let (request, known) = known(&reader, &mut plan, append(vec![event(*id)])).await;
        assert!(plan.decide(&request, known));
        let (batch, _, durability) = plan.take_batch();
        let committed = engine.commit(batch, durability).await;
        assert_eq!(committed.expect("it is written"), kv_core::Outcome::Applied);
    }
    let (_, known) = known(&reader, &mut Plan::new(limits()), append(vec![event(id)])).await;
    match known.expect("its database is known").facts.expect("it is sound") {
        Facts::Append(verdict) => verdict,
        other => panic!("an append does not need {other:?}"),
    }
}

#[tokio::test]
async fn event_that_is_not_stored_is_new() {
    let stored = [sorted(20), unsorted(1), sorted(22)];
    // Behind all, between those that are stored, and with an entry of its own if it were there.
    for id in [sorted(30), sorted(21), unsorted(2)] {
        let verdict = judged(&stored, id).await;
        assert!(matches!(verdict, Verdict::New), "{id}: {verdict:?}");
    }
}

#[tokio::test]
async fn stored_event_is_recognised() {
    let stored = [sorted(20), unsorted(1), sorted(22)];
    for (id, version) in stored.iter().zip(1..) {
        let verdict = judged(&stored, *id).await;
        assert!(
            matches!(&verdict, Verdict::Done(done) if done.version == Version::new(version)),
            "{verdict:?}"
        );
    }
}
