//! Asking: what a request says and what becomes of it, for the API and for the agents' tools alike.

use axum::http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Span};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::api::body::{Object, read_body};
use crate::api::freeze::{freeze, freeze_action, freeze_job};
use crate::api::problem::{Problem, sentence};
use crate::app::App;
use crate::domain::action_request::ActionRequest;
use crate::domain::batch::AskedBatch;
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::image::ImageReference;
use crate::domain::job::JobRequest;
use crate::domain::plan::{AskedStep, InvalidSteps, OnFailure, StepPlan};
use crate::domain::policy::Policy;
use crate::domain::request::{DeploymentRequest, RequestRefusal};
use crate::domain::service::ServiceName;
use crate::domain::subject::Link;
use crate::domain::words::Words;
use crate::gate::request::{Attempt, create, find_earlier};
use crate::gate::{GateError, refusals};
use crate::integrations::cloud_run::{check_execution_template, check_template};
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::storage::{CommitAtGitHub, StoredApproval};

/// The longest idempotency key, in bytes.
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// What a workload asks for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskBody {
    /// The environment whose rules apply.
    #[schema(example = "production")]
    environment: String,
    /// What is asked for.
    #[schema(value_type = AskSubject)]
    subject: Object<AskSubject>,
    /// Why it should go out, in a sentence or two.
    #[schema(example = "Fixes the checkout on phones")]
    reason: String,
    /// A headline.
    title: Option<String>,
    /// For whom you act, where your token does not say it. It is shown as your own word.
    acts_for: Option<String>,
    /// More about it, plain text.
    body: Option<String>,
    /// Where to read more, https only.
    #[serde(default)]
    #[schema(value_type = Vec<AskLink>)]
    links: Vec<Object<AskLink>>,
    /// How long it may stay open: seconds, or text such as `8h` or `30m`.
    #[schema(value_type = Option<String>, example = "8h")]
    expires_in: Option<Value>,
    /// A webhook of the gate's configuration, by its name, that is told of everything about this approval.
    #[schema(example = "deploys")]
    notify: Option<String>,
    /// A name for the deployments that this run asks for together: people see them side by side and can sign all
    /// with one gesture. Each stays an approval of its own.
    #[schema(example = "release 4.2")]
    batch: Option<String>,
    /// How many deployments of this batch the run asks for, from 2 to 32. People are told when all have asked.
    #[schema(value_type = Option<u8>, example = 3)]
    batch_size: Option<u64>,
}

/// What is asked for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum AskSubject {
    /// A rollout of a Cloud Run service or worker pool.
    Deployment {
        /// `projects/P/locations/R/services/S`.
        #[schema(example = "projects/demo/locations/europe-west1/services/web")]
        service: String,
        /// The image by digest.
        #[schema(
            example = "europe-docker.pkg.dev/demo/app/web@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
        )]
        image: String,
        /// Changes of the revision template, as the Cloud Run Admin API v2 writes it.
        #[schema(value_type = Option<Object>)]
        template: Option<Value>,
        /// The steps of the traffic, rising to 100: percentages, or objects that say more.
        steps: Option<Vec<AskedStep>>,
        /// What happens when a step fails; the environment says it where this does not.
        on_failure: Option<OnFailure>,
        /// Another approval of yours: this rollout begins when that one has succeeded, and fails if it ends in
        /// any other way.
        #[schema(example = "apr_i5u27zvtvwpxjhobtsxw5mzxxm")]
        after: Option<String>,
    },
    /// One execution of a Cloud Run job, or a change of it alone.
    JobExecution {
        /// `projects/P/locations/R/jobs/J`.
        #[schema(example = "projects/demo/locations/europe-west1/jobs/migrate")]
        job: String,
        /// The image by digest, which the job has from then on.
        #[schema(
            example = "europe-docker.pkg.dev/demo/app/web@sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"
        )]
        image: String,
        /// Changes of the execution template, as the Cloud Run Admin API v2 writes it.
        #[schema(value_type = Option<Object>)]
        template: Option<Value>,
        /// Whether the job runs once. Without it, it does; `false` only updates the job to the image and the
        /// template, and runs nothing.
        run: Option<bool>,
    },
    /// An act of whoever asks, with a tool that the environment declares.
    Action {
        /// The tool, by its declared name.
        #[schema(example = "restart-database")]
        tool: String,
        /// What it is to be called with, exactly. Secrets by reference and hash.
        #[schema(value_type = Object)]
        arguments: Map<String, Value>,
        /// What it does, in your words.
        summary: Option<String>,
        /// What should come of it.
        effect: Option<String>,
        /// How to take it back.
        undo: Option<String>,
    },
}

