//! The tasks of this repository: `cargo xtask help` lists them.

mod bench;
mod cargo;
mod ci;
mod conformance;
mod coverage;
mod deny;
mod fuzz;
mod layers;
mod lean;
mod reliability;
mod servers;
mod services;
mod sim;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  test                     every test of the workspace, doc tests included
  servers                  what CI tests on PostgreSQL and etcd, which services up has started
  ci                       what CI runs: test, servers, sim, crash, then formatting, lints, docs, layers, lean, features
  lint                     what CI runs after the tests
  layers                   fails when a crate depends on one above or beside its floor
  lean                     fails when the facade without features brings an engine, tokio or bincode
  features                 checks the facade with no feature and with each feature alone
  deny                     licences, bans, sources and advisories of the dependencies, where cargo-deny is installed
  conformance [--backend X]  both conformance suites on a backend, or on all
  crash [--backend X] [--rounds N] [--power-rounds N]  kills writers, and cuts their file systems off (needs root)
  chaos [--backend X] [--kills N]  kills servers, and kills and pauses processes, under writers on postgres, etcd or patroni
  services up|down|kill|status [NAME]  real servers on loopback for tests: installs (needs root) and starts postgres, etcd, and patroni where named
  faults [--backend X]     fails syncs, writes, reads and openings under a store, removes its directory, fills its disk
  corrupt [--backend X] [--flips N]  flips bits of every file of a store, one at a time, and tells what came of each
  fuzz [--seconds N]       each fuzz target for N seconds (30), where cargo-fuzz is installed
  coverage [report]        lines of each library crate that its tests run, where cargo-llvm-cov is installed; fails below 90 %
  sim [--seeds N] [--from S] the whole store on a simulated engine, for 5000 seeds or 5 minutes; --help lists more
  bench [--backend X] [ARGS] criterion benchmarks: append, read, snapshot, live; ARGS go to criterion
  bench compare [ARGS]     every backend beside the raw disk, the bare engines and other event stores; --help lists ARGS
";

/// How a task ends: an error says what failed and what to do.
type Outcome = Result<(), String>;

/// The backends that can be chosen, which are also the facade's features.
const BACKENDS: [&str; 7] = ["memory", "sled", "fjall", "redb", "lmdb", "postgres", "etcd"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match command {
        "test" => ci::test(),
        "ci" => ci::all(),
        "lint" => ci::lint(),
        "layers" => layers::check(),
        "lean" => lean::check(),
        "features" => lean::features(),
        "deny" => deny::check(),
        "conformance" => conformance::run(rest),
        "coverage" => coverage::run(rest),
        "bench" => bench::run(rest),
        "chaos" => reliability::chaos(rest),
        "crash" | "faults" | "corrupt" => reliability::run(command, rest),
        "fuzz" => fuzz::run(rest),
        "sim" => sim::run(rest),
        "servers" => servers::test(),
        "services" => services::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("there is no task {other}; cargo xtask help lists them")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes `--backend X` out of `arguments`: the backend, if one of `known` is named, and what is left.
fn take_backend<'a>(
    arguments: &'a [String],
    known: &[&str],
) -> Result<(Option<&'a str>, Vec<&'a str>), String> {
    let mut rest: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(at) = rest.iter().position(|argument| *argument == "--backend") else {
        return Ok((None, rest));
    };
    let names = known.join(", ");
    let Some(&backend) = rest.get(at + 1) else {
        return Err(format!("--backend needs a name; use one of {names}"));
    };
    if !known.contains(&backend) {
        return Err(format!(
            "there is no backend {backend} for this; use one of {names}"
        ));
    }
    rest.drain(at..at + 2);
    Ok((Some(backend), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(arguments: &[&str]) -> Result<(Option<String>, Vec<String>), String> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (backend, rest) = take_backend(&arguments, &BACKENDS)?;
        Ok((
            backend.map(str::to_owned),
            rest.into_iter().map(str::to_owned).collect(),
        ))
    }

    #[test]
    fn backend_is_taken_out_of_the_arguments() {
        let expected = (Some("sled".to_owned()), vec!["append".to_owned()]);
        assert_eq!(taken(&["--backend", "sled", "append"]), Ok(expected));
        assert_eq!(taken(&[]), Ok((None, Vec::new())));
    }

    #[test]
    fn unknown_backend_is_refused_and_the_known_are_named() {
        let known = BACKENDS.join(", ");
        assert!(taken(&["--backend", "mongo"]).is_err_and(|error| error.contains(&known)));
        assert!(taken(&["--backend"]).is_err());
    }
}
