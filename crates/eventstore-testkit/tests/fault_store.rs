//! The fault store is transparent until it is told to fail, and then fails as told.

use std::sync::Arc;

use async_trait::async_trait;
use eventstore_testkit::fault::{FaultStore, Moment};
use eventstore_testkit::kv::KvHarness;
use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Result, Scan};

struct Transparent;

#[async_trait]
impl KvHarness for Transparent {
    async fn open(&self) -> Result<Arc<dyn KeyValueStore>> {
        Ok(store())
    }
}

eventstore_testkit::kv_conformance!(Transparent);

fn store() -> Arc<FaultStore> {
    FaultStore::new(Arc::new(kv_memory::Store::new()))
}

async fn put(store: &FaultStore, key: &'static str, value: &'static str) -> Result<Outcome> {
    store
        .commit(Batch::new().put(key, value), Durability::Durable)
        .await
}

async fn value(store: &FaultStore, key: &str) -> Option<String> {
    let value = store.get(key.as_bytes()).await.expect("the key is read")?;
    Some(String::from_utf8(value.into()).expect("the value is text"))
}

fn unknown() -> Error {
    Error::outcome_unknown("the answer was lost", "injected")
}

#[tokio::test]
async fn commit_that_fails_before_applying_writes_nothing() {
    let store = store();
    store.fail_next_commit(Moment::BeforeApplying, unknown());
    assert!(
        put(&store, "k", "1")
            .await
            .is_err_and(|error| error.is_outcome_unknown())
    );
    assert_eq!(value(&store, "k").await, None);
}

