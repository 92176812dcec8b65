//! A run of GitHub Actions that waits at an environment.

use crate::domain::policy::Policy;
use crate::domain::workflow_run::{Account, WorkflowRun};

use super::inert::Inert;
use super::requester::is_repository;

/// What the page shows of a run alone.
pub struct RunView {
    /// GitHub's number of it.
    pub run: u64,
    /// Its page at GitHub; none if the repository's name is not one.
    pub href: Option<String>,
    /// Which attempt waits.
    pub attempt: u64,
    /// `owner/name`.
    pub repository: Inert,
    /// GitHub's number of the repository.
    pub repository_id: u64,
    /// The file and the branch or tag that it was taken from.
    pub workflow: Inert,
    /// The commit.
    pub commit: Inert,
    /// What started it.
    pub event: Inert,
    /// Who started it, first and again.
    pub started_by: Vec<StartedBy>,
    /// The name of the webhook.
    pub delivery: Inert,
    /// The hash of its body.
    pub body_digest: Inert,
}

/// Somebody who started the run.
pub struct StartedBy {
    /// First, or this attempt.
    pub label: &'static str,
    /// GitHub's name of the account.
    pub login: Inert,
    /// Its number.
    pub id: u64,
    /// Whose it is, as the policy says.
    pub person: Option<Inert>,
}

impl RunView {
    pub(super) fn new(run: &WorkflowRun, policy: &Policy) -> Self {
        let started = |label, account: &Option<Account>| {
            account.as_ref().map(|account| StartedBy {
                label,
                login: Inert::new(&account.login),
                id: account.id,
                person: policy
                    .github_accounts
                    .get(&account.id.to_string())
                    .map(|it| Inert::new(it)),
            })
        };
        let first = started("Started by", &run.actor);
        let again = started("This attempt started by", &run.triggering_actor)
            .filter(|_| run.attempt > 1 || run.actor != run.triggering_actor);
        Self {
            run: run.run,
            href: is_repository(&run.repository.name).then(|| run.page()),
            attempt: run.attempt,
            repository: Inert::new(&run.repository.name),
            repository_id: run.repository.id,
            workflow: Inert::new(&run.workflow),
            commit: Inert::new(&run.commit),
            event: Inert::new(&run.event),
            started_by: first.into_iter().chain(again).collect(),
            delivery: Inert::new(&run.delivery.id),
            body_digest: Inert::new(&run.delivery.body_digest.to_string()),
        }
    }
}

/// What goes on where, in one line.
pub(super) fn headline(run: &WorkflowRun) -> String {
    let path = run.workflow_path();
    let file = path.rsplit('/').next().unwrap_or(path);
    let again = match run.attempt {
        1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    format!("Run of {file} in {}{again}, to {}", run.repository.name, run.environment)
}
