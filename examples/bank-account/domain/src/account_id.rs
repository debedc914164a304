//! Which account.

use eventstore_abstractions::{Result, StreamId};

/// Names an account, and the stream that its events are in.
///
/// ```
/// use bank_account_domain::AccountId;
///
/// let alice = AccountId::new("alice")?;
/// assert_eq!(alice.to_string(), "account/alice");
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(StreamId);

impl AccountId {
    /// The category of the streams of accounts.
    pub const CATEGORY: &'static str = "account";

    /// The account named `id`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`](eventstore_abstractions::Error::InvalidInput) when the store cannot use the name: it
    /// is empty, too long, or has control characters.
    pub fn new(id: impl AsRef<str>) -> Result<Self> {
        StreamId::new(Self::CATEGORY, id).map(Self)
    }

    /// The stream of the account's events.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.0
    }
}

impl std::fmt::Display for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
