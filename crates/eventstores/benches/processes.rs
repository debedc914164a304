//! A store that several processes share, on servers, in turns:
//! `cargo xtask services up`, then `cargo bench -p eventstores --features postgres,etcd --bench processes`.
//!
//! On each engine: 96 clients of one process; the same 96 in three processes on one database; and 64 clients beside two
//! rigs that write by hand, all that waited in one commit on the condition that the head of all is as it was. One writes
//! for each event what a store has of it, and nothing else: the event under its stream and version, an entry of the log that says where
//! it is, and the head of its stream. The other writes the event alone, and has no streams: what no store can do without. Neither
//! checks anything, and neither knows of sessions or ids.
#![allow(clippy::disallowed_methods, reason = "it measures real time")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eventstores::{
    ContentType, EventLogExt, EventMessage, EventStoreProviderExt, ExpectedVersion, Notice, Payload,
    StreamId, SubscribeOptions,
};
use kv_core::{Batch, Durability, KeyValueStore, Outcome};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const CHILD: &str = "EVENTSTORES_BENCH_CHILD";
const ENGINES: [(&str, &str); 2] = [
    (
        "EVENTSTORES_TEST_POSTGRES",
        "postgres://eventstores:eventstores@127.0.0.1:54329/postgres",
    ),
    (
        "EVENTSTORES_TEST_ETCD",
        "etcd://127.0.0.1:23791,127.0.0.1:23792,127.0.0.1:23793",
    ),
];
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
const PAYLOAD_BYTES: usize = 256;
const WAKE_UPS: usize = 100;
/// Between two appends, so that the store is at rest.
const REST: Duration = Duration::from_millis(50);
/// Most events of one commit of a rig.
const MAX_COMMIT: usize = 120;

/// What a rig writes for each event.
#[derive(Clone, Copy)]
enum Rig {
    Streams,
    EventsAlone,
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    if let Ok(url) = std::env::var(CHILD) {
        return runtime.block_on(child(&url));
    }
    // Where it is built as a test, there is nothing to do: it measures, and needs servers.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    for (variable, url) in ENGINES {
        let server = std::env::var(variable).unwrap_or_else(|_| url.to_owned());
        runtime.block_on(compare(&server));
    }
}

async fn compare(server: &str) {
    let name = format!("bench_{:016x}", fastrand::u64(..));
    let place = |part: &str| match server.starts_with("postgres") {
        true => format!("{server}?table={name}_{part}"),
        false => format!("{server}/{name}_{part}"),
    };
    let (scheme, _) = server.split_once(':').expect("a URL has a scheme");
    let mut figures: [Vec<f64>; 5] = Default::default();
    println!("{scheme}: events/s of single durable appends of {PAYLOAD_BYTES} bytes");
    println!("  rig x64   events alone x64   store x64   store x96   3 processes x32");
    for round in 0..=ROUNDS {
        let row = [
            rig(&place("rig"), Rig::Streams, 64).await,
            rig(&place("alone"), Rig::EventsAlone, 64).await,
            processes(&place("store"), &[64]),
            processes(&place("store"), &[96]),
            processes(&place("store"), &[32, 32, 32]),
        ];
        // The first round warms up.
        if round > 0 {
            println!(
                "  {:7.0}   {:16.0}   {:9.0}   {:9.0}   {:15.0}",
                row[0], row[1], row[2], row[3], row[4]
            );
            figures
                .iter_mut()
                .zip(row)
                .for_each(|(all, figure)| all.push(figure));
        }
    }
    let [rig, alone, store, one, three] = figures.map(median);
    println!(
        "  medians: the store has {:.2} of the rig ({store:.0} of {rig:.0}), and {:.2} of events alone ({alone:.0}); \
         three processes have {:.2} of one ({three:.0} of {one:.0})",
        store / rig,
        store / alone,
        three / one
    );
    let woken = wake_up(&place("wake")).await;
    println!(
        "  a subscriber elsewhere has an event {woken:.1} ms after its acknowledgement (median of {WAKE_UPS})"
    );
}

/// Milliseconds from an acknowledgement to when a subscriber of another provider has the event.
async fn wake_up(url: &str) -> f64 {
    let here = eventstores::connect(url).await.expect("open");
    let elsewhere = eventstores::connect(url).await.expect("open");
    let mut subscription = elsewhere.default_log().subscribe(SubscribeOptions::from_start());
    while !matches!(subscription.next().await, Some(Ok(Notice::CaughtUp(_)))) {}
    let (log, stream) = (
        here.default_log(),
        StreamId::new("wake", "up").expect("a valid name"),
    );
    let received = tokio::spawn(async move {
        let mut received = Vec::new();
        for _ in 0..WAKE_UPS {
            let event = subscription.next_event().await.expect("it goes on");
            event.expect("it is read");
            received.push(Instant::now());
        }
        received
    });
    let mut acknowledged = Vec::new();
    for _ in 0..WAKE_UPS {
        tokio::time::sleep(REST).await;
        let appended = log.append(&stream, ExpectedVersion::Any, [message()]).await;
        appended.expect("append");
        acknowledged.push(Instant::now());
    }
    let received = received.await.expect("it follows");
    let pairs = received.into_iter().zip(acknowledged);
    let waits = pairs.map(|(received, acknowledged)| received.saturating_duration_since(acknowledged));
    let woken = median(waits.map(|wait| wait.as_secs_f64() * 1e3).collect());
    here.close().await.expect("close");
    elsewhere.close().await.expect("close");
    woken
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Events a second of processes with so many clients each, all at the same time.
fn processes(url: &str, clients: &[usize]) -> f64 {
    let mut children = clients
        .iter()
        .map(|clients| spawn(url, *clients))
        .collect::<Vec<_>>();
    let mut outputs = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("it is piped")))
        .collect::<Vec<_>>();
    let line = |output: &mut BufReader<_>| {
        let mut line = String::new();
        output.read_line(&mut line).expect("the child answers");
        line.trim().to_owned()
    };
    outputs
        .iter_mut()
        .for_each(|output| assert_eq!(line(output), "ready"));
    for child in &mut children {
        let go = child.stdin.take().expect("it is piped").write_all(b"go\n");
        go.expect("the child listens");
    }
    let appended = outputs
        .iter_mut()
        .map(|output| line(output).parse::<f64>().expect("a number"))
        .sum::<f64>();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    appended / ROUND.as_secs_f64()
}

