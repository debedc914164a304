//! From files to a server, and back.

use eventstores::{Error, connect_with, copy};

use crate::content::{dump, fill, goes_on, seed, settings};

/// Moves a store from files to the server, and back to other files.
async fn moves_there_and_back(server: &str) {
    let (parent, (number, seed)) = (tempfile::tempdir().expect("a temporary directory"), seed());
    let files = |name: &str| format!("fjall:{}", parent.path().join(name).display());
    let (before, after) = (files("before"), files("after"));
    let provider = connect_with(&before, settings()).await.expect("it opens");
    fill(&*provider, number).await;
    let original = dump(&*provider).await;
    provider.close().await.expect("it closes");

    let there = copy(&before, server).await;
    let there = there.unwrap_or_else(|error| panic!("{error}; {seed}"));
    let back = copy(server, &after).await;
    assert_eq!(back.unwrap_or_else(|error| panic!("{error}; {seed}")), there);
    for url in [server, &after] {
        let provider = connect_with(url, settings()).await.expect("it opens");
        assert!(dump(&*provider).await == original, "{seed}");
        goes_on(&*provider).await;
        provider.close().await.expect("it closes");
    }
    let refused = copy(&before, server).await;
    assert!(matches!(refused, Err(Error::InvalidInput { .. })), "{refused:?}");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn store_moves_to_postgres_and_back() {
    use crate::postgres_server::{FreshTable, server};

    if server().is_some() {
        let table = FreshTable::new();
        moves_there_and_back(&table.url()).await;
    }
}

#[cfg(feature = "etcd")]
#[tokio::test]
async fn store_moves_to_etcd_and_back() {
    use crate::etcd_server::{FreshPrefix, server};

    if server().is_some() {
        let prefix = FreshPrefix::new();
        moves_there_and_back(&prefix.url()).await;
    }
}
