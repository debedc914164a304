//! A process that is killed while it commits, and the one that comes after it.

use std::sync::Arc;

use kv_core::KeyValueStore;

#[test]
fn killed_process_loses_no_durable_commit_and_frees_its_directory() {
    let name = "killed_process_loses_no_durable_commit_and_frees_its_directory";
    eventstore_testkit::kv::killed::check(name, |path| async move {
        let store = kv_fjall::Store::open(&path).await?;
        Ok(Arc::new(store) as Arc<dyn KeyValueStore>)
    });
}