/// What was asked for, in the form of the domain.
pub enum Asked {
    /// A rollout.
    Deployment(DeploymentRequest),
    /// One execution of a job, or a change of it alone.
    JobExecution(JobRequest),
    /// An act.
    Action(ActionRequest),
}

impl Asked {
    /// Checks what is asked for, whoever asks.
    pub fn check_contents(&self, policy: &Policy) -> Result<(), RequestRefusal> {
        match self {
            Self::Deployment(request) => request.check_contents(policy),
            Self::JobExecution(request) => request.check_contents(policy),
            Self::Action(request) => request.check_contents(policy),
        }
    }
}

/// A link.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AskLink {
    /// What it is called.
    title: String,
    /// Where it leads.
    url: String,
}

/// Stores what is asked for, or finds what the same request made before. The second value says
/// whether it is new. `json` is the body as it was sent: what tells one request from another.
///
/// # Errors
/// What is wrong with the request; nothing is stored then.
pub async fn ask(
    app: &App,
    verified: &VerifiedRequester,
    idempotency_key: &str,
    json: &Value,
    body: AskBody,
) -> Result<(StoredApproval, bool), Problem> {
    let request_digest = Digest::of(to_canonical_json(json).map_err(GateError::from)?);
    let commit = commit_at_github(app, verified);
    let notify = body.notify.clone();
    let notify = notify.as_deref();
    let is_deployment = matches!(body.subject.0, AskSubject::Deployment { .. });
    let batch = AskedBatch::read(body.batch.clone(), body.batch_size, is_deployment)?;
    let attempt =
        Attempt { requester: verified, idempotency_key, request_digest, commit, notify, batch };
    if let Some(earlier) = find_earlier(&app.storage, &attempt).await? {
        return Ok((earlier, false));
    }
    let policy = find_policy(app, &body.environment, verified)?;
    if let Some(receiver) = notify.filter(|name| !app.receivers.is_webhook(name)) {
        return Err(unknown_receiver(receiver));
    }
    let subject = match request_of(body)? {
        Asked::Deployment(request) => freeze(app, &request, policy, verified).await?,
        Asked::JobExecution(request) => freeze_job(app, &request, policy, verified).await?,
        Asked::Action(request) => freeze_action(app, &request, policy, verified)?,
    };
    let (stored, is_new) = create(&app.storage, &attempt, subject, policy, app.now()).await?;
    if is_new {
        tracing::info!(approval = %stored.approval.id(), requester = stored.requester_key, "an approval was asked for");
    }
    Ok((stored, is_new))
}

/// Which receivers there are is for those who configure them.
fn unknown_receiver(name: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "unknown_receiver",
        format!(
            "There is no webhook {shown:?} in the gate's configuration: leave notify out, or have it added there."
        ),
    )
}

/// The environment that the body of a request names, and what it asks for.
///
/// # Errors
/// If it is not in the form of one.
pub fn read_request(body: &[u8]) -> Result<(String, Asked), Problem> {
    let (_, ask): (Value, AskBody) = read_body(&HeaderMap::new(), body)?;
    Ok((ask.environment.clone(), request_of(ask)?))
}

/// Whether this can name a request: 1 to 255 visible ASCII characters, as a header can hold them.
pub fn is_idempotency_key(key: &str) -> bool {
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    !key.trim().is_empty() && key.len() <= LONGEST_IDEMPOTENCY_KEY && key.bytes().all(is_visible)
}

/// Counts a request that was refused, for the ledger, unless the fault is ours.
pub fn count_refusal(app: &App, verified: &VerifiedRequester, problem: &Problem) {
    if problem.status.is_client_error() {
        refusals::of_request(&app.storage, verified, problem.code, app.now());
    }
}

