//! Values and pages.

use std::sync::atomic::{AtomicUsize, Ordering};

use kv_core::{Bytes, Direction, Page, PageBuilder, Result, Scan};
use tonic::Status;

use crate::client::Client;
use crate::error::Failure;
use crate::layout::Layout;
use crate::messages::{
    DESCENDING, KeyValue, RangeRequest, RangeResponse, Request, TxnRequest, TxnResponse, call,
};

/// Entries of a reply that is never too large, whatever their values.
const SAFE_ENTRIES: i64 = 32;
/// Most entries of a reply: an estimate of their sizes that is wrong must not make a member build gigabytes.
const MOST_ENTRIES: usize = 1024;
/// Most bytes that a reply is meant to have: memory of ours and of the member.
const REPLY_BYTES: usize = 8 << 20;
/// What an entry is taken to have before any was seen.
const FIRST_GUESS_BYTES: usize = 1024;
/// A reverse range with more keys is narrowed first: etcd reads all of a range, values and all, to turn it around.
const MOST_TURNED: i64 = 2 * MOST_ENTRIES as i64;
/// Enough to narrow a range of any eight bytes, such as a position, with one key in it. Then the rest is read.
const MAX_HALVINGS: usize = 72;
/// How often a backward read begins anew when the revision that it reads is compacted away.
const TRIES: usize = 8;
const COMPACTED: &str = "has been compacted";

/// How large entries are, so that a reply is asked for that is about as large as the page.
#[derive(Debug)]
pub(crate) struct Sizes(AtomicUsize);

impl Sizes {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(FIRST_GUESS_BYTES))
    }

    /// How many entries fill `bytes`, or a little more than that: a page is cut where it is full.
    fn entries(&self, bytes: usize) -> usize {
        let each = self.0.load(Ordering::Relaxed).max(1);
        let entries = bytes.min(REPLY_BYTES) / each;
        (entries + entries / 8 + 1).min(MOST_ENTRIES)
    }

    fn note(&self, kvs: &[KeyValue]) {
        if kvs.is_empty() {
            return;
        }
        let bytes = kvs.iter().map(|it| it.key.len() + it.value.len()).sum::<usize>();
        let before = self.0.load(Ordering::Relaxed);
        // Ranges of large and of small entries take turns: half of what was known is kept.
        self.0.store((before + bytes / kvs.len()) / 2, Ordering::Relaxed);
    }
}

impl Client {
    /// The value of one key of the cluster.
    pub(crate) async fn value(&self, key: Bytes) -> Result<Option<Bytes>> {
        let reply = self.range(point(key)).await.map_err(Failure::of_read)?;
        Ok(reply.kvs.into_iter().next().map(|it| it.value))
    }

    /// The values of `keys` of the cluster, `limit` of them at one moment.
    pub(crate) async fn values(&self, keys: &[Bytes], limit: usize) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        // One after another: what is read later is as new or newer.
        for keys in keys.chunks(limit) {
            let success = keys.iter().map(|key| Request::Range(point(key.clone())).into());
            let request = TxnRequest {
                success: success.collect(),
                ..TxnRequest::default()
            };
            let reply: TxnResponse = self.read(call::TXN, request).await.map_err(Failure::of_read)?;
            let found = reply.responses.into_iter().map(|it| it.range.unwrap_or_default());
            values.extend(found.map(|mut range| range.kvs.pop().map(|it| it.value)));
        }
        Ok(values)
    }

    /// One page: one range at one revision.
    pub(crate) async fn page(&self, layout: &Layout, sizes: &Sizes, scan: Scan) -> Result<Page> {
        if scan.is_empty() {
            return Ok(PageBuilder::new(scan).finish());
        }
        let entries = sizes.entries(scan.max_bytes).min(scan.max_items.max(1));
        let request = RangeRequest {
            key: layout.key(&scan.start),
            range_end: layout.end(&scan.end),
            limit: entries as i64,
            ..RangeRequest::default()
        };
        let reply = match scan.direction {
            Direction::Forward => self.range(request).await,
            Direction::Reverse => self.turned(request).await,
        };
        let reply = reply.map_err(Failure::of_read)?;
        sizes.note(&reply.kvs);
        Ok(page(layout, scan, reply))
    }

    /// The reply to `request`, or to one for fewer entries where those would be too large to take.
    async fn range(&self, mut request: RangeRequest) -> Result<RangeResponse, Failure> {
        loop {
            match self.read(call::RANGE, request.clone()).await {
                Err(Failure::TooLargeReply(_)) if request.limit > SAFE_ENTRIES => {
                    request.limit = SAFE_ENTRIES
                }
                reply => return reply,
            }
        }
    }

    /// The last entries of the range, the last one first.
    async fn turned(&self, mut request: RangeRequest) -> Result<RangeResponse, Failure> {
        request.sort_order = DESCENDING;
        for _ in 0..TRIES {
            let narrowed = match self.narrowed(&request).await {
                Ok(narrowed) => narrowed,
                Err(Failure::Refused(status)) if status.message().contains(COMPACTED) => continue,
                Err(failure) => return Err(failure),
            };
            let is_narrowed = narrowed.key != request.key;
            match self.range(narrowed).await {
                Ok(mut reply) => {
                    // What was left out comes after what is here.
                    reply.more |= is_narrowed;
                    return Ok(reply);
                }
                Err(Failure::Refused(status)) if status.message().contains(COMPACTED) => {}
                Err(failure) => return Err(failure),
            }
        }
        let reason = "etcd compacts faster than a range can be read backwards; keep more revisions";
        Err(Failure::Later(Status::aborted(reason)))
    }

    /// The request for as small a part of the range, at its end, as has enough keys. All is counted and read at one
    /// revision.
    async fn narrowed(&self, request: &RangeRequest) -> Result<RangeRequest, Failure> {
        let count = async |key: &Bytes, revision: i64| {
            let request = RangeRequest {
                key: key.clone(),
                range_end: request.range_end.clone(),
                revision,
                count_only: true,
                ..RangeRequest::default()
            };
            self.range(request).await
        };
        let first = count(&request.key, 0).await?;
        if first.count <= MOST_TURNED {
            return Ok(request.clone());
        }
        let revision = first.header.unwrap_or_default().revision;
        // From `low` on there are too many keys, from `high` on too few.
        let (mut low, mut high) = (request.key.clone(), request.range_end.clone());
        for _ in 0..MAX_HALVINGS {
            let Some(middle) = between(&low, &high) else { break };
            let found = count(&middle, revision).await?.count;
            if found < request.limit {
                high = middle;
            } else {
                low = middle;
                if found <= MOST_TURNED {
                    break;
                }
            }
        }
        Ok(RangeRequest {
            key: low,
            revision,
            ..request.clone()
        })
    }
}

