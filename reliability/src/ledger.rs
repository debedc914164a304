//! What a writer has told from outside its process: what it began, and what was acknowledged to it.

use std::collections::BTreeMap;

/// The writer's lines. Each is written at once, before or after what it tells, so that a process that is killed has told
/// all that it knew.
const BEGIN: &str = "begin";
const ACKNOWLEDGED: &str = "acknowledged";
const SNAPSHOT: &str = "snapshot";
const FAILED: &str = "failed";

/// Something that a writer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An append is about to be tried.
    Begin { number: u64, time_ms: u64 },
    /// It was acknowledged, and its last event has this position.
    Acknowledged { number: u64, position: u64 },
    /// A snapshot of the stream with this id was acknowledged.
    Snapshot { stream: String, version: u64 },
    /// An append, or what is named otherwise, failed with an error of this kind and text.
    Failed {
        what: String,
        kind: String,
        text: String,
    },
}

impl Line {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        let (first, second) = rest.split_once(' ')?;
        let number = || first.parse().ok();
        Some(match word {
            BEGIN => Self::Begin {
                number: number()?,
                time_ms: second.parse().ok()?,
            },
            ACKNOWLEDGED => Self::Acknowledged {
                number: number()?,
                position: second.parse().ok()?,
            },
            SNAPSHOT => Self::Snapshot {
                stream: first.to_owned(),
                version: second.parse().ok()?,
            },
            FAILED => {
                let (kind, text) = second.split_once(' ')?;
                Self::Failed {
                    what: first.to_owned(),
                    kind: kind.to_owned(),
                    text: text.to_owned(),
                }
            }
            _ => return None,
        })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begin { number, time_ms } => write!(f, "{BEGIN} {number} {time_ms}"),
            Self::Acknowledged { number, position } => write!(f, "{ACKNOWLEDGED} {number} {position}"),
            Self::Snapshot { stream, version } => write!(f, "{SNAPSHOT} {stream} {version}"),
            Self::Failed { what, kind, text } => {
                write!(f, "{FAILED} {what} {kind} {}", text.replace('\n', " "))
            }
        }
    }
}

/// An append that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) time_ms: u64,
    /// The position of its last event, once it was acknowledged.
    pub(crate) acknowledged: Option<u64>,
    /// Whether it was acknowledged when the file system was being cut off already. That is no promise: a sync that meets
    /// the cut may find nothing left to do, where with the power the process would have gone.
    pub(crate) is_late: bool,
}

/// All that writers told of one store.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) appends: BTreeMap<u64, Begun>,
    /// Streams, by their ids, and versions.
    pub(crate) snapshots: Vec<(String, u64)>,
    /// Appends that were acknowledged twice, with different outcomes.
    pub(crate) moved: u64,
    first: u64,
}

impl Ledger {
    pub(crate) fn add(&mut self, line: &Line) {
        match line {
            Line::Begin { number, time_ms } => {
                let begun = Begun {
                    time_ms: *time_ms,
                    acknowledged: None,
                    is_late: false,
                };
                self.appends.entry(*number).or_insert(begun);
            }
            Line::Acknowledged { number, position } => {
                let begun = self
                    .appends
                    .get_mut(number)
                    .expect("begun before it was acknowledged");
                if begun
                    .acknowledged
                    .replace(*position)
                    .is_some_and(|earlier| earlier != *position)
                {
                    self.moved += 1;
                }
            }
            Line::Snapshot { stream, version } => self.snapshots.push((stream.clone(), *version)),
            Line::Failed { .. } => {}
        }
    }

    /// Adds what was told when the file system was being cut off.
    pub(crate) fn add_late(&mut self, line: &Line) {
        match line {
            Line::Begin { .. } | Line::Failed { .. } => self.add(line),
            Line::Acknowledged { number, .. } => {
                let begun = self.appends.get_mut(number);
                begun.expect("begun before it was acknowledged").is_late = true;
            }
            // Whether it is there does not matter.
            Line::Snapshot { .. } => {}
        }
    }

    /// Of a writer whose first append has this number.
    pub(crate) fn from(first: u64) -> Self {
        Self {
            first,
            ..Self::default()
        }
    }

    /// The number of the next append.
    pub(crate) fn next(&self) -> u64 {
        let last = self.appends.last_key_value();
        last.map_or(self.first.max(1), |(number, _)| number + 1)
    }

    /// Adds what another writer of the same store told, whose numbers are others.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.appends.append(&mut other.appends);
        self.snapshots.append(&mut other.snapshots);
        self.moved += other.moved;
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.appends
            .values()
            .filter(|it| it.acknowledged.is_some())
            .count() as u64
    }

    /// What the next writer tries again, as its argument has it: all that was not acknowledged, and the newest of what
    /// was, which must come out as it did.
    pub(crate) fn again(&self) -> String {
        let open = self.appends.iter().filter(|(_, it)| it.acknowledged.is_none());
        let done = self
            .appends
            .iter()
            .rev()
            .filter(|(_, it)| it.acknowledged.is_some())
            .take(10);
        let tries = open
            .chain(done)
            .map(|(number, it)| format!("{number}:{}", it.time_ms));
        tries.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_told() {
        for line in [
            Line::Begin {
                number: 1,
                time_ms: 2,
            },
            Line::Acknowledged {
                number: 3,
                position: 4,
            },
            Line::Snapshot {
                stream: "s".into(),
                version: 5,
            },
            Line::Failed {
                what: "6".into(),
                kind: "Unavailable".into(),
                text: "no room".into(),
            },
        ] {
            assert_eq!(Line::parse(&line.to_string()), Some(line));
        }
        // What was cut off tells nothing.
        assert_eq!(Line::parse("begin 1"), None);
        assert_eq!(Line::parse("acknowledged 7 x"), None);
    }

    #[test]
    fn outcome_that_changes_is_counted() {
        let mut ledger = Ledger::default();
        ledger.add(&Line::Begin {
            number: 1,
            time_ms: 9,
        });
        assert_eq!(ledger.again(), "1:9");
        ledger.add(&Line::Acknowledged {
            number: 1,
            position: 4,
        });
        ledger.add(&Line::Acknowledged {
            number: 1,
            position: 4,
        });
        assert_eq!((ledger.moved, ledger.acknowledged(), ledger.next()), (0, 1, 2));
        ledger.add(&Line::Acknowledged {
            number: 1,
            position: 5,
        });
        assert_eq!(ledger.moved, 1);
    }
}
