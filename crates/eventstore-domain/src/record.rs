//! Records in a namespace: JSON, so that they can be read by people and gain fields.

use eventstore_abstractions::{Bytes, Error, Namespace, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Entries that are read at a time where all are wanted.
const PAGE: usize = 256;

pub(crate) fn encode(record: &impl Serialize) -> Bytes {
    let json = serde_json::to_vec(record);
    json.expect("records have string keys and no value that JSON lacks")
        .into()
}

/// Decodes what `what` says, for the error.
pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::Corrupt {
        reason: format!("{what} cannot be read"),
        source: Some(error.into()),
    })
}

/// Every entry whose key begins with `prefix`: for what is known to be little.
pub(crate) async fn scan_all(namespace: &dyn Namespace, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
    let mut entries: Vec<(Bytes, Bytes)> = Vec::new();
    loop {
        let after = entries.last().map(|(key, _)| key.clone());
        let page = namespace.scan(prefix, after.as_deref(), PAGE).await?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}
