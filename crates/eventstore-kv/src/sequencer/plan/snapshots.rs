//! Decides what becomes of snapshots.

use bytes::Bytes;
use eventstore_abstractions::{Error, EventMessage, Result, Version};

use super::{Done, Plan, Target};
use crate::hold::Writer;
use crate::keys;
use crate::record::encode_snapshot;

impl Plan {
    pub(super) fn snapshot(
        &mut self,
        target: Target<'_>,
        writer: Writer,
        version: Version,
        message: &EventMessage,
    ) -> Result<Done> {
        self.check(target, writer)?;
        let current = Version::new(self.state(target).head.version);
        if version > current {
            return Err(Error::VersionNotFound {
                stream: target.stream.clone(),
                version,
                current,
            });
        }
        self.end_dead_lease(target, writer);
        let now = self.now;
        let key = keys::snapshot(target.database, target.stream, version);
        self.put_once(key, |key| encode_snapshot(key, now, message));
        self.touched.insert(snapshots_marker(target));
        self.durable = true;
        self.bump(target, 0);
        Ok(Done::Written)
    }

    pub(super) fn clear(&mut self, target: Target<'_>, writer: Writer, versions: &[Version]) -> Result<Done> {
        self.check(target, writer)?;
        if versions.is_empty() {
            return Ok(Done::Cleared(0));
        }
        self.end_dead_lease(target, writer);
        for version in versions {
            let key = keys::snapshot(target.database, target.stream, *version);
            self.touched.insert(key.clone());
            self.delete(key);
        }
        self.touched.insert(snapshots_marker(target));
        self.durable = true;
        self.bump(target, 0);
        Ok(Done::Cleared(versions.len()))
    }
}

/// Stands in `touched` for "some snapshot of this stream".
pub(super) fn snapshots_marker(target: Target<'_>) -> Bytes {
    keys::snapshot(target.database, target.stream, Version::ZERO)
}
