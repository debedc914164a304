//! Every contender of this build, on little data and without time limits: what it acknowledges is there.

use tempfile::tempdir;

use crate::Size;
use crate::clients::Times;
use crate::contender::{ALL, Entry};
use crate::measure::{Job, Task};
use crate::workload::Workload;
use crate::workload::load::Dataset;

/// Does jobs with one contender in one directory, one after another.
fn run(entry: &'static Entry, jobs: impl IntoIterator<Item = Job>) {
    let directory = tempdir().unwrap();
    for job in jobs {
        let task = Task {
            entry,
            directory: directory.path().to_owned(),
            size: Size::Quick,
            job,
        };
        (entry.run)(&task).unwrap_or_else(|error| panic!("{}: {error}", entry.name));
    }
}

#[test]
fn appended_events_are_in_the_log_once() {
    for entry in ALL {
        run(entry, [Job::Append(20)]);
    }
}

#[test]
fn stored_streams_are_read_whole_after_reopening() {
    let read = Workload::Read { length: 1000 };
    for entry in ALL.iter().filter(|entry| entry.durable && entry.takes(read)) {
        run(
            entry,
            [Job::Load(Dataset::Medium), Job::Measure(read, Times::AT_ONCE)],
        );
    }
}

#[test]
fn races_land_each_event_once() {
    let race = Workload::Race { writers: 8 };
    for entry in ALL.iter().filter(|entry| entry.takes(race)) {
        run(entry, [Job::Measure(race, Times::AT_ONCE)]);
    }
}
