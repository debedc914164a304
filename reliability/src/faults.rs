//! A disk that fails, is full, cannot be read, or is gone: what a writer is told, and what the next opening finds.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::backend::Backend;
use crate::ledger::Ledger;
use crate::mount::{self, Full};
use crate::process::{self, Writer};
use crate::verify;

const SHIM: &str = include_str!("shim.c");
const EIO: u32 = 5;
const EACCES: u32 = 13;
/// Appends before a fault begins, and most that follow: some faults are never met by them.
const WARM_UP: u64 = 200;
const MORE: u64 = 400;
/// More than a small disk has room for.
const UNTIL_FULL: u64 = 1_000_000;

/// Calls that fail.
struct Fault {
    name: &'static str,
    call: &'static str,
    errno: u32,
    /// How many of them; 0 is all.
    times: u32,
}

const FAULTS: [Fault; 6] = [
    Fault {
        name: "one sync fails",
        call: "sync",
        errno: EIO,
        times: 1,
    },
    Fault {
        name: "every sync fails",
        call: "sync",
        errno: EIO,
        times: 0,
    },
    Fault {
        name: "one write fails",
        call: "write",
        errno: EIO,
        times: 1,
    },
    Fault {
        name: "every write fails",
        call: "write",
        errno: EIO,
        times: 0,
    },
    Fault {
        name: "every read fails",
        call: "read",
        errno: EIO,
        times: 0,
    },
    Fault {
        name: "no file may be opened",
        call: "open",
        errno: EACCES,
        times: 0,
    },
];

/// A store, what its writers told, and where faults are armed.
struct Bench<'a> {
    runtime: &'a Runtime,
    backend: Backend,
    folder: TempDir,
    ledger: Ledger,
}

/// Runs every fault on a backend, and prints what came of each.
pub(crate) fn run(runtime: &Runtime, backend: Backend) -> Result<(), String> {
    let tools = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut problems = Vec::new();
    match shim(tools.path()) {
        Ok(shim) => {
            for fault in &FAULTS {
                Bench::new(runtime, backend)?.fault(&shim, fault, &mut problems)?;
            }
        }
        Err(missing) => println!("{}: failing calls are skipped, {missing}", backend.name()),
    }
    Bench::new(runtime, backend)?.removed(&mut problems)?;
    Bench::new(runtime, backend)?.full(&mut problems)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.join("\n"))
}

/// The library that makes calls fail. There is a C compiler wherever LMDB was built.
fn shim(folder: &Path) -> Result<PathBuf, String> {
    let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
    fs::write(&source, SHIM).map_err(|error| error.to_string())?;
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl");
    mount::run(&mut compiler)?;
    Ok(library)
}

