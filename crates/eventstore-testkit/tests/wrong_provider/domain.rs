//! Providers over which consumers and projections cannot keep what they promise.

use eventstore_abstractions::{Changes, Committed, Durability};

use crate::wrong::wrong;

wrong! {
    IgnoresRequirements: state_commit |_log, right, changes, durability| {
        let mut writes = Changes::new();
        writes.writes = changes.writes;
        right.commit(writes, durability).await
    };
    LosesBufferedState: state_commit |_log, right, changes, durability| {
        if durability == Durability::Buffered {
            return Ok(Committed::Applied);
        }
        right.commit(changes, durability).await
    };
    KeepsWhatIsDeleted: state_commit |_log, right, changes, durability| {
        let mut changes = changes;
        changes.writes.retain(|(_, value)| value.is_some());
        right.commit(changes, durability).await
    };
}
