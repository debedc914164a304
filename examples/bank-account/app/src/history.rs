//! The history of the account as a table.

use std::io::{self, Write};

use bank_account_domain::StatementLine;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use eventstores::Timestamp;

/// Most lines that are shown: the account is the same in every run, and a screen is not endless.
const MAX_LINES: usize = 40;
const MICROS_PER_SECOND: i64 = 1_000_000;
/// Version, position, amount and balance.
const NUMBERS: [usize; 4] = [0, 1, 4, 5];

/// Prints the newest lines, oldest first, and how many there are.
pub(crate) fn print(lines: &[StatementLine], out: &mut impl Write) -> io::Result<()> {
    let shown = &lines[lines.len().saturating_sub(MAX_LINES)..];
    writeln!(out, "{}", table(shown))?;
    match lines.len() - shown.len() {
        0 => writeln!(out, "history: {} events", lines.len()),
        hidden => writeln!(
            out,
            "history: {} events, the first {hidden} of them not shown",
            lines.len()
        ),
    }
}

fn table(lines: &[StatementLine]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "version",
        "position",
        "time (UTC)",
        "type",
        "amount",
        "balance",
    ]);
    for line in lines {
        table.add_row([
            line.version.to_string(),
            line.position.to_string(),
            in_seconds(line.recorded_at),
            line.type_name.clone(),
            line.amount().unwrap_or_default(),
            line.balance.to_string(),
        ]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if NUMBERS.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The moment without its fraction of a second, so that all have the same width.
fn in_seconds(moment: Timestamp) -> String {
    let micros = moment.as_micros();
    Timestamp::from_micros(micros - micros.rem_euclid(MICROS_PER_SECOND)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_whole_seconds_before_and_after_1970() {
        let shown = |text: &str| in_seconds(text.parse().expect("a moment"));
        assert_eq!(shown("2026-11-23T10:30:00.25Z"), "2026-11-23T10:30:00Z");
        assert_eq!(shown("1969-12-31T23:59:59.75Z"), "1969-12-31T23:59:59Z");
    }
}
