//! Copies a store to another backend, verifies the copy, and goes on where it was when it was cut short.
//!
//! ```text
//! cargo run --release -p eventstores --features fjall,postgres --example copy -- \
//!     fjall:./data postgres://app:secret@db.example/app
//! ```

use std::env;
use std::error::Error;
use std::process::ExitCode;

use eventstores::CopyOptions;

const USAGE: &str = "usage: copy FROM TO

  FROM   the URL of a store that nothing writes to
  TO     the URL of an empty place, or of an unfinished copy of the same store, which is gone on with

A backend is in the program when its Cargo feature is on: fjall, lmdb, redb, sled, postgres, etcd.";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [from, to] = &arguments[..] else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let options = CopyOptions::default().on_progress(|progress| eprintln!("{progress}"));
    match eventstores::copy_with(from, to, options).await {
        Ok(copied) => {
            println!(
                "copied and compared: {} events, {} removed ones, {} streams and {} snapshots in {} databases; {} records of {} bytes",
                copied.events,
                copied.removed,
                copied.streams,
                copied.snapshots,
                copied.databases,
                copied.records,
                copied.bytes,
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}
