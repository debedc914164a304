//! What is written when nobody asks for anything.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_put_off_is_written_when_nobody_asks_for_anything() {
    let engine = engine();
    let clock = Arc::new(ManualClock::default());
    let options = Options::default()
        .clock(Arc::clone(&clock) as Arc<dyn eventstore_abstractions::Clock>)
        .single_threaded();
    let store = Arc::clone(&engine) as Arc<dyn KeyValueStore>;
    let provider = Provider::open_with(store, Settings::default(), options).await;
    let log = provider.expect("it opens").default_log();
    for text in ["1", "2", "3"] {
        append(&*log, "a", &[text]).await;
    }
    let rest = Duration::from_secs(1);
    tokio::time::sleep(rest).await;
    assert_eq!(
        stored(&engine, RUN).await.len(),
        1,
        "no time has passed by its clock"
    );
    clock.advance(rest);
    tokio::time::sleep(rest).await;
    assert_eq!(stored(&engine, RUN).await.len(), 3);
    assert_eq!(texts(&*log, "a").await, ["1", "2", "3"]);
    let commits = engine.commits();
    clock.advance(rest);
    tokio::time::sleep(rest).await;
    assert_eq!(engine.commits(), commits, "nothing is left to be written");
}
