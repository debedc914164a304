//! What the tests of this crate share.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part")]

mod server;

use kv_core::{Batch, Durability, KeyValueStore, Outcome};
use kv_postgres::Store;
pub(crate) use server::{FreshTable, client, execute, server};

pub(crate) async fn open(url: &str) -> Store {
    Store::open(url).await.unwrap_or_else(|error| panic!("{error:?}"))
}

pub(crate) async fn commit(store: &Store, batch: Batch) {
    let outcome = store.commit(batch, Durability::Durable).await;
    assert_eq!(outcome.expect("commit"), Outcome::Applied);
}
