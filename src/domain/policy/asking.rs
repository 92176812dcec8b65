//! Who may ask for what, and who counts as having asked.

use super::{Policy, matches_pattern};
use crate::domain::person::Person;
use crate::domain::subject::Subject;
use crate::domain::workflow_run::{RunMatch, WorkflowRun};

impl Policy {
    /// Whether this may be asked for at all, whoever asks.
    pub fn covers(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Deployment(deployment) => {
                self.services.contains(&deployment.service) && self.admits_image(&deployment.image)
            }
            Subject::JobExecution(execution) => {
                self.jobs.contains(&execution.job) && self.admits_image(&execution.image)
            }
            Subject::Action(action) => self.action(&action.tool).is_some(),
            Subject::WorkflowRun(run) => self.admits_run(run),
            Subject::RuleChange(change) => change.is_ruled_by(self),
        }
    }

    /// Whether the requester of a subject may ask for anything here. A run and a change of the rules have
    /// no token, so that what is asked of their facts says this as well.
    pub fn admits(&self, subject: &Subject) -> bool {
        let requester = &subject.facts().requester;
        match subject {
            Subject::Deployment(_) | Subject::JobExecution(_) | Subject::Action(_) => {
                self.admits_requester(&requester.issuer, &requester.claims)
            }
            Subject::WorkflowRun(run) => self.admits_run(run),
            Subject::RuleChange(change) => change.is_ruled_by(self),
        }
    }

    /// Whether people may sign for this run.
    pub fn admits_run(&self, run: &WorkflowRun) -> bool {
        self.workflow_runs.iter().any(|listed| fits(listed, run))
    }

    /// Whether this person asked for it and so cannot sign it: they are behind its requester, or one of their accounts at GitHub started the run.
    pub fn was_asked_by(&self, subject: &Subject, person: &Person) -> bool {
        if self.people_behind(&subject.facts().requester).contains(person) {
            return true;
        }
        let Subject::WorkflowRun(run) = subject else { return false };
        run.accounts().into_iter().any(|account| {
            let known = self.github_accounts.get(&account.id.to_string());
            known.is_some_and(|subject| *subject == person.subject)
        })
    }
}

/// A list without anything in it fits nothing: no rules is not a yes.
fn fits(listed: &RunMatch, run: &WorkflowRun) -> bool {
    !listed.is_empty()
        && listed.iter().all(|(name, allowed)| {
            let value = run.fact(name);
            value
                .is_some_and(|value| allowed.iter().any(|pattern| matches_pattern(pattern, &value)))
        })
}
