//! One atomic append to several streams, and conditions on the rest of the log.

use crate::{Appended, Durability, Error, EventMessage, ExpectedVersion, Position, Query, Result, StreamId};

/// Fails an append if there is an event that matches a query after a position: the condition of a dynamic
/// consistency boundary.
///
/// See [`MultiAppend`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppendCondition {
    /// Which events must not be there.
    pub fail_if: Query,
    /// Events up to here do not matter: the decision knew of them.
    pub after: Position,
}

impl AppendCondition {
    /// Fails an append if an event that matches `query` exists at any position.
    #[must_use]
    pub fn fail_if_exists(query: Query) -> Self {
        Self::fail_if_after(query, Position::ZERO)
    }

    /// Fails an append if an event that matches `query` exists after `position`.
    #[must_use]
    pub fn fail_if_after(query: Query, position: Position) -> Self {
        Self {
            fail_if: query,
            after: position,
        }
    }
}

/// What a [`MultiAppend`] does to one stream.
///
/// See [`MultiAppend`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// What is required of it.
    pub expected: ExpectedVersion,
    /// What is appended to it; with nothing, the stream must only be as expected.
    pub events: Vec<EventMessage>,
}

/// One atomic append: events for several streams, each with its own expected version, what is required of streams that
/// are not written, and conditions on the log. All of it happens or nothing.
///
/// ```
/// use eventstore_abstractions::{
///     AppendCondition, EventLog, EventStoreProviderExt, EventMessage, ExpectedVersion, MultiAppend, Query, QueryItem, StreamId, Tag,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstore_abstractions::Result<()> {
/// let log = eventstores::connect("memory:").await?.default_log();
/// let (alice, bob) = (StreamId::new("account", "alice")?, StreamId::new("account", "bob")?);
/// let transfer = Tag::new("transfer:17")?;
/// let append = MultiAppend::new()
///     .to(&alice, ExpectedVersion::Any, [EventMessage::json("MoneySent", &500)?.with_tags([transfer.clone()])])
///     .to(&bob, ExpectedVersion::Any, [EventMessage::json("MoneyReceived", &500)?])
///     .condition(AppendCondition::fail_if_exists(Query::item(QueryItem::tags([transfer]))));
/// let appended = log.append_all(append).await?;
/// assert_eq!(appended.position.get(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiAppend {
    /// What is done to which stream: each is named once. Positions are given in this order.
    pub streams: Vec<StreamAppend>,
    /// What must not be in the log.
    pub conditions: Vec<AppendCondition>,
    /// When it may be acknowledged.
    pub durability: Durability,
}

impl MultiAppend {
    /// Most conditions of one append: each is looked for inside the commit, while others wait.
    pub const MAX_CONDITIONS: usize = 64;

    /// An append of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `events` to `stream`, if that is as `expected`.
    #[must_use]
    pub fn to(
        mut self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: impl IntoIterator<Item = EventMessage>,
    ) -> Self {
        self.streams.push(StreamAppend {
            stream: stream.clone(),
            expected,
            events: events.into_iter().collect(),
        });
        self
    }

    /// Requires `stream`, which is not written, to be as `expected`.
    #[must_use]
    pub fn require(self, stream: &StreamId, expected: ExpectedVersion) -> Self {
        self.to(stream, expected, [])
    }

    /// Adds a condition on the log.
    #[must_use]
    pub fn condition(mut self, condition: AppendCondition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Sets when it may be acknowledged.
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Checks what does not depend on what is stored.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when a stream is named twice, or none at all, or there are more than
    /// [`MAX_CONDITIONS`](Self::MAX_CONDITIONS), or a condition's query has too many names.
    pub fn validate(&self) -> Result<()> {
        if self.streams.is_empty() {
            return Err(Error::invalid(
                "the append names no stream; add events with MultiAppend::to",
            ));
        }
        if self.conditions.len() > Self::MAX_CONDITIONS {
            return Err(Error::invalid(format!(
                "the append has {} conditions and at most {} are possible; join their queries with Query::or",
                self.conditions.len(),
                Self::MAX_CONDITIONS
            )));
        }
        for condition in &self.conditions {
            condition.fail_if.validate()?;
        }
        let mut seen = std::collections::HashSet::with_capacity(self.streams.len());
        for append in &self.streams {
            if !seen.insert(&append.stream) {
                let stream = &append.stream;
                return Err(Error::invalid(format!(
                    "stream {stream} is named twice in one append; give all its events at once"
                )));
            }
        }
        Ok(())
    }
}

/// What a [`MultiAppend`] did.
///
/// See [`MultiAppend`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiAppended {
    /// What it did to each stream, in the order in which they were named.
    pub streams: Vec<Appended>,
    /// A reader of the log that has read up to here has seen the append.
    pub position: Position,
}

impl MultiAppended {
    /// An outcome from its parts: for implementations of a store.
    #[must_use]
    pub fn new(streams: Vec<Appended>, position: Position) -> Self {
        Self { streams, position }
    }
}
