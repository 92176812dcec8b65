//! Asks people about a run that waits and posted no deployment, where its environment lets them sign for runs.

use jiff::{SignedDuration, Timestamp};

use super::{Unsaid, Voice};
use crate::domain::ids::ApprovalId;
use crate::domain::policy::Policy;
use crate::domain::request::LONGEST_REASON;
use crate::domain::subject::{Facts, FrozenSubject};
use crate::domain::words::check_trust;
use crate::domain::workflow_run::{self, Repository, RunWaits, WorkflowRun};
use crate::gate::request::create_for_run;
use crate::gate::{Crowding, GateError};
use crate::integrations::github::runs::{Account, Run};
use crate::randomness;
use crate::storage::{CommitAtGitHub, WaitingRule};

/// What came of it.
pub(super) enum AskedPeople {
    /// They are asked.
    Yes,
    /// They are not, for this reason.
    No(String),
}

impl Voice {
    /// Asks people about the run, as GitHub's API described it just now. `waits` is the verified entry of the
    /// webhook; without one nothing that could be told is known of who asked.
    pub(super) async fn ask_people(
        &self,
        waiting: &WaitingRule,
        run: &Run,
        waits: Option<RunWaits>,
    ) -> Result<AskedPeople, Unsaid> {
        let (attempt, environment) = (run.run_attempt, &waiting.environment);
        let policy = self.terms.policies.get(environment);
        let Some(policy) = policy.filter(|policy| !policy.workflow_runs.is_empty()) else {
            return Ok(AskedPeople::No(format!(
                "Attempt {attempt} of this run asked for no deployment to {environment}. Ask with mode: rule in a job that this one needs; after a re-run, run all jobs again."
            )));
        };
        let is_same = |waits: &RunWaits| {
            (waits.repository, waits.run) == (waiting.repository, waiting.run)
                && waits.environment == *environment
        };
        let Some(waits) = waits.filter(is_same) else {
            return Ok(AskedPeople::No(
                "The gate's ledger holds no webhook that says that this run waits.".to_owned(),
            ));
        };
        let now = self.clock.now();
        let asked = self.subject_of(run, waits, policy, now)?;
        if !policy.admits_run(&asked) {
            let WorkflowRun { event, workflow, .. } = &asked;
            return Ok(AskedPeople::No(format!(
                "This run asked for no deployment, and in {environment} nobody signs for runs of {workflow} that were started by {event}: ask with mode: rule, or have it added to workflow_runs."
            )));
        }
        if let Err(refusal) = check_trust(policy) {
            return Ok(AskedPeople::No(refusal.to_string()));
        }
        let subject = FrozenSubject::freeze(asked).map_err(GateError::from)?;
        let commit = CommitAtGitHub {
            repository: waiting.repository,
            sha: run.head_sha.clone(),
            run: Some(waiting.run),
        };
        match create_for_run(&self.storage, subject, &commit, policy, now).await {
            Ok(stored) => {
                let approval = stored.approval.id();
                tracing::info!(%approval, run = waiting.run, attempt, environment, "people are asked about a run");
                Ok(AskedPeople::Yes)
            }
            Err(GateError::Crowding(
                crowding @ (Crowding::TooManyWait { .. } | Crowding::TooFast { .. }),
            )) => Ok(AskedPeople::No(format!("Nobody was asked: {crowding}."))),
            Err(error) => Err(error.into()),
        }
    }

    fn subject_of(
        &self,
        run: &Run,
        waits: RunWaits,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<WorkflowRun, Unsaid> {
        let host = self.github.host.clone();
        let repository =
            Repository { id: run.repository.id, name: run.repository.full_name.clone() };
        let seconds = i64::try_from(policy.expires_in_seconds).unwrap_or(i64::MAX);
        let lifetime = SignedDuration::from_secs(seconds);
        let branch = run.head_branch.clone().unwrap_or_default();
        let workflow = match run.path.contains('@') {
            true => run.path.clone(),
            false => format!("{}@{branch}", run.path),
        };
        let title = run.display_title.as_ref().or(run.name.as_ref());
        let account = |account: &Account| workflow_run::Account {
            id: account.id,
            login: account.login.clone(),
        };
        Ok(WorkflowRun {
            facts: Facts {
                approval: ApprovalId::from_random(randomness::bytes()),
                audience: self.terms.origin.clone(),
                environment: policy.environment.clone(),
                requester: WorkflowRun::requester_of(&host, &repository),
                // What GitHub calls the run: the headline of its commit, say, which is nobody's word here.
                reason: title
                    .into_iter()
                    .flat_map(|text| text.chars())
                    .take(LONGEST_REASON)
                    .collect(),
                title: None,
                acts_for: None,
                body: None,
                links: Vec::new(),
                policy_digest: policy.canonical().map_err(GateError::from)?.1,
                requested_at: now,
                expires_at: now.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
            },
            host,
            repository,
            run: run.id,
            attempt: run.run_attempt,
            workflow,
            branch,
            commit: run.head_sha.clone(),
            event: run.event.clone(),
            actor: run.actor.as_ref().map(account),
            triggering_actor: run.triggering_actor.as_ref().map(account),
            delivery: waits.delivery,
        })
    }
}
