//! From one URL to another.

use eventstore_abstractions::{Error, Result};
use eventstore_kv::{Copied, CopyOptions};

use crate::connect::{cannot_open, open};
use crate::url::Location;

/// Copies the store that `from` names to the place that `to` names, from any backend to any other: all databases with
/// their streams, versions, positions, ids, snapshots, retentions and namespaces, as they are.
///
/// The place must be empty, or hold a copy of the same store that was cut short: then it goes on there. Nothing may write
/// to `from` meanwhile. At the end every record of both is read and compared; before, `to` cannot be opened.
/// `docs/guide/scaling.md` in the repository is a walk-through.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstores::Result<()> {
/// let copied = eventstores::copy("fjall:./data", "postgres://app:secret@db.example/app").await?;
/// println!("{} events of {} streams, {} snapshots", copied.events, copied.streams, copied.snapshots);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`eventstore_kv::copy`](eventstore_kv::copy()), and [`Error::CannotOpen`] as [`connect`](crate::connect()) gives it; also where `from` names a
/// directory without a store, and for `memory:`, where nothing is left to be copied, or of a copy.
pub async fn copy(from: &str, to: &str) -> Result<Copied> {
    copy_with(from, to, CopyOptions::default()).await
}

/// The same with options: what to call with the progress.
///
/// ```no_run
/// use eventstores::CopyOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstores::Result<()> {
/// let options = CopyOptions::default().on_progress(|progress| eprintln!("{progress}"));
/// let copied = eventstores::copy_with("fjall:./data", "redb:./copy", options).await?;
/// # let _ = copied;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`copy`].
pub async fn copy_with(from: &str, to: &str, options: CopyOptions) -> Result<Copied> {
    let location = |url: &str| match url.parse().map_err(cannot_open)? {
        Location::Memory => Err(cannot_open(
            "memory: is a new and empty store each time; name a store that is kept",
        )),
        location => Ok(location),
    };
    let (source, target) = (location(from)?, location(to)?);
    if source == target {
        return Err(Error::invalid(
            "a store cannot be copied to where it is; give another place",
        ));
    }
    // An engine would make the directory.
    if source
        .directory()
        .is_some_and(|path| !kv_core::directory::is_marked(path))
    {
        return Err(cannot_open(format!(
            "there is no store at {source}; name one that there is"
        )));
    }
    let source = open(source).await?;
    let copied = match open(target).await {
        Ok(target) => {
            let copied = eventstore_kv::copy_with(&*source, &*target, options).await;
            let closed = target.close().await.map_err(eventstore_kv::open_error);
            // What the copy ended with says more than that its end could not be made durable.
            copied.and_then(|copied| closed.map(|()| copied))
        }
        Err(error) => Err(error),
    };
    // Nothing was written to it.
    let _ = source.close().await;
    copied
}
