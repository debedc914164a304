//! The durable backends in this process.

use std::path::Path;

/// What an event has beside its payload: names, ids, tags. None of ours has more.
const AROUND_PAYLOAD_BYTES: usize = 1 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Fjall,
    Sled,
    Redb,
    Lmdb,
}

impl Backend {
    pub(crate) const ALL: [Self; 4] = [Self::Fjall, Self::Sled, Self::Redb, Self::Lmdb];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
            Self::Redb => "redb",
            Self::Lmdb => "lmdb",
        }
    }

    pub(crate) fn url(self, path: &Path) -> String {
        format!("{}:{}", self.name(), path.display())
    }

    /// Just below the largest event that it takes.
    pub(crate) fn max_payload_bytes(self) -> usize {
        let value = if self == Self::Sled { 64 << 10 } else { 16 << 20 };
        value - AROUND_PAYLOAD_BYTES
    }
}
