//! Rules that span streams: the examples of dynamic consistency boundaries (<https://dcb.events>), runnable.
//!
//! A command reads the events that its rule depends on, whichever streams they are in, decides, and appends on the
//! condition that no further such event has come meanwhile. Two commands that depend on different events never
//! disturb each other.

pub mod courses;
pub mod invoices;
pub mod usernames;

use eventstore_abstractions::typed::{Decoder, EventSet, UnknownTypes};
use eventstore_abstractions::{
    AppendCondition, Error, EventLog, EventMessage, ExpectedVersion, LogReadOptions, MultiAppend, Position,
    Query, StreamId, Timestamp,
};

/// How often a command decides anew when others were faster.
const MAX_TRIES: usize = 100;

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure<R> {
    /// A rule of the domain forbids it.
    #[error("refused: {0}")]
    Refused(R),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The result of a command.
pub type Outcome<R> = Result<(), Failure<R>>;

/// What a command knows: the state that the events of its query have led to.
pub trait DecisionModel: Default {
    /// The events that change it.
    type Event: EventSet;

    /// Takes it past `event`, which was recorded at `at`.
    fn apply(&mut self, event: Self::Event, at: Timestamp);
}

/// Reads what matches `query`, lets `rule` decide, and appends the event that it decides on to `stream`, on the
/// condition that nothing that matches has come meanwhile; if something has, it begins anew.
///
/// # Errors
/// What the rule refuses, and what the store fails with.
pub async fn decide<M: DecisionModel, R>(
    log: &dyn EventLog,
    stream: &StreamId,
    query: &Query,
    rule: impl Fn(&M) -> Result<EventMessage, R>,
) -> Outcome<R> {
    let mut tries = 1;
    loop {
        let (model, seen) = read::<M>(log, query).await?;
        let event = rule(&model).map_err(Failure::Refused)?;
        let append = MultiAppend::new()
            .to(stream, ExpectedVersion::Any, [event])
            .condition(AppendCondition::fail_if_after(query.clone(), seen));
        match log.append_all(append).await {
            Err(error) if error.is_conflict() && tries < MAX_TRIES => tries += 1,
            appended => return Ok(appended.map(drop)?),
        }
    }
}

/// The state that the events of `query` lead to, and the position of the last one.
async fn read<M: DecisionModel>(log: &dyn EventLog, query: &Query) -> Result<(M, Position), Error> {
    let decoder = Decoder::<M::Event>::new().unknown_types(UnknownTypes::Fail);
    let (mut model, mut seen) = (M::default(), Position::ZERO);
    let mut events = log.read_all(LogReadOptions::forward().query(query.clone()));
    while let Some(event) = events.next().await {
        let event = event?;
        model.apply(decoder.decode_event(&event.message)?, event.recorded_at);
        seen = event.position;
    }
    Ok((model, seen))
}
