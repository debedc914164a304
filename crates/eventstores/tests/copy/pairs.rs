//! From every backend with a directory to every other one.

use crate::content::{dump, fill, goes_on, seed, settings};

/// Those of this build, by scheme.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "sled")]
    "sled",
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "redb")]
    "redb",
    #[cfg(feature = "lmdb")]
    "lmdb",
];

#[tokio::test]
async fn copy_is_the_store_on_every_pair_of_backends() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    for (order, from) in SCHEMES.iter().enumerate() {
        let (number, seed) = seed();
        let source = format!("{from}:{}/{from}", parent.path().display());
        let provider = eventstores::connect_with(&source, settings()).await.expect(from);
        fill(&*provider, number).await;
        let original = dump(&*provider).await;
        provider.close().await.expect("it closes");
        for to in SCHEMES {
            let target = format!("{to}:{}/{to} of {order}", parent.path().display());
            let copied = eventstores::copy(&source, &target).await;
            let copied = copied.unwrap_or_else(|error| panic!("{from} to {to}: {error}; {seed}"));
            assert_eq!(
                (copied.databases, copied.streams > 10),
                (2, true),
                "{copied:?}; {seed}"
            );
            assert!(copied.removed > 0 && copied.snapshots > 2, "{copied:?}; {seed}");

            let provider = eventstores::connect_with(&target, settings()).await.expect(to);
            assert!(dump(&*provider).await == original, "{from} to {to}; {seed}");
            goes_on(&*provider).await;
            provider.close().await.expect("it closes");
        }
    }
}
