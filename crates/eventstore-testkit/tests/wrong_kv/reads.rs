//! Stores that read wrongly.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use kv_core::{Batch, Bytes, Direction, Durability, Outcome, Page, Result, Scan};
use tokio::task::yield_now;

use crate::disk::{Store, Wrong, map_writes};

/// Declares stores of which `get` is wrong.
macro_rules! wrong_gets {
    ($($name:ident: |$right:ident, $key:ident| $get:expr;)+) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        #[async_trait]
        impl Wrong for $name {
            async fn get(&self, $right: &Store, $key: &[u8]) -> Result<Option<Bytes>> {
                $get
            }
        }
    )+};
}

/// Declares stores of which `scan` is wrong.
macro_rules! wrong_scans {
    ($($name:ident: |$right:ident, $scan:ident| $page:expr;)+) => {$(
        #[derive(Debug)]
        pub(crate) struct $name;

        #[async_trait]
        impl Wrong for $name {
            async fn scan(&self, $right: &Store, $scan: Scan) -> Result<Page> {
                $page
            }
        }
    )+};
}

wrong_gets! {
    AbsentIsEmpty: |right, key| Ok(Some(right.get(key).await?.unwrap_or_default()));
    EmptyIsAbsent: |right, key| Ok(right.get(key).await?.filter(|value| !value.is_empty()));
}

/// Answers every later read of a key with what the first one found.
#[derive(Debug, Default)]
pub(crate) struct CachesFirstRead(Mutex<HashMap<Bytes, Option<Bytes>>>);

#[async_trait]
impl Wrong for CachesFirstRead {
    async fn get(&self, right: &Store, key: &[u8]) -> Result<Option<Bytes>> {
        let value = right.get(key).await?;
        let mut cache = self.0.lock().expect("no panic under the lock");
        Ok(cache.entry(Bytes::copy_from_slice(key)).or_insert(value).clone())
    }
}

/// A replica that is behind: one read in three is answered with the first value ever read.
#[derive(Debug, Default)]
pub(crate) struct SometimesStale {
    first: Mutex<HashMap<Bytes, Option<Bytes>>>,
    reads: AtomicUsize,
}

#[async_trait]
impl Wrong for SometimesStale {
    async fn get(&self, right: &Store, key: &[u8]) -> Result<Option<Bytes>> {
        let value = right.get(key).await?;
        let mut first = self.first.lock().expect("no panic under the lock");
        let old = first
            .entry(Bytes::copy_from_slice(key))
            .or_insert_with(|| value.clone());
        Ok(if self.reads.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            old.clone()
        } else {
            value
        })
    }
}

/// Answers `get_many` in key order.
#[derive(Debug)]
pub(crate) struct SortsGetMany;

#[async_trait]
impl Wrong for SortsGetMany {
    async fn get_many(&self, right: &Store, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let mut keys = keys.to_vec();
        keys.sort();
        right.get_many(&keys).await
    }
}

/// Reads the last key of `get_many` first.
#[derive(Debug)]
pub(crate) struct GetManyReadsBackwards;

#[async_trait]
impl Wrong for GetManyReadsBackwards {
    async fn get_many(&self, right: &Store, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::new();
        for key in keys.iter().rev() {
            values.insert(0, right.get(key).await?);
            yield_now().await;
        }
        Ok(values)
    }
}

/// Deletes by writing an empty value, which only `get` takes for absent.
#[derive(Debug)]
pub(crate) struct ScanShowsTombstones;

#[async_trait]
impl Wrong for ScanShowsTombstones {
    async fn get(&self, right: &Store, key: &[u8]) -> Result<Option<Bytes>> {
        EmptyIsAbsent.get(right, key).await
    }

    async fn commit(&self, right: &Store, batch: Batch, durability: Durability) -> Result<Outcome> {
        let batch = map_writes(batch, |(key, value)| Some((key, Some(value.unwrap_or_default()))));
        right.commit(batch, durability).await
    }
}

wrong_scans! {
    SwapsNeighbours: |right, scan| {
        let mut page = right.scan(scan).await?;
        if page.entries.len() > 1 {
            page.entries.swap(0, 1);
        }
        Ok(page)
    };
    ReversesNothing: |right, scan| right.scan(Scan { direction: Direction::Forward, ..scan }).await;
    ScanSkipsItsStart: |right, scan| right.scan(Scan { start: above(&scan.start), ..scan }).await;
    ScanIncludesItsEnd: |right, scan| right.scan(Scan { end: above(&scan.end), ..scan }).await;
    EndsAtTheLastByte: |right, scan| {
        let mut scan = scan;
        if scan.end.is_empty() {
            scan.end = Bytes::from_static(b"\xff");
        }
        right.scan(scan).await
    };
    SwapsInvertedBounds: |right, scan| {
        let mut scan = scan;
        if scan.is_empty() {
            std::mem::swap(&mut scan.start, &mut scan.end);
        }
        right.scan(scan).await
    };
    RoundsTheEndUp: |right, scan| {
        let mut scan = scan;
        scan.end = match scan.end.first() {
            Some(&first) if scan.end.len() > 1 && first < u8::MAX => Bytes::from(vec![first + 1]),
            _ => scan.end,
        };
        right.scan(scan).await
    };
    LosesAnEntryBetweenPages: |right, scan| {
        let page = right.scan(scan).await?;
        let next = match page.next {
            Some(next) => {
                let lost = right.scan(next.clone().max_items(1)).await?;
                lost.next.map(|after| Scan { max_items: next.max_items, ..after })
            }
            None => None,
        };
        Ok(Page { next, ..page })
    };
    ContinuesAtAKeyItSawBefore: |right, scan| {
        let mut page = right.scan(scan).await?;
        if let Some(next) = page.next.as_mut().filter(|next| next.direction == Direction::Forward) {
            let seen = right.scan(next.clone().max_items(1)).await?;
            next.start = seen.entries.first().map_or_else(|| next.start.clone(), |entry| entry.key.clone());
        }
        Ok(page)
    };
    IgnoresMaxItems: |right, scan| right.scan(scan.max_items(usize::MAX)).await;
    IgnoresMaxBytes: |right, scan| right.scan(scan.max_bytes(usize::MAX)).await;
    LeavesOutLargeEntries: |right, scan| {
        let mut page = right.scan(scan.clone()).await?;
        page.entries.retain(|entry| entry.key.len() + entry.value.len() <= scan.max_bytes);
        Ok(page)
    };
    PageNotAtomic: |right, scan| {
        let mut page = right.scan(scan).await?;
        for entry in &mut page.entries {
            yield_now().await;
            entry.value = right.get(&entry.key).await?.unwrap_or_else(|| entry.value.clone());
        }
        Ok(page)
    };
}

/// The smallest key above `key`; an empty bound stays empty.
fn above(key: &Bytes) -> Bytes {
    if key.is_empty() {
        Bytes::new()
    } else {
        [key, &b"\0"[..]].concat().into()
    }
}
