//! A commit: one transaction of compares and operations.
//!
//! etcd bounds a transaction at so many compares and so many operations (`--max-txn-ops`), and counts those of one
//! that is nested in another together with the one around it. So a transaction of a few nested ones holds many more
//! writes than a flat one, and is as atomic: all compares look at what was before it, and all writes are one revision.
//!
//! Conditions do not nest in that way, for all of a batch must hold. Where a batch has more of them than fit, they are
//! read at one revision, and the transaction requires that nobody has committed since: every commit puts the one key
//! that it compares.

use std::collections::{BTreeMap, HashMap};

use kv_core::{Batch, Bytes, Capabilities, Condition, Error, Outcome, Result};

use crate::client::Client;
use crate::error::Failure;
use crate::layout::Layout;
use crate::messages::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp, TxnRequest, TxnResponse, call,
};
use crate::options::Options;
use crate::reads::point;

/// Longest key: the event store's have 487 bytes.
const MAX_KEY_BYTES: usize = 1024;
/// Most operations of a batch: with more, bytes are what limits a batch of events.
const MAX_OPERATIONS: usize = 2048;
/// What a request has beside keys and values, for one operation and as a whole: tags, lengths, a header.
const BYTES_PER_OPERATION: usize = 40;
const BYTES_PER_REQUEST: usize = 4096;
/// How often a batch with very many conditions is tried while others commit.
const TRIES: usize = 1000;

/// What the members' limits leave for batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The members' `--max-txn-ops`.
    txn_ops: usize,
    pub(crate) capabilities: Capabilities,
}

impl Limits {
    pub(crate) fn new(options: &Options, layout: &Layout) -> Self {
        let txn_ops = options.max_txn_ops;
        let halves = Self::half(txn_ops) * (txn_ops - Self::half(txn_ops));
        let per_operation = layout.added_bytes() + BYTES_PER_OPERATION;
        // One is the key that each commit puts. Most of a request is for what the batch itself has.
        let operations = MAX_OPERATIONS
            .min(halves - 1)
            .min(options.max_request_bytes / 4 / per_operation);
        let overhead = BYTES_PER_REQUEST
            + operations * per_operation
            // Keys of conditions are there twice: the branch for their failure reads them.
            + Self::half(txn_ops) * (MAX_KEY_BYTES + per_operation);
        let batch_bytes = options.max_request_bytes - overhead;
        Self {
            txn_ops,
            capabilities: Capabilities {
                durable: true,
                shared: true,
                max_key_bytes: MAX_KEY_BYTES,
                max_value_bytes: batch_bytes - MAX_KEY_BYTES,
                max_batch_bytes: batch_bytes,
                max_batch_operations: operations,
            },
        }
    }

    /// How many compares, and how many nested transactions, one transaction has. What is left is for each nested one.
    fn half(txn_ops: usize) -> usize {
        (txn_ops / 2).min(64)
    }

    /// Most conditions that a transaction compares itself, and most keys that one reads.
    pub(crate) fn compares(&self) -> usize {
        Self::half(self.txn_ops)
    }

    /// The writes as operations of one transaction, nested where they are many.
    fn nested(&self, mut operations: Vec<RequestOp>) -> Vec<RequestOp> {
        if operations.len() <= self.txn_ops {
            return operations;
        }
        let mut nested = Vec::new();
        while !operations.is_empty() {
            let size = (self.txn_ops - self.compares()).min(operations.len());
            let rest = operations.split_off(size);
            let txn = TxnRequest {
                success: std::mem::replace(&mut operations, rest),
                ..TxnRequest::default()
            };
            nested.push(Request::Txn(txn).into());
        }
        nested
    }
}

impl Client {
    pub(crate) async fn commit(&self, layout: &Layout, limits: &Limits, batch: Batch) -> Result<Outcome> {
        batch.check(&limits.capabilities)?;
        if batch.is_empty() {
            return Ok(Outcome::Applied);
        }
        let (conditions, writes) = batch.into_parts();
        let success = limits.nested(operations(layout, writes));
        let distinct = distinct(&conditions);
        if distinct.len() <= limits.compares() {
            self.compared(layout, &conditions, distinct, success).await
        } else {
            self.read_first(layout, limits, &conditions, success).await
        }
    }

