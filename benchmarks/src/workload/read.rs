//! Reads of streams and of the whole log, by one client.

use std::time::{Duration, Instant};

use crate::Result;
use crate::clients::{self, Kind, Times};
use crate::contender::{Client, Contender};
use crate::event::Tally;
use crate::measure::Figures;
use crate::workload::load::Shape;

/// Reads streams in random order for the time of the measurement, and verifies each.
pub(crate) async fn run_streams<C: Contender>(
    store: &C,
    kind: Kind,
    times: Times,
    shape: Shape,
) -> Result<Figures> {
    let mut client = store.client()?;
    clients::run_one(kind, async move {
        let mut random = fastrand::Rng::with_seed(shape.length);
        read_for(&mut client, &mut random, times.warm_up, shape).await?;
        let begun = Instant::now();
        let events = read_for(&mut client, &mut random, times.measured, shape).await?;
        Ok(Figures::rate(events, begun.elapsed()))
    })
    .await
}

/// Reads one stream after another until the time is over: how many events those were.
async fn read_for(
    client: &mut impl Client,
    random: &mut fastrand::Rng,
    time: Duration,
    shape: Shape,
) -> Result<u64> {
    let begun = Instant::now();
    let mut events = 0;
    loop {
        let stream = random.u64(0..shape.streams);
        let mut tally = Tally::default();
        client.read_stream(stream, |event| tally.add(event)).await?;
        if tally.events != shape.length {
            return Err(format!(
                "stream {stream} has {} events instead of {}",
                tally.events, shape.length
            )
            .into());
        }
        events += tally.events;
        if begun.elapsed() >= time {
            return Ok(events);
        }
    }
}

/// Reads the whole log once to warm up, and then for the time of the measurement, at least once.
pub(crate) async fn run_all<C: Contender>(
    store: &C,
    kind: Kind,
    times: Times,
    shape: Shape,
) -> Result<Figures> {
    let mut client = store.client()?;
    let expected = shape.tally();
    clients::run_one(kind, async move {
        read_log(&mut client, expected).await?;
        let begun = Instant::now();
        let mut events = 0;
        while begun.elapsed() < times.measured {
            read_log(&mut client, expected).await?;
            events += expected.events;
        }
        Ok(Figures::rate(events, begun.elapsed()))
    })
    .await
}

/// Reads the whole log once and verifies that it has exactly what was stored.
pub(crate) async fn read_log(client: &mut impl Client, expected: Tally) -> Result<()> {
    let mut tally = Tally::default();
    client.read_all(|event| tally.add(event)).await?;
    if tally != expected {
        return Err(format!("the log gave {tally:?} instead of {expected:?}").into());
    }
    Ok(())
}
