//! Rounds of a writer that is killed, or whose file system is cut off, and of what the next opening finds.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use eventstores::Durability;
use fastrand::Rng;
use tokio::runtime::Runtime;

use crate::backend::Backend;
use crate::ledger::Ledger;
use crate::mount::{Kind, Mount};
use crate::process::{self, Writer};
use crate::verify::{self, Report};

/// Rounds that one store lives through; then a new one is begun, since each round reads all of it.
const ROUNDS_PER_STORE: u32 = 10;
/// The same where the store is on a file system of limited size.
const ROUNDS_PER_MOUNT: u32 = 3;

/// The figures of all rounds.
#[derive(Default)]
struct Totals {
    rounds: u32,
    acknowledged: u64,
    snapshots: u64,
    begun: u64,
    failures: Vec<String>,
    report: Report,
}

impl Totals {
    fn add(&mut self, ledger: &Ledger) {
        self.acknowledged += ledger.acknowledged();
        self.snapshots += ledger.snapshots.len() as u64;
        self.begun += ledger.appends.len() as u64;
    }

    /// Prints the figures; an error when something is not as promised.
    fn end(self, what: &str, seed: u64) -> Result<(), String> {
        println!(
            "{what}: {} rounds, {} appends and {} snapshots acknowledged, {} in doubt and stored: {}",
            self.rounds, self.acknowledged, self.snapshots, self.report.unacknowledged, self.report
        );
        if self.report.late_lost > 0 {
            println!(
                "  acknowledged while the file system was being cut off, and lost: {}",
                self.report.late_lost
            );
        }
        let mut problems = self.report.told.clone();
        problems.extend(self.failures);
        if problems.is_empty() && self.report.is_clean() {
            return Ok(());
        }
        Err(format!("{what}, seed {seed}: {}", problems.join("\n  ")))
    }
}

/// The argument of a writer that asks for no sync.
pub(crate) const BUFFERED: &str = "--buffered";

/// What is put through the rounds.
pub(crate) struct Run {
    pub(crate) runtime: Runtime,
    pub(crate) backend: Backend,
    pub(crate) seed: u64,
    pub(crate) durability: Durability,
}

impl Run {
    /// Kills a writer at a random time, again and again.
    pub(crate) fn kill(&self, rounds: u32) -> Result<(), String> {
        let mut rng = Rng::with_seed(self.seed);
        let mut totals = Totals::default();
        while totals.rounds < rounds {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let path = folder.path().join("store");
            let mut ledger = Ledger::default();
            for round in 0..ROUNDS_PER_STORE.min(rounds - totals.rounds) {
                let mut writer = Writer::start(&mut self.writer(&path, &ledger));
                // The first ones die while they create the store, and of the others one in four while it opens what
                // the one before it has left.
                if round < 2 {
                    pause(&mut rng, 1..40);
                } else if rng.u8(..4) == 0 {
                    pause(&mut rng, 1..60);
                } else {
                    writer.wait_for_new(&mut ledger)?;
                    pause(&mut rng, 1..500);
                }
                writer.kill(&mut ledger);
                totals
                    .failures
                    .extend(writer.failures.iter().map(|it| format!("{it:?}")));
                self.verify(&path, &ledger, &mut totals)?;
            }
            totals.add(&ledger);
            if !totals.report.is_clean() {
                println!("what is left of it: {}", folder.keep().display());
                break;
            }
        }
        totals.end(&format!("{} kill", self.backend.name()), self.seed)
    }

    /// Cuts the file system off under a writer, as a power cut does, again and again.
    pub(crate) fn power(&self, kind: Kind, rounds: u32) -> Result<(), String> {
        let what = format!("{} power on {}", self.backend.name(), kind.name());
        if let Some(missing) = kind.missing() {
            println!("{what}: skipped, {missing}");
            return Ok(());
        }
        let mut rng = Rng::with_seed(self.seed);
        let mut totals = Totals::default();
        while totals.rounds < rounds && totals.report.is_clean() {
            let mut mount = Mount::new(kind)?;
            let path = mount.path().join("store");
            let mut ledger = Ledger::default();
            for _ in 0..ROUNDS_PER_MOUNT.min(rounds - totals.rounds) {
                let mut command = self.writer(&path, &ledger);
                // What fails after the cut fails because of us, and some engines say so at length.
                let mut writer = Writer::start(command.stderr(Stdio::null()));
                if rng.u8(..6) == 0 {
                    pause(&mut rng, 1..60);
                } else {
                    writer.wait_for_new(&mut ledger)?;
                    pause(&mut rng, 50..1200);
                }
                writer.take_told(&mut ledger);
                mount.cut_off()?;
                writer.kill_late(&mut ledger);
                mount.again()?;
                self.verify(&path, &ledger, &mut totals)?;
            }
            totals.add(&ledger);
        }
        totals.end(&what, self.seed)
    }

    fn writer(&self, path: &Path, ledger: &Ledger) -> Command {
        let buffered = (self.durability == Durability::Buffered).then_some(OsStr::new(BUFFERED));
        process::command(self.backend, path, ledger, buffered.as_slice())
    }

    fn verify(&self, path: &Path, ledger: &Ledger, totals: &mut Totals) -> Result<(), String> {
        totals.rounds += 1;
        let (round, name) = (totals.rounds, self.backend.name());
        let report = self
            .runtime
            .block_on(verify::check(self.backend, path, ledger))
            .map_err(|error| format!("{name} round {round} cannot be opened or read: {error:?}"))?;
        if round.is_multiple_of(10) || !report.is_clean() {
            eprintln!("  round {round}: {} events, {report}", report.events);
        }
        totals.report.add(report);
        Ok(())
    }
}

fn pause(rng: &mut Rng, ms: std::ops::Range<u64>) {
    std::thread::sleep(Duration::from_millis(rng.u64(ms)));
}
