//! What is written when nobody asks for anything.

use super::*;

/// Longer than nobody may ask for anything before what was put off is written.
pub(super) const REST: Duration = Duration::from_secs(1);
/// More than the sequencer needs to take what is queued.
const TURNS: usize = 1_000;

/// An engine, the clock of a provider on it that has no thread of its own, and its log.
pub(super) async fn on_one_thread() -> (Arc<FaultStore>, Arc<ManualClock>, Arc<dyn EventLog>) {
    let (engine, clock) = (engine(), Arc::new(ManualClock::default()));
    let options = Options::default()
        .clock(Arc::clone(&clock) as Arc<dyn eventstore_abstractions::Clock>)
        .single_threaded();
    let store = Arc::clone(&engine) as Arc<dyn KeyValueStore>;
    let provider = Provider::open_with(store, Settings::default(), options).await;
    let log = provider.expect("it opens").default_log();
    (engine, clock, log)
}

#[tokio::test(start_paused = true)]
async fn what_was_put_off_is_written_when_nobody_asks_for_anything() {
    let (engine, clock, log) = on_one_thread().await;
    for text in ["1", "2", "3"] {
        append(&*log, "a", &[text]).await;
    }
    tokio::time::sleep(REST).await;
    assert_eq!(
        stored(&engine, RUN).await.len(),
        1,
        "no time has passed by its clock"
    );
    clock.advance(REST);
    tokio::time::sleep(REST).await;
    assert_eq!(stored(&engine, RUN).await.len(), 2, "two runs are in one record");
    assert_eq!(texts(&*log, "a").await, ["1", "2", "3"]);
    let commits = engine.commits();
    clock.advance(REST);
    tokio::time::sleep(REST).await;
    assert_eq!(engine.commits(), commits, "nothing is left to be written");
}

#[tokio::test(start_paused = true)]
async fn append_waits_for_one_part_of_what_was_put_off_and_not_for_all() {
    let (engine, clock, log) = on_one_thread().await;
    // More records than are written at once.
    for number in 0..300 {
        append(&*log, &number.to_string(), &["event"]).await;
    }
    tokio::time::sleep(REST).await;
    let mut gate = engine.hold_next_commit(Moment::BeforeApplying);
    clock.advance(REST);
    let begun = tokio::time::timeout(REST, gate.reached()).await;
    begun.expect("it begins to write what was put off");
    let late = tokio::spawn(async move { append(&*log, "late", &["event"]).await });
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    gate.release();
    assert_eq!(late.await.expect("the task ends"), 1);
    let runs = stored(&engine, RUN).await.len();
    assert!((2..300).contains(&runs), "{runs} runs are stored");
}
