//! From a URL to an open provider.

use std::sync::Arc;

use eventstore_abstractions::{Error, EventStoreProvider, Result, Settings};
#[cfg(feature = "_engine")]
use kv_core::KeyValueStore;

use crate::url::Location;

/// Opens the store that `url` names, with the default [`Settings`].
///
/// # Errors
/// As [`connect_with`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // What is wrong is in the error, together with what is right.
/// let error = eventstores::connect("mongo://db").await.unwrap_err();
/// assert!(error.to_string().contains("fjall:PATH"));
/// # }
/// ```
pub async fn connect(url: &str) -> Result<Arc<dyn EventStoreProvider>> {
    connect_with(url, Settings::default()).await
}

/// Opens the store that `url` names, with `settings`.
///
/// The scheme is case-insensitive. Of a server, the URL says everything: its parameters are in the documentation of the
/// backend's crate, `kv_postgres` or `kv_etcd`. No error repeats its password. A path is taken literally, relative to the working directory, and its directory
/// is made if it is missing; `sled:///abs` is the same as `sled:/abs`. Two calls with `memory:` open two stores.
/// It is called within a tokio runtime, which must live as long as the store is used: reads that wait for the disk run on
/// its blocking pool.
///
/// Nothing is written where the URL or the settings are refused.
///
/// # Errors
/// - [`Error::CannotOpen`]: the URL is wrong, the backend's feature is off, another process has the directory open,
///   the directory or table holds something else, or the server refuses the user.
/// - [`Error::InvalidInput`]: a setting is out of its limits.
/// - [`Error::Corrupt`]: what is stored there is damaged.
/// - [`Error::Unavailable`]: the file system refuses, or the server cannot be reached.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstores::Result<()> {
/// # #[cfg(feature = "memory")] {
/// use std::time::Duration;
/// use eventstores::{Database, Settings};
///
/// let settings = Settings::default()
///     .database(Database::new("tenant-7")?)
///     .session_timeout(Duration::from_secs(10));
/// let provider = eventstores::connect_with("memory:", settings).await?;
/// assert_eq!(provider.settings().database.as_str(), "tenant-7");
/// # }
/// # Ok(())
/// # }
/// ```
pub async fn connect_with(url: &str, settings: Settings) -> Result<Arc<dyn EventStoreProvider>> {
    let location: Location = url.parse().map_err(cannot_open)?;
    settings.validate()?;
    #[cfg(feature = "_engine")]
    return provide(open(location).await?, settings).await;
    #[cfg(not(feature = "_engine"))]
    Err(feature_off(&location))
}

/// The open engine at `location`.
#[cfg(feature = "_engine")]
pub(crate) async fn open(location: Location) -> Result<Arc<dyn KeyValueStore>> {
    match location {
        #[cfg(feature = "memory")]
        Location::Memory => Ok(Arc::new(kv_memory::Store::new())),
        #[cfg(feature = "sled")]
        Location::Sled(path) => opened(kv_sled::Store::open(path).await),
        #[cfg(feature = "fjall")]
        Location::Fjall(path) => opened(kv_fjall::Store::open(path).await),
        #[cfg(feature = "redb")]
        Location::Redb(path) => opened(kv_redb::Store::open(path).await),
        #[cfg(feature = "lmdb")]
        Location::Lmdb(path) => opened(kv_lmdb::Store::open(path).await),
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => opened(kv_postgres::Store::open(url.as_str()).await),
        #[cfg(feature = "etcd")]
        Location::Etcd(url) => Ok(Arc::new(
            kv_etcd::Store::open(url.as_str()).await.map_err(server_error)?,
        )),
        #[allow(unreachable_patterns, reason = "nothing is off in a build with every backend")]
        off => Err(feature_off(&off)),
    }
}

#[cfg(feature = "_engine")]
#[allow(dead_code, reason = "a build may have the memory backend alone")]
fn opened<S: KeyValueStore>(engine: kv_core::Result<S>) -> Result<Arc<dyn KeyValueStore>> {
    match engine {
        Ok(engine) => Ok(Arc::new(engine)),
        Err(error) => Err(eventstore_kv::open_error(error)),
    }
}

/// A provider over an open engine. An engine that turns out not to hold events is closed before the error goes out,
/// so that its location is free again.
#[cfg(feature = "_engine")]
async fn provide(engine: Arc<dyn KeyValueStore>, settings: Settings) -> Result<Arc<dyn EventStoreProvider>> {
    match eventstore_kv::Provider::open(Arc::clone(&engine), settings).await {
        Ok(provider) => Ok(Arc::new(provider)),
        Err(error) => {
            // The first error says what is wrong; one of closing would hide it.
            let _ = engine.close().await;
            Err(error)
        }
    }
}

/// The error of a backend that reads the URL itself.
#[cfg(feature = "etcd")]
fn server_error(error: kv_core::Error) -> Error {
    match error {
        kv_core::Error::Invalid { reason } => cannot_open(reason),
        error => eventstore_kv::open_error(error),
    }
}

fn feature_off(location: &Location) -> Error {
    let feature = location.feature();
    cannot_open(format!(
        "{location} needs the feature `{feature}` of the crate `eventstores`, which is off; write in Cargo.toml: \
         eventstores = {{ version = \"{}.{}\", features = [\"{feature}\"] }}",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
    ))
}

pub(crate) fn cannot_open(reason: impl ToString) -> Error {
    Error::CannotOpen {
        reason: reason.to_string(),
        source: None,
    }
}
