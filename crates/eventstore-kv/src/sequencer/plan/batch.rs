//! What a plan asks of the engine, and what it leaves out.

use std::mem;

use kv_core::{Batch, Durability};

use super::Plan;
use crate::derived::{Derivation, DerivedStream};
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
        for (database, streams) in self.databases.iter_mut().zip(derived) {
            let key = keys::database_head(&database.name);
            if !database.is_changed {
                if self.limits.requires_heads && database.damage.is_none() {
                    batch = batch.require_read(key, database.state.stored.clone());
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
            batch = batch.require_read(key.clone(), database.state.stored.replace(value.clone()));
            batch = batch.put(key.clone(), value.clone());
            if self.limits.defers {
                derivations.push(Derivation {
                    database: database.name.clone(),
                    head_key: key,
                    head: value,
                    position,
                    streams,
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

    /// Adds the heads of streams and their runs, or leaves them out: for each database, what.
    ///
    /// All that the plan changes of a stream goes the same way, so that readers never see its head without its events.
    fn take_streams(&mut self, mut batch: Batch) -> (Batch, Vec<Vec<DerivedStream>>) {
        let mut derived: Vec<_> = self.databases.iter().map(|_| Vec::new()).collect();
        for stream in self.streams.iter_mut().filter(|stream| stream.is_changed) {
            let (head_key, head) = (stream.key.clone(), stream.state.head.seal(&stream.key));
            let mut runs = mem::take(&mut stream.runs);
            let is_direct = !self.databases[stream.database].defers || stream.is_underivable;
            let mut left_out = Some(head);
            if is_direct {
                let head = left_out.take().into_iter().map(|head| (head_key.clone(), head));
                let records = runs.drain(..).chain(head);
                batch = records.fold(batch, |batch, (key, value)| batch.put(key, value));
            }
            derived[stream.database].push(DerivedStream {
                head_key,
                is_direct,
                head: left_out,
                runs,
            });
        }
        (batch, derived)
    }
}
