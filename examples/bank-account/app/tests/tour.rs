//! The program as a user runs it: on each backend that it has, twice, and with what can go wrong.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What the first run does to the account; every later run does the same but for the opening.
const FIRST_RUN: [[&str; 3]; 6] = [
    ["AccountOpened", "", "0.00"],
    ["MoneyDeposited", "+100.00", "100.00"],
    ["MoneyWithdrawn", "-30.00", "70.00"],
    ["MoneyDeposited", "+5.00", "75.00"],
    ["MoneyDeposited", "+2.50", "77.50"],
    ["MoneyWithdrawn", "-10.00", "67.50"],
];

/// What a run of the program left behind.
struct Ran {
    exit_code: Option<i32>,
    out: String,
    errors: String,
}

impl Ran {
    fn succeeded(self) -> Self {
        assert_eq!(self.exit_code, Some(0), "{}{}", self.out, self.errors);
        assert_eq!(self.errors, "");
        self
    }

    /// The error, which is one line.
    fn error(self) -> String {
        assert_eq!(self.exit_code, Some(1), "{}{}", self.out, self.errors);
        assert_eq!(self.errors.lines().count(), 1, "{}", self.errors);
        self.errors
    }

    fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text:?} is not in:\n{}", self.out);
        self
    }

    /// The rows of the history: version, position, time, type, amount, balance.
    fn history(&self) -> Vec<[&str; 6]> {
        let rows = self.out.lines().filter(|line| line.starts_with('│'));
        rows.skip(1)
            .map(|row| {
                let cells: Vec<_> = row.trim_matches('│').split('┆').map(str::trim).collect();
                cells.try_into().expect("six columns")
            })
            .collect()
    }
}

fn run_in<A: AsRef<OsStr>>(directory: &Path, arguments: &[A]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_bank-account"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program can be run");
    Ran {
        exit_code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        errors: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn temporary_directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The first run on a new store: every step says what it is there to show.
fn check_first_run(ran: &Ran) {
    let history = ran.history();
    let what: Vec<_> = history
        .iter()
        .map(|[_, _, _, name, amount, balance]| [*name, *amount, *balance])
        .collect();
    assert_eq!(what, FIRST_RUN);
    let numbers: Vec<_> = history
        .iter()
        .map(|[version, position, ..]| [*version, *position])
        .collect();
    assert_eq!(
        numbers,
        [
            ["1", "1"],
            ["2", "2"],
            ["3", "3"],
            ["4", "4"],
            ["5", "5"],
            ["6", "6"]
        ]
    );
    for [_, _, time, ..] in history {
        assert!(
            time.ends_with('Z') && time.len() == "2026-11-23T10:30:00Z".len(),
            "{time}"
        );
    }
}

#[cfg(any(
    feature = "fjall",
    feature = "lmdb",
    feature = "redb",
    feature = "sled",
    feature = "postgres",
    feature = "etcd",
    feature = "memory"
))]
fn shows_every_step(ran: Ran) -> Ran {
    ran.says(
        "stream account/alice: expected version 3, but it is at version 4; read it again and decide anew",
    )
    .says("insufficient funds: 75.01 was requested and the balance is 75.00")
    .says("stream account/alice is held by session ")
    .says(" of the tour until ")
    .says("a reader without it sees version 4")
    .says("the state at version 5 is kept")
    .says("the snapshot of version 5 and 1 event: version 6, balance 67.50")
    .says("balance: 67.50\n")
}

#[cfg(any(feature = "fjall", feature = "lmdb", feature = "redb", feature = "sled"))]
fn check_durable(scheme: &str) {
    let url = format!("{scheme}:./data/bank");
    check_two_runs(&url, &url);
}

