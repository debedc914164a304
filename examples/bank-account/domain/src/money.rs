//! Money, without fractions that a floating-point number would lose.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of money in whole cents; never negative.
///
/// ```
/// use bank_account_domain::Cents;
///
/// assert_eq!(Cents::new(1_205).to_string(), "12.05");
/// assert_eq!(Cents::new(5).checked_sub(Cents::new(6)), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cents(u64);

impl Cents {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The amount of `cents` cents.
    #[must_use]
    pub const fn new(cents: u64) -> Self {
        Self(cents)
    }

    /// The amount as a number of cents.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or `None` when it is above what can be held.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` when it would be below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_with_two_digits_of_cents() {
        let shown = [0, 5, 99, 100, 123_456].map(|cents| Cents::new(cents).to_string());
        assert_eq!(shown, ["0.00", "0.05", "0.99", "1.00", "1234.56"]);
        assert_eq!(format!("{:>6}", Cents::new(100)), "  1.00");
    }

    #[test]
    fn sums_and_differences_stay_in_range() {
        assert_eq!(Cents::new(u64::MAX).checked_add(Cents::new(1)), None);
        assert_eq!(Cents::ZERO.checked_sub(Cents::new(1)), None);
        assert_eq!(Cents::new(3).checked_sub(Cents::new(1)), Some(Cents::new(2)));
    }
}
