//! Providers whose logs are followed wrongly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use eventstore_abstractions::{
    AppendOptions, Appended, Error, EventLog, EventMessage, LogReadOptions, Notice, Position, Query, Result,
    SubscribeFrom, SubscribeOptions, Subscription,
};
use futures_util::future::ready;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::right::Right;
use crate::wrong::{Wrong, wrong};

wrong! {
    SkipsAtTheSwitch: subscribe |right, options| {
        // 0: catching up, 1: at the switch, 2: behind it.
        let mut step = 0;
        changed(right.subscribe(options), move |notice| {
            match &notice {
                Notice::CaughtUp(_) if step == 0 => step = 1,
                Notice::Event(_) if step == 1 => {
                    step = 2;
                    return vec![];
                }
                _ => {}
            }
            vec![notice]
        })
    };
    DoublesAtTheSwitch: subscribe |right, options| {
        let mut last = None;
        changed(right.subscribe(options), move |notice| match &notice {
            Notice::CaughtUp(_) => vec![notice].into_iter().chain(last.take()).collect(),
            _ => {
                last = Some(notice.clone());
                vec![notice]
            }
        })
    };
    SwapsNeighbours: subscribe |right, options| {
        let mut held = None;
        changed(right.subscribe(options), move |notice| match &notice {
            Notice::Event(event) if event.position.get() == 7 => {
                held = Some(notice);
                vec![]
            }
            _ => vec![notice].into_iter().chain(held.take()).collect(),
        })
    };
    IncludesWhereItBegins: subscribe |right, options| {
        let mut options = options;
        if let SubscribeFrom::After(position) = options.from {
            options.from = SubscribeFrom::After(Position::new(position.get().saturating_sub(1)));
        }
        right.subscribe(options)
    };
    BeginsWhenItIsAskedFirst: subscribe |right, options| {
        let right = Arc::clone(right);
        Subscription::new(stream::once(async move { right.subscribe(options) }).flatten())
    };
    TellsOnceThatItCaughtUp: subscribe |right, options| {
        let mut is_told = false;
        changed(right.subscribe(options), move |notice| {
            let is_again = matches!(notice, Notice::CaughtUp(_)) && std::mem::replace(&mut is_told, true);
            if is_again { vec![] } else { vec![notice] }
        })
    };
    ForgetsTheStream: subscribe |right, options| {
        let mut options = options;
        options.stream = None;
        right.subscribe(options)
    };
    ForgetsTheQuery: subscribe |right, options| right.subscribe(options.query(Query::all()));
    CollectsBeforeItTells: subscribe |right, options| {
        let all = collected(right.subscribe(options));
        Subscription::new(stream::once(all).flatten())
    };
    ReadsForEachSubscriber: subscribe |right, options| {
        let log = Arc::clone(right);
        Subscription::new(right.subscribe(options).and_then(move |notice| {
            let log = Arc::clone(&log);
            async move {
                if let Notice::Event(event) = &notice {
                    log.read_all(LogReadOptions::forward_from(event.position).limit(1)).collect().await?;
                }
                Ok(notice)
            }
        }))
    };
    EndsWithoutAWord: subscribe |right, options| {
        Subscription::new(right.subscribe(options).take_while(|notice| {
            ready(!matches!(notice, Err(Error::ProviderClosed)))
        }))
    };
    PassesOverErrors: subscribe |right, options| {
        Subscription::new(right.subscribe(options).filter(|notice| ready(notice.is_ok())))
    };
    StopsWhereSomebodyHolds: subscribe |right, options| {
        let log = Arc::clone(right);
        Subscription::new(right.subscribe(options).and_then(move |notice| {
            let log = Arc::clone(&log);
            async move {
                if let Notice::Event(event) = &notice {
                    log.clear_snapshots(&event.stream).await?;
                }
                Ok(notice)
            }
        }))
    };
    FollowsForGood: subscribe |right, options| {
        let mut followed = right.subscribe(SubscribeOptions::from_start());
        tokio::spawn(async move { while let Some(Ok(_)) = followed.next().await {} });
        right.subscribe(options)
    };
    SkipsWhereItGoesOn: subscribe |right, options| {
        let mut options = options;
        if let SubscribeFrom::After(position) = options.from
            && position > Position::ZERO
        {
            options.from = SubscribeFrom::After(position.next());
        }
        right.subscribe(options)
    };
}

/// The same with other notices in the place of each.
fn changed(
    right: Subscription,
    mut change: impl FnMut(Notice) -> Vec<Notice> + Send + 'static,
) -> Subscription {
    let changed = right.map_ok(move |notice| stream::iter(change(notice).into_iter().map(Ok)));
    Subscription::new(changed.try_flatten())
}

/// Everything up to the moment at which it has caught up, and then the rest.
async fn collected(mut right: Subscription) -> Subscription {
    let mut all = Vec::new();
    while let Some(notice) = right.next().await {
        let is_last = !matches!(notice, Ok(Notice::Event(_)));
        all.push(notice);
        if is_last {
            break;
        }
    }
    Subscription::new(stream::iter(all).chain(right))
}

/// Lets writers wait until all who follow have seen what was appended but for a little.
#[derive(Debug, Default)]
pub(crate) struct WritersWaitForSubscribers {
    seen: Mutex<Vec<Weak<AtomicU64>>>,
    moved: Arc<Notify>,
}

#[async_trait]
impl Wrong for WritersWaitForSubscribers {
    fn subscribe(&self, right: &Arc<dyn EventLog>, options: SubscribeOptions) -> Subscription {
        let (seen, moved) = (Arc::new(AtomicU64::new(0)), Arc::clone(&self.moved));
        self.seen.lock().push(Arc::downgrade(&seen));
        Subscription::new(right.subscribe(options).inspect_ok(move |notice| {
            if let Notice::Event(event) = notice {
                seen.store(event.position.get(), Ordering::SeqCst);
                moved.notify_waiters();
            }
        }))
    }

    async fn append(
        &self,
        right: &Right,
        events: Vec<EventMessage>,
        options: AppendOptions,
    ) -> Result<Appended> {
        let appended = right.append(events, options).await?;
        loop {
            let moved = self.moved.notified();
            let least = appended.position.get().saturating_sub(10);
            let seen = self
                .seen
                .lock()
                .iter()
                .filter_map(Weak::upgrade)
                .collect::<Vec<_>>();
            if seen.iter().all(|seen| seen.load(Ordering::SeqCst) >= least) {
                return Ok(appended);
            }
            moved.await;
        }
    }
}
