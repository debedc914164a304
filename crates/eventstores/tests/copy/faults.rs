//! A copy that is cut short at any commit goes on, and what is wrong is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use eventstore_kv::Provider;
use eventstore_testkit::fault::{FaultStore, Moment};
use eventstores::{
    ContentType, CopyOptions, CopyStep, Error, EventLogExt, EventMessage, EventStoreProvider,
    EventStoreProviderExt, ExpectedVersion, OpenOptions, Payload,
};
use kv_core::{
    Batch, Bytes, Capabilities, Durability, Error as EngineError, KeyValueStore, Outcome, Page, Result, Scan,
};

use crate::content::{dump, fill, goes_on, kept, records, seed, settings};

/// An engine in memory that takes less.
#[derive(Debug)]
pub(crate) struct Small {
    inner: kv_memory::Store,
    capabilities: Capabilities,
}

impl Small {
    pub(crate) fn new(capabilities: Capabilities) -> Arc<Self> {
        Arc::new(Self {
            inner: kv_memory::Store::new(),
            capabilities,
        })
    }

    /// Takes a few records at a time.
    fn with_operations(max_batch_operations: usize) -> Arc<Self> {
        Self::new(Capabilities {
            max_batch_operations,
            ..Capabilities::IN_PROCESS
        })
    }
}

