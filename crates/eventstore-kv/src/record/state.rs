//! The record of a value of a namespace: the value as it is, so that reading it copies nothing.

use bytes::Bytes;
use eventstore_abstractions::Error;

use super::{CHECKSUM_BYTES, FORMAT, body_of, seal_body};

/// What a value takes in the engine beside its own bytes.
pub(crate) const STATE_OVERHEAD_BYTES: usize = size_of_val(&FORMAT) + CHECKSUM_BYTES;

pub(crate) fn seal_state(key: &[u8], value: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(value.len() + STATE_OVERHEAD_BYTES);
    body.push(FORMAT);
    body.extend_from_slice(value);
    seal_body(key, body)
}

pub(crate) fn open_state(key: &[u8], bytes: &Bytes) -> Result<Bytes, Error> {
    let value = body_of(key, bytes).map_err(|damage| damage.of(key))?;
    Ok(bytes.slice_ref(value))
}