/// Runs the tour twice at `url`, which it shows as `shown`.
#[cfg(any(
    feature = "fjall",
    feature = "lmdb",
    feature = "redb",
    feature = "sled",
    feature = "postgres",
    feature = "etcd"
))]
fn check_two_runs(url: &str, shown: &str) {
    let directory = temporary_directory();
    let first = shows_every_step(run_in(directory.path(), &[url]).succeeded());
    check_first_run(&first);
    let first = first
        .says("opened for Alice, version 1")
        .says(&format!("closed and opened {shown}"));

    let second = run_in(directory.path(), &[url])
        .succeeded()
        .says("found from an earlier run at version 6, balance 67.50")
        .says("the snapshot of version 10 and 1 event: version 11, balance 135.00")
        .says("history: 11 events\n")
        .says("balance: 135.00\n");
    let (before, after) = (first.history(), second.history());
    assert_eq!(after[..6], before, "the past stays as it was");
    assert_eq!(after.len(), 11);
    assert_eq!(after[10][..2], ["11", "11"]);
}

#[cfg(feature = "fjall")]
#[test]
fn tour_on_fjall_runs_twice_and_the_history_grows() {
    check_durable("fjall");
}

#[cfg(feature = "lmdb")]
#[test]
fn tour_on_lmdb_runs_twice_and_the_history_grows() {
    check_durable("lmdb");
}

#[cfg(feature = "redb")]
#[test]
fn tour_on_redb_runs_twice_and_the_history_grows() {
    check_durable("redb");
}

#[cfg(feature = "sled")]
#[test]
fn tour_on_sled_runs_twice_and_the_history_grows() {
    check_durable("sled");
}

#[cfg(feature = "postgres")]
#[path = "../../../../crates/kv-postgres/tests/common/server.rs"]
mod server;

#[cfg(feature = "postgres")]
#[test]
fn tour_on_postgres_runs_twice_and_the_history_grows() {
    if server::server().is_none() {
        return;
    }
    let table = server::FreshTable::new();
    let url = table.url();
    let host = url.rsplit('@').next().expect("a URL has a host");
    check_two_runs(&url, &format!("postgres://{host}"));
}

/// The walk-through of `docs/guide/scaling.md`: the account moves from files to a server, and nothing but the URL changes.
#[cfg(all(feature = "fjall", feature = "postgres"))]
#[tokio::test]
async fn store_moves_to_postgres_and_the_account_goes_on() {
    if server::server().is_none() {
        return;
    }
    let (directory, table) = (temporary_directory(), server::FreshTable::new());
    let files = format!("fjall:{}", directory.path().join("moving").display());
    let before = run_in(directory.path(), &[&files]).succeeded();

    let copied = eventstores::copy(&files, &table.url()).await.expect("it copies");
    assert_eq!((copied.events, copied.streams, copied.snapshots), (6, 1, 1));

    let after = run_in(directory.path(), &[table.url()])
        .succeeded()
        .says("found from an earlier run at version 6, balance 67.50")
        .says("history: 11 events\n");
    assert_eq!(after.history()[..6], before.history(), "the past stays as it was");
    assert_eq!(after.history()[6][..2], ["7", "7"]);
    // What was appended since is in the copy alone.
    let again = eventstores::copy(&files, &table.url()).await;
    let again = again.expect_err("they are not the same any more");
    assert!(
        again.to_string().contains("no copy of the source as it is now"),
        "{again}"
    );
}

#[cfg(feature = "etcd")]
#[path = "../../../../crates/kv-etcd/tests/common/mod.rs"]
mod etcd_server;

#[cfg(feature = "etcd")]
#[test]
fn tour_on_etcd_runs_twice_and_the_history_grows() {
    if etcd_server::server().is_some() {
        let prefix = etcd_server::FreshPrefix::new();
        check_two_runs(&prefix.url(), &prefix.url());
    }
}

#[cfg(feature = "memory")]
#[test]
fn tour_in_memory_begins_anew_and_says_so() {
    let directory = temporary_directory();
    for _ in 0..2 {
        let ran = shows_every_step(run_in(directory.path(), &["memory:"]).succeeded());
        check_first_run(&ran.says("left out: memory keeps nothing"));
    }
}

