//! What a provider that [`eventstores::connect`] opened is, on every backend of the build.
#![cfg(any(
    feature = "memory",
    feature = "sled",
    feature = "fjall",
    feature = "redb",
    feature = "lmdb",
    feature = "etcd"
))]

use std::sync::Arc;

use eventstores::{
    EventLogExt, EventMessage, EventStoreProvider, EventStoreProviderExt, ExpectedVersion, StreamId, Version,
};

async fn connect(url: &str) -> Arc<dyn EventStoreProvider> {
    eventstores::connect(url)
        .await
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}

async fn append_one(provider: &dyn EventStoreProvider) {
    let event = EventMessage::json("Opened", "alice").expect("it encodes");
    provider
        .default_log()
        .append(&alice(), ExpectedVersion::Any, [event])
        .await
        .expect("it appends");
}

async fn version(provider: &dyn EventStoreProvider) -> Version {
    provider.default_log().version(&alice()).await.expect("it reads")
}

fn alice() -> StreamId {
    StreamId::new("account", "alice").expect("a valid name")
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn each_memory_store_is_new() {
    let (one, other) = (connect("memory:").await, connect("MEMORY:").await);
    append_one(&*one).await;
    assert_eq!(version(&*one).await, Version::FIRST);
    assert_eq!(version(&*other).await, Version::ZERO);
    assert!(!one.is_durable());
}

#[cfg(feature = "fjall")]
#[tokio::test]
async fn engine_with_records_of_something_else_is_refused_and_free_again() {
    use eventstores::Error;
    use kv_core::{Batch, Durability, KeyValueStore, Outcome};

    let folder = tempfile::tempdir().expect("temp dir");
    let write = async |value: &'static str| {
        let store = kv_fjall::Store::open(folder.path()).await.expect("it is free");
        let before = store.get(b"theirs").await.expect("it reads");
        let batch = Batch::new().put("theirs", value);
        let outcome = store.commit(batch, Durability::Durable).await;
        assert_eq!(outcome.expect("it commits"), Outcome::Applied);
        store.close().await.expect("it closes");
        before
    };
    assert_eq!(write("1").await, None);
    let opened = eventstores::connect(&format!("fjall:{}", folder.path().display())).await;
    let Err(error) = opened else {
        panic!("records of something else were taken for a store of events");
    };
    assert!(matches!(error, Error::CannotOpen { .. }), "{error:?}");
    assert_eq!(write("2").await.as_deref(), Some(&b"1"[..]));
}

#[cfg(feature = "etcd")]
#[path = "../../kv-etcd/tests/common/mod.rs"]
mod etcd_server;

#[cfg(feature = "etcd")]
#[tokio::test]
async fn store_on_etcd_is_one_store_for_whoever_opens_it() {
    if etcd_server::server().is_none() {
        return;
    }
    let prefix = etcd_server::FreshPrefix::new();
    let (one, other) = (connect(&prefix.url()).await, connect(&prefix.url()).await);
    append_one(&*one).await;
    assert_eq!(version(&*other).await, Version::FIRST);
    append_one(&*other).await;
    assert_eq!(version(&*one).await, Version::new(2));
    assert!(one.is_durable());
    let wrong = eventstores::connect(&format!("{}?cafile=x", prefix.url())).await;
    assert!(
        matches!(&wrong, Err(eventstores::Error::CannotOpen { reason, .. }) if reason.contains("use tls, ca"))
    );
}

/// Backends that keep their data in a directory.
#[cfg(any(feature = "sled", feature = "fjall", feature = "redb", feature = "lmdb"))]
mod in_a_directory {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use eventstores::Error;

    use super::*;

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

    fn url(scheme: &str, path: &Path) -> String {
        format!("{scheme}:{}", path.display())
    }

