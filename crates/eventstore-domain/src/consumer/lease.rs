//! A lease: the right to change what one record guards, as long as that record is as its holder left it.

use eventstore_abstractions::{
    Bytes, Changes, Committed, Durability, Namespace, Result, SessionId, Timestamp,
};

use super::Shared;
use super::records::LeaseRecord;
use crate::record::encode;

/// Who takes a lease, and until when.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) session: SessionId,
    pub(super) name: String,
    pub(super) until: Timestamp,
}

/// A lease that was taken. Whoever takes it over changes its record, and every change of its former holder, which
/// requires the record, is refused from then on: whatever any clock says.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    key: Bytes,
    record: LeaseRecord,
    /// The record as it is stored.
    stored: Bytes,
}

impl Lease {
    /// The lease at `key`, in which `current` was read, as `claim` will have it: it is taken once
    /// [`taking`](Self::taking) is committed.
    pub(super) fn claimed(key: Bytes, current: Option<&LeaseRecord>, claim: &Claim) -> Self {
        let record = LeaseRecord {
            holder: Some(claim.session),
            name: claim.name.clone(),
            token: current.map_or(1, |record| record.token + 1),
            until: claim.until,
        };
        let stored = encode(&record);
        Self { key, record, stored }
    }

    /// The changes that take it, where `read` is what its record was.
    pub(super) fn taking(&self, changes: Changes, read: Option<Bytes>) -> Changes {
        changes
            .require(self.key.clone(), read)
            .put(self.key.clone(), self.stored.clone())
    }

    /// Changes that happen only while the lease is held.
    pub(super) fn changes(&self) -> Changes {
        self.require(Changes::new())
    }

    /// The same changes, only while the lease is held.
    pub(super) fn require(&self, changes: Changes) -> Changes {
        changes.require_equals(self.key.clone(), self.stored.clone())
    }

    pub(super) fn until(&self) -> Timestamp {
        self.record.until
    }

    /// Makes it last until `until`; `false` when it is lost. After an error it may be either: it is over.
    async fn renew(&mut self, namespace: &dyn Namespace, until: Timestamp) -> Result<bool> {
        let record = LeaseRecord {
            until,
            ..self.record.clone()
        };
        let stored = encode(&record);
        let changes = self.changes().put(self.key.clone(), stored.clone());
        let renewed = namespace.commit(changes, Durability::Buffered).await? == Committed::Applied;
        if renewed {
            (self.record, self.stored) = (record, stored);
        }
        Ok(renewed)
    }

    /// Renews it when it is time to, as far as the consumer's clock can tell; `false` when it is lost.
    pub(super) async fn keep(&mut self, shared: &Shared) -> Result<bool> {
        let now = shared.now();
        if now < shared.renew_at(self) {
            return Ok(true);
        }
        let until = now.saturating_add(shared.options.lease);
        self.renew(&*shared.namespace, until).await
    }

    /// Whether it is still held.
    pub(super) async fn is_held(&self, namespace: &dyn Namespace) -> Result<bool> {
        Ok(namespace.get(&self.key).await?.as_ref() == Some(&self.stored))
    }

    /// Gives it back together with `changes`, which were begun with [`changes`](Self::changes).
    pub(super) fn release(&self, changes: Changes) -> Changes {
        let record = LeaseRecord {
            holder: None,
            ..self.record.clone()
        };
        changes.put(self.key.clone(), encode(&record))
    }
}
