//! Connections that end in the middle of a commit, and a server that goes away and comes back.

mod common;
mod private;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{FreshTable, client, commit, execute, open, server};
use kv_core::{Batch, Durability, Error, KeyValueStore, Outcome, Result, Scan};
use kv_postgres::Store;
use private::PrivateServer;

/// A counter, and an entry of a log for each number that it had: one commit moves both.
async fn increment(store: &Store) -> Result<Outcome> {
    let current = store.get(b"counter").await?;
    let next = current.as_deref().map_or(0, number) + 1;
    let batch = match current {
        None => Batch::new().require_absent("counter"),
        Some(current) => Batch::new().require_equals("counter", current),
    };
    let batch = batch
        .require_absent(entry(next))
        .put("counter", next.to_string())
        .put(entry(next), "");
    store.commit(batch, Durability::Durable).await
}

fn entry(number: u64) -> String {
    format!("log/{number:08}")
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number")
}

async fn counter(store: &Store) -> u64 {
    let counter = store.get(b"counter").await.expect("get");
    counter.as_deref().map_or(0, number)
}

/// The counter, which the log agrees with when nobody counts.
async fn counted(store: &Store) -> u64 {
    let counter = counter(store).await;
    let mut found = Vec::new();
    let mut next = Some(Scan::prefix("log/"));
    while let Some(scan) = next {
        let page = store.scan(scan).await.expect("scan");
        found.extend(page.entries.into_iter().map(|entry| entry.key));
        next = page.next;
    }
    let expected: Vec<_> = (1..=counter).map(entry).collect();
    assert_eq!(found, expected, "the log has gaps, or more than was counted");
    counter
}

/// Ends the server's side of connections, and says how many.
async fn end_connections(url: &str, which: &str) -> i64 {
    let sql = format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {which}");
    client(url)
        .await
        .query_one(&sql, &[])
        .await
        .expect("terminate")
        .get(0)
}

#[tokio::test]
async fn commit_whose_connection_ends_is_unknown_and_the_store_goes_on() {
    let Some(server) = server() else { return };
    let table = FreshTable::new();
    let store = Arc::new(open(&format!("{}&application_name={}", table.url(), table.name())).await);
    commit(&store, Batch::new().put("k", "before")).await;

    // Somebody holds the row, so that the commit has to wait in the middle.
    let holder = client(server).await;
    let hold = format!(
        "BEGIN; SELECT FROM \"{}\" WHERE k = 'k'::bytea FOR UPDATE",
        table.name()
    );
    holder.batch_execute(&hold).await.expect("hold");
    let waiting = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            store
                .commit(
                    Batch::new().put("k", "after").put("l", "after"),
                    Durability::Durable,
                )
                .await
        }
    });
    let which = format!(
        "application_name = '{}' AND wait_event_type = 'Lock'",
        table.name()
    );
    while end_connections(server, &which).await == 0 {
        tokio::task::yield_now().await;
    }
    let ended = waiting.await.expect("no panic");
    assert!(matches!(ended, Err(Error::OutcomeUnknown { .. })), "{ended:?}");

    holder.batch_execute("COMMIT").await.expect("let go");
    assert_eq!(
        store.get(b"k").await.expect("get").as_deref(),
        Some(&b"before"[..])
    );
    assert_eq!(store.get(b"l").await.expect("get"), None);
    commit(
        &store,
        Batch::new().require_equals("k", "before").put("k", "again"),
    )
    .await;
    assert_eq!(
        store.get(b"k").await.expect("get").as_deref(),
        Some(&b"again"[..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_end_all_the_time_lose_and_double_nothing() {
    const KILLS: usize = 30;
    const WRITERS: usize = 4;
    let Some(server) = server() else { return };
    let table = FreshTable::new();
    let store = Arc::new(open(&format!("{}&application_name={}", table.url(), table.name())).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        writers.spawn(async move {
            let (mut applied, mut unknown) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                match increment(&store).await {
                    Ok(Outcome::Applied) => applied += 1,
                    Ok(Outcome::ConditionFailed { .. }) | Err(Error::Unavailable { .. }) => {}
                    Err(Error::OutcomeUnknown { .. }) => unknown += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
            (applied, unknown)
        });
    }
    let which = format!("application_name = '{}'", table.name());
    for _ in 0..KILLS {
        // Some are in the middle of a commit each time: the writers never rest.
        let before = counter(&store).await;
        while counter(&store).await < before + 5 {}
        end_connections(server, &which).await;
    }
    stop.store(true, Ordering::SeqCst);
    let (mut applied, mut unknown) = (0, 0);
    for (some, others) in writers.join_all().await {
        applied += some;
        unknown += others;
    }
    let counted = counted(&store).await;
    assert!(
        (applied..=applied + unknown).contains(&counted),
        "{applied} were acknowledged and {unknown} unknown, and {counted} are there"
    );
    assert!(unknown > 0, "no connection ended in a commit");
}

#[tokio::test]
async fn crashed_server_keeps_what_was_acknowledged_and_wakes_when_it_is_back() {
    let Some(server) = PrivateServer::start() else {
        return;
    };
    let store = open(&server.url()).await;
    let mut watch = store.watch().await.expect("watch").expect("it wakes");
    let mut acknowledged = 0;
    for _ in 0..50 {
        assert_eq!(increment(&store).await.expect("commit"), Outcome::Applied);
        acknowledged += 1;
    }
    server.crash();
    let refused = increment(&store).await;
    assert!(
        matches!(
            refused,
            Err(Error::Unavailable { .. } | Error::OutcomeUnknown { .. })
        ),
        "{refused:?}"
    );
    server.restart();
    // Whatever the watch has heard until now, it hears of what comes after.
    while counted(&store).await < acknowledged + 3 {
        assert_eq!(increment(&store).await.expect("commit"), Outcome::Applied);
        watch.changed().await.expect("the watch lives");
    }
    assert_eq!(counted(&store).await, acknowledged + 3);
    store.close().await.expect("close");
}

#[tokio::test]
async fn table_that_is_gone_is_an_error_that_can_be_tried_again() {
    let Some(server) = server() else { return };
    let table = FreshTable::new();
    let store = open(&table.url()).await;
    execute(server, &format!("DROP TABLE \"{}\"", table.name())).await;
    let read = store.get(b"k").await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    let written = store
        .commit(Batch::new().put("k", "v"), Durability::Durable)
        .await;
    assert!(matches!(written, Err(Error::Unavailable { .. })), "{written:?}");
}
