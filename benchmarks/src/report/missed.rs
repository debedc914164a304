//! What the missed bars are short of: held against the engine without the store, and the store without an engine.

use crate::report::{bars, table};
use crate::rounds::Results;
use crate::workload::Workload;

/// How to read the table.
const NOTES: &str = "\
What each missed bar asks for, beside the engine alone, through the same trait and with a record, a log entry and a head for
each event, and beside the store in memory, without an engine and without a disk. Where the engine alone is below what is
asked, a store on it gets there only by asking less of the engine than that. Where the store in memory is, the disk
is not what is short but the processor, which clients, runtime and store share.
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
    let shown = |value| table::shown(missed.workload.unit(), value);
    let short = short_of(missed.asked, engine, memory);
    vec![
        missed.workload.title(),
        missed.who.to_owned(),
        shown(missed.asked),
        shown(missed.value),
        engine.map(shown).unwrap_or_default(),
        memory.map(shown).unwrap_or_default(),
        short.to_owned(),
    ]
}

fn rate(results: &Results, workload: Workload, name: &str) -> Option<f64> {
    let entry = results.entries.iter().find(|entry| entry.name == name)?;
    Some(results.median(entry, workload)?.value)
}

/// Which of the two is below what is asked.
fn short_of(asked: f64, engine: Option<f64>, memory: Option<f64>) -> &'static str {
    let is_short = |value: Option<f64>| value.is_some_and(|value| value < asked);
    match (is_short(engine), is_short(memory)) {
        (true, true) => "engine, processor",
        (true, false) => "engine",
        (false, true) => "processor",
        (false, false) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_asked_is_short() {
        assert_eq!(short_of(10.0, Some(9.0), Some(11.0)), "engine");
        assert_eq!(short_of(10.0, Some(11.0), Some(9.0)), "processor");
        assert_eq!(short_of(10.0, Some(9.0), Some(9.0)), "engine, processor");
        assert_eq!(short_of(10.0, None, Some(10.0)), "");
    }
}