    /// Lets the transaction check the conditions, and read what they are about if one fails.
    async fn compared(
        &self,
        layout: &Layout,
        conditions: &[Condition],
        distinct: Vec<&Condition>,
        success: Vec<RequestOp>,
    ) -> Result<Outcome> {
        let reads = reads(&distinct);
        let range = |(key, needs_value): (&&Bytes, &bool)| {
            let range = RangeRequest {
                keys_only: !needs_value,
                ..point(layout.key(key))
            };
            Request::Range(range).into()
        };
        let request = TxnRequest {
            compare: distinct.iter().map(|it| compare(layout, it)).collect(),
            success,
            failure: reads.iter().map(range).collect(),
        };
        let reply: TxnResponse = self.write(call::TXN, request).await.map_err(Failure::of_commit)?;
        if reply.succeeded {
            return Ok(Outcome::Applied);
        }
        let found = reply.responses.into_iter().map(|it| it.range.unwrap_or_default());
        let found = found.map(|mut range| range.kvs.pop().map(|it| it.value));
        let values: HashMap<_, _> = reads.into_keys().zip(found).collect();
        failed(conditions, |key| values.get(key).cloned().flatten())
            .ok_or_else(|| unexplained("etcd refused a transaction whose conditions hold"))
    }

    /// Checks the conditions here, at one revision, and lets the transaction check that it still is the last one.
    async fn read_first(
        &self,
        layout: &Layout,
        limits: &Limits,
        conditions: &[Condition],
        success: Vec<RequestOp>,
    ) -> Result<Outcome> {
        let keys: Vec<&Bytes> = reads(&conditions.iter().collect::<Vec<_>>())
            .into_keys()
            .collect();
        let within: Vec<Bytes> = keys.iter().map(|key| layout.key(key)).collect();
        for _ in 0..TRIES {
            let before = self.last_commit(layout).await?;
            let values = self.values(&within, limits.compares()).await?;
            let values: HashMap<_, _> = keys.iter().copied().zip(values).collect();
            let outcome = failed(conditions, |key| values.get(key).cloned().flatten());
            // A failure counts if all was read at one moment, too.
            let success = if outcome.is_some() {
                Vec::new()
            } else {
                success.clone()
            };
            let request = TxnRequest {
                compare: vec![Compare::is_unchanged(layout.commits(), before)],
                success,
                ..TxnRequest::default()
            };
            let reply: TxnResponse = self.write(call::TXN, request).await.map_err(Failure::of_commit)?;
            if reply.succeeded {
                return Ok(outcome.unwrap_or(Outcome::Applied));
            }
        }
        Err(unexplained(
            "others commit faster than so many conditions can be read; use fewer",
        ))
    }

    /// The revision of the last commit of the store, 0 if there is none.
    async fn last_commit(&self, layout: &Layout) -> Result<i64> {
        let reply = self.read(call::RANGE, point(layout.commits())).await;
        let reply: crate::messages::RangeResponse = reply.map_err(Failure::of_read)?;
        Ok(reply.kvs.first().map_or(0, |it| it.mod_revision))
    }
}

fn unexplained(reason: &str) -> Error {
    Error::Unavailable {
        reason: reason.to_owned(),
        source: None,
    }
}

/// The writes of a commit, and the mark that there was one. A commit without writes leaves none.
fn operations(layout: &Layout, writes: BTreeMap<Bytes, Option<Bytes>>) -> Vec<RequestOp> {
    if writes.is_empty() {
        return Vec::new();
    }
    let mark = PutRequest {
        key: layout.commits(),
        value: Bytes::new(),
    };
    let write = |(key, value): (Bytes, Option<Bytes>)| {
        let key = layout.key(&key);
        match value {
            Some(value) => Request::Put(PutRequest { key, value }).into(),
            None => Request::Delete(DeleteRangeRequest { key }).into(),
        }
    };
    let mark = RequestOp::from(Request::Put(mark));
    writes.into_iter().map(write).chain([mark]).collect()
}

