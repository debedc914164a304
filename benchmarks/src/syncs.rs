//! Counts what proves durability: how often a contender asks the disk to keep what was written.

use std::process::{Command, Stdio};

use crate::Result;

/// Every call that can make data durable, beside files opened with `O_SYNC` or `O_DSYNC`.
const TRACED: &str = "trace=fsync,fdatasync,msync,sync_file_range";
/// Two runs of different lengths: their difference has no syncs of opening and closing.
const SHORT_RUN: u64 = 100;
const LONG_RUN: u64 = 600;

/// Syncs per append, by a function that counts those of a run.
pub(crate) fn per_append(count: impl Fn(u64) -> Result<u64>) -> Result<f64> {
    let (short, long) = (count(SHORT_RUN)?, count(LONG_RUN)?);
    Ok((long as f64 - short as f64) / (LONG_RUN - SHORT_RUN) as f64)
}

/// Runs a command under strace: how many syncs it made.
pub(crate) fn count(command: Command) -> Result<u64> {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-c", "-e", TRACED])
        .arg(command.get_program())
        .args(command.get_args())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("strace cannot be started: {error}"))?;
    let table = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("under strace: {table}").into());
    }
    Ok(calls_in(&table))
}

/// The calls of all rows of strace's table: time, seconds, microseconds per call, calls, perhaps errors, name.
fn calls_in(table: &str) -> u64 {
    let row = |line: &str| {
        let mut columns = line.split_whitespace();
        let name = columns.clone().next_back()?;
        let calls = columns.nth(3)?;
        TRACED.contains(name).then(|| calls.parse::<u64>().ok())?
    };
    table.lines().filter_map(row).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.000180           1       120           fdatasync
 10.00    0.000020          10         2         1 fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.000200           1       122         1 total
";

    #[test]
    fn calls_of_all_rows_are_added_without_the_total() {
        assert_eq!(calls_in(TABLE), 122);
        assert_eq!(calls_in(""), 0);
    }

    #[test]
    fn opening_and_closing_are_not_counted_per_append() {
        assert_eq!(per_append(|appends| Ok(17 + 2 * appends)).unwrap(), 2.0);
    }
}
