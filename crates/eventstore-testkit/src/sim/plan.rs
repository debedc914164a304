//! What a run does, made from its seed: who does what, what goes wrong, and when the power is cut.

use eventstore_abstractions::Deletion;
use fastrand::Rng;

use super::bugs::Bug;
use super::disk::Faults;

/// Streams: those before [`RETAINED`] keep all their events.
pub(super) const STREAMS: usize = 5;
/// The stream of which only the newest events are kept.
pub(super) const RETAINED: usize = 2;
/// The stream that is deleted, and used again.
pub(super) const DELETED: usize = 3;
/// The stream of which what is young is kept.
pub(super) const AGED: usize = 4;
/// The events that are kept of [`RETAINED`].
pub(super) const KEPT: u64 = 4;

/// Processes that write to one store at most.
const MOST_PROCESSES: usize = 4;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
    /// Processes that write to the same data; with more than one the engine says that it is shared.
    pub(super) processes: usize,
    /// How far the clock of each process is ahead.
    pub(super) skews_ms: Vec<i64>,
    /// Databases in the store, which have streams of the same names.
    pub(super) databases: usize,
    pub(super) cached_streams: usize,
    /// Bytes of derived records that may wait in memory.
    pub(super) deferred_bytes: usize,
    pub(super) faults: Faults,
    pub(super) epochs: Vec<Epoch>,
}

/// What happens between one start of the processes and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// The power is cut after so many operations of the engine, or everything is closed in order.
    pub(super) cut_after: Option<u64>,
    /// One of several processes dies, and the others go on.
    pub(super) death: Option<Death>,
    /// Who follows a log in each process.
    pub(super) followers: Vec<Follows>,
    /// What each client does.
    pub(super) clients: Vec<Vec<Step>>,
}

/// The end of one process, after so many operations of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) process: usize,
    pub(super) after: u64,
}

/// Who follows which log in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Follows {
    pub(super) who: Follower,
    pub(super) database: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follower {
    Nobody,
    Subscription,
    Consumer,
    Projection,
    /// A projection that is built anew again and again.
    Rebuild,
}

/// One step of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) what: What,
    /// The call is dropped after so long, wherever it is.
    pub(super) give_up_after_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Append(Append),
    AppendAll {
        events: usize,
        is_conditional: bool,
        is_durable: bool,
    },
    /// Appends the events of the client's last append whose outcome is not known once more.
    Retry,
    Read {
        stream: usize,
        page_size: usize,
    },
    Version {
        stream: usize,
    },
    ReadLog {
        page_size: usize,
    },
    Snapshot {
        stream: usize,
    },
    Hold(Hold),
    /// Appends in the session that was kept.
    UseHeld {
        events: usize,
    },
    /// Sets the retention that a stream has for ever.
    Retain {
        stream: usize,
    },
    Delete {
        expected: Expected,
        deletion: Deletion,
    },
    Scavenge {
        events: u64,
    },
    /// Replays what a consumer has parked.
    Replay,
    /// Looks at what it has parked, and discards the first of it.
    Discard,
    Jump {
        ms: i64,
    },
    Pause {
        ms: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Append {
    pub(super) stream: usize,
    pub(super) events: usize,
    pub(super) expected: Expected,
    pub(super) is_durable: bool,
    /// The events have this idempotency id, and new message ids each time.
    pub(super) command: Option<usize>,
    /// Their message ids tell a time that has long passed.
    pub(super) has_old_ids: bool,
}

/// What an append expects, seen from what its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Any,
    NoStream,
    StreamExists,
    /// The version that was seen last.
    Seen,
    /// The one behind it.
    Next,
}

/// A session that is opened, and what is done in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) stream: usize,
    pub(super) timeout_ms: u64,
    pub(super) appends: usize,
    pub(super) pause_ms: u64,
    pub(super) renews: bool,
    pub(super) end: HoldEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoldEnd {
    Close,
    Drop,
    /// It is kept, to be used when it may be over.
    Keep,
}

