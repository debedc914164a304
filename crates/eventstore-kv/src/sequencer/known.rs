//! What must be known of the store before requests can be decided: read in as few calls as possible.

use bytes::Bytes;
use eventstore_abstractions::{AppendCondition, Database, Position, Result, Version};
use hashbrown::{HashMap, HashSet};

use super::cache::{Cache, DatabaseState, StreamState};
use super::plan::Plan;
use super::request::{Action, Part, Queued, Request};
use super::turns::Turns;
use crate::error::repeated;
use crate::idempotency::{self, Earlier, Verdict, is_newer};
use crate::keys;
use crate::log_reader;
use crate::reader::Reader;
use crate::record::{Lease, Record};

/// What one request needs beyond the states of its database and stream.
#[derive(Clone, Debug)]
pub(super) enum Facts {
    None,
    Append(Verdict),
    AppendAll {
        /// One for each stream.
        verdicts: Vec<Verdict>,
        /// The first condition that an event fails which is stored, and where that event is.
        excluded: Option<(usize, Position)>,
    },
    Snapshots(Vec<Version>),
}

/// What is known for one request. Where a record that it needs is damaged, that is its answer.
#[derive(Debug)]
pub(super) struct KnownRequest {
    /// Where its database is in the plan.
    pub(super) database: usize,
    /// Where its stream is in the plan, or the first of them.
    pub(super) stream: usize,
    pub(super) others: Vec<usize>,
    pub(super) facts: Result<Facts>,
}

/// Where what is not yet in the plan comes from.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) reader: &'a Reader,
    pub(super) cache: &'a mut Cache,
    /// Whether other processes write, too: then the heads of databases are read for every plan, before anything else,
    /// unless it is the turn of this one, and what is cached of a database whose head has moved is dropped.
    pub(super) shared: bool,
    pub(super) turns: &'a mut Turns,
    /// Whether a commit that is not of these plans may land meanwhile.
    pub(super) may_move: bool,
}

/// Finds out what `requests` need to know: from the plan, from what is cached, and else from the engine. The databases
/// and streams that the plan does not have are added to it.
///
/// There is `None` for a request whose database other processes have their turn to write to: the plan does not have that
/// one then.
///
/// # Errors
/// Only when the engine fails as a whole.
pub(super) async fn gather(
    mut sources: Sources<'_>,
    plan: &mut Plan,
    requests: &[Queued],
) -> kv_core::Result<Vec<Option<KnownRequest>>> {
    sources.databases(plan, requests).await?;
    sources.streams(plan, requests).await?;
    let mut lookups = Vec::with_capacity(requests.len());
    let mut wanted = Vec::new();
    for request in requests {
        let lookup = Sources::lookup(plan, request);
        if let Some(lookup) = &lookup {
            for (part, found) in request.parts().zip(lookup.parts()) {
                wanted.extend(found.entry_keys(&request.database, part));
            }
        }
        lookups.push(lookup);
    }
    let entries = sources.entries(wanted).await?;
    let mut known = Vec::with_capacity(requests.len());
    for (request, lookup) in requests.iter().zip(lookups) {
        let Some(lookup) = lookup else {
            known.push(None);
            continue;
        };
        let damage = lookup
            .parts()
            .find_map(|part| plan.damage(lookup.database, part.stream));
        let facts = match damage {
            Some(error) => Err(repeated(error)),
            None => sources.facts(plan, request, &lookup, &entries).await,
        };
        known.push(Some(KnownRequest {
            database: lookup.database,
            stream: lookup.first.stream,
            others: lookup.rest.iter().map(|part| part.stream).collect(),
            facts,
        }));
    }
    Ok(known)
}

/// What must be looked up in the engine for one request.
#[derive(Debug)]
struct Lookup {
    database: usize,
    first: PartLookup,
    /// Those of an append to several streams.
    rest: Vec<PartLookup>,
}

/// What must be looked up for one stream.
#[derive(Debug)]
struct PartLookup {
    stream: usize,
    /// Events of an append whose ids may be in the stream, by their number.
    events: Vec<usize>,
}

