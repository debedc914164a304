//! Following the log: each event once, in order, from what is there to what comes.

use std::sync::Arc;

use eventstore_abstractions::{
    AppendOptions, Durability, Error, EventLog, EventLogExt, EventStoreExt, ExpectedVersion, Notice,
    Position, Query, QueryItem, RecordedEvent, StreamId, SubscribeOptions, Subscription,
};
use tokio::task::JoinSet;

use super::ProviderHarness;
use super::bench::{
    Bench, append, event, numbered, positions, refused, sized, stream_id, texts, unavailable, up_to, versions,
};

const WRITERS: usize = 8;
const ROUNDS: usize = 32;
/// Events that are together more than any subscription may keep for a slow subscriber, and the bytes of each.
const LARGE_EVENTS: usize = 256;
const LARGE_BYTES: usize = 32 << 10;
const SUBSCRIBERS: usize = 1_000;

async fn next(subscription: &mut Subscription) -> Notice {
    let next = subscription.next().await.expect("it does not end by itself");
    next.expect("it is followed")
}

/// The next `count` events.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<RecordedEvent> {
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        if let Notice::Event(event) = next(subscription).await {
            events.push(*event);
        }
    }
    events
}

/// The events up to the moment at which it has caught up, and where that is.
async fn catch_up(subscription: &mut Subscription) -> (Vec<RecordedEvent>, u64) {
    let mut events = Vec::new();
    loop {
        match next(subscription).await {
            Notice::Event(event) => events.push(*event),
            Notice::CaughtUp(position) => return (events, position.get()),
            other => panic!("{other:?} is not known"),
        }
    }
}

/// Writers who append two events at a time, until all have appended `ROUNDS` times.
fn writers(log: &Arc<dyn EventLog>) -> JoinSet<()> {
    let writer = |writer| {
        let log = Arc::clone(log);
        async move {
            let options = AppendOptions::default().durability(Durability::Buffered);
            for round in 0..ROUNDS {
                let stream = stream_id(&format!("s{}", (writer + round) % 5));
                let appended = log.append_with(&stream, numbered(2), options).await;
                appended.expect("appended");
                tokio::task::yield_now().await;
            }
        }
    };
    (0..WRITERS).map(writer).collect()
}

/// Appends more than a subscription may hold.
async fn append_much(bench: &Bench<'_>) {
    let options = AppendOptions::default().durability(Durability::Buffered);
    for _ in 0..LARGE_EVENTS / 4 {
        let events = (0..4).map(|_| sized(LARGE_BYTES)).collect();
        let appended = bench.log.append_with(&stream_id("large"), events, options).await;
        appended.expect("appended");
    }
}

/// Subscribers see every event once and in order: those that were there, those that came while they caught up, and those
/// that came later, while many write.
pub async fn subscription_sees_each_once_in_order(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    bench.append(&stream_id("a"), 20).await;
    let total = 20 + WRITERS * ROUNDS * 2;
    let mut live = bench.log.subscribe(SubscribeOptions::from_start());
    let (mut seen, head) = catch_up(&mut live).await;
    assert_eq!((positions(&seen), head), (up_to(20), 20));
    let writers = writers(&bench.log);
    let readers: JoinSet<_> = (0..4)
        .map(|reader| {
            let log = Arc::clone(&bench.log);
            async move {
                for _ in 0..reader * 10 {
                    tokio::task::yield_now().await;
                }
                take(&mut log.subscribe(SubscribeOptions::from_start()), total).await
            }
        })
        .collect();
    seen.extend(take(&mut live, total - 20).await);
    assert_eq!(positions(&seen), up_to(total as u64));
    writers.join_all().await;
    let all = bench.all().await;
    assert!(seen == all, "what was seen is not what is stored");
    for seen in readers.join_all().await {
        assert!(seen == all, "what was seen is not what is stored");
    }
}

