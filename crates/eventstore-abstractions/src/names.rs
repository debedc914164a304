//! Names of databases, streams and event types.

use serde::{Deserialize, Serialize};

use crate::text::text_type;
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

text_type! {
    /// The category of a stream. Limits are set so that the longest key of a store fits 511 bytes,
    /// LMDB's default.
    Category, "stream category", max 96
}

text_type! {
    /// The id of a stream within its category.
    EntityId, "stream id", max 192
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId {
    category: Category,
    id: EntityId,
}

impl StreamId {
    /// Most bytes of a category, in UTF-8.
    pub const MAX_CATEGORY_BYTES: usize = Category::MAX_BYTES;
    /// Most bytes of an id, in UTF-8.
    pub const MAX_ID_BYTES: usize = EntityId::MAX_BYTES;

    /// The stream of the aggregate `id` in `category`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when a part is empty, longer than
    /// [`MAX_CATEGORY_BYTES`](Self::MAX_CATEGORY_BYTES) or [`MAX_ID_BYTES`](Self::MAX_ID_BYTES), or has
    /// control characters.
    pub fn new(category: impl Into<String>, id: impl Into<String>) -> Result<Self> {
        Ok(Self {
            category: Category::new(category)?,
            id: EntityId::new(id)?,
        })
    }

    /// The same from shared buffers, without copying: for stores that decode keys.
    ///
    /// ```
    /// use eventstore_abstractions::StreamId;
    ///
    /// let key = bytes::Bytes::from_static(b"account|alice");
    /// assert_eq!(StreamId::from_bytes(key.slice(..7), key.slice(8..))?, StreamId::new("account", "alice")?);
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a part is not UTF-8.
    pub fn from_bytes(category: bytes::Bytes, id: bytes::Bytes) -> Result<Self> {
        Ok(Self {
            category: category.try_into()?,
            id: id.try_into()?,
        })
    }

    /// The kind of aggregate, such as `account`.
    #[must_use]
    pub fn category(&self) -> &str {
        self.category.as_str()
    }

    /// Which aggregate of its category.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// `category/id`, for people. A slash may stand in either part, so this form is not parsed back.
impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.category, self.id)
    }
}

impl<C: Into<String>, I: Into<String>> TryFrom<(C, I)> for StreamId {
    type Error = Error;

    fn try_from((category, id): (C, I)) -> Result<Self> {
        Self::new(category, id)
    }
}
