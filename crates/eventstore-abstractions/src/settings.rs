//! What a provider is configured with.

use std::time::Duration;

use crate::{Database, Error, OpenOptions, Result};

/// What a provider is configured with. Checked when the provider is made.
///
/// ```
/// use std::time::Duration;
/// use eventstore_abstractions::{Database, Settings};
///
/// let settings = Settings::default()
///     .database(Database::new("tenant-7")?)
///     .session_timeout(Duration::from_secs(30))
///     .open_timeout(Duration::ZERO);
/// settings.validate()?;
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The database that is used unless another is named; `EventStores` unless set.
    pub database: Database,
    /// How long a session lasts without being renewed; 1 minute unless set.
    pub session_timeout: Duration,
    /// How long opening waits while another session holds the stream; 5 seconds unless set.
    pub open_timeout: Duration,
    /// What is indexed beside tags; nothing unless set.
    pub indexes: Indexes,
}

/// What is indexed beside tags, which always are. An index makes queries read about what matches, and each append a
/// little larger.
///
/// An index that is turned on holds from then on: events that were there before are found by looking at each of them.
/// Turned off, and on again, it begins anew. Whoever shares a store has to open it with the same indexes.
///
/// ```
/// use eventstore_abstractions::Settings;
///
/// let settings = Settings::default().index_types().index_categories();
/// assert!(settings.indexes.types && settings.indexes.categories);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Indexes {
    /// Event types.
    pub types: bool,
    /// Categories of streams.
    pub categories: bool,
}

impl Settings {
    /// Shortest session: below it a session could end before its first append.
    pub const MIN_SESSION_TIMEOUT: Duration = Duration::from_millis(10);
    /// Longest session: whoever crashes while holding a stream on a shared engine blocks it for as long.
    pub const MAX_SESSION_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
    /// Longest wait for a stream.
    pub const MAX_OPEN_TIMEOUT: Duration = Duration::from_secs(60 * 60);

    /// Sets the database that is used unless another is named.
    #[must_use]
    pub fn database(self, database: Database) -> Self {
        Self { database, ..self }
    }

    /// Sets how long a session lasts without being renewed.
    #[must_use]
    pub fn session_timeout(self, timeout: Duration) -> Self {
        Self {
            session_timeout: timeout,
            ..self
        }
    }

    /// Sets how long opening waits while another session holds the stream; zero means not at all.
    #[must_use]
    pub fn open_timeout(self, timeout: Duration) -> Self {
        Self {
            open_timeout: timeout,
            ..self
        }
    }

    /// Indexes event types. See [`Indexes`] for an example.
    #[must_use]
    pub fn index_types(mut self) -> Self {
        self.indexes.types = true;
        self
    }

    /// Indexes the categories of streams. See [`Indexes`] for an example.
    #[must_use]
    pub fn index_categories(mut self) -> Self {
        self.indexes.categories = true;
        self
    }

    /// Checks the time-outs against their limits.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] naming the time-out and its limits.
    pub fn validate(&self) -> Result<()> {
        let (session, open) = (self.session_timeout, self.open_timeout);
        if !(Self::MIN_SESSION_TIMEOUT..=Self::MAX_SESSION_TIMEOUT).contains(&session) {
            return Err(Error::invalid(format!(
                "a session time-out of {session:?} is not possible; use {:?} to {:?}",
                Self::MIN_SESSION_TIMEOUT,
                Self::MAX_SESSION_TIMEOUT
            )));
        }
        if open > Self::MAX_OPEN_TIMEOUT {
            return Err(Error::invalid(format!(
                "an open time-out of {open:?} is not possible; use at most {:?}",
                Self::MAX_OPEN_TIMEOUT
            )));
        }
        Ok(())
    }

    /// These settings with the time-outs of `options` where it has any, checked.
    ///
    /// ```
    /// use std::time::Duration;
    /// use eventstore_abstractions::{OpenOptions, Settings};
    ///
    /// let options = OpenOptions::default().open_timeout(Duration::ZERO);
    /// let settings = Settings::default().overridden_by(&options)?;
    /// assert_eq!(settings.open_timeout, Duration::ZERO);
    /// assert_eq!(settings.session_timeout, Duration::from_secs(60));
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when a time-out or the owner is out of its limits.
    pub fn overridden_by(&self, options: &OpenOptions) -> Result<Self> {
        options.validate()?;
        let settings = Self {
            database: self.database.clone(),
            session_timeout: options.session_timeout.unwrap_or(self.session_timeout),
            open_timeout: options.open_timeout.unwrap_or(self.open_timeout),
            indexes: self.indexes,
        };
        settings.validate()?;
        Ok(settings)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: Database::default(),
            session_timeout: Duration::from_secs(60),
            open_timeout: Duration::from_secs(5),
            indexes: Indexes::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_beyond_their_limits_are_refused() {
        let settings = Settings::default();
        assert!(settings.validate().is_ok());
        for wrong in [
            settings.clone().session_timeout(Duration::ZERO),
            settings
                .clone()
                .session_timeout(Settings::MAX_SESSION_TIMEOUT + Duration::from_nanos(1)),
            settings.clone().open_timeout(Duration::MAX),
        ] {
            assert!(
                matches!(wrong.validate(), Err(Error::InvalidInput { .. })),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn open_options_override_and_are_checked() {
        let settings = Settings::default();
        let options = OpenOptions::default().open_timeout(Duration::ZERO);
        assert_eq!(
            settings.overridden_by(&options).expect("valid").open_timeout,
            Duration::ZERO
        );
        assert!(
            settings
                .overridden_by(&options.session_timeout(Duration::ZERO))
                .is_err()
        );
        assert!(
            settings
                .overridden_by(&OpenOptions::default().owner("a\0b"))
                .is_err()
        );
    }
}
