//! What the conditions of a commit look at, and what happens when one does not hold.

use kv_core::{Batch, Durability, KeyValueStore, Outcome};

use super::KvHarness;
use super::support::{all_keys, apply, bytes, commit, entries, everything, get, open, put_keys};

async fn outcome(store: &dyn KeyValueStore, batch: Batch) -> Outcome {
    commit(store, batch, Durability::Buffered).await
}

const FIRST_FAILED: Outcome = Outcome::ConditionFailed { condition: 0 };

/// `Absent` holds for a key that was never put or was deleted, and for no other.
pub async fn absent_holds_only_without_a_value(harness: &dyn KvHarness) {
    let store = open(harness).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_absent("k").put("k", "1")).await,
        Outcome::Applied
    );
    assert_eq!(
        outcome(&*store, Batch::new().require_absent("k").put("k", "2")).await,
        FIRST_FAILED
    );
    assert_eq!(get(&*store, "k").await.as_deref(), Some(&b"1"[..]));
    apply(&*store, Batch::new().delete("k")).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_absent("k").put("k", "3")).await,
        Outcome::Applied
    );
}

/// `Present` holds for a key with a value, whichever, and for no other.
pub async fn present_holds_only_with_a_value(harness: &dyn KvHarness) {
    let store = open(harness).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_present("k").put("k", "1")).await,
        FIRST_FAILED
    );
    assert_eq!(get(&*store, "k").await, None);
    apply(&*store, Batch::new().put("k", "")).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_present("k").put("k", "2")).await,
        Outcome::Applied
    );
    apply(&*store, Batch::new().delete("k")).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_present("k").put("k", "3")).await,
        FIRST_FAILED
    );
}

/// `Equals` holds for exactly the value: not a longer one, a shorter one, one of the same length, or none.
pub async fn equals_holds_only_for_the_same_value(harness: &dyn KvHarness) {
    let store = open(harness).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_equals("k", "").put("k", "x")).await,
        FIRST_FAILED
    );
    apply(&*store, Batch::new().put("k", "value")).await;
    for other in ["", "valu", "value\0", "values", "valve", "VALUE"] {
        let batch = Batch::new().require_equals("k", other).put("k", "x");
        assert_eq!(
            outcome(&*store, batch).await,
            FIRST_FAILED,
            "value is not {other:?}"
        );
    }
    assert_eq!(
        outcome(&*store, Batch::new().require_equals("k", "value").put("k", "x")).await,
        Outcome::Applied
    );
    assert_eq!(get(&*store, "k").await.as_deref(), Some(&b"x"[..]));
}

/// Conditions look at what was committed before the batch, not at the batch's own writes.
pub async fn conditions_look_at_what_was_before(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().require_absent("k").put("k", "1")).await;
    apply(&*store, Batch::new().require_equals("k", "1").put("k", "2")).await;
    apply(&*store, Batch::new().require_present("k").delete("k")).await;
    assert_eq!(
        outcome(&*store, Batch::new().require_present("k").put("k", "3")).await,
        FIRST_FAILED
    );
    assert_eq!(get(&*store, "k").await, None);
}

/// The failed condition that is reported is the first in the order in which they were added.
pub async fn first_failed_condition_is_named(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"a", b"b"])).await;
    // Keys out of order, so that neither key order nor the last failure can pass for the first.
    let batch = Batch::new()
        .require_present("b")
        .require_equals("a", "a")
        .require_absent("c")
        .require_equals("b", "other")
        .require_absent("a")
        .require_present("c")
        .put("d", "");
    assert_eq!(
        outcome(&*store, batch).await,
        Outcome::ConditionFailed { condition: 3 }
    );
    let batch = Batch::new().require_present("a").require_absent("b").put("d", "");
    assert_eq!(
        outcome(&*store, batch).await,
        Outcome::ConditionFailed { condition: 1 }
    );
}

/// When a condition does not hold, no write of the batch lands.
pub async fn failed_condition_writes_nothing(harness: &dyn KvHarness) {
    let store = open(harness).await;
    put_keys(&*store, &bytes([b"b", b"c"])).await;
    let before = entries(&*store, everything()).await;
    let writes = || {
        Batch::new()
            .put("a", "new")
            .put("b", "new")
            .delete("c")
            .put("d", "new")
    };
    for batch in [
        writes().require_absent("b"),
        writes().require_present("a"),
        writes().require_equals("b", "new"),
        writes()
            .require_present("b")
            .require_present("c")
            .require_present("d"),
    ] {
        for durability in [Durability::Durable, Durability::Buffered] {
            let outcome = commit(&*store, batch.clone(), durability).await;
            assert!(matches!(outcome, Outcome::ConditionFailed { .. }), "{outcome:?}");
            assert_eq!(entries(&*store, everything()).await, before);
        }
    }
}

/// A batch with conditions and no writes is a check: it says whether they hold.
pub async fn conditions_without_writes_are_checked(harness: &dyn KvHarness) {
    let store = open(harness).await;
    apply(&*store, Batch::new().put("k", "v")).await;
    let check = Batch::new().require_equals("k", "v").require_absent("l");
    assert_eq!(outcome(&*store, check.clone()).await, Outcome::Applied);
    assert_eq!(
        outcome(&*store, check.require_absent("k")).await,
        Outcome::ConditionFailed { condition: 2 }
    );
    assert_eq!(all_keys(&*store).await, ["k"]);
}
