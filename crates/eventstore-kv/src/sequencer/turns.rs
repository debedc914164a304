//! Turns of the processes that write to one database.
//!
//! Each commit requires the head that the one before left, so of two processes that commit at the same time one loses,
//! and what it decided was in vain. So they take turns: who has lost to another looks at the head until it stands still,
//! and who wins on and on stands still after some commits. Nothing depends on it but speed: a process that ends or
//! hangs in its turn leaves a head that stands still.

use std::time::Duration;

/// Commits of one turn.
const TURN: usize = 32;
/// For how many of its own commits after the last loss a process takes turns.
const RIVALRY: usize = 256;
/// How often at most the head is looked at before a process tries again all the same: for a few turns of others.
const MAX_LOOKS: u32 = 64;
/// Most time that a commit is taken to need.
const MAX_COMMIT: Duration = Duration::from_millis(50);

/// What to do before the next plan begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wait {
    Nothing,
    /// Let others have their turn.
    Pause(Duration),
    /// Look at the head, at most so many times, each after so long, until it stands still.
    Look {
        every: Duration,
        times: u32,
    },
}

#[derive(Debug)]
pub(super) struct Turns {
    /// For how many more commits others are expected to write, too.
    rivalry: usize,
    /// Commits since this process got its turn.
    commits: usize,
    /// Whether what is cached may be old, because others had their turn.
    is_wary: bool,
    wait: Wait,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self {
            rivalry: 0,
            commits: 0,
            is_wary: false,
            wait: Wait::Nothing,
        }
    }

    /// Whether the heads must be read although they are cached.
    pub(super) const fn rereads(&self) -> bool {
        self.is_wary
    }

    /// Whether a plan may grow while another one is committed: not where the turn may end after that one.
    pub(super) const fn may_overlap(&self) -> bool {
        self.rivalry == 0 && !self.is_wary
    }

    /// A commit that took so long was applied.
    pub(super) fn applied(&mut self, took: Duration) {
        self.is_wary = false;
        self.rivalry = self.rivalry.saturating_sub(1);
        self.commits += 1;
        if self.rivalry > 0 && self.commits >= TURN {
            self.commits = 0;
            self.is_wary = true;
            self.wait = Wait::Pause(took.min(MAX_COMMIT) * 5);
        }
    }

    /// A commit that took so long lost against one of another process.
    pub(super) fn lost(&mut self, took: Duration) {
        self.is_wary = true;
        self.rivalry = RIVALRY;
        self.commits = 0;
        self.wait = Wait::Look {
            every: took.min(MAX_COMMIT) * 2,
            times: MAX_LOOKS,
        };
    }

    /// What there is to do before the next plan, once.
    pub(super) fn take_wait(&mut self) -> Wait {
        std::mem::replace(&mut self.wait, Wait::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    #[test]
    fn process_alone_never_waits() {
        let mut turns = Turns::new();
        for _ in 0..10 * RIVALRY {
            turns.applied(TOOK);
            assert_eq!(turns.take_wait(), Wait::Nothing);
            assert!(turns.may_overlap() && !turns.rereads());
        }
    }

    #[test]
    fn process_that_lost_looks_before_it_tries_again() {
        let mut turns = Turns::new();
        turns.lost(TOOK);
        assert!(turns.rereads());
        let every = TOOK * 2;
        let times = MAX_LOOKS;
        assert_eq!(turns.take_wait(), Wait::Look { every, times });
        assert_eq!(turns.take_wait(), Wait::Nothing, "once");
        turns.applied(TOOK);
        assert!(!turns.rereads(), "it has its turn");
        assert!(!turns.may_overlap());
    }

    #[test]
    fn turn_ends_with_a_pause_while_others_are_expected() {
        let mut turns = Turns::new();
        turns.lost(TOOK);
        turns.take_wait();
        let pauses = (0..2 * RIVALRY).filter(|_| {
            turns.applied(TOOK);
            turns.take_wait() == Wait::Pause(TOOK * 5)
        });
        assert_eq!(pauses.count(), (RIVALRY - 1) / TURN, "and then it is alone again");
        assert!(turns.may_overlap());
    }

    #[test]
    fn slow_commit_makes_nobody_wait_for_long() {
        let mut turns = Turns::new();
        turns.lost(Duration::from_secs(60));
        let Wait::Look { every, times } = turns.take_wait() else {
            panic!("it looks");
        };
        assert!(every * times < Duration::from_secs(10));
    }
}
