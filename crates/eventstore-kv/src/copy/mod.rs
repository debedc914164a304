//! Copies a store from one engine to another, whichever they are.
//!
//! Everything of a store is records under ordered keys, so a copy is all records in the order of their keys, page by
//! page. Each page is one commit together with how far the copy is, so that a copy that was cut short goes on. The record
//! that says what a store is comes last: before, nobody can open the target.

mod options;
mod records;
mod target;
mod verify;

use eventstore_abstractions::{Error, Result};
use kv_core::KeyValueStore;

pub use options::{Copied, CopyOptions, CopyProgress, CopyStep};

use crate::derived;
use crate::record::Heads;
use records::Side;
use target::{Begun, Copying};

/// Copies the store in `source` to `target`, which is empty or holds an unfinished copy of the same store: all databases
/// with their streams, versions, positions, ids, tags, snapshots, retentions and namespaces, as they are.
///
/// A copy that ended with an error, or with its process, goes on where it was when it is called again with the same
/// source. Until it has succeeded, [`Provider::open`](crate::Provider::open) refuses the target. At the end every record of both stores is
/// read and compared. Onto a copy that is finished and that nothing was written to since, it does nothing else.
///
/// What a source that was not closed has put off is written to it first.
///
/// Nothing may write to the source meanwhile. Appends are noticed, and refused as an error; changes of namespaces, where
/// consumers and projections keep their state, are noticed unless they come after the comparison.
///
/// Sessions are not copied: nobody holds a stream of the copy, and fencing tokens go on above those of the source.
///
/// ```
/// use std::sync::Arc;
///
/// use eventstore_abstractions::{EventMessage, EventStoreProviderExt, ExpectedVersion, Settings, StreamId};
/// use eventstore_kv::Provider;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), eventstore_abstractions::Error> {
/// let (source, target) = (Arc::new(kv_memory::Store::new()), Arc::new(kv_memory::Store::new()));
/// let account = StreamId::new("account", "alice")?;
/// let provider = Provider::open(source.clone(), Settings::default()).await?;
/// provider.append(&account, ExpectedVersion::NoStream, vec![EventMessage::json("Opened", &())?]).await?;
/// drop(provider);
///
/// let copied = eventstore_kv::copy(&*source, &*target).await?;
/// assert_eq!((copied.streams, copied.events), (1, 1));
///
/// let provider = Provider::open(target, Settings::default()).await?;
/// let deposited = EventMessage::json("Deposited", &500)?;
/// let appended = provider.append(&account, ExpectedVersion::StreamExists, vec![deposited]).await?;
/// assert_eq!((appended.version.get(), appended.position.get()), (2, 2));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// - [`Error::InvalidInput`]: the target holds something else; a record is too large for it, which the text names; or
///   the source is not as it was when the copy began. The text says what to do.
/// - [`Error::CannotOpen`]: the source holds no event store, or one of another layout.
/// - [`Error::Corrupt`]: a record of the source, or of what was copied, is damaged, which the text names.
/// - [`Error::Unavailable`]: an engine failed, or another copy writes to the target. Copy again: it goes on.
pub async fn copy(source: &dyn KeyValueStore, target: &dyn KeyValueStore) -> Result<Copied> {
    copy_with(source, target, CopyOptions::default()).await
}

/// The same with options.
///
/// ```
/// use std::sync::Arc;
///
/// use eventstore_abstractions::Settings;
/// use eventstore_kv::{CopyOptions, Provider};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), eventstore_abstractions::Error> {
/// let (source, target) = (Arc::new(kv_memory::Store::new()), kv_memory::Store::new());
/// drop(Provider::open(source.clone(), Settings::default()).await?);
/// let options = CopyOptions::default().on_progress(|progress| eprintln!("{progress}"));
/// let copied = eventstore_kv::copy_with(&*source, &target, options).await?;
/// assert_eq!((copied.databases, copied.events), (0, 0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`copy`].
pub async fn copy_with(
    source: &dyn KeyValueStore,
    target: &dyn KeyValueStore,
    options: CopyOptions,
) -> Result<Copied> {
    let (source, target) = (Side::source(source), Side::target(target));
    source.check().await?;
    // A store that was not closed may not have all of its records yet.
    derived::settle(source.engine)
        .await
        .map_err(|error| source.of(error))?;
    let heads = source.heads().await?;
    match target::begun(&target).await? {
        Begun::Finished => {
            if target.heads().await? != heads {
                return Err(Error::invalid(
                    "the target holds an event store that is no copy of the source as it is now; give an empty target",
                ));
            }
            verify::equal(&source, &target, &options).await
        }
        Begun::Unfinished(copying) if copying.source() != heads => Err(Error::invalid(
            "the target holds an unfinished copy of another store, or of this one before something was written to it; \
             empty the target, or give an empty one",
        )),
        Begun::Unfinished(copying) => copy_from(&source, copying, &options).await,
        Begun::Nothing => {
            // A store of larger records may not fit: then nothing is to be written.
            records::check_sizes(&source, &target, &options).await?;
            let copying = Copying::begin(&target, heads).await?;
            copy_from(&source, copying, &options).await
        }
    }
}

/// What is left of a copy that has begun.
async fn copy_from(source: &Side<'_>, mut copying: Copying<'_>, options: &CopyOptions) -> Result<Copied> {
    let mut next = Some(copying.rest());
    while let Some(scan) = next {
        let page = source.page(scan).await?;
        copying.add(page.entries).await?;
        options.tell(CopyStep::Copying, copying.copied());
        next = page.next;
    }
    let copied = verify::equal(source, copying.target(), options).await?;
    let heads: Heads = source.heads().await?;
    if heads != copying.source() {
        return Err(Error::invalid(verify::CHANGED));
    }
    copying.finish().await?;
    Ok(copied)
}
