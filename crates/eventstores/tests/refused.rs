//! What [`eventstores::connect`] refuses, in every combination of features.

use std::time::Duration;

use eventstores::{Error, Settings};

async fn refused(url: &str) -> Error {
    match eventstores::connect(url).await {
        Ok(_) => panic!("{url} must be refused"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn wrong_url_cannot_be_opened_and_says_what_can() {
    for wrong in ["", "data", "mongo://db"] {
        let error = refused(wrong).await;
        assert!(matches!(error, Error::CannotOpen { .. }), "{wrong}: {error:?}");
        assert!(error.to_string().contains("fjall:PATH"), "{error}");
    }
}

#[cfg(not(all(
    feature = "memory",
    feature = "sled",
    feature = "fjall",
    feature = "redb",
    feature = "lmdb",
    feature = "postgres",
    feature = "etcd",
)))]
mod feature_off {
    use super::*;

    /// The backends that this build lacks, by URL and feature.
    const OFF: &[(&str, &str)] = &[
        #[cfg(not(feature = "memory"))]
        ("memory:", "memory"),
        #[cfg(not(feature = "sled"))]
        ("sled:never-made", "sled"),
        #[cfg(not(feature = "fjall"))]
        ("fjall:never-made", "fjall"),
        #[cfg(not(feature = "redb"))]
        ("redb:never-made", "redb"),
        #[cfg(not(feature = "lmdb"))]
        ("lmdb:never-made", "lmdb"),
        #[cfg(not(feature = "postgres"))]
        ("postgres://user:never-shown@never.made/db", "postgres"),
        #[cfg(not(feature = "etcd"))]
        ("etcd://user:never-shown@never.made/app", "etcd"),
    ];

    #[tokio::test]
    async fn feature_that_is_off_is_named_with_the_line_that_turns_it_on() {
        for (url, feature) in OFF {
            let error = refused(url).await;
            assert!(matches!(error, Error::CannotOpen { .. }), "{url}: {error:?}");
            let line = format!("eventstores = {{ version = \"0.1\", features = [\"{feature}\"] }}");
            assert!(error.to_string().contains(&line), "{error}");
            assert!(!error.to_string().contains("never-shown"), "{error}");
            assert!(!std::path::Path::new("never-made").exists());
        }
    }
}

#[tokio::test]
async fn settings_out_of_their_limits_are_refused_and_nothing_is_written() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path().join("data");
    for scheme in ["sled", "fjall", "redb", "lmdb"] {
        let settings = Settings::default().session_timeout(Duration::ZERO);
        let refused = eventstores::connect_with(&format!("{scheme}:{}", path.display()), settings).await;
        assert!(
            matches!(refused, Err(Error::InvalidInput { .. })),
            "{scheme}: {refused:?}"
        );
        assert!(!path.exists(), "{scheme}");
    }
}
