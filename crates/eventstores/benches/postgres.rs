//! Our store on PostgreSQL beside a table of events written by hand, in turns, on one server:
//! `cargo xtask services up postgres`, then `cargo bench -p eventstores --features postgres --bench postgres`.
//!
//! By hand, each client has a connection and a prepared statement, and an append is a transaction of one row, which is
//! refused where the version is taken. It has no order over all streams, no idempotency and no sessions: what one writes
//! who needs events and no store. Ours is one provider with its pool.
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstores::{
    ContentType, EventLog, EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, Payload,
    StreamId,
};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

const DEFAULT_URL: &str = "postgres://eventstores:eventstores@127.0.0.1:54329/postgres";
const CLIENTS: usize = 64;
const READERS: usize = 8;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const PAYLOAD_BYTES: usize = 256;
const STREAM_EVENTS: i64 = 1_000;

type Log = Arc<dyn EventLog>;

fn main() {
    // Where it is built as a test, there is nothing to do: it measures, and needs a server.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(compare());
}

async fn compare() {
    let url = std::env::var("EVENTSTORES_TEST_POSTGRES").unwrap_or_else(|_| DEFAULT_URL.to_owned());
    let name = format!("bench_{:016x}", fastrand::u64(..));
    let admin = client(&url).await;
    let (by_hand, ours) = (format!("{name}_events"), format!("{name}_kv"));
    let create = format!(
        "CREATE TABLE {by_hand} (position bigserial, stream text, version bigint, type text, payload bytea,
         recorded timestamptz DEFAULT now(), PRIMARY KEY (stream, version))"
    );
    admin.batch_execute(&create).await.expect("create");
    let provider = eventstores::connect(&format!("{url}?table={ours}"))
        .await
        .expect("open");
    let log = provider.default_log();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Arc::new(client(&url).await));
    }
    fill(&clients[0], &by_hand, &log).await;

    println!("{CLIENTS} clients append single events of {PAYLOAD_BYTES} bytes, events/s");
    report(
        async |round| append_by_hand(&clients, &by_hand, round).await,
        async |round| append_ours(&log, round).await,
    )
    .await;
    println!("{READERS} clients read streams of {STREAM_EVENTS} events, events/s");
    report(
        async |_| read_by_hand(&clients, &by_hand).await,
        async |_| read_ours(&log).await,
    )
    .await;

    provider.close().await.expect("close");
    let drop = format!("DROP TABLE {by_hand}, {ours}");
    admin.batch_execute(&drop).await.expect("drop");
}

/// Measures both in turns, so that what else the machine does hits both.
async fn report(by_hand: impl AsyncFn(usize) -> f64, ours: impl AsyncFn(usize) -> f64) {
    let (mut theirs, mut our) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let pair = (by_hand(round).await, ours(round).await);
        // The first round warms up.
        if round > 0 {
            println!("  by hand {:8.0}   ours {:8.0}", pair.0, pair.1);
            theirs.push(pair.0);
            our.push(pair.1);
        }
    }
    let (theirs, our) = (median(theirs), median(our));
    println!(
        "  median: by hand {theirs:.0}, ours {our:.0}, ratio {:.2}",
        our / theirs
    );
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

fn payload() -> Vec<u8> {
    // What does not compress: as little as it would by hand is stored by us.
    std::iter::repeat_with(|| fastrand::u8(..))
        .take(PAYLOAD_BYTES)
        .collect()
}

fn message() -> EventMessage {
    EventMessage::new("Deposited", Payload::new(ContentType::OCTET_STREAM, payload()))
        .expect("a valid message")
}

fn stream(kind: &str, number: usize) -> StreamId {
    StreamId::new(kind, number.to_string()).expect("a valid name")
}

/// Streams to read, the same in both.
async fn fill(client: &Client, table: &str, log: &Log) {
    let insert = format!(
        "INSERT INTO {table} (stream, version, type, payload) SELECT 'read-' || $1::bigint, n, 'Deposited', $2::bytea
         FROM generate_series(1, {STREAM_EVENTS}) AS n"
    );
    for number in 0..READERS {
        client
            .execute(&insert, &[&(number as i64), &payload()])
            .await
            .expect("insert");
        let messages = std::iter::repeat_with(message).take(STREAM_EVENTS as usize);
        log.append(&stream("read", number), ExpectedVersion::NoStream, messages)
            .await
            .expect("append");
    }
}

/// How many a second, of what each task does until the round is over.
async fn rate(tasks: JoinSet<u64>, started: Instant) -> f64 {
    let done: u64 = tasks.join_all().await.into_iter().sum();
    done as f64 / started.elapsed().as_secs_f64()
}

async fn append_by_hand(clients: &[Arc<Client>], table: &str, round: usize) -> f64 {
    let insert =
        format!("INSERT INTO {table} (stream, version, type, payload) VALUES ($1, $2, 'Deposited', $3)");
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, client) in clients.iter().enumerate() {
        let (client, insert) = (Arc::clone(client), insert.clone());
        tasks.spawn(async move {
            let insert = client.prepare(&insert).await.expect("prepare");
            let (name, mut version) = (format!("append-{round}-{number}"), 0_i64);
            while started.elapsed() < ROUND {
                version += 1;
                client
                    .execute(&insert, &[&name, &version, &payload()])
                    .await
                    .expect("insert");
            }
            version as u64
        });
    }
    rate(tasks, started).await
}

async fn append_ours(log: &Log, round: usize) -> f64 {
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for number in 0..CLIENTS {
        let log = Arc::clone(log);
        tasks.spawn(async move {
            let name = stream("append", round * CLIENTS + number);
            let mut expected = ExpectedVersion::NoStream;
            let mut appended = 0;
            while started.elapsed() < ROUND {
                let done = log.append(&name, expected, [message()]).await.expect("append");
                expected = ExpectedVersion::Exact(done.version);
                appended += 1;
            }
            appended
        });
    }
    rate(tasks, started).await
}

async fn read_by_hand(clients: &[Arc<Client>], table: &str) -> f64 {
    let select = format!(
        "SELECT version, type, payload, recorded::text FROM {table} WHERE stream = $1 ORDER BY version"
    );
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, client) in clients.iter().take(READERS).enumerate() {
        let (client, select) = (Arc::clone(client), select.clone());
        tasks.spawn(async move {
            let select = client.prepare(&select).await.expect("prepare");
            let mut read = 0;
            while started.elapsed() < ROUND {
                let rows = client
                    .query(&select, &[&format!("read-{number}")])
                    .await
                    .expect("select");
                // Taken over into events, as a store would have to.
                let events = rows.iter().map(|row| {
                    (
                        row.get::<_, i64>(0),
                        row.get::<_, String>(1),
                        row.get::<_, Vec<u8>>(2),
                    )
                });
                read += events.collect::<Vec<_>>().len() as u64;
            }
            read
        });
    }
    rate(tasks, started).await
}

async fn read_ours(log: &Log) -> f64 {
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for number in 0..READERS {
        let log = Arc::clone(log);
        tasks.spawn(async move {
            let mut read = 0;
            while started.elapsed() < ROUND {
                let history = log.read(&stream("read", number)).await.expect("read");
                read += history.collect().await.expect("collect").events.len() as u64;
            }
            read
        });
    }
    rate(tasks, started).await
}
