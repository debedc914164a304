//! Decides what becomes of snapshots.

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
                stream: target.name.clone(),
                version,
                current,
            });
        }
        let head = self.state(target).head;
        let first = head.first_usable_snapshot(head.first());
        if version < first {
            return Err(Error::invalid(format!(
                "a snapshot of {} at version {version} would never be used, as events after it are not kept any more; \
                 take one at version {first} or later",
                target.name
            )));
        }
        self.end_dead_lease(target, writer);
        let now = self.now;
        let key = keys::snapshot(self.database_name(target), target.name, version);
        self.put(key, |key| encode_snapshot(key, now, message));
        let stream = self.planned(target);
        stream.has_new_snapshots = true;
        if !stream.state.head.has_snapshots {
            stream.state.head.has_snapshots = true;
            stream.is_changed = true;
            stream.is_underivable = true;
        }
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
            let key = keys::snapshot(self.database_name(target), target.name, *version);
            self.delete(key);
        }
        self.planned(target).has_new_snapshots = true;
        self.durable = true;
        self.bump(target, 0);
        Ok(Done::Cleared(versions.len()))
    }
}
