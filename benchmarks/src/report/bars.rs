//! The bars that the default backend has to clear, each beside what was measured.

use crate::contender::{Entry, Family};
use crate::event::PAYLOAD_BYTES;
use crate::report::table;
use crate::rounds::Results;
use crate::workload::{End, Unit, Workload};

/// The default backend, and the one that is built for reads.
const DEFAULT: &str = "eventstores-fjall";
const FAST_READS: &str = "eventstores-lmdb";

/// Bytes of what our events carry beside the payload: message id 16, two times of 8, type name 8, content type 24.
const METADATA_BYTES: usize = 64;

/// What a figure is held against.
#[derive(Clone, Copy)]
enum Against {
    /// The best of a family.
    Best(Family),
    /// One contender.
    One(&'static str),
    /// The best of contenders whose names begin so.
    Named(&'static str),
    /// Its own figure at another workload.
    Own(Workload),
    /// A fixed figure in the workload's unit.
    Fixed(f64),
}

/// A bar: a contender at a workload has to reach `least` times what it is held against, and aims at `aim` times.
struct Bar {
    who: &'static str,
    workload: Workload,
    against: Against,
    least: f64,
    aim: f64,
}

const fn bar(workload: Workload, against: Against, least: f64, aim: f64) -> Bar {
    Bar {
        who: DEFAULT,
        workload,
        against,
        least,
        aim,
    }
}

const RAW: Against = Against::Best(Family::Raw);
const PEERS: Against = Against::Best(Family::Peer);
const SQLITE: Against = Against::Named("sqlite");
const TEPHRA: Against = Against::Named("tephra");
const BARE: Against = Against::One("bare-fjall");

const BARS: &[Bar] = &[
    bar(Workload::Append { clients: 1 }, RAW, 0.90, 1.0),
    bar(Workload::Append { clients: 1 }, PEERS, 1.0, 1.0),
    bar(Workload::Append { clients: 16 }, RAW, 0.80, 0.95),
    bar(Workload::Append { clients: 16 }, PEERS, 1.0, 1.0),
    bar(Workload::Append { clients: 64 }, RAW, 0.65, 0.9),
    bar(Workload::Append { clients: 64 }, PEERS, 1.0, 1.0),
    bar(Workload::Append { clients: 256 }, RAW, 0.50, 0.8),
    bar(Workload::Append { clients: 256 }, PEERS, 1.0, 1.0),
    bar(Workload::Batch { events: 1000 }, SQLITE, 2.0, 2.0),
    bar(Workload::Batch { events: 1000 }, TEPHRA, 0.0, 1.0),
    bar(Workload::Race { writers: 64 }, PEERS, 1.3, 1.3),
    bar(Workload::Read { length: 10 }, PEERS, 1.0, 2.0),
    bar(Workload::Read { length: 1000 }, BARE, 0.80, 0.80),
    bar(Workload::Read { length: 1000 }, PEERS, 0.0, 1.0),
    bar(Workload::Read { length: 100_000 }, BARE, 0.80, 0.80),
    bar(Workload::Read { length: 100_000 }, PEERS, 0.0, 1.0),
    Bar {
        who: FAST_READS,
        ..bar(Workload::Read { length: 1000 }, PEERS, 1.0, 1.0)
    },
    Bar {
        who: FAST_READS,
        ..bar(Workload::Read { length: 100_000 }, PEERS, 1.0, 1.0)
    },
    bar(Workload::ReadAll, TEPHRA, 0.5, 1.0),
    bar(
        Workload::Open { after: End::Close },
        Against::Fixed(100.0),
        1.0,
        0.2,
    ),
    bar(
        Workload::Open { after: End::Kill },
        Against::Fixed(1_000.0),
        1.0,
        0.2,
    ),
    bar(
        Workload::Aged { stored: 10_000_000 },
        Against::Own(Workload::Aged { stored: 10_000 }),
        1.3,
        1.1,
    ),
    bar(
        Workload::Disk,
        Against::Fixed((PAYLOAD_BYTES + METADATA_BYTES) as f64),
        1.6,
        1.1,
    ),
];

/// A bar that was missed.
pub(super) struct Missed {
    pub(super) who: &'static str,
    pub(super) workload: Workload,
    /// The least that it asks for, and what was measured.
    pub(super) asked: f64,
    pub(super) value: f64,
}

/// The rates that are too low.
pub(super) fn missed(results: &Results) -> impl Iterator<Item = Missed> {
    let rates = BARS.iter().filter(|bar| bar.workload.unit().more_is_better());
    rates.filter_map(|bar| {
        let (value, _, other) = bar.sides(results)?;
        let asked = bar.least * other;
        (value < asked).then_some(Missed {
            who: bar.who,
            workload: bar.workload,
            asked,
            value,
        })
    })
}

/// Every bar of which both sides were measured.
pub(crate) fn table(results: &Results) -> String {
    let header = [
        "workload", "who", "against", "figure", "at least", "aim", "ratio", "verdict",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(BARS.iter().filter_map(|bar| bar.row(results)));
    table::aligned(&rows)
}

impl Bar {
    fn row(&self, results: &Results) -> Option<Vec<String>> {
        let (value, against, other) = self.sides(results)?;
        let unit = self.workload.unit();
        let ratio = value / other;
        let bound = |factor: f64| match factor {
            0.0 => String::new(),
            _ => format!("{factor:.2}"),
        };
        Some(vec![
            self.workload.title(),
            self.who.to_owned(),
            format!("{against} {}", table::shown(unit, other)),
            format!("{} {}", table::shown(unit, value), unit.name()),
            bound(self.least),
            bound(self.aim),
            format!("{ratio:.2}"),
            verdict(unit, ratio, self.least, self.aim).to_owned(),
        ])
    }

    /// What was measured, and what it is held against: its name and its figure.
    fn sides(&self, results: &Results) -> Option<(f64, String, f64)> {
        let who = results.entries.iter().find(|entry| entry.name == self.who)?;
        let value = results.median(who, self.workload)?.value;
        let (against, other) = self.other_side(results, who)?;
        Some((value, against, other))
    }

    fn other_side(&self, results: &Results, who: &Entry) -> Option<(String, f64)> {
        let best = |of: &dyn Fn(&Entry) -> bool| {
            let (entry, value) = table::best(results, self.workload, of)?;
            Some((entry.name.to_owned(), value))
        };
        match self.against {
            Against::Best(family) => best(&|entry| entry.family == family),
            Against::One(name) => best(&|entry| entry.name == name),
            Against::Named(front) => best(&|entry| entry.name.starts_with(front)),
            Against::Own(workload) => {
                let name = format!("at {workload}");
                Some((name, results.median(who, workload)?.value))
            }
            Against::Fixed(value) => Some((String::new(), value)),
        }
    }
}

/// What a ratio is worth. Where less is better, so is a smaller ratio.
fn verdict(unit: Unit, ratio: f64, least: f64, aim: f64) -> &'static str {
    let reaches = |bound: f64| {
        if unit.more_is_better() {
            ratio >= bound
        } else {
            ratio <= bound
        }
    };
    match (reaches(aim), reaches(least)) {
        (true, _) => "aim reached",
        (false, true) => "bar cleared",
        (false, false) => "MISSED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_knows_which_way_is_better() {
        let rate = |ratio| verdict(Unit::EventsPerSecond, ratio, 0.5, 0.8);
        assert_eq!(
            [rate(0.49), rate(0.5), rate(0.8)],
            ["MISSED", "bar cleared", "aim reached"]
        );
        let time = |ratio| verdict(Unit::Milliseconds, ratio, 1.0, 0.2);
        assert_eq!(
            [time(1.1), time(0.9), time(0.2)],
            ["MISSED", "bar cleared", "aim reached"]
        );
    }

    #[test]
    fn aim_is_never_below_the_bar() {
        for bar in BARS {
            let order = bar.aim - bar.least;
            let right = if bar.workload.unit().more_is_better() {
                order
            } else {
                -order
            };
            assert!(right >= 0.0, "{} against {}", bar.workload, bar.aim);
        }
    }
}