impl Sources<'_> {
    /// Adds the databases of `requests` to the plan.
    async fn databases(&mut self, plan: &mut Plan, requests: &[Queued]) -> kv_core::Result<()> {
        let mut names: Vec<&Database> = Vec::new();
        for request in requests {
            let name = &request.database;
            if plan.database_at(name).is_none() && !names.contains(&name) {
                names.push(name);
            }
        }
        let (cache, turns) = (&self.cache.databases, &mut self.turns);
        let read = names.iter().filter(|name| {
            let is_trusted = !self.shared || turns.trusts(name);
            !is_trusted || !cache.contains_key(**name)
        });
        let read = read
            .map(|name| (*name, keys::database_head(name)))
            .collect::<Vec<_>>();
        if !read.is_empty() {
            let turns = read
                .iter()
                .filter(|_| self.shared)
                .map(|(name, _)| keys::turn(name));
            // The heads last: with a turn comes what its last holder has written.
            let keys = turns.chain(read.iter().map(|(_, key)| key.clone()));
            let mut values = self.reader.get_many(&keys.collect::<Vec<_>>()).await?;
            let heads = values.split_off(values.len() - read.len());
            let mut turns = values.into_iter();
            for ((name, key), stored) in read.into_iter().zip(heads) {
                let known = match self.turns.may_write(name, turns.next().flatten()) {
                    Ok(true) => self.database(name, &key, stored).await,
                    Ok(false) => Ok(()),
                    Err(error) => Err(error),
                };
                if let Err(error) = known {
                    self.cache.databases.remove(name);
                    plan.add_database(name.clone(), Err(error));
                }
            }
        }
        names.retain(|name| !self.turns.waits(name));
        for name in names {
            if let Some(state) = self.cache.databases.get(name) {
                plan.add_database(name.clone(), Ok(state.clone()));
            }
        }
        Ok(())
    }

    /// Caches the head of a database that was just read.
    async fn database(&mut self, name: &Database, key: &Bytes, stored: Option<Bytes>) -> Result<()> {
        let cached = self.cache.databases.get(name);
        let is_same = cached.is_some_and(|cached| cached.stored == stored);
        if self.shared {
            self.turns.head_is(name, is_same);
        }
        if is_same {
            return Ok(());
        }
        if cached.is_some() || self.may_move {
            // The head tells whether somebody else has written to the database, not to which streams. Where it was not
            // known, streams may have been read that have moved since.
            self.cache.streams.clear();
        }
        let head = self.reader.database_head_in(name, key, stored.as_ref()).await?;
        self.cache.put_database(name, &DatabaseState { head, stored });
        Ok(())
    }

    /// Adds the streams of `requests` to the plan, reading in one call what is not cached.
    async fn streams(&mut self, plan: &mut Plan, requests: &[Queued]) -> kv_core::Result<()> {
        let mut read: Vec<(usize, &Database, Part<'_>)> = Vec::new();
        let mut seen = HashSet::new();
        let mut wanted = Vec::new();
        for (request, part) in requests
            .iter()
            .flat_map(|request| request.parts().map(move |part| (request, part)))
        {
            let key = part.head_key;
            if plan.stream_at(key).is_some() {
                continue;
            }
            let Some(at) = plan.database_at(&request.database) else {
                continue;
            };
            if let Some(state) = self.cache.streams.get(key) {
                plan.add_stream(at, key.clone(), Ok(state.clone()));
            } else if seen.insert(key) {
                read.push((at, &request.database, part));
                wanted.push(key.clone());
                wanted.push(keys::lease(&request.database, part.stream));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let values = self.reader.get_many(&wanted).await?;
        for ((at, database, part), values) in read.into_iter().zip(values.chunks(2)) {
            let key = part.head_key;
            let state = stream_state(self.reader, database, part, &values[0], &values[1]).await;
            if let Ok(state) = &state {
                self.cache.put_stream(key, state);
            }
            plan.add_stream(at, key.clone(), state);
        }
        Ok(())
    }

    /// What must be looked up for `request`; `None` when the plan does not have its database.
    fn lookup(plan: &Plan, request: &Request) -> Option<Lookup> {
        let database = plan.database_at(&request.database)?;
        let mut parts = request.parts().map(|part| lookup_part(plan, part));
        Some(Lookup {
            database,
            first: parts.next()??,
            rest: parts.collect::<Option<_>>()?,
        })
    }

    /// Reads, in one call, the entries of ids.
    async fn entries(&self, wanted: Vec<Bytes>) -> kv_core::Result<HashMap<Bytes, Bytes>> {
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let values = self.reader.get_many(&wanted).await?;
        let found = wanted.into_iter().zip(values);
        Ok(found.filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

impl Sources<'_> {
    async fn facts(
        &self,
        plan: &Plan,
        request: &Request,
        lookup: &Lookup,
        entries: &HashMap<Bytes, Bytes>,
    ) -> Result<Facts> {
        let (reader, database, stream) = (self.reader, &request.database, &request.stream);
        let verdict = |part, found| self.verdict(plan, database, part, found, entries);
        match &request.action {
            Action::Append(_) => {
                let part = request.parts().next().expect("a request has a part");
                verdict(part, &lookup.first).await.map(Facts::Append)
            }
            Action::AppendAll(append) => {
                let mut verdicts = Vec::with_capacity(append.parts.len());
                for (part, found) in request.parts().zip(lookup.parts()) {
                    verdicts.push(verdict(part, found).await?);
                }
                let is_new = verdicts.iter().all(|verdict| matches!(verdict, Verdict::New));
                let excluded = if is_new {
                    self.excluded(plan, request, &append.conditions).await?
                } else {
                    None
                };
                Ok(Facts::AppendAll { verdicts, excluded })
            }
            Action::ClearSnapshot { version, .. } => {
                let found = reader.has_snapshot(database, stream, *version).await?;
                Ok(Facts::Snapshots(found.then_some(*version).into_iter().collect()))
            }
            Action::ClearSnapshots { limit, .. } => reader
                .snapshot_versions(database, stream, Version::ZERO, *limit)
                .await
                .map(Facts::Snapshots),
            _ => Ok(Facts::None),
        }
    }

    async fn verdict(
        &self,
        plan: &Plan,
        database: &Database,
        part: Part<'_>,
        found: &PartLookup,
        entries: &HashMap<Bytes, Bytes>,
    ) -> Result<Verdict> {
        let earlier = Earlier {
            reader: self.reader,
            database,
            stream: part.stream,
            head: &plan.stream_in(found.stream).base,
        };
        earlier.judge(part.events, &found.events, entries).await
    }

    /// The first of `conditions` that an event fails which is stored, and where that event is.
    async fn excluded(
        &self,
        plan: &Plan,
        request: &Request,
        conditions: &[AppendCondition],
    ) -> Result<Option<(usize, Position)>> {
        let name = &request.database;
        // Up to here the log is stored; what follows is in the plan.
        let head = plan.base_of(plan.database_at(name).expect("it was added to the plan"));
        for (at, condition) in conditions.iter().enumerate() {
            let AppendCondition { fail_if, after, .. } = condition;
            if let Some(position) = log_reader::find(self.reader, name, head, fail_if, *after).await? {
                return Ok(Some((at, position)));
            }
        }
        Ok(None)
    }
}

/// What must be looked up for a part of a request: events that are not newer than all that is stored of their stream.
fn lookup_part(plan: &Plan, part: Part<'_>) -> Option<PartLookup> {
    let stream = plan.stream_at(part.head_key)?;
    let newest = plan.stream_in(stream).base.newest_id();
    let events = part.events.iter().zip(0..);
    let events = events.filter(|(event, _)| !is_newer(event.id(), newest));
    Some(PartLookup {
        stream,
        events: events.map(|(_, at)| at).collect(),
    })
}

impl Lookup {
    fn parts(&self) -> impl Iterator<Item = &PartLookup> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

impl PartLookup {
    /// The keys of the entries by which an append may have to be recognised.
    fn entry_keys(&self, database: &Database, part: Part<'_>) -> impl Iterator<Item = Bytes> {
        let ids = self.events.iter().map(move |at| part.events[*at].id());
        let messages = ids.map(move |id| keys::message(database, part.stream, id));
        let ids = idempotency::idempotency_ids(part.events);
        messages.chain(ids.map(move |id| keys::idempotency(database, part.stream, id)))
    }
}

async fn stream_state(
    reader: &Reader,
    database: &Database,
    part: Part<'_>,
    head: &Option<Bytes>,
    lease: &Option<Bytes>,
) -> Result<StreamState> {
    let stream = part.stream;
    let head = reader
        .stream_head_in(database, stream, part.head_key, head.as_ref())
        .await?;
    let lease_key = keys::lease(database, stream);
    let lease = lease
        .as_ref()
        .map(|value| Lease::open(&lease_key, value))
        .transpose()?;
    Ok(StreamState { head, lease })
}

#[cfg(test)]
mod tests;
