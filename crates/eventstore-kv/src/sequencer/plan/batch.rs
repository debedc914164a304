//! What a plan asks of the engine, and what it leaves out.

use std::mem;

use bytes::Bytes;
use kv_core::{Batch, Durability};

use super::Plan;
use crate::derived::{Derivation, Records};
use crate::keys;
use crate::record::Record;

impl Plan {
    /// The batch that commits the plan, what the logs of its databases lead to with it, and how durable it must be.
    ///
    /// It requires the head of each database that is written to as it was read, and writes the next one. Where something
    /// else may land meanwhile it requires the heads of the others too: what was known of them was read in several
    /// calls, and an answer that writes nothing, such as a conflict, must be true of one moment as well.
    pub(in crate::sequencer) fn take_batch(&mut self) -> (Batch, Vec<Derivation>, Durability) {
        let mut batch = Batch::new();
        for (key, value) in self.writes.drain(..) {
            batch = match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
        }
        let (mut batch, derived) = self.take_streams(batch);
        let mut derivations = Vec::new();
        for (database, records) in self.databases.iter_mut().zip(derived) {
            let key = keys::database_head(&database.name);
            if !database.is_changed {
                if self.limits.requires_heads && database.damage.is_none() {
                    batch = require_head(batch, key, database.state.stored.clone());
                }
                continue;
            }
            for (key, value) in database.log.take_blocks(&database.name) {
                batch = batch.put(key, value);
            }
            let (head, most_bytes) = (&database.state.head, self.limits.record_bytes);
            for (key, value) in database.tail.postings(&database.name, head, most_bytes) {
                batch = batch.put(key, value);
            }
            let value = head.seal(&key);
            let position = head.position;
            batch = require_head(batch, key.clone(), database.state.stored.replace(value.clone()));
            batch = batch.put(key.clone(), value.clone());
            if self.limits.defers {
                derivations.push(Derivation {
                    database: database.name.clone(),
                    head_key: key,
                    head: value,
                    position,
                    records,
                });
            }
        }
        let durability = if self.durable {
            Durability::Durable
        } else {
            Durability::Buffered
        };
        (batch, derivations, durability)
    }

    /// Adds the heads of streams and what is to be known of their events, or leaves it out: for each database, what.
    ///
    /// All that the plan changes of a stream goes the same way, so that readers never see its head without its events.
    fn take_streams(&mut self, mut batch: Batch) -> (Batch, Vec<Records>) {
        let mut derived = vec![Records::new(); self.databases.len()];
        for (stream, key, value) in mem::take(&mut self.runs) {
            let stream = &self.streams[stream];
            if self.databases[stream.database].defers && !stream.is_underivable {
                derived[stream.database].push((key, Some(value)));
            } else {
                batch = batch.put(key, value);
            }
        }
        for stream in self.streams.iter().filter(|stream| stream.is_changed) {
            let (key, head) = (stream.key.clone(), stream.state.head.seal(&stream.key));
            if self.databases[stream.database].defers && !stream.is_underivable {
                derived[stream.database].push((key, Some(head)));
            } else {
                // What is pending of it is older.
                derived[stream.database].push((key.clone(), None));
                batch = batch.put(key, head);
            }
        }
        (batch, derived)
    }
}

/// The condition that a database's head is as it was read.
fn require_head(batch: Batch, key: Bytes, stored: Option<Bytes>) -> Batch {
    match stored {
        Some(stored) => batch.require_equals(key, stored),
        None => batch.require_absent(key),
    }
}
