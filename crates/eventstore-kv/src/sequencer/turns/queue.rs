//! The record of a database's turns: who has its turn, and who waits for one. Nothing here touches the engine.

use crate::record::Turn;

/// A process, from its opening of the store to its end.
pub(super) type ProcessId = [u8; 16];

/// Most processes that wait in a record, so that it is small. Others come in when one of these has had its turn.
const MAX_WAITING: usize = 24;

impl Turn {
    /// The record when `me` has come to it: as the holder where there was none, else as the last who waits. It is `None`
    /// where there is no room.
    pub(super) fn entered(before: Option<&Self>, me: ProcessId) -> Option<Self> {
        let Some(before) = before else {
            return Some(Self {
                holder: me,
                waiting: Vec::new(),
            });
        };
        let mut turn = before.clone();
        turn.waiting.push(me);
        (turn.waiting.len() <= MAX_WAITING).then_some(turn)
    }

    /// The record when `me` is gone; `None` when that leaves nobody.
    pub(super) fn left(&self, me: ProcessId) -> Option<Self> {
        let mut waiting = self.waiting.iter().copied().filter(|id| *id != me);
        let holder = if self.holder == me {
            waiting.next()?
        } else {
            self.holder
        };
        Some(Self {
            holder,
            waiting: waiting.collect(),
        })
    }

    /// The record when `me` has taken the turn from a holder that gives no sign of life.
    pub(super) fn taken(&self, me: ProcessId) -> Self {
        let waiting = self.waiting.iter().copied().filter(|id| *id != me);
        Self {
            holder: me,
            waiting: waiting.collect(),
        }
    }

    pub(super) fn names(&self, id: ProcessId) -> bool {
        self.holder == id || self.waiting.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [ProcessId; 4] = [[1; 16], [2; 16], [3; 16], [4; 16]];

    fn turn(holder: ProcessId, waiting: &[ProcessId]) -> Turn {
        let waiting = waiting.to_vec();
        Turn { holder, waiting }
    }

    #[test]
    fn processes_have_their_turns_in_the_order_in_which_they_came() {
        let [a, b, c, _] = IDS;
        let first = Turn::entered(None, a).expect("there is room");
        assert_eq!(first, turn(a, &[]));
        let second = Turn::entered(Some(&first), b).expect("there is room");
        let third = Turn::entered(Some(&second), c).expect("there is room");
        assert_eq!(third, turn(a, &[b, c]));
        assert_eq!(third.left(a), Some(turn(b, &[c])));
        assert_eq!(third.left(b), Some(turn(a, &[c])));
        assert_eq!(first.left(a), None);
    }

    #[test]
    fn who_takes_a_turn_over_waits_no_more_and_the_last_holder_is_gone() {
        let [a, b, c, d] = IDS;
        assert_eq!(turn(a, &[b, c]).taken(c), turn(c, &[b]));
        assert_eq!(turn(a, &[b]).taken(d), turn(d, &[b]));
        assert!(!turn(c, &[b]).names(a) && turn(c, &[b]).names(b));
    }

    #[test]
    fn record_stays_small() {
        let mut full = turn(IDS[0], &[]);
        for number in 0..MAX_WAITING {
            full = Turn::entered(Some(&full), [number as u8; 16]).expect("there is room");
        }
        assert_eq!(Turn::entered(Some(&full), IDS[1]), None);
    }
}
