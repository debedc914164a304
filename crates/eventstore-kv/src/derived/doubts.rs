//! Databases of which a commit did not end well: the engine may have more of them than is known.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use eventstore_abstractions::Database;
use parking_lot::Mutex;

/// The key of a database's head, and its name.
pub(super) type Named = (Bytes, Database);

#[derive(Debug, Default)]
pub(super) struct Doubts {
    databases: Mutex<Vec<Named>>,
    /// Whether there are any: each read looks at it.
    is_any: AtomicBool,
}

/// A commit to databases that has not ended well yet. They are in doubt when it is dropped so.
pub(super) struct Doubt<'a> {
    doubts: &'a Doubts,
    databases: Vec<Named>,
}

impl Doubts {
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::SeqCst)
    }

    pub(super) fn all(&self) -> Vec<Named> {
        self.databases.lock().clone()
    }

    pub(super) fn add(&self, databases: impl IntoIterator<Item = Named>) {
        let mut doubtful = self.databases.lock();
        for database in databases {
            if !doubtful.contains(&database) {
                doubtful.push(database);
            }
        }
        self.is_any.store(!doubtful.is_empty(), Ordering::SeqCst);
    }

    /// A commit to `databases` begins.
    pub(super) fn begin(&self, databases: Vec<Named>) -> Doubt<'_> {
        Doubt {
            doubts: self,
            databases,
        }
    }
}

impl Doubt<'_> {
    /// The commit has ended well: no earlier one can change its databases any more.
    pub(super) fn clear(mut self) {
        let databases = mem::take(&mut self.databases);
        if self.doubts.is_any() {
            let mut doubtful = self.doubts.databases.lock();
            doubtful.retain(|doubtful| !databases.contains(doubtful));
            self.doubts.is_any.store(!doubtful.is_empty(), Ordering::SeqCst);
        }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let databases = mem::take(&mut self.databases);
        if !databases.is_empty() {
            self.doubts.add(databases);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Named {
        let database = Database::new(name).expect("valid");
        (Bytes::copy_from_slice(name.as_bytes()), database)
    }

    #[test]
    fn database_is_in_doubt_until_a_commit_to_it_ends_well() {
        let doubts = Doubts::default();
        doubts.begin(vec![named("a")]).clear();
        assert!(!doubts.is_any() && doubts.all().is_empty());
        for name in ["a", "b", "a"] {
            drop(doubts.begin(vec![named(name)]));
        }
        assert!(doubts.is_any());
        assert_eq!(doubts.all(), [named("a"), named("b")]);
        doubts.begin(vec![named("a"), named("c")]).clear();
        assert!(doubts.is_any(), "of the other one nothing is known");
        assert_eq!(doubts.all(), [named("b")]);
        doubts.begin(vec![named("b")]).clear();
        assert!(!doubts.is_any() && doubts.all().is_empty());
    }
}
