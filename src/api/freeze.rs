//! Freezing: what was asked for becomes the exact bytes that people sign, against what runs now.

use serde_json::Value;

use crate::api::problem::Problem;
use crate::api::shipped::{Before, shipped_by};
use crate::app::App;
use crate::domain::action_request::ActionRequest;
use crate::domain::deployment::Commit;
use crate::domain::ids::ApprovalId;
use crate::domain::job::JobRequest;
use crate::domain::policy::Policy;
use crate::domain::request::{DeploymentRequest, Occasion, RequestRefusal};
use crate::domain::subject::FrozenSubject;
use crate::gate::GateError;
use crate::gate::request::requester_of;
use crate::integrations::cloud_run::{TemplateError, check_execution_template, check_template};
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::randomness;

/// Reads the running service and freezes the request against it. Nothing is stored here.
pub(super) async fn freeze(
    app: &App,
    request: &DeploymentRequest,
    policy: &Policy,
    verified: &VerifiedRequester,
) -> Result<FrozenSubject, Problem> {
    let requester = requester_of(verified);
    request.check(policy, &requester)?;
    let observed = app.cloud_run.observe_service(&request.service).await?;
    let before = match &observed {
        Some(observed) => Before::Serves(&request.service, observed),
        None => Before::Unsaid(format!(
            "{} is new, so that all commits before this one would count",
            request.service
        )),
    };
    let occasion = occasion_of(app, policy, before, verified).await?;
    let frozen = request
        .freeze(policy, observed.as_ref(), requester, occasion)
        .map_err(|error| Problem::from(GateError::from(error)))?;
    if let Some(deployment) = frozen.deployment() {
        check_template(request.service.kind(), &deployment.proposed).map_err(merged)?;
    }
    Ok(frozen)
}

/// The same for an execution of a job.
pub(super) async fn freeze_job(
    app: &App,
    request: &JobRequest,
    policy: &Policy,
    verified: &VerifiedRequester,
) -> Result<FrozenSubject, Problem> {
    let requester = requester_of(verified);
    request.check(policy, &requester)?;
    let observed = app.cloud_run.observe_job(&request.job).await?;
    let before = Before::Unsaid(format!("what {} ran before is not recorded", request.job));
    let occasion = occasion_of(app, policy, before, verified).await?;
    let frozen = request
        .freeze(policy, observed.as_ref(), requester, occasion)
        .map_err(|error| Problem::from(GateError::from(error)))?;
    if let Some(execution) = frozen.job_execution() {
        check_execution_template(&execution.proposed).map_err(merged)?;
    }
    Ok(frozen)
}

/// What a request is frozen with that is not of its own words: a new name, and whose commits ship.
async fn occasion_of<'a>(
    app: &'a App,
    policy: &Policy,
    before: Before<'_>,
    verified: &VerifiedRequester,
) -> Result<Occasion<'a>, Problem> {
    Ok(Occasion {
        id: ApprovalId::from_random(randomness::bytes()),
        audience: &app.relying_party.origin,
        shipped: shipped_by(app, policy, before, verified).await?,
        commit: commit_of(app, verified).await,
        requested_at: verified.verified_at(),
    })
}

/// What is wrong with a template that nobody wrote as a whole.
fn merged(error: TemplateError) -> Problem {
    Problem::from(RequestRefusal::Template {
        field: error.path,
        problem: format!("{} (in the template with your changes merged in)", error.problem),
    })
}

/// Freezes an act. Nothing outside is asked: what it does is not the gate's to look at.
pub(super) fn freeze_action(
    app: &App,
    request: &ActionRequest,
    policy: &Policy,
    verified: &VerifiedRequester,
) -> Result<FrozenSubject, Problem> {
    let id = ApprovalId::from_random(randomness::bytes());
    let audience = &app.relying_party.origin;
    let occasion = Occasion {
        id,
        audience,
        commit: None,
        shipped: None,
        requested_at: verified.verified_at(),
    };
    let frozen = request.freeze(policy, requester_of(verified), &occasion);
    frozen.map_err(|error| GateError::from(error).into())
}

/// What GitHub says of the commit that the token names. Context only: without an answer the
/// deployment is frozen without it.
async fn commit_of(app: &App, verified: &VerifiedRequester) -> Option<Commit> {
    let github = app.github.as_ref()?;
    let claim = |name: &str| verified.claim(name).and_then(Value::as_str);
    let (repository_id, sha) = claim("repository_id").zip(claim("sha"))?;
    match github.commit(repository_id, sha).await {
        Ok(commit) => Some(commit),
        Err(error) => {
            tracing::warn!(%error, repository_id, sha, "the commit could not be read; the page shows none");
            None
        }
    }
}
