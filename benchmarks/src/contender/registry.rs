//! Every contender of this build.

use crate::clients::Kind;
use crate::measure::{Figures, Task, run};
use crate::workload::Workload;
use crate::{Result, contender};

/// What a contender is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// What the disk allows.
    Raw,
    /// An engine with the keys of a minimal store, through `kv-core` alone.
    Bare,
    /// EventStores, through its whole public API.
    Ours,
    /// What a user would pick instead.
    Peer,
}

/// A contender.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    pub(crate) clients: Kind,
    /// Whether it keeps its data on disk.
    pub(crate) durable: bool,
    /// The crates whose versions say what was measured.
    pub(crate) crates: &'static [&'static str],
    /// How it is used, for the report.
    pub(crate) about: &'static str,
    /// Measures it, in a process of its own.
    pub(crate) run: fn(&Task) -> Result<Figures>,
}

impl Entry {
    /// Whether the workload has a meaning for it.
    pub(crate) fn takes(&self, workload: Workload) -> bool {
        let compared = matches!(self.family, Family::Raw | Family::Ours) || !workload.is_aged();
        let kept = self.durable || !workload.needs_disk();
        compared && kept && (self.has_streams() || !workload.needs_streams())
    }

    /// Whether it has streams to read and versions to race for. A file without an index has not.
    pub(crate) fn has_streams(&self) -> bool {
        self.family != Family::Raw
    }
}

pub(crate) fn by_name(name: &str) -> Result<&'static Entry> {
    let known = || ALL.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    ALL.iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| format!("this build has no contender {name}; it has {}", known()).into())
}

