//! Cuts a plan that fails down, as long as it goes on to fail.

use super::Report;
use super::plan::{Follower, Plan};
use super::run::run;

/// Runs that are spent on it.
const MAX_RUNS: usize = 600;

/// The smallest plan that was found to fail, and what came of it; `None` when `plan` does not fail.
pub(super) fn minimise(plan: &Plan) -> Option<(Plan, Report)> {
    let report = run(plan);
    report.failure.as_ref()?;
    let mut search = Search {
        plan: plan.clone(),
        report,
        runs: 0,
    };
    loop {
        let before = search.plan.clone();
        search.epochs();
        search.steps();
        search.circumstances();
        if search.plan == before || search.runs >= MAX_RUNS {
            return Some((search.plan, search.report));
        }
    }
}

struct Search {
    plan: Plan,
    report: Report,
    runs: usize,
}

impl Search {
    /// Makes a change, if the plan fails with it, too.
    fn tries(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.plan.clone();
        change(&mut plan);
        if plan == self.plan || self.runs >= MAX_RUNS {
            return false;
        }
        self.runs += 1;
        let report = run(&plan);
        let fails = report.failure.is_some();
        if fails {
            (self.plan, self.report) = (plan, report);
        }
        fails
    }

    fn epochs(&mut self) {
        for at in (0..self.plan.epochs.len()).rev() {
            self.tries(|plan| drop(plan.epochs.remove(at)));
        }
        for epoch in 0..self.plan.epochs.len() {
            for at in (0..self.plan.epochs[epoch].clients.len()).rev() {
                self.tries(|plan| drop(plan.epochs[epoch].clients.remove(at)));
            }
        }
    }

    /// Takes steps out: half of a client's at a time, then a quarter, and so on.
    fn steps(&mut self) {
        for epoch in 0..self.plan.epochs.len() {
            for client in 0..self.plan.epochs[epoch].clients.len() {
                let mut chunk = self.plan.epochs[epoch].clients[client].len();
                while chunk > 0 {
                    let mut at = 0;
                    while at < self.plan.epochs[epoch].clients[client].len() {
                        let all = self.plan.epochs[epoch].clients[client].len();
                        let end = all.min(at + chunk);
                        let cut = |plan: &mut Plan| drop(plan.epochs[epoch].clients[client].drain(at..end));
                        if !self.tries(cut) {
                            at = end;
                        }
                    }
                    chunk /= 2;
                }
            }
        }
    }

    /// Takes away what may go wrong, who follows, and who gives up.
    fn circumstances(&mut self) {
        self.tries(|plan| plan.faults = Default::default());
        self.tries(|plan| plan.faults.delay = 0);
        self.tries(|plan| plan.faults.fail_before = 0);
        self.tries(|plan| plan.faults.fail_after = 0);
        self.tries(|plan| plan.faults.straggle = 0);
        self.tries(|plan| plan.faults.fail_read = 0);
        self.tries(|plan| plan.skews_ms.fill(0));
        self.tries(|plan| plan.processes = plan.processes.min(2));
        self.tries(|plan| plan.processes = 1);
        self.tries(|plan| plan.databases = 1);
        for epoch in 0..self.plan.epochs.len() {
            self.tries(|plan| plan.epochs[epoch].cut_after = None);
            self.tries(|plan| plan.epochs[epoch].death = None);
            // With an earlier cut fewer steps are needed.
            while let Some(cut) = self.plan.epochs[epoch].cut_after {
                let mut earlier = [cut / 2, cut - cut / 8, cut.saturating_sub(1)].into_iter();
                if !earlier.any(|cut| self.tries(|plan| plan.epochs[epoch].cut_after = Some(cut))) {
                    break;
                }
            }
            self.tries(|plan| {
                let followers = plan.epochs[epoch].followers.iter_mut();
                followers.for_each(|follows| follows.who = Follower::Nobody);
            });
            self.tries(|plan| {
                let steps = plan.epochs[epoch].clients.iter_mut().flatten();
                steps.for_each(|step| step.give_up_after_ms = None);
            });
        }
    }
}
