//! Tables in Markdown that are readable in a terminal as well.

use crate::contender::{Entry, Family};
use crate::rounds::{Cell, Results};
use crate::workload::{Unit, Workload};

/// Every contender at one workload: the median, its spread, and how it stands to the raw disk and the best peer.
pub(crate) fn of_workload(results: &Results, workload: Workload) -> String {
    let unit = workload.unit();
    let mut rows = vec![header(workload)];
    let best_of = |family| best(results, workload, &|entry| entry.family == family).map(|(_, value)| value);
    let (raw, peer) = (best_of(Family::Raw), best_of(Family::Peer));
    for &entry in &results.entries {
        let Some(cell) = results.cell(entry, workload) else {
            continue;
        };
        let figures = match cell {
            Cell::Measured(figures) => figures,
            Cell::Failed(reason) => {
                rows.push(vec![entry.name.to_owned(), format!("failed: {reason}")]);
                continue;
            }
        };
        let median = results
            .median(entry, workload)
            .expect("a measured cell has a median");
        let (least, most) = (figures[0].value, figures[figures.len() - 1].value);
        let mut row = vec![
            entry.name.to_owned(),
            shown(unit, median.value),
            format!("{} … {}", shown(unit, least), shown(unit, most)),
            ratio(median.value, raw),
            ratio(median.value, peer),
        ];
        if let Workload::Append { .. } | Workload::Batch { .. } = workload {
            row.extend(match median.latency {
                Some(latency) => [micros(latency.p50_us), micros(latency.p99_us)],
                None => [String::new(), String::new()],
            });
            row.push(match results.syncs(entry) {
                Some(syncs) => format!("{syncs:.2}"),
                None if entry.durable => "not counted".to_owned(),
                None => "none".to_owned(),
            });
        }
        if let Some(conflicts) = median.conflicts {
            row.push(conflicts.to_string());
        }
        rows.push(row);
    }
    aligned(&rows)
}

fn header(workload: Workload) -> Vec<String> {
    let mut header = vec![
        "contender",
        workload.unit().name(),
        "least … most",
        "x raw",
        "x best peer",
    ];
    match workload {
        Workload::Append { .. } | Workload::Batch { .. } => {
            header.extend(["p50 µs", "p99 µs", "syncs per append"]);
        }
        Workload::Race { .. } => header.push("conflicts"),
        _ => {}
    }
    header.into_iter().map(str::to_owned).collect()
}

/// Every contender at every workload.
pub(crate) fn overview(results: &Results) -> String {
    let entries = || results.entries.iter();
    let names = entries().map(|entry| entry.name.to_owned());
    let mut rows = vec![std::iter::once("workload".to_owned()).chain(names).collect()];
    for &workload in &results.workloads {
        let unit = workload.unit();
        let cells = entries().map(|entry| match results.median(entry, workload) {
            Some(figures) => shown(unit, figures.value),
            None => String::new(),
        });
        let title = format!("{}, {}", workload.title(), unit.name());
        rows.push(std::iter::once(title).chain(cells).collect());
    }
    aligned(&rows)
}

/// The best median of those that are asked for.
pub(crate) fn best(
    results: &Results,
    workload: Workload,
    asked: &dyn Fn(&Entry) -> bool,
) -> Option<(&'static Entry, f64)> {
    let entries = results.entries.iter().filter(|entry| asked(entry));
    let medians = entries.filter_map(|&entry| Some((entry, results.median(entry, workload)?.value)));
    if workload.unit().more_is_better() {
        medians.max_by(|(_, a), (_, b)| a.total_cmp(b))
    } else {
        medians.min_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}

fn ratio(value: f64, to: Option<f64>) -> String {
    to.map_or_else(String::new, |to| format!("{:.2}", value / to))
}

fn micros(value: f64) -> String {
    format!("{value:.0}")
}

/// A figure in three digits or so: what is behind them is noise.
pub(crate) fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::EventsPerSecond if value >= 1e6 => format!("{:.2}M", value / 1e6),
        Unit::EventsPerSecond if value >= 1e5 => format!("{:.0}k", value / 1e3),
        Unit::EventsPerSecond if value >= 1e4 => format!("{:.1}k", value / 1e3),
        Unit::Milliseconds if value < 10.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// Rows as a Markdown table whose columns line up.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| cell(row, column).chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, &width) in widths.iter().enumerate() {
            let cell = cell(row, column);
            let fill = " ".repeat(width - cell.chars().count());
            text += &if column == 0 {
                format!("| {cell}{fill} ")
            } else {
                format!("| {fill}{cell} ")
            };
        }
        text += "|\n";
        if number == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                text += &if column == 0 {
                    format!("|{dashes}-")
                } else {
                    format!("|{dashes}:")
                };
            }
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let events = |value| shown(Unit::EventsPerSecond, value);
        assert_eq!(
            [
                events(9_123.4),
                events(75_321.0),
                events(213_456.0),
                events(6_012_345.0)
            ],
            ["9123", "75.3k", "213k", "6.01M"]
        );
        assert_eq!(shown(Unit::Milliseconds, 0.1234), "0.12");
        assert_eq!(shown(Unit::Milliseconds, 1_700.3), "1700");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let table = aligned(&[row(["name", "x"]), row(["a", "1.25"])]);
        assert_eq!(table, "| name |    x |\n|------|-----:|\n| a    | 1.25 |\n");
    }
}
