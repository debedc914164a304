//! Histories that have an explanation, and histories that have none.

use super::*;

fn append(event: u64, expected: ExpectedVersion) -> Call {
    Call::Append {
        events: vec![event],
        expected,
    }
}

fn exact(version: u64) -> ExpectedVersion {
    ExpectedVersion::Exact(Version::new(version))
}

/// A history of calls, of which each overlaps the one before it or not.
fn told(calls: &[(Call, bool, Told)]) -> Result<(), String> {
    let history = History::starting_with(vec![]);
    let mut open: Vec<(Begun, Told)> = Vec::new();
    for (call, overlaps, told) in calls {
        if !overlaps {
            open.drain(..).for_each(|(begun, told)| history.end(begun, told));
        }
        open.push((history.begin(call.clone()), told.clone()));
    }
    open.drain(..).for_each(|(begun, told)| history.end(begun, told));
    history.check()
}

#[test]
fn calls_one_after_the_other_are_explained() {
    let calls = [
        (append(1, exact(0)), false, Told::Appended(1)),
        (append(2, exact(0)), false, Told::Conflict(1)),
        (append(3, ExpectedVersion::StreamExists), false, Told::Appended(2)),
        (Call::Read, false, Told::Events(vec![1, 3])),
    ];
    assert_eq!(told(&calls), Ok(()));
}

#[test]
fn two_winners_of_one_version_are_refused() {
    let both = [
        (append(1, exact(0)), false, Told::Appended(1)),
        (append(2, exact(0)), true, Told::Appended(1)),
    ];
    assert!(told(&both).is_err());
}

#[test]
fn read_that_goes_back_in_time_is_refused() {
    let calls = |overlaps| {
        [
            (append(1, ExpectedVersion::NoStream), false, Told::Appended(1)),
            (Call::Read, overlaps, Told::Version(0)),
        ]
    };
    assert_eq!(told(&calls(true)), Ok(()), "it may have been first");
    assert!(told(&calls(false)).is_err());
}

#[test]
fn lost_append_is_refused() {
    let calls = [
        (append(1, ExpectedVersion::Any), false, Told::Appended(1)),
        (append(2, ExpectedVersion::Any), false, Told::Appended(2)),
        (Call::Read, false, Told::Events(vec![2])),
    ];
    assert!(told(&calls).is_err());
}

#[test]
fn unknown_outcome_may_come_later_or_never() {
    let calls = |read: Vec<u64>| {
        [
            (append(1, ExpectedVersion::Any), false, Told::Unknown),
            (append(2, ExpectedVersion::Any), false, Told::Appended(1)),
            (Call::Read, false, Told::Events(vec![2])),
            (Call::Read, false, Told::Events(read)),
        ]
    };
    assert_eq!(told(&calls(vec![2])), Ok(()), "never");
    assert_eq!(told(&calls(vec![2, 1])), Ok(()), "between the two reads");
    assert!(told(&calls(vec![1, 2])).is_err(), "not before what was read");
}

#[test]
fn same_events_again_do_nothing() {
    let calls = |second| {
        [
            (append(1, exact(0)), false, Told::Unknown),
            (append(1, exact(0)), false, Told::Appended(1)),
            (append(2, ExpectedVersion::Any), false, Told::Appended(second)),
        ]
    };
    assert_eq!(told(&calls(2)), Ok(()));
    assert!(told(&calls(3)).is_err(), "it was appended twice");
}

#[test]
fn deleted_stream_is_empty_and_goes_on() {
    let delete = |deletion| Call::Delete {
        expected: ExpectedVersion::StreamExists,
        deletion,
    };
    let soft = |read: Vec<u64>| {
        told(&[
            (append(1, exact(0)), false, Told::Appended(1)),
            (delete(Deletion::Soft), false, Told::Deleted),
            (delete(Deletion::Soft), false, Told::Conflict(1)),
            (append(2, ExpectedVersion::NoStream), false, Told::Appended(2)),
            (Call::Read, false, Told::Events(read)),
        ])
    };
    assert_eq!(soft(vec![2]), Ok(()));
    assert!(soft(vec![1, 2]).is_err(), "what was deleted is there again");
    let hard = |second| {
        told(&[
            (append(1, exact(0)), false, Told::Appended(1)),
            (delete(Deletion::Hard), false, Told::Deleted),
            (append(2, ExpectedVersion::Any), false, second),
        ])
    };
    assert_eq!(hard(Told::Gone), Ok(()));
    assert!(hard(Told::Appended(2)).is_err(), "it was deleted for good");
}

#[test]
fn conflict_must_name_a_version_that_there_was() {
    let calls = |actual| {
        [
            (append(1, ExpectedVersion::Any), false, Told::Appended(1)),
            (append(2, exact(5)), false, Told::Conflict(actual)),
        ]
    };
    assert_eq!(told(&calls(1)), Ok(()));
    assert!(told(&calls(0)).is_err());
}

#[test]
fn many_overlapping_calls_are_checked_quickly() {
    let history = History::starting_with(vec![]);
    for round in 0..40 {
        let begun: Vec<_> = (0..4)
            .map(|caller| history.begin(append(round * 4 + caller, exact(round))))
            .collect();
        for (caller, begun) in (0..).zip(begun) {
            let told = match caller {
                2 => Told::Appended(round + 1),
                _ => Told::Conflict(round + 1),
            };
            history.end(begun, told);
        }
    }
    assert_eq!((history.calls(), history.check()), (160, Ok(())));
}