/// The environment's policy. A caller who may ask for nothing there learns nothing about it.
fn find_policy<'a>(
    app: &'a App,
    environment: &str,
    verified: &VerifiedRequester,
) -> Result<&'a Policy, Problem> {
    app.authority.policies.get(environment).ok_or_else(|| {
        let known: Vec<&str> = app
            .authority
            .policies
            .values()
            .filter(|policy| policy.admits_requester(verified.issuer_name(), verified.claims()))
            .map(|policy| policy.environment.as_str())
            .collect();
        let shown: String = environment.chars().take(100).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown_environment",
            format!("There is no environment {shown:?}. This token may ask for: {known}."),
        )
    })
}

fn request_of(ask: AskBody) -> Result<Asked, Problem> {
    let invalid = |code: &'static str, error: &dyn std::fmt::Display| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, sentence(error))
    };
    let links = ask.links.into_iter();
    let words = Words {
        reason: ask.reason,
        title: ask.title,
        acts_for: ask.acts_for,
        body: ask.body,
        links: links.map(|Object(AskLink { title, url })| Link { title, url }).collect(),
        expires_in: ask.expires_in.map(|value| duration_of(&value)).transpose()?,
    };
    let image_of = |image: String| {
        image.parse::<ImageReference>().map_err(|error| invalid("image_not_by_digest", &error))
    };
    Ok(match ask.subject.0 {
        AskSubject::Deployment { service, image, template, steps, on_failure, after } => {
            let steps: Option<Result<Vec<StepPlan>, InvalidSteps>> =
                steps.map(|steps| steps.into_iter().map(AskedStep::plan).collect());
            let service: ServiceName =
                service.parse().map_err(|error| invalid("invalid_service", &error))?;
            let checked = template.map(|template| check_template(service.kind(), &template));
            let after = after.map(|id| id.parse()).transpose();
            Asked::Deployment(DeploymentRequest {
                service,
                image: image_of(image)?,
                template: checked
                    .transpose()
                    .map_err(|error| invalid("invalid_template", &error))?,
                steps: steps.transpose().map_err(|error| invalid("invalid_steps", &error))?,
                on_failure,
                after: after.map_err(|error| invalid("invalid_after", &error))?,
                words,
            })
        }
        AskSubject::JobExecution { job, image, template, run } => {
            let checked = template.map(|template| check_execution_template(&template));
            Asked::JobExecution(JobRequest {
                job: job.parse().map_err(|error| invalid("invalid_job", &error))?,
                image: image_of(image)?,
                template: checked
                    .transpose()
                    .map_err(|error| invalid("invalid_template", &error))?,
                run: run.unwrap_or(true),
                words,
            })
        }
        AskSubject::Action { tool, arguments, summary, effect, undo } => {
            Asked::Action(ActionRequest { tool, arguments, summary, effect, undo, words })
        }
    })
}

/// Whole seconds as a number, or a duration as text: `8h`, `30m`, `PT8H`.
fn duration_of(value: &Value) -> Result<SignedDuration, Problem> {
    let parsed = match value {
        Value::Number(number) => number.as_i64().map(SignedDuration::from_secs),
        Value::String(text) => text.parse::<SignedDuration>().ok().or_else(|| days_of(text)),
        _ => None,
    };
    parsed.ok_or_else(|| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_expiry",
            "expires_in is neither a number of seconds nor a duration such as \"8h\" or \"30m\".",
        )
    })
}

fn days_of(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
}

/// The commit at which GitHub is shown what becomes of a request: that of a job of GitHub's own, whose
/// repository is pinned.
fn commit_at_github(app: &App, verified: &VerifiedRequester) -> Option<CommitAtGitHub> {
    let github = app.github_app.as_ref()?;
    let claim = |name: &str| verified.claim(name).and_then(Value::as_str);
    let (repository, sha) = (claim("repository_id")?.parse().ok()?, claim("sha")?.to_owned());
    let run = claim("run_id").and_then(|run| run.parse().ok());
    let is_of_github = app.workloads.is_github(verified.issuer_name());
    (is_of_github && github.knows(repository)).then_some(CommitAtGitHub { repository, sha, run })
}