fn compare(layout: &Layout, condition: &Condition) -> Compare {
    match condition {
        Condition::Absent(key) => Compare::is_absent(layout.key(key)),
        Condition::Present(key) => Compare::is_present(layout.key(key)),
        Condition::Equals { key, value } => Compare::equals(layout.key(key), value.clone()),
    }
}

/// The conditions without those that are there twice.
fn distinct(conditions: &[Condition]) -> Vec<&Condition> {
    let mut known: HashMap<&Bytes, Vec<&Condition>> = HashMap::with_capacity(conditions.len());
    conditions
        .iter()
        .filter(|condition| {
            let known = known.entry(condition.key()).or_default();
            let is_new = !known.contains(condition);
            if is_new {
                known.push(condition);
            }
            is_new
        })
        .collect()
}

/// The keys that the conditions are about, and whether their values have to be known.
fn reads<'a>(conditions: &[&'a Condition]) -> BTreeMap<&'a Bytes, bool> {
    let mut reads = BTreeMap::new();
    for condition in conditions {
        *reads.entry(condition.key()).or_default() |= matches!(condition, Condition::Equals { .. });
    }
    reads
}

/// The first condition that does not hold.
fn failed(conditions: &[Condition], value: impl Fn(&Bytes) -> Option<Bytes>) -> Option<Outcome> {
    let condition = conditions
        .iter()
        .position(|it| !it.holds(value(it.key()).as_deref()));
    condition.map(|condition| Outcome::ConditionFailed { condition })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(options: &Options) -> Limits {
        options.check().expect("valid");
        Limits::new(options, &Layout::new(&options.prefix))
    }

    #[test]
    fn limits_leave_enough_for_the_event_store_whatever_the_members_have() {
        for prefix in [1, 255] {
            for max_txn_ops in [48, 128, 129, 10_000] {
                for max_request_bytes in [512 << 10, 3 << 19, 64 << 20] {
                    let options = Options::new(["h"])
                        .prefix("p".repeat(prefix))
                        .max_txn_ops(max_txn_ops)
                        .max_request_bytes(max_request_bytes);
                    let capabilities = limits(&options).capabilities;
                    assert!(capabilities.max_batch_operations >= 256, "{options:?}");
                    assert!(
                        capabilities.max_batch_bytes >= max_request_bytes / 4,
                        "{options:?}"
                    );
                }
            }
        }
    }

    /// What etcd counts: the most of compares and operations at each level, those of the levels together.
    fn counted(txn: &TxnRequest) -> usize {
        let nested = txn.success.iter().filter_map(|it| match &it.request {
            Some(Request::Txn(txn)) => Some(counted(txn)),
            _ => None,
        });
        let own = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
        own + nested.max().unwrap_or(0)
    }

    #[test]
    fn writes_of_any_number_are_in_a_transaction_that_etcd_takes() {
        for max_txn_ops in [48, 127, 128, 1000] {
            let limits = limits(&Options::new(["h"]).max_txn_ops(max_txn_ops));
            for writes in [1, 47, 127, 128, 129, limits.capabilities.max_batch_operations] {
                let writes = writes.min(limits.capabilities.max_batch_operations);
                let batch: BTreeMap<_, _> = (0..writes)
                    .map(|it| (Bytes::from(it.to_string()), None))
                    .collect();
                let layout = Layout::new("p");
                let condition = Compare::is_absent(Bytes::from("k"));
                let txn = TxnRequest {
                    compare: vec![condition; limits.compares()],
                    success: limits.nested(operations(&layout, batch)),
                    ..TxnRequest::default()
                };
                assert!(
                    counted(&txn) <= max_txn_ops,
                    "{writes} of {max_txn_ops}: {}",
                    counted(&txn)
                );
            }
        }
    }

    #[test]
    fn conditions_that_are_there_twice_are_compared_once() {
        let equals = |value: &'static str| Condition::Equals {
            key: "a".into(),
            value: value.into(),
        };
        let absent = || Condition::Absent("a".into());
        let conditions = [absent(), equals("1"), absent(), equals("2"), equals("1")];
        assert_eq!(distinct(&conditions), [&absent(), &equals("1"), &equals("2")]);
        assert_eq!(
            reads(&distinct(&conditions)),
            BTreeMap::from([(&Bytes::from("a"), true)])
        );
    }
}
