//! Opening what another process left.

use std::path::Path;
use std::time::Instant;

use crate::Result;
use crate::clients::{self, Kind};
use crate::contender::{Client, Contender};
use crate::event::{Tally, number_in};
use crate::measure::Figures;
use crate::workload::load::Shape;

/// Measures until the store is open and has given the newest event that was surely stored, so that work which an
/// engine puts off is in the figure. Then it verifies that nothing of the dataset is missing.
pub(crate) async fn run<C: Contender>(
    name: &str,
    directory: &Path,
    kind: Kind,
    shape: Shape,
    reads_streams: bool,
) -> Result<Figures> {
    let begun = Instant::now();
    let store = C::open(name, directory).await?;
    if reads_streams {
        let found = read_stream(&store, kind, shape.marker()).await?;
        if found != Tally::of(shape.marker(), 1) {
            return Err(format!("the marker is not there: {found:?}").into());
        }
    }
    let figures = Figures::time(begun.elapsed());
    verify(&store, kind, shape).await?;
    store.close().await?;
    Ok(figures)
}

async fn read_stream<C: Contender>(store: &C, kind: Kind, stream: u64) -> Result<Tally> {
    let mut client = store.client()?;
    clients::run_one(kind, async move {
        let mut tally = Tally::default();
        client.read_stream(stream, |event| tally.add(event)).await?;
        Ok(tally)
    })
    .await
}

/// A process that was killed while it appended may have stored more than the dataset, never less.
async fn verify<C: Contender>(store: &C, kind: Kind, shape: Shape) -> Result<()> {
    let mut client = store.client()?;
    let makers = shape.marker() + 1;
    let expected = shape.tally();
    clients::run_one(kind, async move {
        let mut tally = Tally::default();
        client
            .read_all(|event| {
                // Those who were cut off by the kill have numbers above all makers of the dataset.
                if number_in(event.payload) >> 32 < makers {
                    tally.add(event);
                }
            })
            .await?;
        if tally != expected {
            return Err(format!("{tally:?} is stored instead of {expected:?}").into());
        }
        Ok(())
    })
    .await
}
