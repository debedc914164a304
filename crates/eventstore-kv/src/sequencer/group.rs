//! Requests that share a commit.

use kv_core::Capabilities;

use super::plan::{Limits, Plan};
use super::request::{Queued, Request};
use crate::limits::Cost;

/// Most bytes of one group, unless a single request has more: it bounds memory and the wait of those behind it.
const MAX_BYTES: usize = 8 << 20;
/// Most requests of one group.
pub(super) const MAX_REQUESTS: usize = 4_096;

/// Requests, and what was decided of them.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) plan: Plan,
    pub(super) requests: Vec<Queued>,
    cost: Cost,
}

impl Group {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            plan: Plan::new(limits),
            requests: Vec::new(),
            cost: Cost::default(),
        }
    }

    /// How many of the waiting requests fit: one at least, if the group is empty.
    pub(super) fn room<'a>(
        &self,
        waiting: impl Iterator<Item = &'a Request>,
        capabilities: &Capabilities,
    ) -> usize {
        let mut cost = self.cost;
        let is_empty = self.requests.is_empty();
        let fits = |(at, request): &(usize, &Request)| {
            cost = cost.plus(request.cost);
            let has_room = cost.bytes < MAX_BYTES && cost.fits(capabilities);
            (is_empty && *at == 0) || has_room
        };
        let room = MAX_REQUESTS - self.requests.len().min(MAX_REQUESTS);
        waiting.take(room).enumerate().take_while(fits).count()
    }

    /// Adds requests that the plan has decided.
    pub(super) fn add(&mut self, decided: impl Iterator<Item = Queued>) {
        for request in decided {
            self.cost = self.cost.plus(request.cost);
            self.requests.push(request);
        }
    }
}
