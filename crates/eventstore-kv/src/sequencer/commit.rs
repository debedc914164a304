//! Commits a group.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use eventstore_abstractions::Result;
use futures_util::FutureExt;
use kv_core::{Durability, Error, Outcome};

use super::group::Group;
use super::plan::{Done, Plan};
use super::request::Queued;
use crate::derived::Engine;

/// A group whose commit has ended.
#[derive(Debug)]
pub(super) struct Landed {
    pub(super) plan: Arc<Plan>,
    pub(super) requests: Vec<Queued>,
    /// What each request is told if the commit was applied.
    pub(super) answers: Vec<Result<Done>>,
    pub(super) outcome: kv_core::Result<Outcome>,
}

/// Commits `group`. Its plan is in `flying` meanwhile, and stays there if the future is dropped before the commit has ended.
pub(super) async fn commit(engine: &Engine, group: Group, flying: &mut Option<Arc<Plan>>) -> Landed {
    let Group {
        mut plan, requests, ..
    } = group;
    let (batch, derivations, durability) = plan.take_batch();
    let answers = plan.take_answers();
    let plan = Arc::new(plan);
    *flying = Some(Arc::clone(&plan));
    let outcome = if batch.is_empty() && durability == Durability::Buffered {
        // Nothing is written, and nothing must become durable.
        Ok(Outcome::Applied)
    } else {
        let commit = AssertUnwindSafe(engine.commit(batch, derivations, durability)).catch_unwind();
        commit.await.unwrap_or_else(|_| {
            Err(Error::OutcomeUnknown {
                reason: "the engine stopped in a commit".to_owned(),
                source: None,
            })
        })
    };
    *flying = None;
    Landed {
        plan,
        requests,
        answers,
        outcome,
    }
}
