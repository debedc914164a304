//! What the missed bars are short of: held against the engine without the store, and the store without an engine.

use crate::report::{bars, table};
use crate::rounds::Results;
use crate::workload::Workload;

/// How to read the table.
const NOTES: &str = "\
What each missed bar asks for, beside the engine alone, through the same trait and with a record, a log entry and a head for
each event, and beside the store in memory, without an engine and without a disk. Where the engine alone is below what is
asked, a store on it gets there only by asking less of the engine than that. Where the store in memory is, the disk
is not what is short but the processor, which clients, runtime and store share. In a race each event waits until the one
before it is durable: there can be no more of them than *one by one*, which is what one client appends to the raw log. A
store that tells who lost from what is not durable yet can have more, and may have told what never came to be.
";

/// Where the store has no engine and no disk.
const WITHOUT_ENGINE: &str = "eventstores-memory";

/// The section of the page, if a bar was missed.
pub(crate) fn section(results: &Results) -> Option<String> {
    let header = [
        "workload",
        "who",
        "asked",
        "reached",
        "engine alone",
        "in memory",
        "one by one",
        "short of",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(bars::missed(results).map(|missed| row(results, &missed)));
    (rows.len() > 1).then(|| format!("{NOTES}\n{}", table::aligned(&rows)))
}

fn row(results: &Results, missed: &bars::Missed) -> Vec<String> {
    let engine = missed.who.replace("eventstores", "bare");
    let engine = rate(results, missed.workload, &engine);
    let memory = rate(results, missed.workload, WITHOUT_ENGINE);
    let syncs = one_by_one(results, missed.workload);
    let shown = |value| table::shown(missed.workload.unit(), value);
    let short = short_of(missed.asked, engine, memory, syncs);
    vec![
        missed.workload.title(),
        missed.who.to_owned(),
        shown(missed.asked),
        shown(missed.value),
        engine.map(shown).unwrap_or_default(),
        memory.map(shown).unwrap_or_default(),
        syncs.map(shown).unwrap_or_default(),
        short,
    ]
}

fn rate(results: &Results, workload: Workload, name: &str) -> Option<f64> {
    let entry = results.entries.iter().find(|entry| entry.name == name)?;
    Some(results.median(entry, workload)?.value)
}

/// What one client appends to the better raw log, where each event waits for a sync of its own.
fn one_by_one(results: &Results, workload: Workload) -> Option<f64> {
    let Workload::Race { .. } = workload else {
        return None;
    };
    let raw = ["raw", "raw-tasks"].map(|name| rate(results, Workload::Append { clients: 1 }, name));
    raw.into_iter().flatten().reduce(f64::max)
}

/// Which of them are below what is asked.
fn short_of(asked: f64, engine: Option<f64>, memory: Option<f64>, syncs: Option<f64>) -> String {
    let short = [(engine, "engine"), (memory, "processor"), (syncs, "syncs")];
    let short = short
        .into_iter()
        .filter(|(value, _)| value.is_some_and(|value| value < asked));
    short.map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_asked_is_short() {
        assert_eq!(short_of(10.0, Some(9.0), Some(11.0), None), "engine");
        assert_eq!(short_of(10.0, Some(11.0), Some(9.0), None), "processor");
        assert_eq!(
            short_of(10.0, Some(9.0), Some(9.0), Some(11.0)),
            "engine, processor"
        );
        assert_eq!(short_of(10.0, Some(9.0), Some(11.0), Some(9.0)), "engine, syncs");
        assert_eq!(short_of(10.0, None, Some(10.0), None), "");
    }
}
