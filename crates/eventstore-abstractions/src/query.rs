//! Which events of a log are meant: by category, type and tags.

use serde::{Deserialize, Serialize};

use crate::{EventMessage, RecordedEvent, StreamId, Tag, TypeName};

/// Which events of a log are meant: those that match any of its items, or all events.
///
/// ```
/// use eventstore_abstractions::{Query, QueryItem, Tag};
///
/// // The specification of dynamic consistency boundaries calls this a query.
/// let course = Query::item(QueryItem::types(["CourseDefined", "StudentSubscribed"])?.tag(Tag::new("course:c1")?))
///     .or(QueryItem::tags([Tag::new("student:s1")?]));
/// assert_eq!(course.items().len(), 2);
/// assert!(Query::all().is_all());
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Query {
    items: Vec<QueryItem>,
}

impl Query {
    /// Most names that a query may have, over all of its items: each may be looked for on its own.
    pub const MAX_NAMES: usize = 1_024;

    /// Every event.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The events that match `item`.
    #[must_use]
    pub fn item(item: QueryItem) -> Self {
        Self::all().or(item)
    }

    /// The events of streams of this category.
    ///
    /// ```
    /// # use eventstore_abstractions::Query;
    /// assert!(!Query::category("account").is_all());
    /// ```
    #[must_use]
    pub fn category(category: impl Into<String>) -> Self {
        Self::item(QueryItem::category(category))
    }

    /// Also the events that match `item`. On [`all`](Self::all) it means those alone.
    #[must_use]
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// Whether it means every event.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.items.is_empty() || self.items.iter().any(QueryItem::is_all)
    }

    /// Its items; none when it means every event.
    #[must_use]
    pub fn items(&self) -> &[QueryItem] {
        &self.items
    }

    /// Whether `event` is meant. An event that was [removed](RecordedEvent::is_removed) has no content that an item
    /// could match: it is meant only by a query for every event.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.is_all() || (!event.is_removed() && self.matches_message(&event.stream, &event.message))
    }

    /// Whether `message`, as an event of `stream`, is meant.
    #[must_use]
    pub fn matches_message(&self, stream: &StreamId, message: &EventMessage) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item.matches(stream, message))
    }

    /// Checks how many names it has.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when they are more than [`MAX_NAMES`](Self::MAX_NAMES).
    pub fn validate(&self) -> crate::Result<()> {
        let names = self.items.iter().map(QueryItem::names).sum::<usize>();
        if names > Self::MAX_NAMES {
            return Err(crate::Error::invalid(format!(
                "the query has {names} categories, types and tags and at most {} are possible; use several queries",
                Self::MAX_NAMES
            )));
        }
        Ok(())
    }
}

impl From<QueryItem> for Query {
    fn from(item: QueryItem) -> Self {
        Self::item(item)
    }
}

/// One item of a [`Query`]: an event matches it that is of any of its categories, of any of its types or begins with
/// any of its type prefixes, and has all of its tags. What is not given does not matter.
///
/// ```
/// use eventstore_abstractions::{QueryItem, Tag};
///
/// let item = QueryItem::category("account").or_type_prefix("Money").tag(Tag::new("region:eu")?);
/// assert!(!item.is_all());
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct QueryItem {
    /// Categories of streams; any if there are none.
    pub categories: Vec<String>,
    /// Event types. With neither these nor prefixes, any type matches.
    pub types: Vec<TypeName>,
    /// What the name of an event type may begin with.
    pub type_prefixes: Vec<String>,
    /// Tags that the event must have, all of them.
    pub tags: Vec<Tag>,
}

impl QueryItem {
    /// Events in streams of this category.
    #[must_use]
    pub fn category(category: impl Into<String>) -> Self {
        Self {
            categories: vec![category.into()],
            ..Self::default()
        }
    }

    /// Events of any of these types.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when a name is not a valid [`TypeName`].
    pub fn types<T: Into<String>>(types: impl IntoIterator<Item = T>) -> crate::Result<Self> {
        let types = types.into_iter().map(TypeName::new).collect::<Result<_, _>>()?;
        Ok(Self {
            types,
            ..Self::default()
        })
    }

    /// Events whose type's name begins with `prefix`.
    #[must_use]
    pub fn type_prefix(prefix: impl Into<String>) -> Self {
        Self::default().or_type_prefix(prefix)
    }

    /// Events that have all of these tags.
    #[must_use]
    pub fn tags(tags: impl IntoIterator<Item = Tag>) -> Self {
        Self {
            tags: tags.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Also streams of this category, beside those that the item has.
    #[must_use]
    pub fn or_category(mut self, category: impl Into<String>) -> Self {
        self.categories.push(category.into());
        self
    }

    /// Also events of this type, beside those that the item has.
    #[must_use]
    pub fn or_type(mut self, type_name: TypeName) -> Self {
        self.types.push(type_name);
        self
    }

    /// Also events whose type's name begins with `prefix`, beside the types that the item has.
    #[must_use]
    pub fn or_type_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.type_prefixes.push(prefix.into());
        self
    }

    /// Only events that have this tag, too.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Whether every event matches it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.categories.is_empty()
            && self.types.is_empty()
            && self.type_prefixes.is_empty()
            && self.tags.is_empty()
    }

    fn names(&self) -> usize {
        self.categories.len() + self.types.len() + self.type_prefixes.len() + self.tags.len()
    }

    /// Whether `message`, as an event of `stream`, matches it.
    #[must_use]
    pub fn matches(&self, stream: &StreamId, message: &EventMessage) -> bool {
        let has_tags = || {
            let tags = &message.metadata.context.tags;
            self.tags.iter().all(|tag| tags.contains(tag))
        };
        self.matches_category(stream.category()) && self.matches_type(message.type_name()) && has_tags()
    }

    /// Whether it allows streams of this category.
    #[must_use]
    pub fn matches_category(&self, category: &str) -> bool {
        self.categories.is_empty() || self.categories.iter().any(|wanted| wanted == category)
    }

    /// Whether it allows events of the type of this name.
    #[must_use]
    pub fn matches_type(&self, type_name: &str) -> bool {
        let any = self.types.is_empty() && self.type_prefixes.is_empty();
        any || self.types.iter().any(|wanted| wanted.as_str() == type_name)
            || self
                .type_prefixes
                .iter()
                .any(|prefix| type_name.starts_with(prefix))
    }
}

/// How the events that match a [`Query`] are found.
///
/// See [`EventLog::explain`](crate::EventLog::explain) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By an index: what is read is about what matches.
    Index,
    /// By looking at every event, or at every one before an index was asked for.
    Scan,
}