#[async_trait]
impl KeyValueStore for Small {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.inner.scan(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        batch.check(&self.capabilities)?;
        self.inner.commit(batch, durability).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

/// A store that was filled.
pub(crate) async fn filled() -> Arc<kv_memory::Store> {
    let engine = Arc::new(kv_memory::Store::new());
    fill(&open(engine.clone()).await, seed().0).await;
    engine
}

pub(crate) async fn open(engine: Arc<dyn KeyValueStore>) -> Provider {
    Provider::open(engine, settings()).await.expect("it opens")
}

fn lost() -> EngineError {
    EngineError::outcome_unknown("the connection is lost", "reset by peer")
}

#[tokio::test]
async fn copy_goes_on_wherever_it_was_cut_short() {
    let source = filled().await;
    let whole = FaultStore::new(Small::with_operations(40));
    copied(&*source, &*whole).await;
    let (expected, commits) = (records(&*whole).await, whole.commits());
    assert!(commits > 20, "{commits}");

    for moment in [Moment::BeforeApplying, Moment::AfterApplying] {
        for cut in 0..commits {
            let target = FaultStore::new(Small::with_operations(40));
            // Every commit before the cut waits at a gate that is open.
            for _ in 0..cut {
                target.hold_next_commit(Moment::BeforeApplying).release();
            }
            target.fail_next_commit(moment, lost());
            let cut_short = eventstore_kv::copy(&*source, &*target).await;
            assert!(
                matches!(cut_short, Err(Error::Unavailable { .. })),
                "{cut_short:?}"
            );
            let is_finished = cut == commits - 1 && moment == Moment::AfterApplying;
            let opened = Provider::open(target.clone(), settings()).await;
            // Whose first commit did not land is empty, and opens as a new store.
            if cut == 0 && moment == Moment::BeforeApplying {
                continue;
            }
            match opened {
                Ok(_) if is_finished => {}
                Err(Error::CannotOpen { reason, .. }) if !is_finished => {
                    assert!(reason.contains("copy again from the same store"), "{reason}");
                }
                other => panic!("at commit {cut}: {other:?}"),
            }
            let before = target.commits();
            copied(&*source, &*target).await;
            assert!(records(&*target).await == expected, "at commit {cut}");
            // It goes on: what was copied is not copied again.
            assert!(target.commits() - before <= commits - cut, "at commit {cut}");
        }
    }
}

async fn copied(source: &dyn KeyValueStore, target: &dyn KeyValueStore) {
    if let Err(error) = eventstore_kv::copy(source, target).await {
        panic!("{error}");
    }
}

#[tokio::test]
async fn commit_that_comes_late_is_told_and_loses_nothing() {
    let source = filled().await;
    let target = FaultStore::new(Small::with_operations(40));
    for _ in 0..3 {
        target.hold_next_commit(Moment::BeforeApplying).release();
    }
    let late = target.detach_next_commit(lost());
    assert!(eventstore_kv::copy(&*source, &*target).await.is_err());
    let mut gate = target.hold_next_commit(Moment::BeforeApplying);
    let copying = tokio::spawn({
        let (source, target) = (source.clone(), target.clone());
        async move { eventstore_kv::copy(&*source, &*target).await }
    });
    gate.reached().await;
    assert_eq!(late.land().await.expect("it commits"), Outcome::Applied);
    gate.release();
    let told = copying.await.expect("it ends").expect_err("it is overtaken");
    assert!(told.to_string().contains("copy again"), "{told}");
    copied(&*source, &*target).await;
    assert_eq!(dump(&open(target).await).await, dump(&open(source).await).await);
}

#[tokio::test]
async fn store_that_is_opened_while_a_copy_begins_is_refused() {
    let source = filled().await;
    let target = FaultStore::new(Small::with_operations(40));
    let mut gate = target.hold_next_commit(Moment::BeforeApplying);
    let opening = tokio::spawn(Provider::open(target.clone(), settings()));
    gate.reached().await;
    let other = FaultStore::new(Arc::clone(target.inner()));
    other.hold_next_commit(Moment::BeforeApplying).release();
    other.fail_next_commit(Moment::BeforeApplying, lost());
    assert!(eventstore_kv::copy(&*source, &*other).await.is_err());
    gate.release();
    let refused = opening.await.expect("it ends");
    assert!(matches!(refused, Err(Error::CannotOpen { .. })), "{refused:?}");
    copied(&*source, &*target).await;
    goes_on(&open(target).await).await;
}

#[tokio::test]
async fn copy_that_is_finished_is_compared_again_until_it_is_written_to() {
    let source = filled().await;
    let target = Arc::new(kv_memory::Store::new());
    let first = eventstore_kv::copy(&*source, &*target).await.expect("it copies");
    let again = eventstore_kv::copy(&*source, &*target).await;
    assert_eq!(again.expect("nothing has changed"), first);
    goes_on(&open(target.clone()).await).await;
    let refused = eventstore_kv::copy(&*source, &*target).await.expect_err("it has");
    assert!(
        refused.to_string().contains("no copy of the source as it is now"),
        "{refused}"
    );
}

#[tokio::test]
async fn source_that_is_written_to_is_told() {
    let source = filled().await;
    let provider = open(source.clone()).await;
    let append = || async {
        let event = EventMessage::json("Late", &()).expect("it encodes");
        let appended = provider
            .default_log()
            .append(&kept(), ExpectedVersion::Any, [event])
            .await;
        appended.expect("it appends");
    };
    // While it is copied.
    let target = FaultStore::new(Small::with_operations(40));
    let mut gate = target.hold_next_commit(Moment::AfterApplying);
    let copying = tokio::spawn({
        let (source, target) = (source.clone(), target.clone());
        async move { eventstore_kv::copy(&*source, &*target).await }
    });
    gate.reached().await;
    append().await;
    gate.release();
    let told = copying.await.expect("it ends").expect_err("it has changed");
    assert!(told.to_string().contains("stop whatever writes to it"), "{told}");
    // Between two attempts.
    let told = eventstore_kv::copy(&*source, &*target)
        .await
        .expect_err("it has changed");
    assert!(
        told.to_string().contains("unfinished copy of another store"),
        "{told}"
    );
    assert!(Provider::open(target, settings()).await.is_err());
}

#[tokio::test]
async fn record_that_differs_is_named() {
    let source = filled().await;
    let target = FaultStore::new(Arc::new(kv_memory::Store::new()));
    // The commit that makes the copy a store.
    target.hold_next_commit(Moment::BeforeApplying).release();
    target.hold_next_commit(Moment::BeforeApplying).release();
    target.fail_next_commit(Moment::BeforeApplying, lost());
    assert!(eventstore_kv::copy(&*source, &*target).await.is_err());
    let run = records(&*target)
        .await
        .into_iter()
        .rfind(|(key, _)| key[0] == 0x13);
    let (run, _) = run.expect("there are runs");
    target.remove(&run).await.expect("it is there");
    let told = eventstore_kv::copy(&*source, &*target)
        .await
        .expect_err("one is missing");
    assert!(told.to_string().contains("the events of stream"), "{told}");
    assert!(Provider::open(target.clone(), settings()).await.is_err());
}

#[tokio::test]
async fn damage_of_either_store_is_told_with_its_side() {
    let (source, target) = (FaultStore::new(filled().await), Arc::new(kv_memory::Store::new()));
    let run = records(&*source)
        .await
        .into_iter()
        .rfind(|(key, _)| key[0] == 0x13);
    let (run, _) = run.expect("there are runs");
    source
        .edit(&run, |value| value[9] ^= 1)
        .await
        .expect("it is there");
    let told = eventstore_kv::copy(&*source, &*target)
        .await
        .expect_err("one is damaged");
    assert!(matches!(told, Error::Corrupt { .. }), "{told:?}");
    assert!(
        told.to_string().contains("source: the events of stream"),
        "{told}"
    );
}

#[tokio::test]
async fn session_of_the_source_holds_nothing_in_the_copy_and_cannot_write_to_it() {
    let (source, target) = (
        Arc::new(kv_memory::Store::new()),
        Arc::new(kv_memory::Store::new()),
    );
    let provider = open(source.clone()).await;
    fill(&provider, seed().0).await;
    let long = OpenOptions::default().session_timeout(Duration::from_secs(3_600));
    let database = provider.default_log().database().clone();
    let held = EventStoreProvider::open_with(&provider, &database, &kept(), long.clone()).await;
    let held = held.expect("it opens");
    copied(&*source, &*target).await;

    let copy = open(target).await;
    let session = EventStoreProvider::open_with(&copy, &database, &kept(), long).await;
    let session = session.expect("nobody holds it");
    assert!(session.session().fencing_token > held.session().fencing_token);
    drop(session);
    goes_on(&copy).await;
}

#[tokio::test]
async fn record_over_the_limits_of_the_target_is_named_before_anything_is_written() {
    let source = Arc::new(kv_memory::Store::new());
    let provider = open(source.clone()).await;
    let large = Payload::new(ContentType::OCTET_STREAM, vec![7; 100 << 10]);
    let large = EventMessage::new("Large", large).expect("a valid name");
    let small = || EventMessage::json("Small", &()).expect("it encodes");
    let appended = provider
        .default_log()
        .append(&kept(), ExpectedVersion::Any, [small(), large])
        .await;
    appended.expect("it appends");
    let target = Small::new(Capabilities {
        max_value_bytes: 64 << 10,
        ..Capabilities::IN_PROCESS
    });
    let told = eventstore_kv::copy(&*source, &*target)
        .await
        .expect_err("it does not fit");
    assert!(matches!(told, Error::InvalidInput { .. }), "{told:?}");
    let text = told.to_string();
    assert!(
        text.contains(r#"stream "EventStores" "account" "kept", version 2"#),
        "{text}"
    );
    assert!(text.contains("values of 65536 bytes"), "{text}");
    assert!(records(&*target).await.is_empty());
}

#[tokio::test]
async fn progress_is_told_step_by_step() {
    let source = filled().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let options = CopyOptions::default().on_progress({
        let told = Arc::clone(&told);
        move |progress| told.lock().expect("no panic").push(progress)
    });
    let target = Small::new(Capabilities {
        max_value_bytes: 1 << 20,
        max_batch_operations: 100,
        ..Capabilities::IN_PROCESS
    });
    let copied = eventstore_kv::copy_with(&*source, &*target, options)
        .await
        .expect("it copies");
    let told = told.lock().expect("no panic");
    for step in [CopyStep::Sizing, CopyStep::Copying, CopyStep::Verifying] {
        let of_step = told.iter().filter(|progress| progress.step == step);
        let records = of_step.map(|progress| progress.records).collect::<Vec<_>>();
        assert!(
            records.is_sorted() && records.last() == Some(&copied.records),
            "{step:?}: {records:?}"
        );
    }
}