/// The reply as a page of `scan`, which goes on where the range has more.
fn page(layout: &Layout, scan: Scan, reply: RangeResponse) -> Page {
    let mut page = PageBuilder::new(scan);
    let is_whole = reply
        .kvs
        .into_iter()
        .all(|it| page.push(layout.stripped(&it.key), it.value));
    if is_whole && reply.more {
        page.cut();
    }
    page.finish()
}

/// A key about half the way from `low` to `high`, if one is found.
fn between(low: &[u8], high: &[u8]) -> Option<Bytes> {
    const WINDOW: usize = size_of::<u128>();
    let common = low.iter().zip(high).take_while(|(low, high)| low == high).count();
    let window = |key: &[u8]| {
        let mut bytes = [0; WINDOW];
        let rest = &key[common..];
        let length = rest.len().min(WINDOW);
        bytes[..length].copy_from_slice(&rest[..length]);
        u128::from_be_bytes(bytes)
    };
    let (from, to) = (window(low), window(high));
    let middle = from + (to.checked_sub(from)? / 2);
    let middle: Bytes = [&low[..common], &middle.to_be_bytes()].concat().into();
    (low < &middle[..] && &middle[..] < high).then_some(middle)
}

pub(crate) fn point(key: Bytes) -> RangeRequest {
    RangeRequest {
        key,
        ..RangeRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key at which halving ends that looks for `wanted`.
    fn halved(low: &[u8], high: &[u8], wanted: &[u8]) -> (Bytes, usize) {
        let (mut low, mut high) = (Bytes::copy_from_slice(low), Bytes::copy_from_slice(high));
        for round in 0.. {
            let Some(middle) = between(&low, &high) else {
                return (low, round);
            };
            if middle <= wanted {
                low = middle
            } else {
                high = middle
            }
        }
        unreachable!("it ends")
    }

    #[test]
    fn halving_gets_close_to_any_key_and_never_past_it() {
        for wanted in [
            &b"app\0k\0\0\0\0\0\0\x4e\x20"[..],
            b"app\0kzzz",
            b"app\0k\xff\xff\xff\xff\xff",
        ] {
            let (found, rounds) = halved(b"app\0k", b"app\0l", wanted);
            assert!(
                found <= wanted && found[..7.min(found.len())] == wanted[..7.min(found.len())],
                "{found:?}"
            );
            assert!(rounds <= 256, "{rounds}");
        }
    }

    #[test]
    fn nothing_is_between_neighbours() {
        assert_eq!(between(b"a", b"a\0"), None);
        assert_eq!(between(b"a", b"a"), None);
        assert_eq!(between(b"b", b"a"), None);
    }

    #[test]
    fn page_that_a_reply_cuts_goes_on_and_one_that_the_range_ends_does_not() {
        let layout = Layout::new("app");
        let reply = |more| RangeResponse {
            kvs: vec![KeyValue {
                key: layout.key(b"a"),
                ..KeyValue::default()
            }],
            more,
            ..RangeResponse::default()
        };
        let scan = Scan::range("a", "").max_items(7);
        assert_eq!(page(&layout, scan.clone(), reply(false)).next, None);
        let next = page(&layout, scan, reply(true)).next.expect("more follows");
        assert_eq!((next.start.as_ref(), next.max_items), (&b"a\0"[..], 7));
    }
}
