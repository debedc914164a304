//! Both as one engine: what is pending stands before what is stored. It has no watch: nobody else writes to an
//! engine of which something is put off.

use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use async_trait::async_trait;
use bytes::Bytes;
use kv_core::{
    Batch, Capabilities, Direction, Durability, Entry, KeyValueStore, Outcome, Page, PageBuilder, Result,
    Scan,
};

use super::deferring::Deferring;
use crate::keys::{self, Derivable};

#[async_trait]
impl KeyValueStore for Deferring<Arc<dyn KeyValueStore>> {
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if !keys::is_derived(key) {
            return self.engine.get(key).await;
        }
        self.catch_up().await?;
        // What is not pending any more is in the engine by then.
        let writes = {
            let pending = self.pending.read();
            if let Some(value) = pending.get(key) {
                return Ok(Some(value));
            }
            pending.stored.writes()
        };
        let stored = self.engine.get(key).await?;
        if let Some(stored) = stored.as_ref().filter(|_| keys::stream_of_head(key).is_some()) {
            self.pending.write().stored.remember(key, stored, writes);
        }
        // What has become pending meanwhile may be older than what was read, and is what the next read finds.
        Ok(self.pending.read().get(key).or(stored))
    }

    /// What is pending is read first: where several commits are under way it may be older than the rest.
    async fn get_many(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        if !keys.iter().any(|key| keys::is_derived(key)) {
            return self.engine.get_many(keys).await;
        }
        self.catch_up().await?;
        let mut values = {
            let pending = self.pending.read();
            keys.iter().map(|key| pending.get(key)).collect::<Vec<_>>()
        };
        let missing = keys.iter().zip(&values).filter(|(_, value)| value.is_none());
        let missing = missing.map(|(key, _)| key.clone()).collect::<Vec<_>>();
        if !missing.is_empty() {
            let stored = self.engine.get_many(&missing).await?;
            let pending = self.pending.read();
            let mut found = missing
                .iter()
                .zip(stored)
                .map(|(key, stored)| pending.get(key).or(stored));
            for value in values.iter_mut().filter(|value| value.is_none()) {
                *value = found.next().flatten();
            }
        }
        Ok(values)
    }

    async fn scan(&self, scan: Scan) -> Result<Page> {
        self.catch_up().await?;
        let pending = match keys::derivable(&scan) {
            Derivable::Nothing => Vec::new(),
            // What is not pending any more is in the engine by then.
            Derivable::Runs(stream) => self.pending.read().page(stream, &scan),
            Derivable::Anything => {
                self.settle().await?;
                Vec::new()
            }
        };
        let page = self.engine.scan(scan.clone()).await?;
        Ok(if pending.is_empty() {
            page
        } else {
            merged(scan, pending, page)
        })
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<Outcome> {
        let is_pending = {
            let pending = self.pending.read();
            batch.writes().any(|(key, _)| pending.has(key))
        };
        if is_pending {
            self.settle().await?;
        }
        self.commit_straight(batch, durability).await
    }

    async fn close(&self) -> Result<()> {
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "what is derived of the log was not written; it is derived at the next opening");
        }
        self.pending.write().clear();
        self.engine.close().await
    }
}

/// The page of `scan` of what is pending and what is stored, of which the engine has given `page`.
fn merged(scan: Scan, pending: Vec<Entry>, page: Page) -> Page {
    let direction = scan.direction;
    let is_cut = page.next.is_some();
    let mut builder = PageBuilder::new(scan);
    let (mut pending, mut stored) = (
        pending.into_iter().peekable(),
        page.entries.into_iter().peekable(),
    );
    loop {
        if is_cut && stored.peek().is_none() {
            // The engine has more, and what is pending may come behind it.
            builder.cut();
            break;
        }
        let Some(Entry { key, value }) = next(&mut pending, &mut stored, direction) else {
            break;
        };
        if !builder.push(key, value) {
            break;
        }
    }
    builder.finish()
}

/// The entry that comes first. Under the same key what is pending is newer.
fn next(
    pending: &mut Peekable<vec::IntoIter<Entry>>,
    stored: &mut Peekable<vec::IntoIter<Entry>>,
    direction: Direction,
) -> Option<Entry> {
    let (Some(first), Some(second)) = (pending.peek(), stored.peek()) else {
        return pending.next().or_else(|| stored.next());
    };
    let order = match direction {
        Direction::Forward => first.key.cmp(&second.key),
        Direction::Reverse => second.key.cmp(&first.key),
    };
    if order.is_eq() {
        stored.next();
    }
    if order.is_le() {
        pending.next()
    } else {
        stored.next()
    }
}
