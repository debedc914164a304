//! No name reaches another's data.

use eventstore_abstractions::{Database, Error, EventLogExt, ExpectedVersion, StreamId};

use super::ProviderHarness;
use super::bench::{Bench, event, refused, texts};

/// Streams whose names are prefixes of each other, have separators, or look alike, stay apart.
pub async fn hostile_names_stay_apart(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let parts = [
        "a",
        "aa",
        "a/a",
        "a b",
        " a",
        "á",
        "a\u{301}",
        "\u{10ffff}",
        "%00",
        "..",
        "a\u{a0}",
        "\u{202e}a",
        "ÿ",
        "a|b",
        "A",
    ];
    let mut streams = Vec::new();
    for category in parts {
        streams.extend(
            parts
                .iter()
                .map(|id| StreamId::new(category, *id).expect("a valid name")),
        );
    }
    for stream in &streams {
        let text = format!("{stream:?}");
        bench
            .log
            .append(stream, ExpectedVersion::NoStream, [event(&text)])
            .await
            .expect("nobody else's stream");
    }
    for stream in &streams {
        assert_eq!(texts(&bench.events(stream).await), [format!("{stream:?}")]);
    }
}

/// The longest names work, and longer or malformed ones are errors that say what is possible.
pub async fn names_have_limits(harness: &dyn ProviderHarness) {
    let bench = Bench::open(harness).await;
    let longest = StreamId::new(
        "c".repeat(StreamId::MAX_CATEGORY_BYTES),
        "i".repeat(StreamId::MAX_ID_BYTES),
    );
    bench.note(&longest.expect("a valid name"), "x").await;
    let database = Database::new("d".repeat(Database::MAX_BYTES)).expect("a valid name");
    let log = bench.provider.log(&database);
    assert_eq!(
        super::bench::append(&*log, &StreamId::new("c", "i").expect("a valid name"), 1)
            .await
            .version
            .get(),
        1
    );
    for bad in [
        "",
        "a\0b",
        "\n",
        "\u{7f}",
        &"x".repeat(StreamId::MAX_ID_BYTES + 1),
    ] {
        refused!(StreamId::new("category", bad), Error::InvalidInput { .. });
        refused!(StreamId::new(bad, "id"), Error::InvalidInput { .. });
        refused!(Database::new(bad), Error::InvalidInput { .. });
    }
}
