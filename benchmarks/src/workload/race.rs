//! Many writers on one stream, each of which appends only after what it knows.

use crate::Result;
use crate::clients::{self, Kind, Times, Window};
use crate::contender::{Client, Contender, Outcome};
use crate::event::{number, number_in, payload, verify};
use crate::measure::Figures;

/// The stream that all write to.
const STREAM: u64 = 0;

/// What a writer did.
struct Done {
    landed: u64,
    counted: u64,
    lost: u64,
}

/// Measures the events that land, and verifies that each landed once and none is lost.
pub(crate) async fn run<C: Contender>(store: &C, kind: Kind, times: Times, writers: u64) -> Result<Figures> {
    let window = Window::default();
    let all = (0..writers)
        .map(|writer| Ok(append_until_over(store.client()?, writer, window.clone())))
        .collect::<Result<Vec<_>>>()?;
    let (done, elapsed) = clients::measure(kind, times, all, &window).await?;

    let mut reader = store.client()?;
    let landed: Vec<u64> = done.iter().map(|done| done.landed).collect();
    clients::run_one(kind, async move {
        let mut found = Vec::new();
        reader
            .read_stream(STREAM, |event| found.push(number_in(event.payload)))
            .await?;
        verify(found, &landed)
    })
    .await?;
    let sum = |of: fn(&Done) -> u64| done.iter().map(of).sum::<u64>();
    Ok(Figures {
        conflicts: Some(sum(|done| done.lost)),
        ..Figures::rate(sum(|done| done.counted), elapsed)
    })
}

async fn append_until_over(mut client: impl Client, writer: u64, window: Window) -> Result<Done> {
    let mut done = Done {
        landed: 0,
        counted: 0,
        lost: 0,
    };
    let mut tip = client.tip(STREAM).await?;
    // Everybody gets through at least once, however short the window.
    while done.landed == 0 || !window.is_over() {
        let event = payload(number(writer, done.landed));
        match client.append(STREAM, vec![event], Some(tip)).await? {
            Outcome::Appended(now) => {
                tip = now;
                done.landed += 1;
                done.counted += u64::from(window.counts());
            }
            Outcome::Conflict(now) => {
                tip = match now {
                    Some(now) => now,
                    None => client.tip(STREAM).await?,
                };
                done.lost += u64::from(window.counts());
            }
        }
    }
    Ok(done)
}
