//! A store whose directory is removed while it is open.

use std::path::Path;

use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome};

/// Removes `directory`, which `store` has open, and checks that nothing is acknowledged after that: its files are open and
/// can still be written, and whatever is written to them is lost.
///
/// A backend with a directory calls it from a test of its own:
///
/// ```no_run
/// # mod kv_mine { pub use kv_memory::Store; }
/// #[tokio::test]
/// async fn commit_into_a_removed_directory_is_not_acknowledged() {
///     let directory = tempfile::tempdir().expect("temp dir");
///     let store = kv_mine::Store::new(); // open(directory.path()).await
///     eventstore_testkit::kv::removed::check(&store, directory.path()).await;
/// }
/// ```
///
/// # Panics
/// When the store acknowledges what is lost, or does not say that an outcome is unknown.
pub async fn check(store: &dyn KeyValueStore, directory: &Path) {
    let commit = async || {
        store
            .commit(Batch::new().put("k", "v"), Durability::Durable)
            .await
    };
    assert_eq!(commit().await.expect("it is there"), Outcome::Applied);
    std::fs::remove_dir_all(directory).expect("it can be removed");
    let first = commit().await.expect_err("it is gone");
    assert!(first.is_outcome_unknown(), "{first:?}");
    let second = commit().await;
    assert!(matches!(second, Err(Error::Unavailable { .. })), "{second:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "it is gone")]
    async fn store_that_goes_on_without_its_directory_fails() {
        let directory = tempfile::tempdir().expect("temp dir");
        check(&kv_memory::Store::new(), directory.path()).await;
    }
}
