//! How long single calls take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Percentiles of the time of a call, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// A time that fits its place: 4 s at most, more than any call takes.
pub(crate) fn nanoseconds(took: Duration) -> u32 {
    u32::try_from(took.as_nanos()).unwrap_or(u32::MAX)
}

/// The percentiles of these times; `None` when there are none.
pub(crate) fn percentiles(mut took_ns: Vec<u32>) -> Option<Latency> {
    took_ns.sort_unstable();
    let last = took_ns.len().checked_sub(1)?;
    let at = |percent: usize| f64::from(took_ns[last * percent / 100]) / 1_000.0;
    Some(Latency {
        p50_us: at(50),
        p99_us: at(99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let took_ns = (0..=100).rev().map(|time| time * 1_000).collect();
        let latency = percentiles(took_ns).unwrap();
        assert_eq!((latency.p50_us, latency.p99_us), (50.0, 99.0));
        assert_eq!(percentiles(Vec::new()), None);
    }
}
