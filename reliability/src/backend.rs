//! The durable backends.

use std::env;
use std::path::Path;

/// What an event has beside its payload: names, ids, tags. None of ours has more.
const AROUND_PAYLOAD_BYTES: usize = 1 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Fjall,
    Sled,
    Redb,
    Lmdb,
    Postgres,
    Etcd,
    /// PostgreSQL, of three nodes.
    Patroni,
}

/// Where `cargo xtask services up` starts them, if the environment does not say otherwise.
const POSTGRES: (&str, &str) = (
    "EVENTSTORES_TEST_POSTGRES",
    "postgres://eventstores:eventstores@127.0.0.1:54329/postgres",
);
const ETCD: (&str, &str) = (
    "EVENTSTORES_TEST_ETCD",
    "etcd://127.0.0.1:23791,127.0.0.1:23792,127.0.0.1:23793",
);

const PATRONI: (&str, &str) = (
    "EVENTSTORES_TEST_PATRONI",
    "postgres://eventstores:eventstores@127.0.0.1:54331,127.0.0.1:54332,127.0.0.1:54333/postgres",
);

impl Backend {
    /// Those in the process, and those on servers.
    const ALL: [Self; 7] = [
        Self::Fjall,
        Self::Sled,
        Self::Redb,
        Self::Lmdb,
        Self::Postgres,
        Self::Etcd,
        Self::Patroni,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            Self::Sled => "sled",
            Self::Redb => "redb",
            Self::Lmdb => "lmdb",
            Self::Postgres => "postgres",
            Self::Etcd => "etcd",
            Self::Patroni => "patroni",
        }
    }

    pub(crate) fn is_server(self) -> bool {
        matches!(self, Self::Postgres | Self::Etcd | Self::Patroni)
    }

    /// The store at a path; on a server the one whose name is the path.
    pub(crate) fn url(self, path: &Path) -> String {
        let server = |(variable, url): (&str, &str)| env::var(variable).unwrap_or_else(|_| url.to_owned());
        match self {
            Self::Postgres => format!("{}?table={}", server(POSTGRES), path.display()),
            Self::Patroni => format!("{}?table={}", server(PATRONI), path.display()),
            Self::Etcd => format!("{}/{}", server(ETCD), path.display()),
            _ => format!("{}:{}", self.name(), path.display()),
        }
    }

    /// Just below the largest event that it takes.
    pub(crate) fn max_payload_bytes(self) -> usize {
        let value = match self {
            // On servers many small appends are wanted.
            Self::Sled | Self::Postgres | Self::Etcd | Self::Patroni => 64 << 10,
            _ => 16 << 20,
        };
        value - AROUND_PAYLOAD_BYTES
    }
}
