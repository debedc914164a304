//! The fuzz targets: bytes that a machine makes up, and what it finds new ways with.

use std::path::PathBuf;
use std::thread;

use crate::Outcome;
use crate::cargo::{cargo, run_with};

/// Every target of `fuzz/`.
const TARGETS: [&str; 5] = ["records", "keys", "url", "servers", "store"];
const DEFAULT_SECONDS: u32 = 30;

/// Runs each target for some seconds, as many at a time as there are cores. On stable Rust there are no sanitizers, and none
/// are needed: our code has nothing unsafe.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    let seconds = seconds(arguments)?;
    let is_installed = cargo(&["fuzz", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !is_installed {
        println!("fuzz: skipped, cargo-fuzz is not installed; cargo install cargo-fuzz --locked");
        return Ok(());
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/fuzz");
    let target = target.to_str().ok_or("the path of the repository is no text")?;
    let variables = [("CARGO_TARGET_DIR", target)];
    run_with(&["fuzz", "build", "-s", "none"], &variables)?;
    let run = |name: &str| {
        let (found, seeds) = (format!("fuzz/corpus/{name}"), format!("fuzz/seeds/{name}"));
        std::fs::create_dir_all(root.join(&found))
            .map_err(|error| format!("cannot make {found}: {error}"))?;
        let limit = format!("-max_total_time={seconds}");
        // What is found new goes to the first folder.
        let command = ["fuzz", "run", "-s", "none", name, &found, &seeds];
        run_with(
            &[
                &command[..],
                &["--", &limit, "-verbosity=0", "-print_final_stats=1"],
            ]
            .concat(),
            &variables,
        )
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    TARGETS.chunks(cores).try_for_each(|names| {
        thread::scope(|scope| {
            let running: Vec<_> = names.iter().map(|name| scope.spawn(|| run(name))).collect();
            running.into_iter().try_for_each(|one| {
                one.join()
                    .unwrap_or_else(|_| Err("a fuzz target could not be run".to_owned()))
            })
        })
    })
}

fn seconds(arguments: &[String]) -> Result<u32, String> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => Ok(DEFAULT_SECONDS),
        ["--seconds", seconds] => seconds
            .parse()
            .map_err(|_| format!("{seconds} is not a number of seconds")),
        _ => Err("fuzz knows --seconds N alone".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_given_or_not() {
        let given = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
            seconds(&arguments)
        };
        assert_eq!(given(&[]), Ok(DEFAULT_SECONDS));
        assert_eq!(given(&["--seconds", "5"]), Ok(5));
        assert!(given(&["--seconds", "x"]).is_err() && given(&["5"]).is_err());
    }
}
