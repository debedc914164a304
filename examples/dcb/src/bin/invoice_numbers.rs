//! A hundred invoices are written at once, and numbered without gaps.

use std::error::Error;

use dcb::invoices::create;
use eventstores::EventStoreProviderExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = eventstores::connect("memory:").await?.default_log();
    let mut tasks = Vec::new();
    for cents in 1..=100 {
        let log = log.clone();
        tasks.push(tokio::spawn(async move { create(&*log, cents).await }));
    }
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await??);
    }
    numbers.sort_unstable();
    let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
    numbers.dedup();
    println!(
        "{} invoices, numbered from {first} to {last} without a gap",
        numbers.len()
    );
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    Ok(())
}
