//! A subscription on an engine that tells what other processes commit: it waits for that, and not for its clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{
    Clock, Error, EventLogExt, EventMessage, EventStoreProvider, EventStoreProviderExt, ExpectedVersion,
    Notice, Settings, StreamId, SubscribeOptions, Subscription, Timestamp,
};
use eventstore_kv::{Options, Provider};
use kv_core::{Batch, Bytes, Capabilities, Durability, KeyValueStore, Outcome, Page, Result, Scan, Watch};
use tokio::sync::watch;

/// Longer than anything here takes: a test that fails must end.
const HANGS: Duration = Duration::from_secs(30);

/// An engine in memory that two providers share, as if each were in a process of its own, and that tells of commits.
#[derive(Debug)]
struct Told {
    inner: kv_memory::Store,
    committed: watch::Sender<()>,
    /// How many watches are lost at their first word.
    broken: std::sync::atomic::AtomicUsize,
}

#[derive(Debug)]
struct Tells {
    committed: watch::Receiver<()>,
    is_broken: bool,
}

#[async_trait]
impl Watch for Tells {
    async fn changed(&mut self) -> Result<()> {
        let told = self.committed.changed().await;
        if self.is_broken || told.is_err() {
            return Err(kv_core::Error::unavailable("the watch is lost", "broken"));
        }
        Ok(())
    }
}

#[async_trait]
impl KeyValueStore for Told {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            shared: true,
            ..self.inner.capabilities()
        }
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.inner.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        let outcome = self.inner.commit(batch, durability).await?;
        self.committed.send_replace(());
        Ok(outcome)
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        use std::sync::atomic::Ordering::SeqCst;
        let take = |left: usize| left.checked_sub(1);
        Ok(Some(Box::new(Tells {
            committed: self.committed.subscribe(),
            is_broken: self.broken.fetch_update(SeqCst, SeqCst, take).is_ok(),
        })))
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A clock by which nobody wakes until it is let go.
#[derive(Debug)]
struct Stopped(watch::Receiver<bool>);

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }

    async fn sleep_until(&self, _: Timestamp) {
        let _ = self.0.clone().wait_for(|is_let_go| *is_let_go).await;
    }
}

/// Two providers over one engine of which so many watches break, and what lets their clock go.
async fn pair(broken: usize) -> (Provider, Provider, watch::Sender<bool>) {
    let engine: Arc<dyn KeyValueStore> = Arc::new(Told {
        inner: kv_memory::Store::new(),
        committed: watch::Sender::new(()),
        broken: broken.into(),
    });
    let (let_go, stopped) = watch::channel(false);
    let open = async || {
        let options = Options::default().clock(Arc::new(Stopped(stopped.clone())));
        let provider = Provider::open_with(Arc::clone(&engine), Settings::default(), options).await;
        provider.expect("it opens")
    };
    (open().await, open().await, let_go)
}

async fn append(provider: &Provider) {
    let stream = StreamId::new("account", "alice").expect("valid");
    let event = EventMessage::json("Opened", &()).expect("valid");
    let appended = provider
        .default_log()
        .append(&stream, ExpectedVersion::Any, [event])
        .await;
    appended.expect("it is appended");
}

async fn next(subscription: &mut Subscription) -> Notice {
    let next = tokio::time::timeout(HANGS, subscription.next()).await;
    let next = next.expect("nobody woke the subscription");
    next.expect("it goes on").expect("it is read")
}

fn positions(notices: &[Notice]) -> Vec<u64> {
    let positions = notices.iter().map(|notice| match notice {
        Notice::Event(event) => event.position.get(),
        other => panic!("{other:?}"),
    });
    positions.collect()
}

#[tokio::test]
async fn commits_of_others_are_told_without_the_clock() {
    let (one, other, _stopped) = pair(0).await;
    let mut subscription = one.default_log().subscribe(SubscribeOptions::from_start());
    assert!(matches!(next(&mut subscription).await, Notice::CaughtUp(_)));
    let mut seen = Vec::new();
    for _ in 0..20 {
        append(&other).await;
        seen.push(next(&mut subscription).await);
    }
    assert_eq!(positions(&seen), (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn lost_watch_is_replaced_after_a_pause_and_nothing_is_missed() {
    let (one, other, let_go) = pair(1).await;
    let mut subscription = one.default_log().subscribe(SubscribeOptions::from_start());
    assert!(matches!(next(&mut subscription).await, Notice::CaughtUp(_)));
    append(&other).await;
    append(&other).await;
    let_go.send_replace(true);
    let seen = [next(&mut subscription).await, next(&mut subscription).await];
    append(&other).await;
    let seen = [&seen[..], &[next(&mut subscription).await]].concat();
    assert_eq!(positions(&seen), [1, 2, 3]);
}

/// What ends while a lost watch is waited for is told at once, too.
#[tokio::test]
async fn subscription_whose_watch_is_lost_ends_with_its_provider() {
    let (one, other, _stopped) = pair(1).await;
    let mut subscription = one.default_log().subscribe(SubscribeOptions::from_start());
    assert!(matches!(next(&mut subscription).await, Notice::CaughtUp(_)));
    append(&other).await;
    // The watch is lost by now, or is as soon as the tail has its turn.
    tokio::task::yield_now().await;
    one.close().await.expect("it closes");
    let ended = async {
        loop {
            match subscription.next().await.expect("it is told") {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(HANGS, ended).await.expect("it ends");
    assert!(matches!(error, Error::ProviderClosed), "{error:?}");
}
