//! Turns of the processes that write to one database.
//!
//! Each commit requires the head that the one before left, so of two processes that commit at the same time one loses,
//! and what it decided was in vain. So they take turns: who has lost to another looks at the head until it stands still,
//! and who wins on and on stands still after some commits. Nothing depends on it but speed: a process that ends or
//! hangs in its turn leaves a head that stands still.

use std::time::Duration;

/// Commits of one turn where others write, too.
const TURN: usize = 32;
/// Commits of one turn of a process that knows of no other. It has to stand still all the same: another one that
/// reads the head first is always behind, and would never have its turn.
const LONE_TURN: usize = 128;
/// For how many of its own commits after the last loss a process knows of others.
const RIVALRY: usize = 256;
/// How often at most the head is looked at before a process tries again all the same: for a lone turn or more.
const MAX_LOOKS: u32 = 256;
/// How far two looks are apart, unless commits take no time.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));
/// Longest time to stand still.
const MAX_PAUSE: Duration = Duration::from_millis(250);

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
    /// Whether other processes can write at all.
    is_shared: bool,
    /// For how many more commits others are expected to write, too.
    rivalry: usize,
    /// Commits since this process got its turn.
    commits: usize,
    /// Whether what is cached may be old, because others had their turn.
    is_wary: bool,
    wait: Wait,
}

/// Finds out whether a head stands still, by looks at it.
#[derive(Debug)]
pub(super) struct Stillness<T> {
    seen: Option<T>,
    /// Looks since it moved.
    still: u32,
    /// The most looks between two of its moves.
    longest: u32,
}

impl Turns {
    pub(super) const fn new(is_shared: bool) -> Self {
        Self {
            is_shared,
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
        let turn = if self.rivalry > 0 { TURN } else { LONE_TURN };
        if self.is_shared && self.commits >= turn {
            self.commits = 0;
            self.is_wary = true;
            self.wait = Wait::Pause((took * 5).min(MAX_PAUSE));
        }
    }

    /// A commit that took so long lost against one of another process.
    pub(super) fn lost(&mut self, took: Duration) {
        self.is_wary = true;
        self.rivalry = RIVALRY;
        self.commits = 0;
        self.wait = Wait::Look {
            every: if took.is_zero() {
                took
            } else {
                (took / 4).clamp(LOOKS.0, LOOKS.1)
            },
            times: MAX_LOOKS,
        };
    }

    /// What there is to do before the next plan, once.
    pub(super) fn take_wait(&mut self) -> Wait {
        let wait = std::mem::replace(&mut self.wait, Wait::Nothing);
        // A commit that was under way when the turn ended may have been applied since.
        self.is_wary |= wait != Wait::Nothing;
        wait
    }
}

impl<T: PartialEq> Stillness<T> {
    /// Who stands still does so for some times as long as a commit takes.
    const MAX_LONGEST: u32 = 8;

    pub(super) const fn new() -> Self {
        Self {
            seen: None,
            still: 0,
            longest: 1,
        }
    }

    /// Whether it stands still, after one more look: it has not moved for twice as long as it ever did between two moves.
    pub(super) fn look(&mut self, head: T) -> bool {
        if self.seen.as_ref() == Some(&head) {
            self.still += 1;
            return self.still > 2 * self.longest;
        }
        if self.seen.replace(head).is_some() {
            self.longest = self.longest.max(self.still + 1).min(Self::MAX_LONGEST);
        }
        self.still = 0;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(8);

    #[test]
    fn process_that_shares_nothing_never_waits() {
        let mut turns = Turns::new(false);
        for _ in 0..10 * LONE_TURN {
            turns.applied(TOOK);
            assert_eq!(turns.take_wait(), Wait::Nothing);
            assert!(turns.may_overlap() && !turns.rereads());
        }
    }

    #[test]
    fn process_that_lost_looks_before_it_tries_again() {
        let mut turns = Turns::new(true);
        turns.lost(TOOK);
        assert!(turns.rereads());
        let (every, times) = (TOOK / 4, MAX_LOOKS);
        assert_eq!(turns.take_wait(), Wait::Look { every, times });
        assert_eq!(turns.take_wait(), Wait::Nothing, "once");
        turns.applied(TOOK);
        assert!(!turns.rereads(), "it has its turn");
        assert!(!turns.may_overlap());
    }

    #[test]
    fn turn_ends_with_a_pause_and_sooner_while_others_are_expected() {
        let mut turns = Turns::new(true);
        let pauses = |turns: &mut Turns, commits: usize| {
            let pauses = (0..commits).filter(|_| {
                turns.applied(TOOK);
                turns.take_wait() == Wait::Pause(TOOK * 5)
            });
            pauses.count()
        };
        assert_eq!(pauses(&mut turns, 10 * LONE_TURN), 10);
        turns.lost(TOOK);
        turns.take_wait();
        assert_eq!(pauses(&mut turns, RIVALRY - 1), (RIVALRY - 1) / TURN);
        assert_eq!(pauses(&mut turns, 10 * LONE_TURN), 10, "it knows of nobody again");
    }

    #[test]
    fn slow_commit_makes_nobody_wait_for_long() {
        let mut turns = Turns::new(true);
        turns.lost(Duration::from_secs(60));
        let Wait::Look { every, times } = turns.take_wait() else {
            panic!("it looks");
        };
        assert!(every * times < Duration::from_secs(2));
    }

    #[test]
    fn head_stands_still_when_it_has_not_moved_for_twice_as_long_as_before() {
        let mut stillness = Stillness::new();
        // It moves at every third look.
        let moves = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4];
        assert!(moves.into_iter().all(|head| !stillness.look(head)));
        let looks = (0..).take_while(|_| !stillness.look(4)).count();
        assert_eq!(looks, 6);
    }
}