impl<'a> Bench<'a> {
    fn new(runtime: &'a Runtime, backend: Backend) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        Ok(Self {
            runtime,
            backend,
            folder,
            ledger: Ledger::default(),
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn armed(&self) -> PathBuf {
        self.folder.path().join("armed")
    }

    /// A fault under a writer, then the same under an opening, then none.
    fn fault(mut self, shim: &Path, fault: &Fault, problems: &mut Vec<String>) -> Result<(), String> {
        let (path, met) = (self.path(), self.folder.path().join("met"));
        let mut told = Vec::new();
        for moment in ["writing", "opening"] {
            let mut writer = Writer::start(
                self.writer(&path, MORE)
                    .env("LD_PRELOAD", shim)
                    .env("FAULT_CALL", fault.call)
                    .env("FAULT_ERRNO", fault.errno.to_string())
                    .env("FAULT_TIMES", fault.times.to_string())
                    .env("FAULT_UNDER", &path)
                    .env("FAULT_ARMED", self.armed())
                    .env("FAULT_MET", &met),
            );
            let name = format!("{}: {}, {moment}", self.backend.name(), fault.name);
            let ended = writer.wait(&mut self.ledger);
            let count = fs::read(&met).map_or(0, |it| it.len());
            let seen = if count == 0 {
                "not met".to_owned()
            } else {
                summary(&writer)
            };
            told.push(format!("{moment}: {seen}"));
            match ended {
                Ok(status) if status.success() => {}
                Ok(status) => problems.push(format!("{name}: it ended with {status}")),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
            let refused = writer
                .failures
                .iter()
                .any(|it| it.0 == "another" || it.0 == "open");
            if fault.call == "sync" && count > 0 && !refused {
                problems.push(format!("{name}: an append was accepted after a sync had failed"));
            }
            // It stays armed: the next one opens under the fault.
            let _ = fs::remove_file(&met);
            fs::write(self.armed(), "").map_err(|error| error.to_string())?;
        }
        self.end(fault.name, &path, &told.join("; "), problems)
    }

    /// Removes the directory under a writer: from then on nothing may be acknowledged, since all of it would be lost.
    fn removed(mut self, problems: &mut Vec<String>) -> Result<(), String> {
        let path = self.path();
        let mut writer = Writer::start(&mut self.writer(&path, UNTIL_FULL));
        while !self.armed().exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // The engine may make files while its folder is emptied.
        while fs::remove_dir_all(&path).is_err() && path.exists() {}
        // What is told in the moment after was decided before.
        std::thread::sleep(Duration::from_millis(100));
        writer.take_told(&mut self.ledger);
        let before = self.ledger.acknowledged();
        std::thread::sleep(Duration::from_millis(200));
        writer.take_told(&mut self.ledger);
        let after = self.ledger.acknowledged() - before;
        writer.kill(&mut self.ledger);
        let name = self.backend.name();
        println!("{name}: the directory is removed: {}", summary(&writer));
        if after > 0 {
            problems.push(format!(
                "{name}: {after} appends were acknowledged without a directory"
            ));
        }
        Ok(())
    }

    /// Fills the disk, opens the store while it is full, and again when there is room.
    fn full(mut self, problems: &mut Vec<String>) -> Result<(), String> {
        let name = self.backend.name();
        let mut disk = match Full::new() {
            Ok(disk) => disk,
            Err(missing) => {
                println!("{name}: a full disk is skipped, {missing}");
                return Ok(());
            }
        };
        let path = disk.path().join("store");
        let mut writer = Writer::start(&mut self.writer(&path, UNTIL_FULL));
        match writer.wait(&mut self.ledger) {
            Ok(status) if status.success() => {}
            Ok(status) => problems.push(format!("{name}: a full disk: it ended with {status}")),
            Err(error) => problems.push(format!("{name}: a full disk: {error}")),
        }
        let opened = self
            .runtime
            .block_on(verify::open_and_close(self.backend, &path, &self.ledger));
        let opened = match opened {
            Ok((report, closed)) => {
                let read = if report.is_clean() {
                    "all".to_owned()
                } else {
                    problems.push(format!("{name}: opened on a full disk: {report}"));
                    report.to_string()
                };
                let closed = closed.map_or_else(|error| crate::writer::kind(&error), |()| "done".to_owned());
                format!("reads {read}, closing {closed}")
            }
            Err(error) => crate::writer::kind(&error),
        };
        disk.make_room()?;
        let told = format!("{}; opening while it is full: {opened}", summary(&writer));
        self.end("the disk is full", &path, &told, problems)
    }

    /// Without the fault: the truth is found, and what was in doubt is tried again and there once.
    fn end(mut self, fault: &str, path: &Path, told: &str, problems: &mut Vec<String>) -> Result<(), String> {
        let name = format!("{}: {fault}", self.backend.name());
        let check = |ledger: &Ledger| self.runtime.block_on(verify::check(self.backend, path, ledger));
        let found = check(&self.ledger).map_err(|error| format!("{name}: it does not open: {error:?}"))?;
        let in_doubt = self.ledger.appends.len() as u64 - self.ledger.acknowledged();
        let command = &mut process::command(
            self.backend,
            path,
            &self.ledger,
            &["appended".as_ref(), "20".as_ref()],
        );
        let mut writer = Writer::start(command);
        writer.wait(&mut self.ledger)?;
        let mut report =
            check(&self.ledger).map_err(|error| format!("{name}: it does not open again: {error:?}"))?;
        let stored = found.unacknowledged;
        report.add(found);
        println!("{name}: {told}; in doubt {in_doubt}, of them stored {stored}; {report}");
        if !report.is_clean() || !writer.failures.is_empty() {
            problems.push(format!(
                "{name}: {report} {:?} {:?}",
                report.told, writer.failures
            ));
        }
        Ok(())
    }

    fn writer(&self, path: &Path, more: u64) -> Command {
        let (warm_up, more) = (WARM_UP.to_string(), more.to_string());
        let armed = self.armed();
        let rest: [&OsStr; 4] = ["failed".as_ref(), warm_up.as_ref(), more.as_ref(), armed.as_ref()];
        let mut command = process::command(self.backend, path, &self.ledger, &rest);
        // Some engines say at length that they failed.
        command.stderr(Stdio::null());
        command
    }
}

/// What a writer was told: the error of the first append that failed, of one more, and of reading everything.
fn summary(writer: &Writer) -> String {
    let of = |what: &str| {
        writer
            .failures
            .iter()
            .find(|it| it.0 == what)
            .map(|it| it.1.as_str())
    };
    if let Some(kind) = of("open") {
        return format!("open {kind}");
    }
    let append = of("append").or(of("snapshot")).unwrap_or("accepted");
    let another = of("another").unwrap_or("accepted");
    let read = of("read").unwrap_or("all");
    format!("append {append}, the next {another}, reads {read}")
}
