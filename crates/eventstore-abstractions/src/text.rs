//! Short validated texts: names and ids. Each is a type of its own, so that two of them cannot be swapped.

use crate::Error;

/// Checks the rules that all names and ids share: not empty, not over `max_bytes`, no control characters.
///
/// Control characters are refused because they make names that look alike and differ; NUL among them
/// also ends a component in the key layouts of engines.
pub fn check(what: &'static str, max_bytes: usize, text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::invalid(format!(
            "the {what} is empty; give it at least one character"
        )));
    }
    if text.len() > max_bytes {
        return Err(Error::invalid(format!(
            "the {what} has {} bytes and at most {max_bytes} are allowed; shorten it",
            text.len()
        )));
    }
    // A scan over bytes decides for ASCII, which nearly every name is.
    let suspicious = text.bytes().any(|byte| !(0x20..0x7f).contains(&byte));
    if suspicious && let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(Error::invalid(format!(
            "the {what} has the control character U+{:04X}; remove it",
            u32::from(control)
        )));
    }
    Ok(())
}

/// Defines a validated text type. The text is shared, so that cloning and decoding copy nothing.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, max $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(bytestring::ByteString);

        impl $name {
            /// Most bytes that the text may have, in UTF-8.
            pub const MAX_BYTES: usize = $max;

            /// Checks and keeps a text.
            ///
            /// # Errors
            /// [`Error::InvalidInput`](crate::Error::InvalidInput) when the text is empty, over
            /// [`MAX_BYTES`](Self::MAX_BYTES), or has control characters.
            pub fn new(text: impl Into<String>) -> crate::Result<Self> {
                let text = text.into();
                crate::text::check($what, Self::MAX_BYTES, &text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Shares the buffer instead of copying the text: for stores that decode records.
        impl TryFrom<bytes::Bytes> for $name {
            type Error = crate::Error;

            #[inline]
            fn try_from(bytes: bytes::Bytes) -> crate::Result<Self> {
                let text = bytestring::ByteString::try_from(bytes)
                    .map_err(|_| crate::Error::invalid(concat!("the ", $what, " is not valid UTF-8; encode it so")))?;
                crate::text::check($what, Self::MAX_BYTES, &text)?;
                Ok(Self(text))
            }
        }

        impl TryFrom<String> for $name {
            type Error = crate::Error;

            fn try_from(text: String) -> crate::Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = crate::Error;

            fn try_from(text: &str) -> crate::Result<Self> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;

            fn from_str(text: &str) -> crate::Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0.into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

pub(crate) use text_type;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_long_and_control_texts_are_refused_with_a_remedy() {
        let refused = |text: &str| check("name", 4, text).expect_err("must be refused").to_string();
        assert!(refused("").contains("at least one character"));
        assert!(refused("abcde").contains("shorten it"));
        assert!(refused("a\0").contains("U+0000"));
        assert!(refused("a\u{85}").contains("U+0085"));
        assert!(refused("a\n").contains("U+000A"));
        assert!(check("name", 4, "ünö").is_err(), "the limit counts bytes");
        assert!(check("name", 4, "ab c").is_ok());
        let bytes = bytes::Bytes::from_static(b"a\xff");
        let error = crate::TypeName::try_from(bytes).expect_err("must be refused");
        assert!(error.to_string().contains("encode it so"), "{error}");
    }
}
