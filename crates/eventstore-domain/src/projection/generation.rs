//! Generations of a projection's state, and where they are stored.
//!
//! Each projection has the namespace `$projection/NAME`. Its keys, numbers big-endian:
//!
//! | key | record |
//! |---|---|
//! | `m` | which generations there are |
//! | `c`, generation (4 bytes) | the checkpoint of a generation; gone when the generation is over |
//! | `g`, generation (4 bytes), key of the user | the state |

use eventstore_abstractions::{Bytes, Error, MAX_KEY_BYTES, Position, Result};
use serde::{Deserialize, Serialize};

use crate::names::ProjectionName;

/// The key of [`Generations`].
pub(super) const GENERATIONS: &[u8] = b"m";

/// The namespace of a projection.
pub(super) fn namespace(name: &ProjectionName) -> String {
    format!("$projection/{name}")
}

/// A state that is built from the beginning of the log, under keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Generation(u32);

impl Generation {
    pub(super) const FIRST: Self = Self(1);
    /// Bytes before the user's part of a key.
    pub(super) const PREFIX_BYTES: usize = 1 + size_of::<u32>();

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The generation of a number; `None` for 0.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    pub(super) fn checkpoint(self) -> Bytes {
        [&b"c"[..], &self.0.to_be_bytes()].concat().into()
    }

    /// The key in the namespace that begins with the user's `prefix`.
    pub(super) fn prefix(self, prefix: &[u8]) -> Vec<u8> {
        [b"g", &self.0.to_be_bytes()[..], prefix].concat()
    }

    /// The key in the namespace for the user's `key`.
    pub(super) fn key(self, key: &[u8]) -> Result<Bytes> {
        const MAX: usize = MAX_KEY_BYTES - Generation::PREFIX_BYTES;
        if key.is_empty() {
            return Err(Error::invalid(
                "a key of a projection is empty; give it at least one byte",
            ));
        }
        if key.len() > MAX {
            return Err(Error::invalid(format!(
                "a key of a projection has {} bytes and at most {MAX} are allowed; shorten it",
                key.len()
            )));
        }
        Ok(self.prefix(key).into())
    }

    /// The user's part of a key.
    pub(super) fn user_key(self, key: &Bytes) -> Bytes {
        key.slice(Self::PREFIX_BYTES..)
    }
}

/// A generation, and the version of the projection that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) generation: Generation,
    pub(super) version: u32,
}

/// Which generations a projection has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generations {
    /// The one that is read.
    pub(super) live: Made,
    /// The one that is to replace it once it has caught up.
    pub(super) building: Option<Made>,
    /// Those whose state is still to be deleted.
    pub(super) over: Vec<Generation>,
    /// The number of the next one.
    pub(super) next: Generation,
}

/// Up to where events are applied to a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
}
