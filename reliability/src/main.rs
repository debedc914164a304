//! What happens to a store when its process, its disk or its files fail: crashes, faults and corruption, through the
//! whole store, on every durable backend in this process; and when servers, or some of several processes on them, do.
//!
//! `cargo xtask crash` and its sisters build and run it; `docs/reliability.md` has the figures.
#![forbid(unsafe_code)]

mod backend;
mod chaos;
mod corrupt;
mod crash;
mod faults;
mod ledger;
mod mount;
mod process;
mod verify;
mod work;
mod writer;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::str::FromStr;

use eventstores::Durability;

use crate::backend::Backend;
use crate::crash::Run;
use crate::mount::Kind;
use crate::writer::{Orders, Until};

const HELP: &str = "\
reliability chaos BACKEND [--kills N]
  on a server: kills it, or the member that leads, N times (2) under three writers, then kills a writer, and pauses
  one for longer than its session; on patroni another node must take over before the killed one comes back

reliability crash BACKEND [--rounds N] [--power-rounds N] [--seed N] [--buffered]
  kills a writer N times (100), then cuts the file system off under one N times (10) on ext4 and on xfs;
  with --buffered nothing is synced, and the power rounds must find losses: they show that the check can fail
reliability faults BACKEND
  makes syncs, writes, reads and openings fail under a writer and under an opening, removes the directory, fills the disk
reliability corrupt BACKEND [--flips N] [--seed N]
  flips one bit at a time, N in all (4000), of the files of a store that was closed and of one whose writer was killed
";

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: VecDeque<String>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let command = next(&mut arguments)?;
    let backend = next(&mut arguments)?;
    let backend = Backend::named(&backend).ok_or_else(|| format!("there is no durable backend {backend}"))?;
    match command.as_str() {
        "write" => {
            runtime.block_on(writer::run(orders(backend, arguments)?));
            Ok(())
        }
        "hold" => {
            runtime.block_on(chaos::hold(backend, &next(&mut arguments)?));
            Ok(())
        }
        "chaos" if backend.is_server() => {
            let kills = option(&mut arguments, "--kills", 2)?;
            no_more(&arguments)?;
            chaos::run(&runtime, backend, kills)
        }
        "crash" if !backend.is_server() => {
            let rounds = option(&mut arguments, "--rounds", 100)?;
            let power_rounds = option(&mut arguments, "--power-rounds", 10)?;
            let seed = option(&mut arguments, "--seed", fastrand::u64(..))?;
            let durability = durability(&mut arguments);
            no_more(&arguments)?;
            let run = Run {
                runtime,
                backend,
                seed,
                durability,
            };
            run.kill(rounds)?;
            let kinds = Kind::ALL.into_iter().filter(|_| power_rounds > 0);
            kinds
                .into_iter()
                .try_for_each(|kind| run.power(kind, power_rounds))
        }
        "read" => corrupt::read(&runtime, backend, arguments),
        "corrupt" => {
            let flips = option(&mut arguments, "--flips", 4000)?;
            let seed = option(&mut arguments, "--seed", fastrand::u64(..))?;
            no_more(&arguments)?;
            corrupt::run(backend, flips, seed)
        }
        "faults" => {
            no_more(&arguments)?;
            faults::run(&runtime, backend)
        }
        _ => Err(HELP.to_owned()),
    }
}

/// What `process::command` says to a writer.
fn orders(backend: Backend, mut arguments: VecDeque<String>) -> Result<Orders, String> {
    let path = next(&mut arguments)?.into();
    let number = parse(&next(&mut arguments)?)?;
    let again = next(&mut arguments)?;
    let again = again.split(',').filter_map(|it| it.split_once(':'));
    let again = again
        .map(|(number, time_ms)| Ok((parse(number)?, parse(time_ms)?)))
        .collect::<Result<_, String>>()?;
    let durability = durability(&mut arguments);
    let until = match arguments.pop_front().as_deref() {
        None => Until::Killed,
        Some("steady") => Until::Steady,
        Some("appended") => Until::Appended(parse(&next(&mut arguments)?)?),
        Some(_) => Until::Failed {
            warm_up: parse(&next(&mut arguments)?)?,
            more: parse(&next(&mut arguments)?)?,
            armed: next(&mut arguments)?.into(),
        },
    };
    Ok(Orders {
        backend,
        path,
        next: number,
        again,
        until,
        durability,
    })
}

fn next(arguments: &mut VecDeque<String>) -> Result<String, String> {
    arguments.pop_front().ok_or_else(|| HELP.to_owned())
}

fn parse<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

/// Takes `name` and its number out of the arguments.
fn option<T: FromStr>(arguments: &mut VecDeque<String>, name: &str, default: T) -> Result<T, String> {
    let Some(at) = arguments.iter().position(|it| it == name) else {
        return Ok(default);
    };
    arguments.remove(at);
    let value = arguments
        .remove(at)
        .ok_or_else(|| format!("{name} needs a number"))?;
    parse(&value)
}

/// Takes `--buffered` out of the arguments.
fn durability(arguments: &mut VecDeque<String>) -> Durability {
    match arguments.iter().position(|it| it == crash::BUFFERED) {
        Some(at) => {
            arguments.remove(at);
            Durability::Buffered
        }
        None => Durability::Durable,
    }
}

fn no_more(arguments: &VecDeque<String>) -> Result<(), String> {
    let unknown = arguments.front();
    unknown.map_or(Ok(()), |it| Err(format!("there is no option {it}\n{HELP}")))
}
