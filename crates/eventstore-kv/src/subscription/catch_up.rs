//! What is there already, read from the log or from the stream that is followed.

use eventstore_abstractions::{
    Database, EventStream, LogReadOptions, Position, Query, ReadOptions, Result, StreamId, Version,
};

use crate::reader::Reader;
use crate::{log_reader, stream_reader};

/// The events of the log after a position; those that do not match `query` may be among them.
pub(super) fn log(reader: &Reader, database: &Database, after: Position, query: &Query) -> EventStream {
    let options = LogReadOptions::forward_from(after.next()).query(query.clone());
    log_reader::read(reader.clone(), database.clone(), options)
}

/// The events of a stream after a position, or, when it is known what was seen of it, after a version.
pub(super) async fn stream(
    reader: &Reader,
    database: &Database,
    stream: &StreamId,
    after: Position,
    seen: Option<Version>,
) -> Result<EventStream> {
    let first = match seen {
        Some(version) => version.next(),
        None => first_after(reader, database, stream, after).await?,
    };
    let options = ReadOptions::slice(first, Version::MAX);
    let replay = stream_reader::read(reader.clone(), database, stream, options).await?;
    Ok(replay.events)
}

/// A version behind which all events of the stream after `position` are: found in about as many reads as the number of
/// events has bits, as positions and versions grow together.
async fn first_after(
    reader: &Reader,
    database: &Database,
    stream: &StreamId,
    position: Position,
) -> Result<Version> {
    if position == Position::ZERO {
        return Ok(Version::FIRST);
    }
    let head = reader.stream_head(database, stream).await?;
    // Nothing before `from` is after the position, and all from `to` on is.
    let (mut from, mut to) = (head.first().get(), head.version + 1);
    while from < to {
        let middle = from.midpoint(to);
        match reader.run(database, stream, Version::new(middle)).await? {
            Some(run) if run.first_position() > position => to = run.first_version().get().max(from),
            Some(run) if run.last_position() > position => return Ok(run.first_version()),
            Some(run) => from = run.last_version().get() + 1,
            // It was removed meanwhile, and so was all before it.
            None => from = middle + 1,
        }
    }
    Ok(Version::new(from))
}