    /// Every file below `path`, with its bytes.
    fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(path).expect("it lists") {
            let path = entry.expect("it lists").path();
            if path.is_dir() {
                files.insert(path.clone(), Vec::new());
                files.extend(contents(&path));
            } else {
                let bytes = std::fs::read(&path).expect("it reads");
                files.insert(path, bytes);
            }
        }
        files
    }

    async fn refused(url: &str) -> Error {
        match eventstores::connect(url).await {
            Ok(_) => panic!("{url} must be refused"),
            Err(error) => error,
        }
    }

    #[tokio::test]
    async fn closed_store_opens_again_with_its_events() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        for scheme in SCHEMES {
            let url = url(scheme, &parent.path().join(scheme));
            let provider = connect(&url).await;
            assert!(provider.is_durable(), "{scheme}");
            append_one(&*provider).await;
            provider.close().await.expect("it closes");

            assert_eq!(version(&*connect(&url).await).await, Version::FIRST, "{scheme}");
        }
    }

    #[tokio::test]
    async fn absolute_path_is_the_same_with_and_without_slashes() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        for scheme in SCHEMES {
            let path = parent.path().join(scheme);
            let provider = connect(&format!("{scheme}://{}", path.display())).await;
            append_one(&*provider).await;
            provider.close().await.expect("it closes");

            assert_eq!(
                version(&*connect(&url(scheme, &path)).await).await,
                Version::FIRST,
                "{scheme}"
            );
        }
    }

    #[tokio::test]
    async fn path_is_the_name_of_the_directory_whatever_its_characters() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        for scheme in SCHEMES {
            for name in ["with space", "50%25", "a?b=c#d", "Bücher 日本"] {
                let path = parent.path().join(scheme).join(name);
                connect(&url(scheme, &path))
                    .await
                    .close()
                    .await
                    .expect("it closes");
                assert!(path.is_dir(), "{scheme}: {name}");
            }
        }
    }

    #[tokio::test]
    async fn directory_that_is_open_cannot_be_opened_again() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        for scheme in SCHEMES {
            let path = parent.path().join(scheme);
            let url = url(scheme, &path);
            let provider = connect(&url).await;
            let before = contents(&path);
            let error = refused(&url).await;
            assert!(matches!(error, Error::CannotOpen { .. }), "{scheme}: {error:?}");
            assert!(error.to_string().contains("close it there first"), "{error}");
            assert!(contents(&path) == before, "{scheme}: something was written");
            provider.close().await.expect("it closes");
        }
    }

    #[tokio::test]
    async fn place_that_holds_something_else_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(parent.path().join("letter.txt"), "dear").expect("it writes");
        for scheme in SCHEMES {
            for place in [parent.path().to_owned(), parent.path().join("letter.txt")] {
                let error = refused(&url(scheme, &place)).await;
                assert!(matches!(error, Error::CannotOpen { .. }), "{scheme}: {error:?}");
            }
        }
        let names: Vec<_> = std::fs::read_dir(parent.path())
            .expect("it lists")
            .map(|entry| entry.expect("it lists").file_name())
            .collect();
        assert_eq!(names, ["letter.txt"]);
    }

    #[tokio::test]
    async fn directory_of_another_engine_is_refused_by_name() {
        let pairs = SCHEMES
            .iter()
            .flat_map(|owner| SCHEMES.iter().map(move |it| (owner, it)));
        for (owner, stranger) in pairs.filter(|(owner, stranger)| owner != stranger) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            connect(&url(owner, directory.path()))
                .await
                .close()
                .await
                .expect("it closes");
            let before = contents(directory.path());
            let error = refused(&url(stranger, directory.path())).await;
            assert!(matches!(error, Error::CannotOpen { .. }), "{error:?}");
            let remedy = format!("it holds a store of engine {owner}, not {stranger}; open it with {owner}");
            assert!(error.to_string().contains(&remedy), "{error}");
            assert!(contents(directory.path()) == before, "something was written");
        }
    }

    #[tokio::test]
    async fn directory_of_another_format_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        for scheme in SCHEMES {
            let path = parent.path().join(scheme);
            let url = url(scheme, &path);
            connect(&url).await.close().await.expect("it closes");
            let marker = path.join("STORE");
            let ours = std::fs::read_to_string(&marker).expect("it reads");
            for (text, remedy) in [
                (
                    format!("kv-store {scheme} 99\n"),
                    "open it with the version that wrote it",
                ),
                ("something else".to_owned(), "restore the directory from a copy"),
            ] {
                std::fs::write(&marker, text).expect("it writes");
                let before = contents(&path);
                let error = refused(&url).await;
                assert!(matches!(error, Error::CannotOpen { .. }), "{scheme}: {error:?}");
                assert!(error.to_string().contains(remedy), "{error}");
                assert!(contents(&path) == before, "{scheme}: something was written");
            }
            std::fs::write(&marker, ours).expect("it writes");
            connect(&url).await.close().await.expect("it closes");
        }
    }
}