impl Plan {
    pub(super) fn of(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let processes = if rng.u8(..4) == 0 {
            rng.usize(2..=MOST_PROCESSES)
        } else {
            1
        };
        let databases = if rng.u8(..3) == 0 { 2 } else { 1 };
        let often = |rng: &mut Rng, most| if rng.bool() { rng.u16(..most) } else { 0 };
        let faults = Faults {
            delay: often(&mut rng, 600),
            longest_delay_ms: rng.u64(1..30),
            fail_before: often(&mut rng, 80),
            fail_after: often(&mut rng, 80),
            straggle: often(&mut rng, 60),
            fail_read: often(&mut rng, 40),
        };
        let skewed = |_| if rng.bool() { 0 } else { rng.i64(-80..80) };
        let skews_ms = (0..processes).map(skewed).collect();
        let mood = (rng.u8(..16) == 0).then_some(Mood::Grants);
        let epochs = (0..rng.usize(1..=4))
            .map(|_| {
                let mood = mood.unwrap_or_else(|| Mood::random(&mut rng));
                Epoch::random(&mut rng, mood, processes, databases)
            })
            .collect();
        Self {
            seed,
            bug,
            processes,
            skews_ms,
            databases,
            cached_streams: if rng.bool() { 1 } else { 100 },
            deferred_bytes: [0, 1, 1_000, 5_000, 1 << 20][rng.usize(..5)],
            faults,
            epochs,
        }
    }

    /// How much there is of it.
    pub(super) fn size(&self) -> usize {
        let clients = self.epochs.iter().flat_map(|epoch| &epoch.clients);
        self.epochs.len() + clients.map(Vec::len).sum::<usize>()
    }
}

impl Epoch {
    fn random(rng: &mut Rng, mood: Mood, processes: usize, databases: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..rng.usize(1..=processes.max(2) + 2) {
            let steps = rng.usize(1..=14);
            clients.push((0..steps).map(|_| Step::random(rng, mood)).collect());
        }
        let followers = (0..processes).map(|_| Follows {
            who: Follower::random(rng, mood),
            database: rng.usize(..databases),
        });
        let longest = if mood == Mood::Grants { 40 } else { 250 };
        let followers = followers.collect();
        let cut_after = (rng.u8(..3) > 0).then(|| rng.u64(1..longest));
        let death = (processes > 1 && rng.bool()).then(|| Death {
            process: rng.usize(..processes),
            after: rng.u64(1..150),
        });
        Self {
            followers,
            clients,
            cut_after,
            death,
        }
    }
}

impl Follower {
    fn random(rng: &mut Rng, mood: Mood) -> Self {
        match rng.u8(..8) {
            _ if mood == Mood::Parking => Self::Consumer,
            0 => Self::Nobody,
            1..4 => Self::Subscription,
            4..6 => Self::Consumer,
            6 => Self::Projection,
            _ => Self::Rebuild,
        }
    }
}

/// What there is most of in an epoch: some bugs need several things of a kind in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Everything,
    Sessions,
    Scavenges,
    /// Consumers that park, and clients that replay.
    Parking,
    /// Sessions on one stream, until the power is cut soon. A run has this in all its epochs, or in none: a token that
    /// is lost is seen when the next session is granted, if no other has moved the tokens on.
    Grants,
}

impl Mood {
    fn random(rng: &mut Rng) -> Self {
        match rng.u8(..9) {
            0..2 => Self::Sessions,
            2..4 => Self::Scavenges,
            4..6 => Self::Parking,
            _ => Self::Everything,
        }
    }
}

impl Step {
    fn random(rng: &mut Rng, mood: Mood) -> Self {
        let give_up_after_ms = (rng.u8(..12) == 0).then(|| rng.u64(..20));
        let what = match mood {
            Mood::Sessions if rng.bool() => What::random_of_sessions(rng),
            Mood::Scavenges if rng.bool() => What::random_of_scavenges(rng),
            Mood::Parking if rng.u8(..4) > 0 => What::random_of_parking(rng),
            Mood::Grants if rng.u8(..8) > 0 => What::random_of_grants(rng),
            _ => What::random(rng),
        };
        Self {
            what,
            give_up_after_ms,
        }
    }
}