#[cfg(feature = "fjall")]
#[test]
fn without_arguments_the_account_is_kept_below_the_working_directory() {
    let directory = temporary_directory();
    check_first_run(&run_in::<&str>(directory.path(), &[]).succeeded());
    assert!(directory.path().join("data/bank-account").is_dir());
}

#[cfg(feature = "fjall")]
#[test]
fn long_history_is_cut_and_says_so() {
    let directory = temporary_directory();
    for _ in 0..7 {
        run_in(directory.path(), &["fjall:bank"]).succeeded();
    }
    let ran = run_in(directory.path(), &["fjall:bank"])
        .succeeded()
        .says("history: 41 events, the first 1 of them not shown");
    assert_eq!(ran.history().len(), 40);
    assert_eq!(ran.history()[39][0], "41");
}

#[tokio::test]
async fn directory_in_use_is_named_with_the_remedy() {
    for (scheme, is_on) in [
        ("sled", cfg!(feature = "sled")),
        ("fjall", cfg!(feature = "fjall")),
        ("redb", cfg!(feature = "redb")),
        ("lmdb", cfg!(feature = "lmdb")),
    ] {
        if !is_on {
            continue;
        }
        let directory = temporary_directory();
        let url = format!("{scheme}:{}", directory.path().join("bank").display());
        let holder = eventstores::connect(&url).await.expect("can be opened");
        let error = run_in(directory.path(), &[&url]).error();
        assert!(
            error.contains("bank is in use") && error.contains("close it there first"),
            "{error}"
        );
        holder.close().await.expect("can be closed");
        run_in(directory.path(), &[&url]).succeeded();
    }
}

/// Another crate of the same build may turn a feature of the facade on, so a backend that this program does not ask
/// for may be there all the same. Anything but working, or naming the feature, is wrong.
#[test]
fn backend_works_or_names_its_feature() {
    for (feature, is_on) in [
        ("memory", cfg!(feature = "memory")),
        ("sled", cfg!(feature = "sled")),
        ("fjall", cfg!(feature = "fjall")),
        ("redb", cfg!(feature = "redb")),
        ("lmdb", cfg!(feature = "lmdb")),
    ] {
        let directory = temporary_directory();
        let url = if feature == "memory" {
            "memory:".to_owned()
        } else {
            format!("{feature}:bank")
        };
        let ran = run_in(directory.path(), &[&url]);
        if is_on || ran.exit_code == Some(0) {
            check_first_run(&ran.succeeded());
            continue;
        }
        let error = ran.error();
        assert!(error.contains(&format!("features = [\"{feature}\"]")), "{error}");
        assert!(!directory.path().join("bank").exists());
    }
}

#[test]
fn wrong_arguments_are_one_line_with_the_remedy_and_write_nothing() {
    for (arguments, remedy) in [
        (&["mongo://db"][..], "use memory:, sled:PATH, fjall:PATH"),
        (&["./data"], "fjall:./data"),
        (&["fjall:"], "fjall:PATH"),
        (&["--url"], "--help"),
        (&["memory:", "memory:"], "--help"),
    ] {
        let directory = temporary_directory();
        let ran = run_in(directory.path(), arguments);
        assert_eq!(ran.out, "", "{arguments:?}");
        let error = ran.error();
        assert!(
            error.starts_with("error: ") && error.contains(remedy),
            "{arguments:?}: {error}"
        );
        let entries = directory.path().read_dir().expect("can be listed").count();
        assert_eq!(entries, 0, "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn argument_that_is_no_text_is_an_error() {
    use std::os::unix::ffi::OsStrExt;

    let directory = temporary_directory();
    let argument = OsStr::from_bytes(b"fjall:\xff");
    let error = run_in(directory.path(), &[argument]).error();
    assert!(error.contains("not valid UTF-8"), "{error}");
}

#[test]
fn help_names_the_urls_and_the_default() {
    let directory = temporary_directory();
    run_in(directory.path(), &["--help"])
        .succeeded()
        .says("fjall:PATH, lmdb:PATH, redb:PATH, sled:PATH, memory:,")
        .says("fjall:./data/bank-account");
}
