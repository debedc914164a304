//! Names of consumers and projections.

use std::fmt;
use std::sync::Arc;

use eventstore_abstractions::private::check_text;
use eventstore_abstractions::{Error, Result};

/// Defines a validated, shared name.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, max $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Most bytes that the name may have, in UTF-8.
            pub const MAX_BYTES: usize = $max;

            /// Checks and keeps a name.
            ///
            /// # Errors
            /// [`Error::InvalidInput`] when the name is empty, over [`MAX_BYTES`](Self::MAX_BYTES), or has control
            /// characters.
            pub fn new(name: impl Into<String>) -> Result<Self> {
                let name = name.into();
                check_text($what, Self::MAX_BYTES, &name)?;
                Ok(Self(name.into()))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(name: &str) -> Result<Self> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

name_type! {
    /// Names a [`Consumer`](crate::consumer::Consumer) of a database.
    ///
    /// ```
    /// use eventstore_domain::consumer::ConsumerName;
    ///
    /// let name = ConsumerName::new("mailer")?;
    /// assert_eq!(name.as_str(), "mailer");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ConsumerName, "consumer name", max 96
}

name_type! {
    /// Names a [`Projection`](crate::projection::Projection) of a database.
    ///
    /// ```
    /// use eventstore_domain::projection::ProjectionName;
    ///
    /// let name = ProjectionName::new("balances")?;
    /// assert_eq!(name.as_str(), "balances");
    /// # Ok::<(), eventstore_abstractions::Error>(())
    /// ```
    ProjectionName, "projection name", max 96
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_long_and_control_names_are_refused_with_a_remedy() {
        let refused = |name: &str| ConsumerName::new(name).expect_err("must be refused").to_string();
        assert!(refused("").contains("at least one character"));
        assert!(refused(&"x".repeat(97)).contains("shorten it"));
        assert!(refused("a\0").contains("U+0000"));
        assert!(ConsumerName::new("x".repeat(96)).is_ok());
    }
}
