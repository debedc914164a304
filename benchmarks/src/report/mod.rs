//! What a run found: printed as tables, and written as the page that the repository keeps.

mod bars;
mod chart;
mod machine;
mod missed;
mod page;
mod table;

use std::fs;
use std::path::Path;

use crate::Result;
use crate::rounds::Results;

/// Prints every table, the bars last.
pub(crate) fn print(results: &Results) {
    for &workload in &results.workloads {
        println!(
            "\n{}\n\n{}",
            workload.title(),
            table::of_workload(results, workload)
        );
    }
    println!("\nBars\n\n{}", bars::table(results));
    if let Some(missed) = missed::section(results) {
        println!("\nMissed\n\n{missed}");
    }
}

/// Writes `benchmarks.md` and its chart to a directory.
pub(crate) fn write(results: &Results, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("benchmarks.md"), page::text(results)?)?;
    fs::write(directory.join(page::CHART), chart::svg(results)?)?;
    println!("written to {}", directory.display());
    Ok(())
}
