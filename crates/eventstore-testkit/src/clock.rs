//! A clock that stands still until a test moves it.
//!
//! See [`ManualClock`] for an example.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use eventstore_abstractions::{Clock, Timestamp};
use tokio::sync::watch;

/// A [`Clock`] that stands still until it is moved. It is shared by any number of tasks as
/// `Arc<ManualClock>`.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use eventstore_abstractions::Clock;
/// use eventstore_testkit::clock::ManualClock;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let clock = Arc::new(ManualClock::new());
/// let deadline = clock.now().saturating_add(Duration::from_secs(60));
/// let sleeper = tokio::spawn({
///     let clock = Arc::clone(&clock);
///     async move { clock.sleep_until(deadline).await }
/// });
/// clock.sleepers(1).await;
/// clock.advance(Duration::from_secs(60));
/// sleeper.await.unwrap();
///
/// // A minute passes without anybody waiting for it.
/// let before = clock.now();
/// clock.drive(clock.sleep_until(before.saturating_add(Duration::from_secs(60)))).await;
/// assert_eq!(clock.now().saturating_since(before).as_secs(), 60);
///
/// // A clock may be wrong: it starts where it likes, and jumps back.
/// let clock = ManualClock::starting_at("1999-12-31T23:59:59Z".parse().unwrap());
/// clock.jump_to(ManualClock::START);
/// # });
/// ```
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
    /// Until when each of those sleeps who sleep now.
    deadlines: watch::Sender<Vec<Timestamp>>,
}

impl ManualClock {
    /// Where a clock starts unless another moment is given: 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    /// A clock that stands at [`START`](Self::START).
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(Self::START)
    }

    /// A clock that stands at `now`.
    #[must_use]
    pub fn starting_at(now: Timestamp) -> Self {
        Self {
            now: watch::Sender::new(now),
            deadlines: watch::Sender::new(Vec::new()),
        }
    }

    /// Moves the clock on by `duration` and wakes those whose deadline it reaches.
    pub fn advance(&self, duration: Duration) {
        self.now.send_modify(|now| *now = now.saturating_add(duration));
    }

    /// Sets the clock to `moment`, which may lie in the past, and wakes those whose deadline it reaches.
    pub fn jump_to(&self, moment: Timestamp) {
        self.now.send_replace(moment);
    }

    /// Waits until at least `count` calls are sleeping.
    pub async fn sleepers(&self, count: usize) {
        let mut deadlines = self.deadlines.subscribe();
        let enough = deadlines.wait_for(|deadlines| deadlines.len() >= count);
        enough.await.expect("the clock keeps its own channel open");
    }

    /// Runs `future` to its end, and moves the clock to the next deadline whenever somebody sleeps:
    /// what would take a minute takes no time. Everybody who uses the clock sees it move.
    pub async fn drive<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return output,
                deadline = self.next_deadline() => self.jump_to(deadline),
            }
        }
    }

    /// The next deadline, once there is one and everybody whose deadline has passed has woken up.
    async fn next_deadline(&self) -> Timestamp {
        let mut deadlines = self.deadlines.subscribe();
        let now = self.now();
        let all_asleep = deadlines
            .wait_for(|deadlines| !deadlines.is_empty() && deadlines.iter().all(|deadline| *deadline > now));
        let deadlines = all_asleep.await.expect("the clock keeps its own channel open");
        deadlines.iter().min().copied().expect("somebody sleeps")
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock")
            .field(&self.now().to_string())
            .finish()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut now = self.now.subscribe();
        let _asleep = Asleep::until(deadline, &self.deadlines);
        let reached = now.wait_for(|now| *now >= deadline);
        reached.await.expect("the clock keeps its own channel open");
    }
}

/// A sleeper's entry among the deadlines; it leaves when the sleeper wakes up or is dropped.
struct Asleep<'a> {
    deadline: Timestamp,
    deadlines: &'a watch::Sender<Vec<Timestamp>>,
}

impl<'a> Asleep<'a> {
    fn until(deadline: Timestamp, deadlines: &'a watch::Sender<Vec<Timestamp>>) -> Self {
        deadlines.send_modify(|deadlines| deadlines.push(deadline));
        Self { deadline, deadlines }
    }
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.deadlines.send_modify(|deadlines| {
            let mine = deadlines.iter().position(|it| *it == self.deadline);
            deadlines.swap_remove(mine.expect("a sleeper is listed until it wakes up"));
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn after(minutes: u32) -> Timestamp {
        ManualClock::START.saturating_add(MINUTE * minutes)
    }

    fn sleeper(clock: &Arc<ManualClock>, deadline: Timestamp) -> tokio::task::JoinHandle<()> {
        let clock = Arc::clone(clock);
        tokio::spawn(async move { clock.sleep_until(deadline).await })
    }

    #[tokio::test]
    async fn sleeper_wakes_at_its_deadline_and_not_before() {
        let clock = Arc::new(ManualClock::new());
        let (first, second) = (sleeper(&clock, after(1)), sleeper(&clock, after(2)));
        clock.sleepers(2).await;
        clock.advance(MINUTE);
        first.await.expect("woken");
        assert!(!second.is_finished());
        clock.jump_to(after(2));
        second.await.expect("woken");
    }

    #[tokio::test]
    async fn deadline_that_has_passed_is_no_sleep() {
        ManualClock::new().sleep_until(ManualClock::START).await;
    }

    #[tokio::test]
    async fn dropped_sleeper_is_forgotten() {
        let clock = Arc::new(ManualClock::new());
        let sleeping = sleeper(&clock, after(1));
        clock.sleepers(1).await;
        sleeping.abort();
        assert!(sleeping.await.is_err());
        assert!(clock.deadlines.borrow().is_empty());
    }

    #[tokio::test]
    async fn drive_moves_from_deadline_to_deadline() {
        let clock = Arc::new(ManualClock::new());
        let steps = async {
            for minutes in 1..=3 {
                clock.sleep_until(after(minutes)).await;
                assert_eq!(clock.now(), after(minutes));
            }
        };
        clock.drive(steps).await;
        assert_eq!(clock.now(), after(3));
    }
}