/// It begins after the position that it is given, with what comes after the call, or at the beginning.
pub async fn subscription_begins_where_it_is_told(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let subscribe = |options| bench.log.subscribe(options);
    let mut end_of_nothing = subscribe(SubscribeOptions::from_end());
    bench.append(&stream_id("a"), 5).await;
    // However late it is asked for the first time.
    let mut end = subscribe(SubscribeOptions::from_end());
    let mut ahead = subscribe(SubscribeOptions::after(Position::new(8)));
    bench.append(&stream_id("b"), 2).await;
    for (options, first) in [
        (SubscribeOptions::from_start(), 1),
        (SubscribeOptions::after(Position::ZERO), 1),
        (SubscribeOptions::after(Position::new(3)), 4),
        (SubscribeOptions::after(Position::new(7)), 8),
    ] {
        let said = format!("{options:?}");
        let (events, head) = catch_up(&mut subscribe(options)).await;
        assert_eq!((positions(&events), head), ((first..=7).collect(), 7), "{said}");
    }
    assert_eq!(positions(&take(&mut end_of_nothing, 7).await), up_to(7));
    assert_eq!(positions(&take(&mut end, 2).await), [6, 7]);
    assert_eq!(catch_up(&mut ahead).await, (vec![], 7));
    bench.append(&stream_id("a"), 2).await;
    assert_eq!(positions(&take(&mut end, 2).await), [8, 9]);
    assert_eq!(positions(&take(&mut ahead, 1).await), [9]);
}

/// That it has caught up is told once, with the position; and again when it had fallen behind.
pub async fn caught_up_is_told_once_and_again_after_falling_behind(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let mut slow = bench.log.subscribe(SubscribeOptions::from_start());
    assert_eq!(catch_up(&mut slow).await, (vec![], 0));
    let nothing = Query::category("no such category");
    let mut unmatched = bench.log.subscribe(SubscribeOptions::from_start().query(nothing));
    bench.append(&stream_id("a"), 3).await;
    assert_eq!(catch_up(&mut unmatched).await, (vec![], 3));
    for position in 1..=3 {
        let Notice::Event(event) = next(&mut slow).await else {
            panic!("it had not fallen behind")
        };
        assert_eq!(event.position.get(), position);
    }
    let mut fast = bench.log.subscribe(SubscribeOptions::from_end());
    catch_up(&mut fast).await;
    append_much(&bench).await;
    // What one who was not slow has seen is not kept for one who was.
    take(&mut fast, LARGE_EVENTS).await;
    let last = 3 + LARGE_EVENTS as u64;
    let (events, head) = catch_up(&mut slow).await;
    assert_eq!((positions(&events), head), ((4..=last).collect(), last));
    bench.append(&stream_id("a"), 1).await;
    let Notice::Event(event) = next(&mut slow).await else {
        panic!("it was told twice")
    };
    assert_eq!(event.position.get(), last + 1);
}

/// Of one stream it sees each event once and in order, and nothing of any other, from any position on.
pub async fn subscription_follows_one_stream(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let (a, b) = (stream_id("a"), stream_id("b"));
    for count in [1, 2, 3] {
        bench.append(&a, count).await;
        bench.append(&b, count).await;
    }
    let of_a = bench.events(&a).await;
    let mut subscriptions = Vec::new();
    for after in 0..=12 {
        let options = SubscribeOptions::after(Position::new(after)).stream(a.clone());
        let mut subscription = bench.log.subscribe(options);
        let (events, head) = catch_up(&mut subscription).await;
        let expected: Vec<_> = of_a
            .iter()
            .filter(|it| it.position.get() > after)
            .cloned()
            .collect();
        assert!(events == expected, "after {after}: {:?}", positions(&events));
        assert_eq!(head, 12);
        subscriptions.push(subscription);
    }
    let unread = stream_id("not there yet");
    let mut later = bench
        .log
        .subscribe(SubscribeOptions::from_end().stream(unread.clone()));
    assert_eq!(catch_up(&mut later).await, (vec![], 12));
    bench.append(&b, 2).await;
    bench.append(&a, 2).await;
    bench.append(&unread, 1).await;
    for mut subscription in subscriptions {
        assert_eq!(versions(&take(&mut subscription, 2).await), [7, 8]);
    }
    assert_eq!(positions(&take(&mut later, 1).await), [17]);
}

