//! Durable appends, of one event by many clients and of many events by one.

use std::time::Instant;

use crate::clients::{self, Kind, Times, Window};
use crate::contender::{Client, Contender, Outcome};
use crate::event::{number_in, payloads, verify};
use crate::measure::Figures;
use crate::{Result, latency};

/// Streams that each client appends to in turn, so that heads are looked up and not only incremented.
const STREAMS_PER_CLIENT: u64 = 64;

/// What a client did.
struct Done {
    /// Events acknowledged in all, and within the window.
    acknowledged: u64,
    counted: u64,
    /// How long each counted append took.
    took_ns: Vec<u32>,
}

/// Measures appends of `batch` events each by `count` clients, and verifies that the store has exactly what it
/// acknowledged.
pub(crate) async fn run<C: Contender>(
    store: &C,
    kind: Kind,
    times: Times,
    count: u64,
    batch: u64,
) -> Result<Figures> {
    let window = Window::default();
    let all = (0..count)
        .map(|client| Ok(append_until_over(store.client()?, client, batch, window.clone())))
        .collect::<Result<Vec<_>>>()?;
    let (done, elapsed) = clients::measure(kind, times, all, &window).await?;
    verify_all(store, kind, done.iter().map(|done| done.acknowledged).collect()).await?;
    let events = done.iter().map(|done| done.counted).sum::<u64>();
    let took_ns = done.into_iter().flat_map(|done| done.took_ns).collect();
    Ok(Figures {
        latency: latency::percentiles(took_ns),
        ..Figures::rate(events, elapsed)
    })
}

/// Appends exactly `appends` events one by one: what the syncs are counted of.
pub(crate) async fn run_counted<C: Contender>(store: &C, kind: Kind, appends: u64) -> Result<Figures> {
    let mut client = store.client()?;
    let begun = Instant::now();
    clients::run_one(kind, async move {
        for event in 0..appends {
            append(&mut client, event % STREAMS_PER_CLIENT, payloads(0, event, 1)).await?;
        }
        Ok(())
    })
    .await?;
    verify_all(store, kind, vec![appends]).await?;
    Ok(Figures::rate(appends, begun.elapsed()))
}

async fn append_until_over(mut client: impl Client, number: u64, batch: u64, window: Window) -> Result<Done> {
    let mut done = Done {
        acknowledged: 0,
        counted: 0,
        took_ns: Vec::new(),
    };
    let mut turn = 0;
    while !window.is_over() {
        let stream = number * STREAMS_PER_CLIENT + turn % STREAMS_PER_CLIENT;
        let events = payloads(number, done.acknowledged, batch);
        let begun = Instant::now();
        append(&mut client, stream, events).await?;
        done.acknowledged += batch;
        turn += 1;
        if window.counts() {
            done.counted += batch;
            done.took_ns.push(latency::nanoseconds(begun.elapsed()));
        }
    }
    Ok(done)
}

async fn append(client: &mut impl Client, stream: u64, payloads: Vec<Vec<u8>>) -> Result<()> {
    match client.append(stream, payloads, None).await? {
        Outcome::Appended(_) => Ok(()),
        Outcome::Conflict(_) => Err("an append that expects nothing met a conflict".into()),
    }
}

/// Reads the whole log and fails unless it has exactly what each client was told is stored.
async fn verify_all<C: Contender>(store: &C, kind: Kind, acknowledged: Vec<u64>) -> Result<()> {
    let mut client = store.client()?;
    clients::run_one(kind, async move {
        let mut found = Vec::new();
        client
            .read_all(|event| found.push(number_in(event.payload)))
            .await?;
        verify(found, &acknowledged)
    })
    .await
}