fn spawn(url: &str, clients: usize) -> Child {
    Command::new(std::env::current_exe().expect("own path"))
        .env(CHILD, format!("{clients} {url}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run")
}

async fn child(task: &str) {
    let (clients, url) = task.split_once(' ').expect("a number and a URL");
    let clients = clients.parse::<usize>().expect("a number");
    let provider = eventstores::connect(url).await.expect("open");
    let log = provider.default_log();
    println!("ready");
    std::io::stdin()
        .read_line(&mut String::new())
        .expect("the parent tells when");
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..clients {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            let stream =
                StreamId::new("append", format!("{:016x}", fastrand::u64(..))).expect("a valid name");
            let mut expected = ExpectedVersion::NoStream;
            let mut appended = 0;
            loop {
                let done = log.append(&stream, expected, [message()]).await.expect("append");
                if started.elapsed() > ROUND {
                    return appended;
                }
                expected = ExpectedVersion::Exact(done.version);
                appended += 1;
            }
        });
    }
    let appended: u64 = tasks.join_all().await.into_iter().sum();
    println!("{appended}");
    provider.close().await.expect("close");
}

fn payload() -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..))
        .take(PAYLOAD_BYTES)
        .collect()
}

fn message() -> EventMessage {
    EventMessage::new("Deposited", Payload::new(ContentType::OCTET_STREAM, payload()))
        .expect("a valid message")
}

/// A client, which has a stream of its own, and how it is told.
type Waiting = (usize, oneshot::Sender<()>);

async fn rig(url: &str, rig: Rig, clients: usize) -> f64 {
    let store = engine(url).await;
    let (queue, waiting) = mpsc::channel(clients);
    let sequencer = tokio::spawn(sequence(store, rig, waiting));
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    for client in 0..clients {
        let queue = queue.clone();
        tasks.spawn(async move {
            let mut appended = 0_u64;
            while started.elapsed() < ROUND {
                let (done, is_done) = oneshot::channel();
                queue.send((client, done)).await.expect("the sequencer runs");
                is_done.await.expect("it is committed");
                appended += 1;
            }
            appended
        });
    }
    drop(queue);
    let appended: u64 = tasks.join_all().await.into_iter().sum();
    let rate = appended as f64 / started.elapsed().as_secs_f64();
    sequencer.await.expect("it ends");
    rate
}

async fn sequence(store: Arc<dyn KeyValueStore>, rig: Rig, mut waiting: mpsc::Receiver<Waiting>) {
    let mut head = store.get(b"head").await.expect("read");
    let mut position = head.as_ref().map_or(0, |head| {
        let text = std::str::from_utf8(head).expect("a number");
        text.parse::<u64>().expect("a number")
    });
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, MAX_COMMIT).await > 0 {
        let mut batch = match head.take() {
            Some(head) => Batch::new().require_equals("head", head),
            None => Batch::new().require_absent("head"),
        };
        for (client, _) in &group {
            position += 1;
            batch = match rig {
                Rig::EventsAlone => batch.put(format!("event-{position:016x}"), payload()),
                Rig::Streams => {
                    // The position is as good as a version: it grows, and takes as much room.
                    let event = format!("event-{client:04}-{position:016x}");
                    batch
                        .put(event.clone(), payload())
                        .put(format!("log-{position:016x}"), event)
                        .put(format!("stream-{client:04}"), position.to_string())
                }
            };
        }
        let next = position.to_string();
        let outcome = store
            .commit(batch.put("head", next.clone()), Durability::Durable)
            .await;
        assert_eq!(outcome.expect("commit"), Outcome::Applied);
        head = Some(next.into());
        for (_, done) in group.drain(..) {
            // A client whose time is over does not wait.
            let _ = done.send(());
        }
    }
    store.close().await.expect("close");
}

async fn engine(url: &str) -> Arc<dyn KeyValueStore> {
    if url.starts_with("postgres") {
        Arc::new(kv_postgres::Store::open(url).await.expect("open"))
    } else {
        Arc::new(kv_etcd::Store::open(url).await.expect("open"))
    }
}
