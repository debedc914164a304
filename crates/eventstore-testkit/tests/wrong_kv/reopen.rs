//! Stores that lose or find things when they are closed and opened again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Durability, Outcome, Result};
use tokio::task::yield_now;

use crate::disk::{Store, Wrong, all_keys, batch, delete, wait_for_rival};

/// Begins empty at each open.
#[derive(Debug)]
pub(crate) struct LosesOnReopen;

#[async_trait]
impl Wrong for LosesOnReopen {
    async fn open(&self, right: &Store) {
        delete(right, all_keys(right).await).await;
    }
}

/// Keeps only what was there at the last close.
#[derive(Debug, Default)]
pub(crate) struct LosesOnDrop {
    closed: AtomicBool,
}

#[async_trait]
impl Wrong for LosesOnDrop {
    async fn open(&self, right: &Store) {
        if !self.closed.swap(false, Ordering::SeqCst) {
            delete(right, all_keys(right).await).await;
        }
    }

    async fn close(&self, _right: &Store) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

/// Loses every buffered commit at the next open.
#[derive(Debug, Default)]
pub(crate) struct LosesBuffered(Mutex<Vec<Bytes>>);

#[async_trait]
impl Wrong for LosesBuffered {
    async fn open(&self, right: &Store) {
        let lost = std::mem::take(&mut *self.0.lock().expect("no panic under the lock"));
        delete(right, lost).await;
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        if durability == Durability::Buffered {
            let keys = batch.writes().map(|(key, _)| key.clone());
            self.0.lock().expect("no panic under the lock").extend(keys);
        }
        right.commit(batch, durability).await
    }
}

/// Brings deleted keys back at the next open.
#[derive(Debug, Default)]
pub(crate) struct ResurrectsDeleted(Mutex<BTreeMap<Bytes, Option<Bytes>>>);

#[async_trait]
impl Wrong for ResurrectsDeleted {
    async fn open(&self, right: &Store) {
        let deleted = std::mem::take(&mut *self.0.lock().expect("no panic under the lock"));
        let outcome = right
            .commit(batch([], deleted), Durability::Durable)
            .await
            .expect("memory is written");
        assert_eq!(outcome, Outcome::Applied);
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        let keys: Vec<Bytes> = batch
            .writes()
            .filter(|(_, value)| value.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        let values = right.get_many(&keys).await?;
        self.0
            .lock()
            .expect("no panic under the lock")
            .extend(keys.into_iter().zip(values));
        right.commit(batch, durability).await
    }
}

/// Acknowledges a commit at once and writes it later, if it is still open then.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgesBeforeWriting {
    closed: Arc<AtomicBool>,
}

#[async_trait]
impl Wrong for AcknowledgesBeforeWriting {
    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        let (right, closed) = (Arc::clone(right), Arc::clone(&self.closed));
        tokio::spawn(async move {
            wait_for_rival(|| closed.load(Ordering::SeqCst)).await;
            if !closed.load(Ordering::SeqCst) {
                let _ = right.commit(batch, durability).await;
            }
        });
        yield_now().await;
        Ok(Outcome::Applied)
    }

    async fn close(&self, _right: &Store) {
        self.closed.store(true, Ordering::SeqCst);
    }
}
