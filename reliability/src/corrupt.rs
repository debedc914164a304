//! One bit of one file is another: what comes of it, for thousands of bits of every file.
//!
//! Each store is opened and read in a process of its own, since some engines end theirs.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use eventstores::{
    EventStoreProviderExt, EventStream, LogReadOptions, ReadOptions, RecordedEvent, Result, Version, connect,
};
use fastrand::Rng;
use tokio::runtime::Runtime;

use crate::backend::Backend;
use crate::ledger::Ledger;
use crate::process::{self, Writer};
use crate::work;
use crate::writer::kind;

/// Enough for several runs, blocks, tables and pages; few enough to be read thousands of times.
const APPENDS: &str = "60";
/// How long one reader may take for one store.
const PATIENCE: Duration = Duration::from_secs(60);

const WRONG: &str = "wrong data";
const ENDED: &str = "process ended";
const MISSING: &str = "newest events missing";
const HUNG: &str = "hung";

/// Flips bits of a store that was closed, and of one whose writer was killed.
pub(crate) fn run(backend: Backend, flips: u32, seed: u64) -> std::result::Result<(), String> {
    let mut problems = Vec::new();
    for state in ["closed", "killed"] {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let good = folder.path().join("good");
        written(backend, &good, state == "closed")?;
        let outcomes = flip_all(backend, &good, folder.path(), flips / 2, seed)?;
        let told: Vec<_> = outcomes
            .iter()
            .map(|(outcome, count)| format!("{outcome} {count}"))
            .collect();
        println!(
            "{} {state}: {} flips: {}",
            backend.name(),
            flips / 2,
            told.join(", ")
        );
        let bad = |outcome: &str| outcomes.iter().any(|(it, _)| it.starts_with(outcome));
        // LMDB reads its file through the memory, and what is wrong in its own pages may end the process; fjall may ask
        // for more memory than there is. Nobody can catch that: it is counted, and docs/reliability.md says so.
        let may_end = matches!(backend, Backend::Lmdb | Backend::Fjall);
        if bad(WRONG) || bad(HUNG) || (bad(ENDED) && !may_end) {
            problems.push(format!("{} {state}, seed {seed}", backend.name()));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// A store with some history: it was opened and closed once before its last appends.
fn written(backend: Backend, path: &Path, is_closed: bool) -> std::result::Result<(), String> {
    let mut ledger = Ledger::default();
    let orders = ["appended".as_ref(), APPENDS.as_ref()];
    let mut writer = Writer::start(&mut process::command(backend, path, &ledger, &orders));
    writer.wait(&mut ledger)?;
    if is_closed {
        let mut writer = Writer::start(&mut process::command(backend, path, &ledger, &orders));
        writer.wait(&mut ledger)?;
    } else {
        let mut writer = Writer::start(&mut process::command(backend, path, &ledger, &[]));
        writer.wait_for_new(&mut ledger)?;
        std::thread::sleep(Duration::from_millis(30));
        writer.kill(&mut ledger);
    }
    Ok(())
}

/// How often each outcome came.
fn flip_all(
    backend: Backend,
    good: &Path,
    folder: &Path,
    flips: u32,
    seed: u64,
) -> std::result::Result<BTreeMap<String, u32>, String> {
    let files = contents(good).map_err(|error| error.to_string())?;
    let mut rng = Rng::with_seed(seed);
    let mut outcomes = BTreeMap::new();
    let mut reader = Reader::start(backend, good, folder)?;
    let sizes: Vec<_> = files
        .iter()
        .map(|(_, bytes)| bytes.iter().filter(|it| **it != 0).count())
        .collect();
    for _ in 0..flips {
        let (file, bytes) = &files[choose(&mut rng, &sizes)];
        let at = offset(&mut rng, bytes);
        let outcome = reader.outcome(&format!("{at} {} {}", rng.u8(..8), file.display()));
        if outcome.starts_with(ENDED) || outcome == HUNG {
            reader = Reader::start(backend, good, folder)?;
        }
        // These are worth a look; the rest is what should be.
        if [WRONG, ENDED, HUNG, MISSING]
            .iter()
            .any(|it| outcome.starts_with(it))
        {
            eprintln!("  {}: byte {at} of {}: {outcome}", backend.name(), file.display());
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    Ok(outcomes)
}

/// One in eight times any file that has something in it, else by what it has.
fn choose(rng: &mut Rng, sizes: &[usize]) -> usize {
    if rng.u8(..8) == 0 {
        let any = || rng.usize(..sizes.len());
        return std::iter::repeat_with(any)
            .find(|&at| sizes[at] > 0)
            .expect("one has something");
    }
    let mut left = rng.usize(..sizes.iter().sum::<usize>());
    let passed = |size: &&usize| {
        let is_passed = left >= **size;
        left -= if is_passed { **size } else { 0 };
        is_passed
    };
    sizes.iter().take_while(passed).count()
}

/// Any byte, but mostly one that is not zero: engines fill files up with nothing.
fn offset(rng: &mut Rng, bytes: &[u8]) -> usize {
    let tries = if rng.u8(..4) == 0 { 1 } else { 200 };
    let mut any = || rng.usize(..bytes.len());
    let found = (0..tries).map(|_| any()).find(|&at| bytes[at] != 0);
    found.unwrap_or_else(any)
}

/// Every file below `folder`, by its path below it.
fn contents(folder: &Path) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path)?;
                let name = path.strip_prefix(folder).expect("below it").to_owned();
                files.push((name, bytes));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A process that opens and reads what it is told to damage.
struct Reader {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Reader {
    fn start(backend: Backend, good: &Path, folder: &Path) -> std::result::Result<Self, String> {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["read", backend.name()])
            .args([good, &folder.join("bad")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = channel();
        // It ends with the process.
        std::thread::spawn(move || {
            let mut lines = output.lines().map_while(std::io::Result::ok);
            lines.all(|line| sender.send(line).is_ok())
        });
        Ok(Self { child, input, lines })
    }

    fn outcome(&mut self, order: &str) -> String {
        // One that has ended is found out by what it does not answer.
        let _ = writeln!(self.input, "{order}");
        match self.lines.recv_timeout(PATIENCE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                HUNG.to_owned()
            }
            Err(RecvTimeoutError::Disconnected) => match self.child.wait() {
                Ok(status) => format!("{ENDED} ({status})"),
                Err(error) => format!("{ENDED} ({error})"),
            },
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of a reader: flips the bits that it is told, one by one, each in a fresh copy.
pub(crate) fn read(
    runtime: &Runtime,
    backend: Backend,
    mut arguments: VecDeque<String>,
) -> std::result::Result<(), String> {
    let (good, bad) = arguments
        .pop_front()
        .zip(arguments.pop_front())
        .ok_or("read needs two folders")?;
    let (good, bad) = (PathBuf::from(good), PathBuf::from(bad));
    let files = contents(&good).map_err(|error| error.to_string())?;
    copy(&files, &bad).map_err(|error| error.to_string())?;
    let whole = runtime
        .block_on(read_all(backend, &bad))
        .map_err(|error| error.to_string())?;
    if whole.iter().any(|part| part.error.is_some()) || whole[0].events.is_empty() {
        return Err("the store is damaged before it is damaged".to_owned());
    }
    for order in std::io::stdin().lines().map_while(std::io::Result::ok) {
        let mut words = order.splitn(3, ' ');
        let mut word = || words.next().ok_or("an order has three words");
        let (at, bit) = (word()?.parse::<usize>(), word()?.parse::<u32>());
        let (at, bit) = at.ok().zip(bit.ok()).ok_or("an order has numbers")?;
        let file = bad.join(word()?);
        let flipped = copy(&files, &bad).and_then(|()| {
            let mut bytes = fs::read(&file)?;
            bytes[at] ^= 1 << bit;
            fs::write(&file, bytes)
        });
        flipped.map_err(|error| error.to_string())?;
        let outcome = match runtime.block_on(read_all(backend, &bad)) {
            Ok(found) => compare(&whole, &found),
            Err(error) => format!("refused at opening as {}", kind(&error)),
        };
        println!("{outcome}");
    }
    Ok(())
}

fn copy(files: &[(PathBuf, Vec<u8>)], to: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for (name, bytes) in files {
        let path = to.join(name);
        fs::create_dir_all(path.parent().expect("below a folder"))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// What one read gave: events, up to an error if there was one.
struct Part {
    events: Vec<RecordedEvent>,
    error: Option<String>,
}

/// The log, and each stream.
async fn read_all(backend: Backend, path: &Path) -> Result<Vec<Part>> {
    let provider = connect(&backend.url(path)).await?;
    let log = provider.default_log();
    let mut parts = vec![part(log.read_all(LogReadOptions::forward())).await];
    for stream in work::streams() {
        let options = ReadOptions::slice(Version::FIRST, Version::MAX);
        parts.push(match log.read_stream(&stream, options).await {
            Ok(replay) => part(replay.events).await,
            Err(error) => Part {
                events: Vec::new(),
                error: Some(kind(&error)),
            },
        });
    }
    // What was read is what counts.
    let _ = provider.close().await;
    Ok(parts)
}

async fn part(mut stream: EventStream) -> Part {
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                let error = Some(kind(&error));
                return Part { events, error };
            }
        }
    }
    Part { events, error: None }
}

fn compare(whole: &[Part], found: &[Part]) -> String {
    let pairs = || whole.iter().zip(found);
    if pairs().any(|(whole, found)| !whole.events.starts_with(&found.events)) {
        return WRONG.to_owned();
    }
    if let Some(kind) = found.iter().find_map(|part| part.error.as_ref()) {
        return format!("reported by a read as {kind}");
    }
    let is_whole = pairs().all(|(whole, found)| whole.events.len() == found.events.len());
    if is_whole {
        "nothing changed"
    } else {
        "newest events missing"
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use eventstores::{EventMessage, Position, StreamId, Timestamp};

    use super::*;

    fn part(numbers: &[u64], error: Option<&str>) -> Part {
        let event = |&number: &u64| {
            let message = EventMessage::json("Written", &number).expect("json");
            let message =
                message.with_message_id(eventstores::MessageId::from_uuid(uuid::Uuid::from_u128(1)));
            let stream = StreamId::new("a", "b").expect("valid");
            let mut event = RecordedEvent::new(
                stream,
                Version::new(number),
                Position::new(number),
                Timestamp::from_micros(0),
                message,
            );
            event.message.metadata.message.created_at = Timestamp::from_micros(0);
            event
        };
        Part {
            events: numbers.iter().map(event).collect(),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn outcomes_are_told_apart() {
        let whole = [part(&[1, 2, 3], None)];
        let outcome = |numbers: &[u64], error| compare(&whole, &[part(numbers, error)]);
        assert_eq!(outcome(&[1, 2, 3], None), "nothing changed");
        assert_eq!(outcome(&[1, 2], None), "newest events missing");
        assert_eq!(outcome(&[1], Some("Corrupt")), "reported by a read as Corrupt");
        assert_eq!(outcome(&[1, 3], Some("Corrupt")), WRONG);
        assert_eq!(outcome(&[1, 2, 3, 4], None), WRONG);
    }
}
