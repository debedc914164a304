//! Names of databases, streams and event types.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::text::{self, text_type};
use crate::{Error, Result};

text_type! {
    /// Names a database: a tenant-sized, independent event log with positions of its own.
    ///
    /// ```
    /// use eventstore_abstractions::Database;
    ///
    /// assert_eq!(Database::default().as_str(), "EventStores");
    /// assert!(Database::new("").is_err());
    /// ```
    Database, "database name", max 64
}

impl Default for Database {
    /// The database that is used unless another is named: `EventStores`.
    fn default() -> Self {
        Self(bytestring::ByteString::from_static("EventStores"))
    }
}

text_type! {
    /// The name of an event's type, which says how its payload is read. Renaming one orphans stored events.
    ///
    /// ```
    /// use eventstore_abstractions::TypeName;
    ///
    /// let id = TypeName::new("MoneyDeposited")?;
    /// assert_eq!(id.as_str(), "MoneyDeposited");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    TypeName, "event type name", max 255
}

text_type! {
    /// Says what an event is about, such as `course:c1`: what conditions and queries across streams look for. It is
    /// compared byte by byte.
    ///
    /// ```
    /// use eventstore_abstractions::Tag;
    ///
    /// let id = Tag::new("course:c1")?;
    /// assert_eq!(id.as_str(), "course:c1");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    Tag, "tag", max 255
}

impl TypeName {
    /// The type of what stands in the log for an event that was removed; no event that is appended may have it.
    pub const REMOVED: Self = Self(bytestring::ByteString::from_static("$removed"));

    pub(crate) fn from_static(name: &'static str) -> Result<Self> {
        crate::text::check("event type name", Self::MAX_BYTES, name)?;
        Ok(Self(bytestring::ByteString::from_static(name)))
    }
}

/// Names a stream: the events of one aggregate, by category and id, inside a [`Database`].
///
/// ```
/// use eventstore_abstractions::StreamId;
///
/// let account = StreamId::new("account", "alice")?;
/// assert_eq!((account.category(), account.id()), ("account", "alice"));
/// assert_eq!(account.to_string(), "account/alice");
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct StreamId {
    /// The category, and the id right behind it: every event that is read has its stream, which must be cheap to share.
    text: Arc<str>,
    category_bytes: u8,
}

/// The form that it has as data.
#[derive(Debug, Serialize, Deserialize)]
struct Parts {
    category: String,
    id: String,
}

impl StreamId {
    /// Most bytes of a category, in UTF-8. Limits are set so that the longest key of a store fits 511 bytes, LMDB's
    /// default.
    pub const MAX_CATEGORY_BYTES: usize = 96;
    /// Most bytes of an id, in UTF-8.
    pub const MAX_ID_BYTES: usize = 192;

    /// The stream of the aggregate `id` in `category`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when a part is empty, longer than
    /// [`MAX_CATEGORY_BYTES`](Self::MAX_CATEGORY_BYTES) or [`MAX_ID_BYTES`](Self::MAX_ID_BYTES), or has
    /// control characters.
    pub fn new(category: impl AsRef<str>, id: impl AsRef<str>) -> Result<Self> {
        let (category, id) = (category.as_ref(), id.as_ref());
        text::check("stream category", Self::MAX_CATEGORY_BYTES, category)?;
        text::check("stream id", Self::MAX_ID_BYTES, id)?;
        Ok(Self {
            text: [category, id].concat().into(),
            category_bytes: u8::try_from(category.len()).expect("a category is short"),
        })
    }

    /// The kind of aggregate, such as `account`.
    #[must_use]
    pub fn category(&self) -> &str {
        &self.text[..usize::from(self.category_bytes)]
    }

    /// Which aggregate of its category.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.text[usize::from(self.category_bytes)..]
    }
}

/// By category, then by id.
impl Ord for StreamId {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.category(), self.id()).cmp(&(other.category(), other.id()))
    }
}

impl PartialOrd for StreamId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Debug for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamId")
            .field("category", &self.category())
            .field("id", &self.id())
            .finish()
    }
}

/// `category/id`, for people. A slash may stand in either part, so this form is not parsed back.
impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.category(), self.id())
    }
}

impl<C: AsRef<str>, I: AsRef<str>> TryFrom<(C, I)> for StreamId {
    type Error = Error;

    fn try_from((category, id): (C, I)) -> Result<Self> {
        Self::new(category, id)
    }
}

impl TryFrom<Parts> for StreamId {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::new(parts.category, parts.id)
    }
}

impl From<StreamId> for Parts {
    fn from(stream: StreamId) -> Self {
        Self {
            category: stream.category().to_owned(),
            id: stream.id().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(category: &str, id: &str) -> StreamId {
        StreamId::new(category, id).expect("valid")
    }

    #[test]
    fn streams_whose_parts_join_to_the_same_text_stay_apart() {
        let (one, other) = (stream("ab", "c"), stream("a", "bc"));
        assert_ne!(one, other);
        assert_eq!((one.category(), one.id()), ("ab", "c"));
        assert_eq!((other.category(), other.id()), ("a", "bc"));
    }

    #[test]
    fn streams_are_ordered_by_category_then_id() {
        let mut streams = [
            stream("ab", "a"),
            stream("a", "z"),
            stream("a", "b"),
            stream("ab", "b"),
        ];
        streams.sort();
        let expected = [
            stream("a", "b"),
            stream("a", "z"),
            stream("ab", "a"),
            stream("ab", "b"),
        ];
        assert_eq!(streams, expected);
    }

    #[test]
    fn longest_parts_are_kept_whole() {
        let (category, id) = (
            "c".repeat(StreamId::MAX_CATEGORY_BYTES),
            "i".repeat(StreamId::MAX_ID_BYTES),
        );
        let stream = stream(&category, &id);
        assert_eq!((stream.category(), stream.id()), (&*category, &*id));
    }
}
