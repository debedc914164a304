//! What a copy refuses, by URL and by what is there.

use std::sync::Arc;

use eventstores::Error;
use kv_core::{Batch, Durability, KeyValueStore, Outcome};

use crate::content::records;
use crate::faults::{filled, open};

#[tokio::test]
async fn target_that_holds_something_is_refused_and_left_alone() {
    let source = filled().await;
    let other = filled().await;
    let stranger = Arc::new(kv_memory::Store::new());
    let batch = Batch::new().put("users/alice", "{}");
    let committed = stranger.commit(batch, Durability::Durable).await;
    assert_eq!(committed.expect("it commits"), Outcome::Applied);
    let fresh = Arc::new(kv_memory::Store::new());
    drop(open(fresh.clone()).await);
    for (target, text) in [
        (other, "no copy of the source"),
        (stranger, "holds data and is no copy"),
        (fresh, "no copy of the source"),
    ] {
        let before = records(&*target).await;
        let refused = eventstore_kv::copy(&*source, &*target).await.expect_err(text);
        assert!(matches!(refused, Error::InvalidInput { .. }), "{refused:?}");
        assert!(refused.to_string().contains(text), "{refused}");
        assert_eq!(records(&*target).await, before);
    }
}

#[tokio::test]
async fn source_without_a_store_is_refused_and_nothing_is_written() {
    let (source, target) = (kv_memory::Store::new(), kv_memory::Store::new());
    let refused = eventstore_kv::copy(&source, &target)
        .await
        .expect_err("nothing there");
    assert!(matches!(refused, Error::CannotOpen { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("the source holds no event store"),
        "{refused}"
    );
    assert!(records(&target).await.is_empty());
}

#[tokio::test]
async fn memory_is_no_place_to_copy_from_or_to() {
    for (from, to) in [("memory:", "fjall:never-made"), ("fjall:never-made", "memory:")] {
        let refused = eventstores::copy(from, to).await.expect_err(from);
        assert!(refused.to_string().contains("new and empty"), "{refused}");
    }
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn directory_without_a_store_is_told_and_not_made() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let url = |name: &str| format!("fjall:{}", parent.path().join(name).display());
    let refused = eventstores::copy(&url("typo"), &url("copy"))
        .await
        .expect_err("a typo");
    assert!(
        refused.to_string().contains("there is no store at fjall:"),
        "{refused}"
    );
    let same = eventstores::copy(&url("same"), &url("same"))
        .await
        .expect_err("the same");
    assert!(same.to_string().contains("give another place"), "{same}");
    assert_eq!(parent.path().read_dir().expect("it lists").count(), 0);
}
