//! Compares a copy with its source, record by record.

use eventstore_abstractions::{Error, Result};
use kv_core::Entry;

use super::records::Side;
use super::{Copied, CopyOptions, CopyStep};
use crate::keys::{self, Kind};
use crate::record::{DatabaseHead, Place, Record, open_block};

pub(super) const CHANGED: &str = "something was written to the source while it was copied; stop whatever writes to it, \
                                  empty the target, and copy again";

/// Records between two reports of the progress.
const REPORT_RECORDS: u64 = 4_096;

/// Makes sure that both sides have the same records, and counts them.
pub(super) async fn equal(source: &Side<'_>, target: &Side<'_>, options: &CopyOptions) -> Result<Copied> {
    let mut counted = Counted::default();
    let (mut originals, mut copies) = (source.records(), target.records());
    loop {
        match (originals.next().await?, copies.next().await?) {
            (None, None) => break,
            (Some(original), Some(copy)) if original == copy => {
                counted.add(&original).map_err(|error| source.of(error))?;
            }
            (original, copy) => return Err(difference(original, copy)),
        }
        let Copied { records, bytes, .. } = counted.copied;
        if records.is_multiple_of(REPORT_RECORDS) {
            options.tell(CopyStep::Verifying, (records, bytes));
        }
    }
    let Counted { copied, positions } = counted;
    options.tell(CopyStep::Verifying, (copied.records, copied.bytes));
    if positions != copied.events.wrapping_add(copied.removed) {
        return Err(source.of(Error::Corrupt {
            reason: format!(
                "the heads of its databases have {positions} positions, and their logs have {} events",
                copied.events.wrapping_add(copied.removed)
            ),
            source: None,
        }));
    }
    Ok(copied)
}

#[derive(Default)]
struct Counted {
    copied: Copied,
    /// The sum of the positions of all databases.
    positions: u64,
}

impl Counted {
    fn add(&mut self, Entry { key, value }: &Entry) -> Result<()> {
        let copied = &mut self.copied;
        copied.records += 1;
        copied.bytes += (key.len() + value.len()) as u64;
        match keys::kind(key) {
            Kind::DatabaseHead => {
                copied.databases += 1;
                let head = DatabaseHead::open(key, value)?;
                self.positions = self.positions.wrapping_add(head.position);
            }
            Kind::LogBlock => {
                for segment in open_block(key, value)? {
                    let count = match segment.run {
                        Place::Removed => &mut copied.removed,
                        Place::Copied(_) | Place::Stored { .. } => &mut copied.events,
                    };
                    *count = count.wrapping_add(segment.events);
                }
            }
            Kind::StreamHead => copied.streams += 1,
            Kind::Snapshot => copied.snapshots += 1,
            Kind::Lease | Kind::Settled | Kind::Turn | Kind::Other => {}
        }
        Ok(())
    }
}

/// The error of the first records that are not the same. Both are as they were written, by their checksums.
fn difference(original: Option<Entry>, copy: Option<Entry>) -> Error {
    let first = [&original, &copy]
        .into_iter()
        .flatten()
        .map(|entry| &entry.key)
        .min();
    let record = first.map(|key| keys::describe(key)).unwrap_or_default();
    Error::invalid(format!(
        "{record} is not the same in source and target: {CHANGED}"
    ))
}
