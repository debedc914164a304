//! Projections over the provider: exactly once, read your writes, built anew and swapped.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Position, RecordedEvent, Result};
use eventstore_domain::projection::{Projection, Projector, ProjectorOptions, Reader, View};
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;

use super::ProviderHarness;
use super::bench::{Bench, stream_id, unknown};
use crate::fault::Moment;

/// Appends while a projection is built anew.
const APPENDS_MEANWHILE: usize = 200;

/// Counts the events of each stream, and how often each event was applied; one version adds more than the other.
#[derive(Clone)]
struct Counts {
    version: u32,
    /// Told when an event comes, which then waits for a permit.
    held: Option<(Arc<Notify>, Arc<Semaphore>)>,
}

impl Counts {
    fn version(version: u32) -> Self {
        Self { version, held: None }
    }
}

#[async_trait]
impl Projection for Counts {
    fn name(&self) -> &str {
        "counts"
    }

    fn version(&self) -> u32 {
        self.version
    }

    async fn apply(&self, event: &RecordedEvent, view: &mut View<'_>) -> Result<()> {
        if let Some((inside, go)) = &self.held {
            inside.notify_one();
            let permit = go.acquire().await.expect("it is never closed");
            permit.forget();
        }
        let key = event.stream.id();
        let count: u64 = view.get_json(key).await?.unwrap_or(0);
        view.put_json(key, &(count + u64::from(self.version)))
    }
}

async fn projector(bench: &Bench<'_>, counts: Counts) -> Projector {
    let options = ProjectorOptions::default()
        .commit_events(8)
        .clock(Arc::clone(&bench.clock) as Arc<dyn Clock>);
    let opened = Projector::open(Arc::clone(&bench.log), counts, options).await;
    opened.expect("the projector is opened")
}

async fn count(reader: &Reader, stream: &str) -> u64 {
    let count = reader.get_json(stream).await.expect("read");
    count.unwrap_or(0)
}

/// Waits until what is at `position` is applied, and moves the clock on: a runner pauses after a failure, and a reader
/// looks now and then what runners elsewhere have done.
async fn wait(bench: &Bench<'_>, reader: &Reader, position: Position) {
    let waited = bench.clock.drive(reader.wait_for(position)).await;
    waited.expect("the position is reached");
}

/// Of two runners that apply the same events one counts, and a commit of unknown outcome neither loses its effects nor
/// doubles them: the state is always that of the checkpoint.
pub async fn checkpoint_and_effects_are_one_commit(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let appended = bench.append(&stream_id("a"), 20).await;
    // The first runner has read the checkpoint, and is held within the first event.
    let (inside, go) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let held = Counts {
        version: 1,
        held: Some((Arc::clone(&inside), Arc::clone(&go))),
    };
    let slow = projector(&bench, held).await.start();
    inside.notified().await;
    let fast = projector(&bench, Counts::version(1)).await;
    let reader = fast.reader();
    let running = fast.start();
    wait(&bench, &reader, appended.position).await;
    assert_eq!(count(&reader, "a").await, 20);
    running.stop().await.expect("it stops");

    // It goes on: what it applies is refused, and it begins again behind what is applied.
    go.add_permits(1_000);
    let appended = bench.append(&stream_id("a"), 1).await;
    wait(&bench, &reader, appended.position).await;
    assert_eq!(count(&reader, "a").await, 21);
    slow.stop().await.expect("it stops");

    for (round, moment) in [Moment::BeforeApplying, Moment::AfterApplying]
        .into_iter()
        .enumerate()
    {
        let appended = bench.append(&stream_id("a"), 3).await;
        bench.engine.fail_next_commit(moment, unknown());
        let running = fast.start();
        // The pause after a failure.
        wait(&bench, &reader, appended.position).await;
        assert_eq!(count(&reader, "a").await, 24 + 3 * round as u64, "{moment:?}");
        running.stop().await.expect("it stops");
    }
}

/// While a new version is built the old state is read and kept up to date; then the new one is there as a whole, and not
/// behind what was read before.
pub async fn projection_rebuild_swaps_at_once(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let appended = bench.append(&stream_id("a"), 100).await;
    let old = projector(&bench, Counts::version(1)).await;
    let running = old.start();
    let reader = old.reader();
    wait(&bench, &reader, appended.position).await;

    let new = projector(&bench, Counts::version(1_000)).await;
    assert_eq!(count(&reader, "a").await, 100, "the old one is read");
    let building = new.start();
    let (mut position, mut swapped, mut appends) = (Position::ZERO, false, 0);
    while !swapped {
        // A few while it is built. With more it might never catch up where it shares a thread with the writer.
        if appends < APPENDS_MEANWHILE {
            bench.append(&stream_id("a"), 1).await;
            appends += 1;
        } else {
            sleep(Duration::from_millis(1)).await;
        }
        let before = reader.position().await.expect("read");
        assert!(before >= position, "{before} was read after {position}");
        position = before;
        let (count, head) = (
            count(&reader, "a").await,
            bench.log.head().await.expect("read").get(),
        );
        let versions = if count >= 100_000 { 1_000 } else { 1 };
        assert!(count % versions == 0, "{count} is no whole state");
        let events = count / versions;
        assert!(
            (position.get()..=head).contains(&events),
            "{events} is not of {position} to {head}"
        );
        swapped = versions == 1_000;
    }
    let appended = bench.append(&stream_id("a"), 1).await;
    wait(&bench, &reader, appended.position).await;
    assert_eq!(count(&reader, "a").await, 1_000 * appended.version.get());
    // The old code learns of it when it looks.
    let mut running = running;
    let ended = bench.clock.drive(running.ended()).await;
    assert!(
        ended
            .expect_err("it is superseded")
            .to_string()
            .contains("version 1000")
    );
    building.stop().await.expect("it stops");
}

/// Whoever has appended waits for the position, and reads what the events did; also where a projection has not moved for
/// long.
pub async fn wait_for_gives_read_your_writes(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let projector = projector(&bench, Counts::version(1)).await;
    let running = projector.start();
    let reader = projector.reader();
    for round in 1..=20 {
        let appended = bench.append(&stream_id("a"), 3).await;
        wait(&bench, &reader, appended.position).await;
        assert_eq!(count(&reader, "a").await, 3 * round);
    }
    running.stop().await.expect("it stops");
}