/// In the order of the report.
pub(crate) const ALL: &[Entry] = &[
    Entry {
        name: "raw",
        family: Family::Raw,
        clients: Kind::Threads,
        durable: true,
        crates: &["crc32fast"],
        about: "append-only file: length, CRC-32, stream, payload; one writer thread, one `fdatasync` for all that wait",
        run: run::<contender::raw::Raw>,
    },
    Entry {
        name: "raw-tasks",
        family: Family::Raw,
        clients: Kind::Tasks,
        durable: true,
        crates: &["crc32fast"],
        about: "the same file and writer thread, with tasks for clients",
        run: run::<contender::raw::Raw>,
    },
    #[cfg(feature = "fjall")]
    Entry {
        name: "bare-fjall",
        family: Family::Bare,
        clients: Kind::Tasks,
        durable: true,
        crates: &["fjall"],
        about: "kv-fjall: record, log entry and head per event in one commit; one writer task with group commit",
        run: run::<contender::bare::Bare>,
    },
    #[cfg(feature = "redb")]
    Entry {
        name: "bare-redb",
        family: Family::Bare,
        clients: Kind::Tasks,
        durable: true,
        crates: &["redb"],
        about: "kv-redb, likewise",
        run: run::<contender::bare::Bare>,
    },
    #[cfg(feature = "lmdb")]
    Entry {
        name: "bare-lmdb",
        family: Family::Bare,
        clients: Kind::Tasks,
        durable: true,
        crates: &["lmdb-master-sys"],
        about: "kv-lmdb, likewise",
        run: run::<contender::bare::Bare>,
    },
    #[cfg(feature = "sled")]
    Entry {
        name: "bare-sled",
        family: Family::Bare,
        clients: Kind::Tasks,
        durable: true,
        crates: &["sled"],
        about: "kv-sled, likewise",
        run: run::<contender::bare::Bare>,
    },
    #[cfg(feature = "memory")]
    Entry {
        name: "eventstores-memory",
        family: Family::Ours,
        clients: Kind::Tasks,
        durable: false,
        crates: &["eventstores"],
        about: "`connect(\"memory:\")`; nothing is durable",
        run: run::<contender::ours::Ours>,
    },
    #[cfg(feature = "fjall")]
    Entry {
        name: "eventstores-fjall",
        family: Family::Ours,
        clients: Kind::Tasks,
        durable: true,
        crates: &["eventstores", "fjall"],
        about: "`connect(\"fjall:PATH\")`, the default",
        run: run::<contender::ours::Ours>,
    },
    #[cfg(feature = "redb")]
    Entry {
        name: "eventstores-redb",
        family: Family::Ours,
        clients: Kind::Tasks,
        durable: true,
        crates: &["eventstores", "redb"],
        about: "`connect(\"redb:PATH\")`",
        run: run::<contender::ours::Ours>,
    },
    #[cfg(feature = "lmdb")]
    Entry {
        name: "eventstores-lmdb",
        family: Family::Ours,
        clients: Kind::Tasks,
        durable: true,
        crates: &["eventstores", "lmdb-master-sys"],
        about: "`connect(\"lmdb:PATH\")`",
        run: run::<contender::ours::Ours>,
    },
    #[cfg(feature = "sled")]
    Entry {
        name: "eventstores-sled",
        family: Family::Ours,
        clients: Kind::Tasks,
        durable: true,
        crates: &["eventstores", "sled"],
        about: "`connect(\"sled:PATH\")`",
        run: run::<contender::ours::Ours>,
    },
    #[cfg(feature = "tephra")]
    Entry {
        name: "tephra",
        family: Family::Peer,
        clients: Kind::Threads,
        durable: true,
        crates: &["tephra"],
        about: "`WriteHandle::append` and `read`, a tag per stream, segments of 256 MiB as in its README",
        run: run::<contender::tephra::Blocking>,
    },
    #[cfg(feature = "tephra")]
    Entry {
        name: "tephra-async",
        family: Family::Peer,
        clients: Kind::Tasks,
        durable: true,
        crates: &["tephra"],
        about: "the same through `append_async` and its `ReadPool`",
        run: run::<contender::tephra::Tasks>,
    },
    #[cfg(feature = "sqlite")]
    Entry {
        name: "sqlite",
        family: Family::Peer,
        clients: Kind::Threads,
        durable: true,
        crates: &["rusqlite", "libsqlite3-sys"],
        about: "an events table by hand: WAL, `synchronous=FULL`, prepared statements, a transaction per append",
        run: run::<contender::sqlite::Alone>,
    },
    #[cfg(feature = "sqlite")]
    Entry {
        name: "sqlite-group",
        family: Family::Peer,
        clients: Kind::Threads,
        durable: true,
        crates: &["rusqlite", "libsqlite3-sys"],
        about: "the same table; one writer thread puts all that wait into one transaction",
        run: run::<contender::sqlite::Grouped>,
    },
    #[cfg(feature = "varvedb")]
    Entry {
        name: "varvedb",
        family: Family::Peer,
        clients: Kind::Threads,
        durable: true,
        crates: &["varvedb", "lmdb-master-sys"],
        about: "one typed stream, an id per stream of ours; one thread owns it, as its `&mut self` asks",
        run: run::<contender::varvedb::Varve>,
    },
    #[cfg(feature = "sierradb")]
    Entry {
        name: "sierradb",
        family: Family::Peer,
        clients: Kind::Tasks,
        durable: true,
        crates: &["sierradb"],
        about: "`Database::append_events`, syncing every commit; 16 partitions, each with an order of its own",
        run: run::<contender::sierradb::Sierra>,
    },
    #[cfg(feature = "sierradb")]
    Entry {
        name: "sierradb-batched",
        family: Family::Peer,
        clients: Kind::Tasks,
        durable: true,
        crates: &["sierradb"],
        about: "the same with its defaults: a sync per 4 KiB or 5 ms, which appends wait for",
        run: run::<contender::sierradb::Sierra>,
    },
    #[cfg(feature = "umadb")]
    Entry {
        name: "umadb-core",
        family: Family::Peer,
        clients: Kind::Tasks,
        durable: true,
        crates: &["umadb-core"],
        about: "the writer thread that its server runs, a tag per stream, in the process and without gRPC",
        run: run::<contender::umadb::Uma>,
    },
];
