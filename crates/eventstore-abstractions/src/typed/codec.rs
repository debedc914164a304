//! How a payload becomes bytes and back.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{ContentType, Error, Payload, Result};

/// How a payload becomes bytes and back. The content type is recorded with every event, so that a
/// reader can tell.
///
/// ```
/// use eventstore_abstractions::typed::PayloadCodec;
/// use eventstore_abstractions::{Bytes, ContentType, Error, Payload, Result};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// /// JSON for people: indented.
/// #[derive(Clone, Copy, Debug)]
/// struct PrettyJson;
///
/// impl PayloadCodec for PrettyJson {
///     fn content_type(&self) -> ContentType {
///         ContentType::JSON
///     }
///
///     fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
///         serde_json::to_vec_pretty(value).map(Bytes::from).map_err(|error| self.encode_error(error))
///     }
///
///     fn decode_bytes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
///         serde_json::from_slice(bytes).map_err(|error| self.decode_error(error))
///     }
/// }
///
/// let payload = Payload::encode(&PrettyJson, &[1, 2])?;
/// assert_eq!(PrettyJson.decode::<Vec<u8>>(&payload)?, [1, 2]);
/// # Ok::<(), Error>(())
/// ```
pub trait PayloadCodec: Send + Sync + 'static {
    /// What the codec writes, and the only thing that it reads.
    fn content_type(&self) -> ContentType;

    /// The bytes of `value`.
    ///
    /// # Errors
    /// [`Error::PayloadCodec`]: make it with [`encode_error`](Self::encode_error).
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes>;

    /// The value whose bytes these are.
    ///
    /// # Errors
    /// [`Error::PayloadCodec`]: make it with [`decode_error`](Self::decode_error).
    fn decode_bytes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T>;

    /// The value of `payload`, whose content type must be this codec's.
    ///
    /// # Errors
    /// [`Error::PayloadCodec`] when the payload has another content type or cannot be read.
    fn decode<T: DeserializeOwned>(&self, payload: &Payload) -> Result<T> {
        if payload.content_type != self.content_type() {
            return Err(Error::PayloadCodec {
                action: "decode",
                content_type: payload.content_type.clone(),
                source: format!(
                    "this codec reads {}; use the one that wrote it",
                    self.content_type()
                )
                .into(),
            });
        }
        self.decode_bytes(&payload.bytes)
    }

    /// The error of a value that cannot be encoded.
    fn encode_error(&self, source: impl Into<crate::BoxError>) -> Error
    where
        Self: Sized,
    {
        Error::PayloadCodec {
            action: "encode",
            content_type: self.content_type(),
            source: source.into(),
        }
    }

    /// The error of bytes that cannot be decoded.
    fn decode_error(&self, source: impl Into<crate::BoxError>) -> Error
    where
        Self: Sized,
    {
        Error::PayloadCodec {
            action: "decode",
            content_type: self.content_type(),
            source: source.into(),
        }
    }
}

/// JSON, the codec that is used unless another is named.
///
/// ```
/// use eventstore_abstractions::Payload;
/// use eventstore_abstractions::typed::{Json, PayloadCodec};
///
/// let payload = Payload::encode(&Json, &(1, "a"))?;
/// assert_eq!(payload.bytes, r#"[1,"a"]"#);
/// assert_eq!(Json.decode::<(u8, String)>(&payload)?, (1, "a".to_owned()));
/// # Ok::<(), eventstore_abstractions::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl PayloadCodec for Json {
    fn content_type(&self) -> ContentType {
        ContentType::JSON
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| self.encode_error(error))
    }

    fn decode_bytes<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| self.decode_error(error))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn payload_of_another_content_type_is_refused_and_both_are_named() {
        let payload = Payload::new(ContentType::OCTET_STREAM, "1");
        let error = Json.decode::<u8>(&payload).expect_err("must be refused");
        assert!(error.to_string().contains("octet-stream"), "{error}");
        let source = error.source().expect("it says why").to_string();
        assert!(source.contains("application/json"), "{source}");
    }

    #[test]
    fn damaged_json_is_an_error() {
        let payload = Payload::new(ContentType::JSON, "{");
        assert!(matches!(
            Json.decode::<u8>(&payload),
            Err(Error::PayloadCodec { action: "decode", .. })
        ));
    }
}
