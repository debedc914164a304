//! Accounts take, change and give up unique names.

use std::error::Error;

use dcb::usernames::{RETENTION, change, close, register};
use eventstores::{EventStoreProviderExt, Timestamp};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let log = eventstores::connect("memory:").await?.default_log();
    let now = Timestamp::now();
    register(&*log, "a1", "alice", now).await?;
    println!("a1 is alice");
    let refused = register(&*log, "a2", "alice", now).await.expect_err("taken");
    println!("a2 wants to be alice: {refused}");
    register(&*log, "a2", "bob", now).await?;
    println!("a2 is bob");
    let refused = change(&*log, "a2", "bob", "alice", now).await.expect_err("taken");
    println!("bob wants to be alice: {refused}");
    close(&*log, "a1", "alice").await?;
    println!("alice has closed her account");
    let refused = change(&*log, "a2", "bob", "alice", now)
        .await
        .expect_err("too early");
    println!("bob wants to be alice at once: {refused}");
    let later = now.saturating_add(RETENTION * 2);
    change(&*log, "a2", "bob", "alice", later).await?;
    println!("a week later bob is alice");
    Ok(())
}