impl What {
    fn random(rng: &mut Rng) -> Self {
        let stream = rng.usize(..STREAMS);
        let page_size = rng.usize(1..12);
        match rng.u8(..100) {
            0..38 => Self::Append(Append::random(rng)),
            38..46 => Self::AppendAll {
                events: rng.usize(1..3),
                is_conditional: rng.bool(),
                is_durable: rng.bool(),
            },
            46..54 => Self::Retry,
            54..62 => Self::Read { stream, page_size },
            62..66 => Self::Version { stream },
            66..70 => Self::ReadLog { page_size },
            70..74 => Self::Snapshot { stream },
            74..82 => Self::Hold(Hold::random(rng)),
            82..86 => Self::UseHeld {
                events: rng.usize(1..3),
            },
            86..88 => Self::random_retention(rng),
            88..90 => Self::random_deletion(rng),
            90..93 => Self::Scavenge {
                events: rng.u64(1..40),
            },
            93..95 => Self::Jump {
                ms: rng.i64(-200..200),
            },
            95..97 => Self::Replay,
            97 => Self::Discard,
            _ => Self::Pause { ms: rng.u64(1..60) },
        }
    }
}

impl What {
    fn random_of_sessions(rng: &mut Rng) -> Self {
        match rng.u8(..10) {
            0..3 => Self::Hold(Hold::random(rng)),
            3..6 => Self::UseHeld { events: 1 },
            6..8 => Self::Jump {
                ms: rng.i64(-300..300),
            },
            _ => Self::Append(Append {
                expected: Expected::Any,
                ..Append::random(rng)
            }),
        }
    }

    fn random_of_scavenges(rng: &mut Rng) -> Self {
        match rng.u8(..9) {
            0 => Self::random_retention(rng),
            1 => Self::random_deletion(rng),
            2..4 => Self::Scavenge {
                events: rng.u64(1..40),
            },
            _ => Self::Append(Append {
                stream: rng.usize(RETAINED..STREAMS),
                command: None,
                ..Append::random(rng)
            }),
        }
    }

    fn random_of_parking(rng: &mut Rng) -> Self {
        match rng.u8(..10) {
            0..2 => Self::Replay,
            2 => Self::Discard,
            // Somebody has to fail several times first.
            3..6 => Self::Pause { ms: rng.u64(20..100) },
            _ => Self::Append(Append {
                stream: rng.usize(..RETAINED),
                expected: Expected::Any,
                ..Append::random(rng)
            }),
        }
    }

    fn random_of_grants(rng: &mut Rng) -> Self {
        match rng.u8(..4) {
            0 => Self::Pause { ms: rng.u64(1..60) },
            _ => Self::Hold(Hold {
                stream: 0,
                appends: 0,
                ..Hold::random(rng)
            }),
        }
    }

    fn random_retention(rng: &mut Rng) -> Self {
        let stream = if rng.bool() { RETAINED } else { AGED };
        Self::Retain { stream }
    }

    fn random_deletion(rng: &mut Rng) -> Self {
        Self::Delete {
            expected: Expected::random(rng),
            // What is deleted for good is of no use for the rest of the run.
            deletion: if rng.u8(..8) == 0 {
                Deletion::Hard
            } else {
                Deletion::Soft
            },
        }
    }
}

impl Expected {
    fn random(rng: &mut Rng) -> Self {
        match rng.u8(..12) {
            0 => Self::NoStream,
            1 => Self::StreamExists,
            2 => Self::Next,
            3..8 => Self::Seen,
            _ => Self::Any,
        }
    }
}

impl Append {
    fn random(rng: &mut Rng) -> Self {
        let stream = rng.usize(..STREAMS);
        Self {
            stream,
            events: rng.usize(1..4),
            expected: Expected::random(rng),
            is_durable: rng.u8(..3) > 0,
            // What was removed is not recognised any more, so that there are none where that happens.
            command: (stream < RETAINED && rng.u8(..4) == 0).then(|| rng.usize(..3)),
            has_old_ids: rng.u8(..6) == 0,
        }
    }
}

impl Hold {
    fn random(rng: &mut Rng) -> Self {
        Self {
            stream: rng.usize(..STREAMS),
            timeout_ms: rng.u64(10..150),
            appends: rng.usize(..3),
            pause_ms: rng.u64(..60),
            renews: rng.u8(..3) == 0,
            end: match rng.u8(..4) {
                0 => HoldEnd::Close,
                1 => HoldEnd::Drop,
                _ => HoldEnd::Keep,
            },
        }
    }
}