#[tokio::test]
async fn commit_that_fails_after_applying_has_written() {
    let store = store();
    store.fail_next_commit(Moment::AfterApplying, unknown());
    assert!(
        put(&store, "k", "1")
            .await
            .is_err_and(|error| error.is_outcome_unknown())
    );
    assert_eq!(value(&store, "k").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn each_commit_takes_one_fault_in_their_order_and_is_counted() {
    let store = store();
    store.fail_next_commit(Moment::BeforeApplying, unknown());
    store.fail_next_commit(Moment::AfterApplying, Error::Closed);
    assert!(
        put(&store, "a", "1")
            .await
            .is_err_and(|error| error.is_outcome_unknown())
    );
    assert!(matches!(put(&store, "b", "2").await, Err(Error::Closed)));
    assert!(matches!(put(&store, "c", "3").await, Ok(Outcome::Applied)));
    assert_eq!(store.commits(), 3);
    assert_eq!(
        (value(&store, "a").await, value(&store, "b").await),
        (None, Some("2".to_owned()))
    );
}

#[tokio::test]
async fn held_commit_waits_at_its_moment_and_passes_when_released() {
    for (moment, shown) in [(Moment::BeforeApplying, None), (Moment::AfterApplying, Some("1"))] {
        let store = store();
        let mut gate = store.hold_next_commit(moment);
        let held = Arc::clone(&store);
        let commit = tokio::spawn(async move { put(&held, "k", "1").await });
        gate.reached().await;
        assert!(!commit.is_finished());
        assert_eq!(value(&store, "k").await.as_deref(), shown);
        gate.release();
        assert_eq!(
            commit
                .await
                .expect("no panic")
                .expect("the commit is carried out"),
            Outcome::Applied
        );
        assert_eq!(value(&store, "k").await.as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn commit_dropped_before_applying_writes_nothing() {
    let store = store();
    let mut gate = store.hold_next_commit(Moment::BeforeApplying);
    let held = Arc::clone(&store);
    let commit = tokio::spawn(async move { put(&held, "k", "1").await });
    gate.reached().await;
    commit.abort();
    assert!(commit.await.is_err_and(|error| error.is_cancelled()));
    gate.release();
    assert_eq!(value(&store, "k").await, None);
}

#[tokio::test]
async fn dropped_gate_lets_the_commit_pass() {
    let store = store();
    drop(store.hold_next_commit(Moment::BeforeApplying));
    assert!(matches!(put(&store, "k", "1").await, Ok(Outcome::Applied)));
}

#[tokio::test]
async fn each_kind_of_read_can_fail_once() {
    let store = store();
    for _ in 0..3 {
        store.fail_next_read(Error::unavailable("the disk is away", "injected"));
    }
    assert!(store.get(b"k").await.is_err());
    assert!(store.get_many(&["k".into()]).await.is_err());
    assert!(store.scan(Scan::prefix("k")).await.is_err());
    assert!(store.get(b"k").await.is_ok());
}

#[tokio::test]
async fn stored_values_can_be_edited_removed_and_renamed() {
    let store = store();
    let _ = put(&store, "k", "1").await.expect("the commit is carried out");
    store
        .edit(b"k", |value| value.push(b'2'))
        .await
        .expect("the key is there");
    assert_eq!(value(&store, "k").await.as_deref(), Some("12"));
    store.rename(b"k", b"l").await.expect("the key is there");
    assert_eq!(
        (value(&store, "k").await, value(&store, "l").await),
        (None, Some("12".to_owned()))
    );
    store.remove(b"l").await.expect("the key is there");
    assert_eq!(value(&store, "l").await, None);
    assert_eq!(store.commits(), 1, "damage is no commit");
}

#[tokio::test]
async fn damage_to_an_absent_key_is_an_error_that_names_it() {
    let store = store();
    let error = store.edit(b"k\xff", |_| ()).await.expect_err("nothing to damage");
    assert!(error.to_string().contains("key k\\xff is absent"), "{error}");
    assert!(store.remove(b"k").await.is_err());
    assert!(store.rename(b"k", b"l").await.is_err());
}

#[tokio::test]
async fn straggler_lands_when_it_is_told_to_and_not_before() {
    let store = store();
    let straggler = store.detach_next_commit(unknown());
    assert!(put(&store, "k", "1").await.is_err());
    assert_eq!(value(&store, "k").await, None);
    assert_eq!(straggler.land().await.expect("it lands"), Outcome::Applied);
    assert_eq!(value(&store, "k").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn read_fails_after_those_that_pass() {
    let store = store();
    store.fail_read_after(2, unknown());
    store.fail_next_read(unknown());
    let mut outcomes = Vec::new();
    for _ in 0..5 {
        outcomes.push(store.get(b"k").await.is_ok());
    }
    assert_eq!(outcomes, [true, true, false, false, true]);
}

#[tokio::test]
async fn held_read_sees_what_is_written_meanwhile() {
    let store = store();
    let mut gate = store.hold_read_after(1);
    assert_eq!(value(&store, "k").await, None);
    let read = tokio::spawn({
        let store = Arc::clone(&store);
        async move { value(&store, "k").await }
    });
    gate.reached().await;
    assert_eq!(
        put(&store, "k", "1").await.expect("nothing fails"),
        Outcome::Applied
    );
    gate.release();
    assert_eq!(read.await.expect("the read ends").as_deref(), Some("1"));
}

#[tokio::test]
async fn unsynced_is_what_no_durable_commit_has_covered() {
    let store = store();
    let commit = |batch: Batch, durability| store.commit(batch, durability);
    let applied = commit(Batch::new().put("k", "1"), Durability::Buffered).await;
    assert_eq!(applied.expect("nothing fails"), Outcome::Applied);
    assert!(store.has_unsynced());
    let applied = commit(Batch::new(), Durability::Durable).await;
    assert_eq!(applied.expect("nothing fails"), Outcome::Applied);
    assert!(!store.has_unsynced());
    store.fail_next_commit(Moment::AfterApplying, unknown());
    assert!(put(&store, "k", "2").await.is_err());
    assert!(store.has_unsynced(), "the end of a sync that failed is not known");
    let refused = commit(Batch::new().require_absent("k"), Durability::Durable).await;
    assert_eq!(
        refused.expect("nothing fails"),
        Outcome::ConditionFailed { condition: 0 }
    );
    assert!(store.has_unsynced());
}

#[tokio::test]
async fn forgotten_faults_never_happen() {
    let store = store();
    store.fail_next_commit(Moment::BeforeApplying, unknown());
    store.fail_next_read(unknown());
    assert_eq!((store.forget_faults(), store.forget_faults()), (2, 0));
    assert_eq!(
        put(&store, "k", "1").await.expect("nothing fails"),
        Outcome::Applied
    );
    assert_eq!(value(&store, "k").await.as_deref(), Some("1"));
}
