//! A damaged record is an error that names it: never wrong data, never a skip.

use eventstore_abstractions::{
    Error, EventLogExt, ExpectedVersion, IdempotencyId, LogReadOptions, ReadOptions, Version,
};

use kv_core::{Batch, Durability, Entry, Outcome};

use super::ProviderHarness;
use super::bench::{Bench, event, stream_id};

/// Everything that a provider with nothing in memory can read of the stream and of the log, or the error that stopped it.
async fn everything(bench: &Bench<'_>) -> Result<String, Error> {
    let log = bench.another_log().await?;
    let stream = stream_id("a");
    let replay = log
        .read_stream(&stream, ReadOptions::replay())
        .await?
        .collect()
        .await?;
    let events = log
        .read_stream(&stream, ReadOptions::replay().without_snapshots())
        .await?
        .collect()
        .await?;
    let all = log.read_all(LogReadOptions::forward()).collect().await?;
    let back = log.read_all(LogReadOptions::backward()).collect().await?;
    let key = IdempotencyId::new("command")?.into();
    let found = log.find_append(&stream, &key).await?;
    let first = log
        .find_append(&stream, &events.events[0].message.id().into())
        .await?;
    let (version, head) = (log.version(&stream).await?, log.head().await?);
    let snapshots = log.snapshot_versions(&stream).await?;
    Ok(format!(
        "{replay:?}{events:?}{all:?}{back:?}{found:?}{first:?}{version}{head}{snapshots:?}"
    ))
}

async fn filled(bench: Bench<'_>) -> Bench<'_> {
    let stream = stream_id("a");
    let keyed = event("1").with_idempotency_id(IdempotencyId::new("command").expect("a valid id"));
    bench
        .log
        .append(&stream, ExpectedVersion::Any, [keyed])
        .await
        .expect("appended");
    bench.append(&stream, 2).await;
    bench.snapshot(&stream, 2).await;
    bench.settled().await
}

/// A flipped bit in any byte of any record gives an error, or the right data where the record is not needed.
pub async fn corruption_is_reported(harness: &dyn ProviderHarness) {
    let bench = filled(Bench::open(harness).await).await;
    let whole = everything(&bench).await.expect("nothing is damaged yet");
    let (mut flipped, mut reported) = (0, 0);
    for entry in bench.dump().await {
        for at in 0..entry.value.len() {
            let flip = |value: &mut Vec<u8>| value[at] ^= 1 << (at % 8);
            bench.engine.edit(&entry.key, flip).await.expect("edited");
            flipped += 1;
            match everything(&bench).await {
                Ok(read) => assert!(
                    read == whole,
                    "byte {at} of {:?}: wrong data was returned",
                    entry.key
                ),
                Err(Error::Corrupt { .. }) => reported += 1,
                Err(error) => panic!("byte {at} of {:?}: {error}", entry.key),
            }
            bench.engine.edit(&entry.key, flip).await.expect("edited back");
        }
    }
    // Only the format and the entries of the ids that are not looked up are not read.
    assert!(
        reported * 10 > flipped * 9,
        "only {reported} of {flipped} damages were reported"
    );
    assert!(everything(&bench).await.expect("all is mended") == whole);
}

/// A record that is gone is an error too: the events after it are not taken for the next ones.
pub async fn missing_record_is_reported(harness: &dyn ProviderHarness) {
    let bench = filled(Bench::open(harness).await).await;
    let whole = everything(&bench).await.expect("nothing is damaged yet");
    let dump = bench.dump().await;
    let without_snapshot = without_snapshot(&bench, &dump).await;
    assert!(everything(&bench).await.expect("all is put back") == whole);
    for entry in dump {
        bench.engine.remove(&entry.key).await.expect("removed");
        match everything(&bench).await {
            // A snapshot or an entry of an id that is gone is one that was never made.
            Ok(read) => assert!(
                read == whole || read == without_snapshot,
                "{:?}: wrong data",
                entry.key
            ),
            Err(Error::Corrupt { .. } | Error::CannotOpen { .. } | Error::IdempotencyIdNotFound { .. }) => {}
            Err(error) => panic!("{:?}: {error}", entry.key),
        }
        put_back(&bench, &[entry]).await;
    }
}

/// What is read once the snapshot is cleared; afterwards it is there again, as in `dump`.
async fn without_snapshot(bench: &Bench<'_>, dump: &[Entry]) -> String {
    let cleared = bench.log.clear_snapshots(&stream_id("a")).await;
    cleared.expect("the snapshot is cleared");
    let read = everything(bench).await.expect("nothing is damaged yet");
    put_back(bench, dump).await;
    read
}

async fn put_back(bench: &Bench<'_>, entries: &[Entry]) {
    let batch = entries.iter().fold(Batch::new(), |batch, entry| {
        batch.put(entry.key.clone(), entry.value.clone())
    });
    let engine = bench.engine.inner();
    let applied = engine.commit(batch, Durability::Buffered).await;
    assert_eq!(applied.expect("put back"), Outcome::Applied);
}

/// The error of a damaged event says which stream and version it is of.
pub async fn damage_names_stream_and_version(harness: &dyn ProviderHarness) {
    let bench = filled(Bench::open(harness).await).await;
    let event = Version::new(3).get().to_be_bytes();
    let dump = bench.dump().await;
    let entry = dump
        .iter()
        .find(|entry| entry.key.ends_with(&event) && entry.key[0] == 0x13);
    let key = entry.expect("the event of version 3").key.clone();
    bench
        .engine
        .edit(&key, |value| value[5] ^= 1)
        .await
        .expect("edited");
    let error = everything(&bench).await.expect_err("it is damaged").to_string();
    assert!(error.contains(r#""a", version 3"#), "{error}");
}