/// It sees what matches its query and nothing else, of what is there and of what comes.
pub async fn subscription_filters_by_query(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let other = StreamId::new("other", "a").expect("a valid name");
    let append = async || {
        bench.append(&stream_id("a"), 2).await;
        bench.append(&other, 1).await;
        let large = bench.log.append(&other, ExpectedVersion::Any, [sized(1)]).await;
        large.expect("appended");
    };
    let types = Query::item(QueryItem::types(["Sized"]).expect("a valid name"));
    let queries = [
        (Query::all(), vec![1, 2, 3, 4]),
        (Query::category("other"), vec![3, 4]),
        (types, vec![4]),
        (Query::item(QueryItem::type_prefix("Not")), vec![1, 2, 3]),
        (
            Query::category("case").or(QueryItem::type_prefix("S")),
            vec![1, 2, 4],
        ),
    ];
    append().await;
    let mut followed = Vec::new();
    for (query, expected) in queries {
        let options = SubscribeOptions::from_start().query(query.clone());
        let mut subscription = bench.log.subscribe(options);
        let (events, head) = catch_up(&mut subscription).await;
        assert_eq!((positions(&events), head), (expected.clone(), 4), "{query:?}");
        followed.push((query, expected, subscription));
    }
    append().await;
    for (query, expected, mut subscription) in followed {
        let events = take(&mut subscription, expected.len()).await;
        let expected: Vec<_> = expected.into_iter().map(|position| position + 4).collect();
        assert_eq!(positions(&events), expected, "{query:?}");
    }
}

/// A subscriber holds a page, however much there is: its first event costs a small part of the whole.
pub async fn slow_subscriber_holds_a_bounded_amount_of_memory(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    append_much(&bench).await;
    bench.meter.take();
    bench.all().await;
    let whole = bench.meter.take().bytes;
    let mut subscription = bench.log.subscribe(SubscribeOptions::from_start());
    assert_eq!(positions(&take(&mut subscription, 1).await), [1]);
    let first = bench.meter.take().bytes;
    assert!(
        first * 4 < whole,
        "{first} bytes are read for the first event, and {whole} for all"
    );
}

/// Who does not ask for what it follows keeps nobody from writing, and gets all of it later.
pub async fn slow_subscriber_does_not_slow_writers(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut subscription = bench.log.subscribe(SubscribeOptions::from_start());
        catch_up(&mut subscription).await;
        slow.push(subscription);
    }
    writers(&bench.log).join_all().await;
    let total = WRITERS * ROUNDS * 2;
    for mut subscription in slow {
        let seen = take(&mut subscription, total).await;
        assert_eq!(positions(&seen), up_to(total as u64));
    }
}

/// What is appended is read about once, however many follow.
pub async fn many_subscribers_share_the_read_of_the_tail(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let mut subscriptions = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let mut subscription = bench.log.subscribe(SubscribeOptions::from_start());
        catch_up(&mut subscription).await;
        subscriptions.push(subscription);
    }
    bench.meter.take();
    for position in 1..=20 {
        bench.append(&stream_id("a"), 1).await;
        for subscription in &mut subscriptions {
            assert_eq!(positions(&take(subscription, 1).await), [position]);
        }
    }
    let reads = bench.meter.take().calls;
    assert!(
        reads <= 20 * 20,
        "{reads} reads of 20 events for {SUBSCRIBERS} subscribers"
    );
}

/// When its provider is closed, or when nobody has it any more, that is the last thing that is told.
pub async fn subscription_ends_with_its_provider(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    bench.append(&stream_id("a"), 3).await;
    let subscribe = |bench: &Bench<'_>| bench.log.subscribe(SubscribeOptions::from_start());
    let mut dropped = subscribe(&bench);
    catch_up(&mut dropped).await;
    let bench = bench.crash().await;
    let mut live = subscribe(&bench);
    catch_up(&mut live).await;
    let unread = subscribe(&bench);
    let log = Arc::clone(&bench.log);
    bench.provider.close().await.expect("closed");
    let late = log.subscribe(SubscribeOptions::from_end());
    for mut ended in [dropped, live, unread, late] {
        refused!(ended.next().await.expect("it is told"), Error::ProviderClosed);
        assert!(ended.next().await.is_none(), "it goes on after its end");
    }
}

