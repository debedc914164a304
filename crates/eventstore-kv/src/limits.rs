//! Checks of what is to be written, before it is queued: nothing that cannot be committed reaches the sequencer.

use std::collections::HashSet;

use eventstore_abstractions::{
    ContextMetadata, Database, Error, EventMessage, Indexes, MultiAppend, Result, StreamId, TypeName, Version,
};
use kv_core::Capabilities;

use crate::record::{MAX_COPIED_BYTES, message_bytes};
use crate::sequencer::MAX_BLOCK_BYTES;

/// Most keys that one event writes: a run, if it has one of its own, its message entry, its idempotency entry.
const OPERATIONS_PER_EVENT: usize = 3;
/// Most keys that a write needs besides: condition and head of the database, head of the stream, block of the log, lease,
/// turn.
const OPERATIONS_PER_WRITE: usize = 6;
/// More bytes than any key and the record of a head, an entry or a posting take.
const BYTES_PER_OPERATION: usize = 640;

/// What a write costs in a batch, not less than it will really be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) bytes: usize,
    pub(crate) operations: usize,
}

impl Cost {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            operations: self.operations + other.operations,
        }
    }

    pub(crate) fn fits(self, capabilities: &Capabilities) -> bool {
        self.bytes <= capabilities.max_batch_bytes && self.operations <= capabilities.max_batch_operations
    }

    pub(crate) fn of_keys(keys: usize) -> Self {
        let operations = keys + OPERATIONS_PER_WRITE;
        Self {
            bytes: operations * BYTES_PER_OPERATION,
            operations,
        }
    }

    pub(crate) fn of_events(events: &[EventMessage], indexes: Indexes) -> Self {
        let postings = events
            .iter()
            .map(|event| event.metadata.context.tags.len())
            .sum::<usize>();
        let types = if indexes.types { events.len() } else { 0 };
        let categories = usize::from(indexes.categories && !events.is_empty());
        let keys = Self::of_keys(events.len() * OPERATIONS_PER_EVENT + postings + types + categories);
        let bytes = events.iter().map(stored_bytes).sum::<usize>();
        // Each block of the log but the last one is filled.
        let blocks = Self {
            bytes,
            operations: (keys.bytes + bytes) / MAX_BLOCK_BYTES,
        };
        keys.plus(blocks)
    }
}

/// Short events are stored twice: with their stream, and in the log.
fn stored_bytes(event: &EventMessage) -> usize {
    let bytes = message_bytes(event);
    // The real size, which decides, may be a little less.
    if bytes < MAX_COPIED_BYTES + BYTES_PER_OPERATION {
        2 * bytes
    } else {
        bytes
    }
}

/// Checks everything about an append that does not depend on what is stored.
pub(crate) fn check_append(
    database: &Database,
    stream: &StreamId,
    events: &[EventMessage],
    indexes: Indexes,
    capabilities: &Capabilities,
) -> Result<Cost> {
    check_events(database, stream, events, capabilities)?;
    fitting(Cost::of_events(events, indexes), events.len(), capabilities)
}

/// The same for an append to several streams.
pub(crate) fn check_append_all(
    database: &Database,
    append: &MultiAppend,
    indexes: Indexes,
    capabilities: &Capabilities,
) -> Result<Cost> {
    append.validate()?;
    let (mut cost, mut events) = (Cost::default(), 0);
    for part in &append.streams {
        check_events(database, &part.stream, &part.events, capabilities)?;
        cost = cost.plus(Cost::of_events(&part.events, indexes));
        events += part.events.len();
    }
    fitting(cost, events, capabilities)
}

fn fitting(cost: Cost, events: usize, capabilities: &Capabilities) -> Result<Cost> {
    if cost.fits(capabilities) {
        return Ok(cost);
    }
    Err(Error::invalid(format!(
        "an append of {events} events and about {} bytes is over this backend's limit of {} bytes and {} keys; \
         split it into several appends",
        cost.bytes, capabilities.max_batch_bytes, capabilities.max_batch_operations
    )))
}

fn check_events(
    database: &Database,
    stream: &StreamId,
    events: &[EventMessage],
    capabilities: &Capabilities,
) -> Result<()> {
    let mut ids = HashSet::with_capacity(events.len());
    for event in events {
        check_message(database, stream, event, capabilities)?;
        if event.metadata.context.sequence_number == Some(Version::ZERO) {
            return Err(Error::invalid("the sequence number is 0; versions start at 1"));
        }
        if !ids.insert(event.id()) {
            let id = event.id();
            return Err(Error::invalid(format!(
                "message id {id} is twice in one append; give each event its own"
            )));
        }
    }
    Ok(())
}

/// Checks a snapshot of `stream`.
pub(crate) fn check_snapshot(
    database: &Database,
    stream: &StreamId,
    version: Version,
    snapshot: &EventMessage,
    capabilities: &Capabilities,
) -> Result<Cost> {
    if version == Version::ZERO {
        return Err(Error::invalid(
            "a snapshot at version 0 would be of an empty stream; versions start at 1",
        ));
    }
    check_message(database, stream, snapshot, capabilities)?;
    Ok(Cost::of_keys(1).plus(Cost {
        bytes: message_bytes(snapshot),
        operations: 0,
    }))
}

fn check_message(
    database: &Database,
    stream: &StreamId,
    message: &EventMessage,
    capabilities: &Capabilities,
) -> Result<()> {
    let (said, context) = (&message.metadata.message, &message.metadata.context);
    if let Some(domain) = said.domain.as_ref().filter(|domain| *domain != stream) {
        return Err(Error::invalid(format!(
            "the message is of {domain} and was given to stream {stream}; write it to its own stream, or leave its \
             domain empty"
        )));
    }
    if let Some(partition) = context
        .partition_id
        .as_ref()
        .filter(|partition| *partition != database)
    {
        return Err(Error::invalid(format!(
            "the message is of database {partition} and was given to {database}; write it to its own database, or \
             leave its partition empty"
        )));
    }
    if context.scopes.len() > ContextMetadata::MAX_SCOPES {
        let (scopes, most) = (context.scopes.len(), ContextMetadata::MAX_SCOPES);
        return Err(Error::invalid(format!(
            "a message has {scopes} scopes and at most {most} are possible; use fewer"
        )));
    }
    check_tags(message)?;
    if said.type_name == TypeName::REMOVED {
        return Err(Error::invalid(format!(
            "the type {} is that of removed events; give the message another",
            TypeName::REMOVED
        )));
    }
    let bytes = message_bytes(message);
    if bytes > capabilities.max_value_bytes {
        return Err(Error::invalid(format!(
            "a message of type {} takes about {bytes} bytes and this backend stores at most {} in one record; \
             make the payload smaller, or keep large content elsewhere and store its address",
            said.type_name, capabilities.max_value_bytes
        )));
    }
    Ok(())
}

fn check_tags(message: &EventMessage) -> Result<()> {
    let tags = &message.metadata.context.tags;
    let most = ContextMetadata::MAX_TAGS;
    if tags.len() > most {
        return Err(Error::invalid(format!(
            "a message has {} tags and at most {most} are possible; use fewer",
            tags.len()
        )));
    }
    for (at, tag) in tags.iter().enumerate() {
        if tags[..at].contains(tag) {
            return Err(Error::invalid(format!(
                "a message has the tag {tag} twice; give it each tag once"
            )));
        }
    }
    Ok(())
}
