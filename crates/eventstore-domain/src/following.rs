//! A subscription with a query that tells the position also where nothing matches.

use std::sync::Arc;

use eventstore_abstractions::{
    Error, EventLog, Notice, Position, Query, RecordedEvent, Result, SubscribeOptions, Subscription,
};

/// What comes next.
pub(crate) enum Step {
    /// An event that matches.
    Event(Box<RecordedEvent>),
    /// Nothing matches up to here.
    Passed(Position),
    /// Everything up to here was handed out, and it was the newest position.
    CaughtUp(Position),
}

/// Follows the events of a query. While it catches up the store selects them, by an index where it has one. What comes
/// then is looked at here, so that positions are told whether or not events match: the store reads it once for all.
pub(crate) struct Following {
    log: Arc<dyn EventLog>,
    query: Query,
    subscription: Subscription,
    /// Whether the subscription yields every event.
    every: bool,
}

impl Following {
    pub(crate) fn after(log: &Arc<dyn EventLog>, position: Position, query: Query) -> Self {
        let every = query.is_all();
        let subscription = log.subscribe(SubscribeOptions::after(position).query(query.clone()));
        Self {
            log: Arc::clone(log),
            query,
            subscription,
            every,
        }
    }

    /// What comes next. It can be dropped: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Step> {
        loop {
            let notice = self
                .subscription
                .next()
                .await
                .unwrap_or(Err(Error::ProviderClosed));
            match notice? {
                Notice::Event(event) if self.every && !self.query.matches(&event) => {
                    return Ok(Step::Passed(event.position));
                }
                Notice::Event(event) => return Ok(Step::Event(event)),
                Notice::CaughtUp(position) => {
                    if !self.every {
                        self.every = true;
                        self.subscription = self.log.subscribe(SubscribeOptions::after(position));
                    }
                    return Ok(Step::CaughtUp(position));
                }
                _ => {}
            }
        }
    }
}
