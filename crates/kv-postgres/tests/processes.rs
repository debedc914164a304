//! Two processes on one table.

mod common;

use std::process::{Command, Stdio};

use common::{FreshTable, open, server};
use kv_core::{Batch, Durability, KeyValueStore, Outcome};
use kv_postgres::Store;

const URL: &str = "KV_POSTGRES_TEST_URL";
const INCREMENTS: u64 = 200;

async fn increments(store: &Store) {
    for _ in 0..INCREMENTS {
        loop {
            let current = store.get(b"counter").await.expect("get").expect("it is there");
            let next = number(&current) + 1;
            let batch = Batch::new()
                .require_equals("counter", current)
                .put("counter", next.to_string());
            if store.commit(batch, Durability::Durable).await.expect("commit") == Outcome::Applied {
                break;
            }
        }
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number")
}

#[tokio::test]
async fn increments_of_two_processes_add_up_and_wake_a_third_reader() {
    if let Ok(url) = std::env::var(URL) {
        return increments(&open(&url).await).await;
    }
    if server().is_none() {
        return;
    }
    let table = FreshTable::new();
    let store = open(&table.url()).await;
    common::commit(&store, Batch::new().put("counter", "0")).await;
    let reader = open(&table.url()).await;
    let mut watch = reader.watch().await.expect("watch").expect("it wakes");
    let mut other = Command::new(std::env::current_exe().expect("own path"))
        .args([
            "--exact",
            "increments_of_two_processes_add_up_and_wake_a_third_reader",
        ])
        .env(URL, table.url())
        .stdout(Stdio::null())
        .spawn()
        .expect("run");
    let read = async {
        while number(&reader.get(b"counter").await.expect("get").expect("it is there")) < 2 * INCREMENTS {
            watch.changed().await.expect("the watch lives");
        }
    };
    tokio::join!(read, increments(&store));
    assert!(other.wait().expect("wait").success());
    let counter = store.get(b"counter").await.expect("get").expect("it is there");
    assert_eq!(number(&counter), 2 * INCREMENTS);
}
