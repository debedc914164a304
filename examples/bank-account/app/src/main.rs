//! A bank account on an event store: a tour of what a store does, on the backend that a URL names.
//!
//! ```text
//! cargo run -p bank-account
//! cargo run -p bank-account --no-default-features --features sled -- sled:./data/bank
//! ```
//!
//! The rules of an account are in the library beside this program, `bank-account-domain`, which knows no backend.
//! This program opens the store, calls the library, and prints what happens.

mod history;
mod tour;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

/// Used when no URL is given.
const DEFAULT_URL: &str = "fjall:./data/bank-account";

const USAGE: &str = "\
a bank account on an event store

usage: bank-account [URL]

  URL   where the account is kept: fjall:PATH, lmdb:PATH, redb:PATH, sled:PATH, memory:,
        postgres://USER:PASSWORD@HOST/DATABASE or etcd://HOST:PORT,HOST:PORT/PREFIX
        (fjall:./data/bank-account unless given)

A backend is in the program when its Cargo feature is on: fjall (the default), lmdb, redb, sled,
memory, postgres, etcd.";

type BoxError = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(env::args_os().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The text of `error` and those of its causes, which it does not repeat.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

async fn run(arguments: Vec<OsString>) -> Result<(), BoxError> {
    let arguments: Option<Vec<_>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let arguments = arguments.ok_or("an argument is not valid UTF-8; give a URL that is, or --help")?;
    match arguments[..] {
        [] => tour::run(DEFAULT_URL, &mut io::stdout()).await,
        ["-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        [option] if option.starts_with('-') => {
            Err(format!("there is no option {option}; give a URL, or --help").into())
        }
        [url] => tour::run(url, &mut io::stdout()).await,
        _ => Err(format!(
            "{} arguments were given; give one URL, or --help",
            arguments.len()
        )
        .into()),
    }
}
