//! Random choices that can be played again.
//!
//! See [`Seed`] for an example.

use std::fmt;

/// Environment variable that sets the seed of every random case.
///
/// See [`Seed`] for an example.
pub const SEED_VARIABLE: &str = "EVENTSTORE_SEED";

/// Seeds that are run each time: a change that breaks one of them breaks it for everybody.
const FIXED: [u64; 3] = [1, 2, 3];

/// The start of a sequence of random choices. Put it into every failure message of a random test: its
/// text says how to play the same choices again.
///
/// ```
/// use eventstore_testkit::seed::Seed;
///
/// assert_eq!(Seed::new(7).to_string(), "replay with EVENTSTORE_SEED=7");
///
/// let seed = Seed::from_env();
/// assert!(seed.to_string().starts_with("replay with"), "{seed}");
///
/// for seed in Seed::of_run() {
///     println!("{seed}");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A seed of the given number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The seed in [`SEED_VARIABLE`], or a new random one when the variable is not set.
    ///
    /// # Panics
    /// When the variable is set to something that is not a number: a typing error must not run another test.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var(SEED_VARIABLE) {
            Ok(text) => Self::parse(&text),
            Err(_) => Self(fastrand::u64(..)),
        }
    }

    /// The seeds of one run of a random test: the first few, the same in every run, and a new one. With
    /// [`SEED_VARIABLE`] set, only that one.
    ///
    /// # Panics
    /// As [`from_env`](Self::from_env).
    #[must_use]
    pub fn of_run() -> Vec<Self> {
        let from_env = Self::from_env();
        if std::env::var_os(SEED_VARIABLE).is_some() {
            return vec![from_env];
        }
        FIXED.map(Self).into_iter().chain([from_env]).collect()
    }

    /// The number, for tests that make their choices from it.
    ///
    /// ```
    /// assert_eq!(eventstore_testkit::seed::Seed::new(7).number(), 7);
    /// ```
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The random choices that follow from this seed.
    pub(crate) fn rng(self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.0)
    }

    fn parse(text: &str) -> Self {
        match text.trim().parse() {
            Ok(number) => Self(number),
            Err(_) => panic!("{SEED_VARIABLE} is {text:?}; set it to a whole number below 2^64"),
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "replay with {SEED_VARIABLE}={}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_choices() {
        let choices = |seed: Seed| {
            let mut rng = seed.rng();
            [rng.u64(..), rng.u64(..)]
        };
        assert_eq!(choices(Seed::new(7)), choices(Seed::parse("7")));
        assert_ne!(choices(Seed::new(7)), choices(Seed::new(8)));
    }

    #[test]
    #[should_panic(expected = "set it to a whole number")]
    fn seed_that_is_no_number_is_refused() {
        let _ = Seed::parse("seven");
    }
}
