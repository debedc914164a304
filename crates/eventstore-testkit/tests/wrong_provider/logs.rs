//! Providers that read the log wrongly.

use std::sync::Arc;

use eventstore_abstractions::{Direction, EventStream, RecordedEvent, Version};
use futures_util::stream::{self, TryStreamExt};

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
        let events = right.read_all(options);
        let begin = (right, options, events);
        let read = stream::try_unfold(begin, |(right, mut options, mut events)| async move {
            let next = match events.next().await {
                Some(next) => Some(next),
                None => {
                    events = right.read_all(options);
                    events.next().await
                }
            };
            let Some(event) = next.transpose()? else { return Ok(None) };
            options.from = event.position.next();
            Ok(Some((event, (right, options, events))))
        });
        EventStream::new(read)
    };
    CorrectsPages: read_all |right, options| {
        right.read_all(options.page_size(options.page_size.clamp(1, 10_000)))
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
