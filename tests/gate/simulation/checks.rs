//! Checks that find anything, and what must hold of them.

use countersign::domain::check::{Check, CheckOutcome, CheckResult, HttpCheck};

use super::Simulation;
use super::chance::Chance;

/// None, one or two checks of a step, with more or less patience.
pub fn of_step(chance: &mut Chance) -> Vec<Check> {
    let check = |patience_seconds: u32| {
        Check::Http(HttpCheck {
            path: "/health".into(),
            lowest_status: 200,
            highest_status: 299,
            contains: None,
            attempts: 1,
            timeout_seconds: 1,
            patience_seconds,
        })
    };
    let count = [0, 0, 1, 2][chance.below(4) as usize];
    (0..count).map(|_| check([0, 60, 600][chance.below(3) as usize])).collect()
}

impl Simulation {
    /// What the checks of a step find. None: the worker dies while it asks.
    pub fn asked(&mut self, step: usize) -> Option<Vec<CheckResult>> {
        if self.chance.once_in(20) {
            return None;
        }
        // While it was asked, the world may have moved on.
        if self.chance.once_in(30) {
            self.stranger();
        }
        let number = u32::try_from(step + 1).unwrap();
        let checks = self.deployment().plan.steps[step].checks.len();
        let found: Vec<CheckResult> = (0..checks)
            .map(|_| {
                let outcome = match self.chance.below(12) {
                    0 => CheckOutcome::Failed,
                    1..=3 => CheckOutcome::Unreadable,
                    _ => CheckOutcome::Passed,
                };
                CheckResult { step: number, outcome, found: "a check".into(), at: self.now }
            })
            .collect();
        self.tell(format!("checks of step {number} find {found:?}"));
        Some(found)
    }

    /// Every check of the first `count` steps was asked and passed, and that is what is recorded.
    pub fn check_passed(&self, count: usize, recorded: &[CheckResult]) {
        for (index, step) in self.deployment().plan.steps.iter().take(count).enumerate() {
            let of_step = |result: &&CheckResult| result.step as usize == index + 1;
            let results: Vec<&CheckResult> = recorded.iter().filter(of_step).collect();
            assert_eq!(results.len(), step.checks.len(), "step {} was not checked", index + 1);
            assert!(results.iter().all(|result| result.passed()), "{results:?}");
        }
    }
}
