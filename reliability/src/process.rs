//! A writer in a process of its own, and what it tells.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::backend::Backend;
use crate::ledger::{Ledger, Line};

/// How long an opening and the first append may take; it is said that they hang after that.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Writer {
    child: Child,
    lines: Receiver<Line>,
    /// Failures that it told: what, kind and text.
    pub(crate) failures: Vec<(String, String, String)>,
    /// How many acknowledgements it told.
    pub(crate) acknowledged: u64,
}

/// The command of a writer. `rest` says when it ends.
pub(crate) fn command(backend: Backend, path: &Path, ledger: &Ledger, rest: &[&OsStr]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command
        .args(["write", backend.name()])
        .arg(path)
        .args([ledger.next().to_string(), ledger.again()])
        .args(rest);
    command
}

/// One that nobody waits for any more must not go on by itself.
impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Writer {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own program can be started");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        // It ends with the process.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(line) = Line::parse(&line)
                    && sender.send(line).is_err()
                {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            failures: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Waits until something that is new was acknowledged, or for the end.
    pub(crate) fn wait_for_new(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        let first = ledger.next();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.take(ledger, &line);
                    if matches!(line, Line::Acknowledged { number, .. } if number >= first) {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    self.kill(ledger);
                    return Err(format!("nothing was acknowledged for {} s", PATIENCE.as_secs()));
                }
            }
        }
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) -> Result<(), String> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status();
        let is_sent = status.map_err(|error| error.to_string())?.success();
        is_sent
            .then_some(())
            .ok_or_else(|| format!("kill {name} {pid} failed"))
    }

    /// Takes what it has told until now.
    pub(crate) fn take_told(&mut self, ledger: &mut Ledger) {
        while let Ok(line) = self.lines.try_recv() {
            self.take(ledger, &line);
        }
    }

    /// Ends it after its file system was cut off.
    pub(crate) fn kill_late(&mut self, ledger: &mut Ledger) {
        let _ = self.child.kill();
        while let Ok(line) = self.lines.recv() {
            ledger.add_late(&line);
        }
        let _ = self.child.wait();
    }

    /// Ends it at once, and takes all that it told until then.
    pub(crate) fn kill(&mut self, ledger: &mut Ledger) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.drain(ledger);
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself. One that hangs is killed, and that is told.
    pub(crate) fn wait(&mut self, ledger: &mut Ledger) -> Result<ExitStatus, String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.take(ledger, &line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.kill(ledger);
                    return Err(format!("it hung for {} s", PATIENCE.as_secs()));
                }
            }
        }
        self.child.wait().map_err(|error| error.to_string())
    }

    fn drain(&mut self, ledger: &mut Ledger) {
        while let Ok(line) = self.lines.recv() {
            self.take(ledger, &line);
        }
    }

    fn take(&mut self, ledger: &mut Ledger, line: &Line) {
        ledger.add(line);
        self.acknowledged += u64::from(matches!(line, Line::Acknowledged { .. }));
        if let Line::Failed { what, kind, text } = line {
            self.failures.push((what.clone(), kind.clone(), text.clone()));
        }
    }
}
