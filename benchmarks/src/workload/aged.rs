//! Appends to a store that holds much already: whether it grows slow or large with what it has.

use std::time::Instant;

use crate::clients::{self, Kind, Times, Window};
use crate::contender::{Client, Contender};
use crate::event::Tally;
use crate::measure::Figures;
use crate::workload::load::{self, Shape};
use crate::{Result, latency};

/// The first number of the new events: no maker of a dataset has it.
const NEW_EVENTS: u64 = 1 << 31;

/// Measures how long appends of one client take, each to a stream chosen at random. What an engine does beside them
/// grows with what it holds; the slowest of a hundred shows it.
pub(crate) async fn run<C: Contender>(store: &C, kind: Kind, times: Times, shape: Shape) -> Result<Figures> {
    let window = Window::default();
    let appends = append_until_over(store.client()?, shape.streams, window.clone());
    let (took_ns, _) = clients::measure(kind, times, [appends], &window).await?;
    let latency = latency::percentiles(took_ns.concat()).ok_or("no append ended within the time")?;
    Ok(Figures {
        latency: Some(latency),
        ..Figures::of(latency.p99_us)
    })
}

async fn append_until_over(mut client: impl Client, streams: u64, window: Window) -> Result<Vec<u32>> {
    let mut random = fastrand::Rng::with_seed(streams);
    let mut took_ns = Vec::new();
    let mut event = NEW_EVENTS;
    while !window.is_over() {
        let stream = random.u64(0..streams);
        let begun = Instant::now();
        load::append(&mut client, stream, event, 1).await?;
        event += 1;
        if window.counts() {
            took_ns.push(latency::nanoseconds(begun.elapsed()));
        }
    }
    Ok(took_ns)
}

/// Reads the whole log once, which appends of other rounds may have made longer.
pub(crate) async fn read_log<C: Contender>(store: &C, kind: Kind, shape: Shape) -> Result<()> {
    let mut client = store.client()?;
    clients::run_one(kind, async move {
        let mut tally = Tally::default();
        client.read_all(|event| tally.add(event)).await?;
        if tally.events < shape.events() {
            return Err(format!("{} events are stored of {}", tally.events, shape.events()).into());
        }
        Ok(())
    })
    .await
}
