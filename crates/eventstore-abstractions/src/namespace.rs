//! Small state beside the events: a namespaced view of the engine, for projections and checkpoints.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::text::text_type;
use crate::{Durability, Error, Result};

text_type! {
    /// Names a [`Namespace`] of a database.
    ///
    /// ```
    /// use eventstore_abstractions::NamespaceName;
    ///
    /// let name = NamespaceName::new("balances")?;
    /// assert_eq!(name.as_str(), "balances");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    NamespaceName, "namespace name", max 128
}

/// What a [`Changes`] requires of a key. See [`Changes`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The key is absent.
    Absent,
    /// The key has this value.
    Equals(Bytes),
}

/// Changes of a [`Namespace`] that happen together or not at all.
///
/// ```
/// use eventstore_abstractions::Changes;
///
/// let changes = Changes::new().require_equals("checkpoint", "41").put("balance/alice", "500").put("checkpoint", "42");
/// assert!(!changes.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "changes do nothing until they are committed"]
pub struct Changes {
    /// What is required before anything is changed.
    pub requirements: Vec<(Bytes, Requirement)>,
    /// New values, or `None` for a key that is removed. A later one replaces an earlier one of its key.
    pub writes: Vec<(Bytes, Option<Bytes>)>,
}

impl Changes {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires `key` to be absent.
    pub fn require_absent(mut self, key: impl Into<Bytes>) -> Self {
        self.requirements.push((key.into(), Requirement::Absent));
        self
    }

    /// Requires `key` to have `value`.
    pub fn require_equals(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        let requirement = Requirement::Equals(value.into());
        self.requirements.push((key.into(), requirement));
        self
    }

    /// Requires `key` to be as it was read.
    pub fn require(self, key: impl Into<Bytes>, read: Option<Bytes>) -> Self {
        match read {
            Some(value) => self.require_equals(key, value),
            None => self.require_absent(key),
        }
    }

    /// Sets `key` to `value`.
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.push((key.into(), Some(value.into())));
        self
    }

    /// Removes `key`, if it is there.
    pub fn delete(mut self, key: impl Into<Bytes>) -> Self {
        self.writes.push((key.into(), None));
        self
    }

    /// Whether it requires and changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && self.writes.is_empty()
    }
}

/// Whether [`Changes`] were made. See [`Namespace`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "changes whose requirements did not hold were not made"]
pub enum Committed {
    /// All of them.
    Applied,
    /// None: a requirement did not hold.
    Conflict,
}

/// Small state in the engine beside the events: ordered keys and values, in a namespace that nothing else reaches.
///
/// It is what projections keep their state in, so that state and checkpoint change in one commit. Keys are 1 to
/// [`MAX_KEY_BYTES`] bytes; values are as large as a message may be.
///
/// ```
/// use eventstore_abstractions::{
///     Changes, Committed, Durability, EventLog, EventStoreProviderExt, Namespace, NamespaceName,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> eventstore_abstractions::Result<()> {
/// let log = eventstores::connect("memory:").await?.default_log();
/// let balances = log.namespace(&NamespaceName::new("balances")?);
/// let changes = Changes::new().require_absent("alice").put("alice", "500");
/// assert_eq!(balances.commit(changes, Durability::Durable).await?, Committed::Applied);
/// assert_eq!(balances.get(b"alice").await?.as_deref(), Some(&b"500"[..]));
/// # Ok(())
/// # }
/// ```
///
/// # Contract
/// Every line, here and at the methods, is the case of that name in the testkit's provider suite.
/// - `namespaces_stay_apart`: in one database and in several, whatever their names and keys are.
/// - `namespace_leaves_the_log_alone`: state is no event.
/// - `namespace_survives_reopen`: on an engine that is durable.
/// - `namespace_is_one_across_providers`: on an engine that is shared.
/// - `closed_provider_refuses_its_namespaces`: every call ends with [`Error::ProviderClosed`](crate::Error::ProviderClosed).
///
/// [`MAX_KEY_BYTES`]: crate::MAX_KEY_BYTES
#[async_trait]
pub trait Namespace: Debug + Send + Sync + 'static {
    /// Its name.
    ///
    /// See [`Namespace`] for an example.
    ///
    /// **Contract**
    /// - `namespace_round_trips`: the name that was asked for.
    fn name(&self) -> &NamespaceName;

    /// The value of `key`.
    ///
    /// See [`Namespace`] for an example.
    ///
    /// **Contract**
    /// - `namespace_round_trips`: any bytes, until they are replaced or removed.
    /// - `namespace_corruption_is_reported`: by an error that names the key.
    /// - `namespace_failures_are_told_apart`: from absent values.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when the key is empty or too long; as the storage fails.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Up to `limit` entries whose keys begin with `prefix` and are above `after`, in the order of their keys. What is
    /// returned may be fewer, but is empty only at the end, or when `limit` is 0.
    ///
    /// ```
    /// use eventstore_abstractions::{Bytes, Namespace, Result};
    ///
    /// /// Every entry whose key begins with `prefix`.
    /// async fn all(namespace: &dyn Namespace, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
    ///     let mut all: Vec<(Bytes, Bytes)> = Vec::new();
    ///     loop {
    ///         let after = all.last().map(|(key, _)| key.clone());
    ///         let page = namespace.scan(prefix, after.as_deref(), 100).await?;
    ///         if page.is_empty() {
    ///             return Ok(all);
    ///         }
    ///         all.extend(page);
    ///     }
    /// }
    /// ```
    ///
    /// **Contract**
    /// - `namespace_scan_is_in_key_order`: from where it goes on.
    /// - `namespace_scans_add_up`: no entry is lost or comes twice, and one scan reads a bounded part.
    /// - `namespace_corruption_is_reported`: by an error that names the key.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](crate::Error::InvalidInput) when `prefix` or `after` is longer than any key; as the
    /// storage fails.
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Bytes)>>;

    /// Makes all of `changes` if all that they require holds, and none of them otherwise.
    ///
    /// See [`Namespace`] for an example.
    ///
    /// **Contract**
    /// - `namespace_commit_is_all_or_nothing`: in one commit of the engine.
    /// - `racing_increments_of_a_namespace_lose_nothing`: requirements are checked inside the commit.
    /// - `namespace_limits_are_clear_errors`: that say what is possible, before anything is changed.
    /// - `namespace_failures_are_told_apart`: whether the changes may have been made.
    ///
    /// # Errors
    /// - [`Error::InvalidInput`](crate::Error::InvalidInput): a key is empty or too long, or there is too much for one
    ///   commit.
    /// - [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown): read again to find out.
    async fn commit(&self, changes: Changes, durability: Durability) -> Result<Committed>;
}

/// Most bytes of a key of a [`Namespace`], so that the longest key of a store fits 511 bytes, LMDB's default.
pub const MAX_KEY_BYTES: usize = 255;

/// The namespaces of a log that has none.
#[derive(Debug)]
pub(crate) struct NoNamespace(pub(crate) NamespaceName);

#[async_trait]
impl Namespace for NoNamespace {
    fn name(&self) -> &NamespaceName {
        &self.0
    }

    async fn get(&self, _: &[u8]) -> Result<Option<Bytes>> {
        Err(none())
    }

    async fn scan(&self, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<(Bytes, Bytes)>> {
        Err(none())
    }

    async fn commit(&self, _: Changes, _: Durability) -> Result<Committed> {
        Err(none())
    }
}

fn none() -> Error {
    Error::Unsupported {
        what: "keep state beside its events",
    }
}
