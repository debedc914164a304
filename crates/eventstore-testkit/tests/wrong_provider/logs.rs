//! Providers that read the log wrongly.

use std::future::ready;
use std::sync::Arc;

use eventstore_abstractions::{Access, Direction, EventStream, Query, RecordedEvent, Version};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::wrong::wrong;

wrong! {
    LogExcludesItsStart: read_all |right, options| {
        let mut options = options;
        if options.direction == Direction::Forward {
            options.from = options.from.next();
        }
        right.read_all(options)
    };
    LogTellsPositionsForVersions: read_all |right, options| {
        EventStream::new(right.read_all(options).map_ok(|mut event| {
            event.version = Version::new(event.position.get());
            event
        }))
    };
    LogSwapsNeighbours: read_all |right, options| changed(right.read_all(options), |events| {
        if events.len() > 1 {
            events.swap(0, 1);
        }
    });
    LogReadFollows: read_all |right, options| {
        let right = Arc::clone(right);
        let events = right.read_all(options.clone());
        let begin = (right, options, events);
        let read = stream::try_unfold(begin, |(right, mut options, mut events)| async move {
            let next = match events.next().await {
                Some(next) => Some(next),
                None => {
                    events = right.read_all(options.clone());
                    events.next().await
                }
            };
            let Some(event) = next.transpose()? else { return Ok(None) };
            options.from = event.position.next();
            Ok(Some((event, (right, options, events))))
        });
        EventStream::new(read)
    };
    QueryForgetsAllTagsButOne: read_all |right, options| {
        let items = options.query.items().iter().cloned();
        let query = items.fold(Query::all(), |query, mut item| {
            item.tags.truncate(1);
            query.or(item)
        });
        right.read_all(options.query(query))
    };
    SaysThatEverythingIsIndexed: explain |_right, _query| Ok(Access::Index);
    QueryLeavesOutTheOldest: read_all |right, options| {
        let is_all = options.query.is_all();
        changed(right.read_all(options), move |events| {
            events.retain(|event| is_all || event.position.get() > 6);
        })
    };
    QueryLooksAtEveryEvent: read_all |right, options| {
        let (query, limit) = (options.query.clone(), options.limit.unwrap_or(u64::MAX) as usize);
        let mut everything = options.query(Query::all());
        everything.limit = None;
        changed(right.read_all(everything), move |events| {
            events.retain(|event| query.matches(event));
            events.truncate(limit);
        })
    };
    LogEndsAtDamage: read_all |right, options| {
        let events = right.read_all(options).take_while(|event| ready(event.is_ok()));
        EventStream::new(events)
    };
    CorrectsPages: read_all |right, options| {
        let page_size = options.page_size.clamp(1, 10_000);
        right.read_all(options.page_size(page_size))
    };
}

fn changed(
    events: EventStream,
    change: impl FnOnce(&mut Vec<RecordedEvent>) + Send + 'static,
) -> EventStream {
    let read = async move {
        let mut events = events.collect().await?;
        change(&mut events);
        Ok(stream::iter(events.into_iter().map(Ok)))
    };
    EventStream::new(stream::once(read).try_flatten())
}
