//! A rollout, as the API shows it.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::approval::{Approval, State, Status};
use crate::domain::check::{CheckOutcome, CheckResult};
use crate::domain::observation::TrafficShare;

/// The rollout.
#[derive(Serialize, utoipa::ToSchema)]
pub struct RolloutView {
    /// `projects/P/locations/R/services/S`.
    pub service: String,
    /// The short name of the revision that is created.
    pub revision: String,
    /// The digest of the image, `sha256:…`.
    pub digest: String,
    /// The digest of the image that the revision was seen to run in the end, `sha256:…`.
    pub observed_digest: Option<String>,
    /// The attestation of the image for Binary Authorization, once it was made, while the rollout runs:
    /// `projects/PROJECT/occurrences/ID`.
    pub attestation: Option<String>,
    /// How many steps were seen to serve.
    pub steps_done: usize,
    /// How many there are.
    pub steps_total: usize,
    /// Until when the step that serves now is watched, if it is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub watched_until: Option<Timestamp>,
    /// The service's address, once it was seen to serve.
    pub uri: Option<String>,
    /// The shares that were last seen to serve.
    pub traffic: Vec<Share>,
    /// What the checks of its steps found so far.
    pub checks: Vec<CheckView>,
    /// The generation of the service that was last seen.
    pub generation: Option<i64>,
    /// When it was last seen.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub observed_at: Option<Timestamp>,
}

/// The execution of a job, as it was last recorded.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ExecutionView {
    /// Its short name.
    pub execution: String,
    /// The digest of the image that it was seen to run, `sha256:…`.
    pub observed_digest: String,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many of them have succeeded.
    pub succeeded: u32,
    /// How many have failed.
    pub failed: u32,
    /// How many were cancelled.
    pub cancelled: u32,
    /// When it began to run.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
    /// When it was seen so.
    #[schema(value_type = String, format = DateTime)]
    pub observed_at: Timestamp,
}

pub(super) fn execution_of(approval: &Approval) -> Option<ExecutionView> {
    let seen = approval.state.execution()?;
    Some(ExecutionView {
        execution: seen.name.clone(),
        observed_digest: format!("sha256:{}", seen.image_digest),
        tasks: seen.tasks,
        succeeded: seen.succeeded,
        failed: seen.failed,
        cancelled: seen.cancelled,
        started_at: seen.started_at,
        completed_at: seen.completed_at,
        observed_at: seen.observed_at,
    })
}

/// The job as it was seen after a change that runs nothing.
#[derive(Serialize, utoipa::ToSchema)]
pub struct UpdatedView {
    /// The digest of the image that it was seen to have, `sha256:…`.
    pub observed_digest: String,
    /// The generation of the job that was seen.
    pub generation: i64,
    /// When it was seen so.
    #[schema(value_type = String, format = DateTime)]
    pub observed_at: Timestamp,
}

pub(super) fn updated_of(approval: &Approval) -> Option<UpdatedView> {
    let seen = approval.state.updated()?;
    Some(UpdatedView {
        observed_digest: format!("sha256:{}", seen.image_digest),
        generation: seen.generation,
        observed_at: seen.observed_at,
    })
}

/// What one check found.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CheckView {
    /// The number of the step, from 1.
    pub step: u32,
    /// Whether it passed. What could not be read did not.
    pub outcome: CheckOutcome,
    /// What was found, in plain words.
    #[schema(example = "HTTP 200 from /health: passed")]
    pub sentence: String,
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Timestamp,
}

impl From<&CheckResult> for CheckView {
    fn from(result: &CheckResult) -> Self {
        Self {
            step: result.step,
            outcome: result.outcome,
            sentence: result.in_words(),
            checked_at: result.at,
        }
    }
}

/// One revision's share.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Share {
    /// The revision's short name.
    pub revision: String,
    /// Percent of all requests.
    pub percent: u8,
}

impl From<&TrafficShare> for Share {
    fn from(share: &TrafficShare) -> Self {
        Self { revision: share.revision.clone(), percent: share.percent }
    }
}

pub(super) fn rollout_of(approval: &Approval) -> Option<RolloutView> {
    let deployment = approval.subject.deployment()?;
    let plan = &deployment.plan;
    let view = |steps_done: usize| RolloutView {
        service: deployment.service.to_string(),
        revision: plan.revision.clone(),
        digest: format!("sha256:{}", deployment.image.digest()),
        observed_digest: None,
        attestation: None,
        steps_done,
        steps_total: plan.steps.len(),
        watched_until: None,
        uri: None,
        traffic: Vec::new(),
        checks: Vec::new(),
        generation: None,
        observed_at: None,
    };
    match &approval.state {
        State::Executing { progress, .. } | State::NeedsAttention { progress, .. } => {
            let served = progress.steps_done.checked_sub(1).and_then(|last| plan.steps.get(last));
            let traffic = served.map_or(&plan.rollback, |step| &step.traffic);
            Some(RolloutView {
                watched_until: match approval.status() {
                    Status::Executing => {
                        let watched = progress.watched(plan);
                        watched.filter(|one| one.step.bake_seconds > 0).map(|one| one.until)
                    }
                    _ => None,
                },
                attestation: progress.attested.as_ref().map(|one| one.occurrence.clone()),
                traffic: traffic.iter().map(Share::from).collect(),
                checks: progress.checks.iter().map(CheckView::from).collect(),
                ..view(progress.steps_done)
            })
        }
        State::Succeeded { serving: Some(serving), .. } => Some(RolloutView {
            observed_digest: serving.image_digest.map(|digest| format!("sha256:{digest}")),
            uri: Some(serving.uri.clone()).filter(|uri| !uri.is_empty()),
            traffic: serving.traffic.iter().map(Share::from).collect(),
            checks: serving.checks.iter().map(CheckView::from).collect(),
            generation: Some(serving.generation),
            observed_at: Some(serving.observed_at),
            ..view(plan.steps.len())
        }),
        State::RolledBack { .. } => Some(RolloutView {
            traffic: plan.rollback.iter().map(Share::from).collect(),
            ..view(0)
        }),
        State::Failed { .. } => Some(view(0)),
        State::Pending {}
        | State::Approved { .. }
        | State::Succeeded { serving: None, .. }
        | State::Rejected { .. }
        | State::Expired { .. }
        | State::Cancelled { .. }
        | State::Superseded { .. }
        | State::Withdrawn { .. } => None,
    }
}
