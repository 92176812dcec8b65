//! What is asked for, as the API shows it.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::check::Check;
use crate::domain::plan::{OnFailure, Step};
use crate::domain::rulebook::{Rulebook, rulebook_changes};
use crate::domain::subject::Subject;

/// What is asked for.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SubjectView {
    /// A rollout of a Cloud Run service.
    Deployment {
        /// `projects/P/locations/R/services/S`.
        service: String,
        /// The image by digest.
        image: String,
        /// The new revision's share at each step.
        steps: Vec<u8>,
        /// The steps and what happens at each.
        plan: Vec<StepView>,
        /// What happens when a step fails.
        on_failure: OnFailure,
        /// The approval after whose success it begins.
        after: Option<String>,
    },
    /// One execution of a Cloud Run job, or a change of it alone.
    JobExecution {
        /// `projects/P/locations/R/jobs/J`.
        job: String,
        /// The image by digest.
        image: String,
        /// Whether it runs. Else it is only updated.
        run: bool,
        /// The short name of the execution; absent where nothing runs.
        #[serde(skip_serializing_if = "Option::is_none")]
        execution: Option<String>,
    },
    /// An act of whoever asks.
    Action {
        /// The declared name of the tool.
        tool: String,
        /// What it is called with, exactly.
        #[schema(value_type = Object)]
        arguments: Map<String, Value>,
    },
    /// A run of GitHub Actions that waits at an environment. The gate itself says that it waits.
    WorkflowRun {
        /// The GitHub host.
        host: String,
        /// `owner/name`.
        repository: String,
        /// GitHub's number of the repository.
        repository_id: u64,
        /// GitHub's number of the run.
        run: u64,
        /// Which attempt waits.
        attempt: u64,
        /// The workflow file and the branch or tag that it was taken from.
        workflow: String,
        /// The commit.
        commit: String,
        /// What started it.
        event: String,
        /// Who started it first, by GitHub's name.
        actor: Option<String>,
        /// Who started this attempt.
        triggering_actor: Option<String>,
    },
    /// A change of the rules, which the gate found in its configuration file.
    PolicyChange {
        /// SHA-256 of the rulebook in force when it was asked for.
        rules_before: String,
        /// SHA-256 of the one that takes its place.
        rules_after: String,
        /// Whose rights differ, and what else does.
        changes: Vec<RuleChangeView>,
    },
}

/// One difference between two rulebooks.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RuleChangeView {
    /// The environment, or `every environment`.
    pub environment: String,
    /// `wider`: somebody may do more, or less is needed; `narrower`; or `different`.
    pub effect: &'static str,
    /// What differs.
    pub sentence: String,
}

/// One step of the traffic.
#[derive(Serialize, utoipa::ToSchema)]
pub struct StepView {
    /// The new revision's share.
    pub percent: u8,
    /// How long the step is watched before the rollout goes on, in seconds.
    pub bake_seconds: u32,
    /// What is checked then before the rollout goes on, in words.
    pub checks: Vec<String>,
    /// The tag that gives the new revision an address of its own during this step.
    pub tag: Option<String>,
    /// Whether the rollout then waits until an approver has signed that it goes on.
    pub pause: bool,
}

impl From<&Step> for StepView {
    fn from(step: &Step) -> Self {
        Self {
            percent: step.percent,
            bake_seconds: step.bake_seconds,
            checks: step.checks.iter().map(Check::in_words).collect(),
            tag: step.tag.clone(),
            pause: step.pause,
        }
    }
}

impl SubjectView {
    pub(super) fn new(subject: &Subject) -> Self {
        match subject {
            Subject::Deployment(deployment) => Self::Deployment {
                service: deployment.service.to_string(),
                image: deployment.image.to_string(),
                steps: deployment.plan.steps.iter().map(|step| step.percent).collect(),
                plan: deployment.plan.steps.iter().map(StepView::from).collect(),
                on_failure: deployment.plan.on_failure,
                after: deployment.after.as_ref().map(ToString::to_string),
            },
            Subject::JobExecution(execution) => Self::JobExecution {
                job: execution.job.to_string(),
                image: execution.image.to_string(),
                run: execution.execution.is_some(),
                execution: execution.execution.clone(),
            },
            Subject::Action(action) => {
                Self::Action { tool: action.tool.clone(), arguments: action.arguments.clone() }
            }
            Subject::WorkflowRun(run) => Self::WorkflowRun {
                host: run.host.clone(),
                repository: run.repository.name.clone(),
                repository_id: run.repository.id,
                run: run.run,
                attempt: run.attempt,
                workflow: run.workflow.clone(),
                commit: run.commit.clone(),
                event: run.event.clone(),
                actor: run.actor.as_ref().map(|account| account.login.clone()),
                triggering_actor: run.triggering_actor.as_ref().map(|one| one.login.clone()),
            },
            Subject::RuleChange(change) => {
                let digest = |rules: &Rulebook| rules.digest().map(|it| it.to_string());
                let changes = rulebook_changes(&change.before, &change.after).into_iter();
                Self::PolicyChange {
                    rules_before: digest(&change.before).unwrap_or_default(),
                    rules_after: digest(&change.after).unwrap_or_default(),
                    changes: changes
                        .map(|one| RuleChangeView {
                            environment: one.environment,
                            effect: one.effect.as_str(),
                            sentence: one.sentence,
                        })
                        .collect(),
                }
            }
        }
    }
}