/// An error is told, and is the last thing that is; who subscribes again goes on where it was.
pub async fn subscription_ends_at_an_error(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    bench.append(&stream_id("a"), 3).await;
    let subscribe = |after| bench.log.subscribe(SubscribeOptions::after(Position::new(after)));
    bench.engine.fail_next_read(unavailable());
    let mut failing = subscribe(0);
    refused!(
        failing.next().await.expect("it is told"),
        Error::Unavailable { .. }
    );
    assert!(failing.next().await.is_none(), "it goes on after its end");
    assert_eq!(positions(&take(&mut subscribe(0), 3).await), up_to(3));
    bench.append(&stream_id("a"), 1).await;
    let dump = bench.dump().await;
    let newest = dump
        .iter()
        .rfind(|entry| entry.key[0] == 0x11)
        .expect("a block of the log");
    let flip = |value: &mut Vec<u8>| value[5] ^= 1;
    bench.engine.edit(&newest.key, flip).await.expect("edited");
    let mut damaged = subscribe(3);
    refused!(damaged.next().await.expect("it is told"), Error::Corrupt { .. });
    assert!(damaged.next().await.is_none(), "it goes on after its end");
    bench.engine.edit(&newest.key, flip).await.expect("edited back");
    assert_eq!(positions(&take(&mut subscribe(3), 1).await), [4]);
    // Of what comes, too.
    let mut live = subscribe(4);
    catch_up(&mut live).await;
    bench.engine.fail_next_read(unavailable());
    append(&*bench.unfailing_log().await, &stream_id("a"), 1).await;
    let following = tokio::spawn(async move { (live.next().await, live.next().await) });
    let (told, end) = bench.clock.drive(following).await.expect("the task ends");
    refused!(told.expect("it is told"), Error::Unavailable { .. });
    assert!(end.is_none(), "it goes on after its end");
    assert_eq!(positions(&take(&mut subscribe(4), 1).await), [5]);
}

/// A session that holds a stream keeps nobody from following it.
pub async fn subscription_goes_on_while_a_session_is_held(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let stream = stream_id("a");
    let session = bench.session(&stream).await;
    session.append([event("1")]).await.expect("appended");
    let mut all = bench.log.subscribe(SubscribeOptions::from_start());
    let mut one = bench.log.subscribe(SubscribeOptions::from_start().stream(stream));
    session.append([event("2")]).await.expect("appended");
    for subscription in [&mut all, &mut one] {
        assert_eq!(texts(&take(subscription, 2).await), ["1", "2"]);
    }
    session.append([event("3")]).await.expect("appended");
    for subscription in [&mut all, &mut one] {
        assert_eq!(texts(&take(subscription, 1).await), ["3"]);
    }
}

/// Nothing is read for a subscriber that has gone.
pub async fn dropped_subscription_costs_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let append = async || {
        for _ in 0..40 {
            bench.append(&stream_id("a"), 1).await;
        }
        bench.meter.take().calls
    };
    append().await;
    let unfollowed = append().await;
    for _ in 0..10 {
        let mut subscription = bench.log.subscribe(SubscribeOptions::from_end());
        catch_up(&mut subscription).await;
    }
    bench.append(&stream_id("a"), 1).await;
    bench.meter.take();
    let followed_before = append().await;
    // A read that was under way when the last one left may still end.
    assert!(
        followed_before <= unfollowed + 8,
        "{followed_before} reads, and {unfollowed} before"
    );
}

/// Who stops and subscribes again after the last position that it saw, at any moment, misses nothing.
pub async fn resubscribing_after_the_last_position_misses_nothing(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let total = WRITERS * ROUNDS * 2;
    let writers = writers(&bench.log);
    let mut seen: Vec<RecordedEvent> = Vec::new();
    let mut round = 0;
    while seen.len() < total {
        let last = seen.last().map_or(Position::ZERO, |event| event.position);
        let mut subscription = bench.log.subscribe(SubscribeOptions::after(last));
        round = round % 7 + 1;
        seen.extend(take(&mut subscription, round.min(total - seen.len())).await);
    }
    assert_eq!(positions(&seen), up_to(total as u64));
    writers.join_all().await;
}

/// What another provider commits to the same engine is seen, too.
pub async fn subscription_sees_commits_across_providers(harness: &dyn ProviderHarness) {
    let (one, two) = Bench::pair(harness).await;
    two.append(&stream_id("a"), 2).await;
    let mut subscription = one.log.subscribe(SubscribeOptions::from_start());
    let (events, head) = catch_up(&mut subscription).await;
    assert_eq!((positions(&events), head), (up_to(2), 2));
    two.append(&stream_id("a"), 2).await;
    let following = tokio::spawn(async move {
        let seen = take(&mut subscription, 3).await;
        (seen, subscription)
    });
    one.append(&stream_id("b"), 1).await;
    let (seen, mut subscription) = one.clock.drive(following).await.expect("the task ends");
    assert_eq!(positions(&seen), [3, 4, 5]);
    two.append(&stream_id("c"), 1).await;
    let following = tokio::spawn(async move { take(&mut subscription, 1).await });
    let seen = one.clock.drive(following).await.expect("the task ends");
    assert_eq!(positions(&seen), [6]);
}
