//! As much of GitHub as the gate meets: commits, an App with its tokens, deployments, check runs, comments,
//! runs that wait, and webhooks.
//!
//! Every call is checked against GitHub's own description of its API (`schema`), and every call of the App
//! against its tokens. What GitHub keeps, this keeps, for as long as the process lives.

mod app;
mod commits;
mod runs;
mod schema;
mod shown;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clock::Clock;
pub use app::RegisteredApp;
pub use schema::{problem_of_answer, problem_of_call};

/// Where the API is.
const API: &str = "/github-api";
/// The longest body that is read, in bytes.
const LONGEST_BODY: usize = 1024 * 1024;

/// A sandbox of GitHub. Clones are the same one.
#[derive(Clone)]
pub struct GitHub {
    clock: Clock,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    last_id: u64,
    app: Option<RegisteredApp>,
    tokens: BTreeMap<String, app::Token>,
    /// By kind, repository and number, in the order they were made.
    deployments: Vec<Thing>,
    statuses: Vec<Thing>,
    check_runs: Vec<Thing>,
    comments: Vec<Thing>,
    commits: Vec<commits::Commit>,
    /// The pull requests that commits came with.
    pulls: Vec<Thing>,
    /// Who merged them, by their numbers.
    mergers: Vec<(u64, commits::Account)>,
    runs: Vec<runs::Run>,
}

/// Something that GitHub keeps in a repository.
#[derive(Clone)]
struct Thing {
    repository: u64,
    /// What it belongs to: a commit, a deployment, a pull request.
    of: String,
    value: Value,
}

impl Kept {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        1_000_000 + self.last_id
    }
}

impl GitHub {
    /// A GitHub that nobody has used.
    pub fn new(clock: Clock) -> Self {
        Self { clock, kept: Arc::default() }
    }

    /// The API, where every call is checked.
    pub fn api(&self) -> Router {
        let of = |path: &str| format!("{API}/repositories/{{id}}{path}");
        Router::new()
            .route(&format!("{API}/app/installations/{{id}}/access_tokens"), post(app::token))
            .route(&of("/commits"), get(commits::list))
            .route(&of("/commits/{sha}"), get(commits::read))
            .route(&of("/compare/{both}"), get(commits::compare))
            .route(&of("/pulls/{number}"), get(commits::pull))
            .route(&of("/commits/{sha}/pulls"), get(shown::pulls))
            .route(&of("/commits/{sha}/check-runs"), get(shown::check_runs))
            .route(&of("/deployments"), get(shown::deployments).post(shown::create_deployment))
            .route(
                &of("/deployments/{deployment}/statuses"),
                get(shown::statuses).post(shown::create_status),
            )
            .route(&of("/check-runs"), post(shown::create_check_run))
            .route(&of("/check-runs/{run}"), patch(shown::update_check_run))
            .route(
                &of("/issues/{number}/comments"),
                get(shown::comments).post(shown::create_comment),
            )
            .route(&of("/issues/comments/{comment}"), patch(shown::update_comment))
            .route(&of("/actions/runs/{run}"), get(runs::read))
            .route(&of("/actions/runs/{run}/attempts/{attempt}"), get(runs::attempt))
            .route(&of("/actions/runs/{run}/pending_deployments"), get(runs::pending))
            .route(&of("/actions/runs/{run}/deployment_protection_rule"), post(runs::answer))
            .layer(from_fn_with_state(self.clone(), check))
            .with_state(self.clone())
    }

    /// The levers under `/_sandbox/github/`.
    pub fn levers(&self) -> Router {
        Router::new()
            .route("/_sandbox/github", get(everything))
            .route("/_sandbox/github/app", post(app::register))
            .route("/_sandbox/github/commits", post(commits::add))
            .route("/_sandbox/github/pulls", post(shown::add_pull))
            .route(
                "/_sandbox/github/comments",
                post(shown::add_comment).delete(shown::delete_comments),
            )
            .route("/_sandbox/github/runs", post(runs::add))
            .with_state(self.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// An error in GitHub's form.
fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message, "documentation_url": "https://docs.github.com/rest"})))
        .into_response()
}

fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "Not Found")
}

/// Checks each call against GitHub's description and its token, and each answer against the description.
async fn check(State(github): State<GitHub>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, LONGEST_BODY).await else {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "Too large");
    };
    let path = parts.uri.path().trim_start_matches(API).to_owned();
    let query = parts.uri.query().unwrap_or_default();
    if let Some(problem) = problem_of_call(parts.method.as_str(), &path, query, &bytes) {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, &format!("Validation Failed: {problem}"));
    }
    if let Some(refused) = refused_call(&github, &path, &parts.headers) {
        return refused;
    }
    let method = parts.method.clone();
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    let (mut parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, LONGEST_BODY).await.unwrap_or_default();
    if parts.status.is_success()
        && let Some(problem) = problem_of_answer(method.as_str(), &path, parts.status, &bytes)
    {
        return refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("The sandbox is wrong: {problem}"),
        );
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(bytes))
}

/// The refusal of a call that its token does not cover. What is public needs none.
fn refused_call(github: &GitHub, path: &str, headers: &HeaderMap) -> Option<Response> {
    let mut segments = path.trim_start_matches('/').split('/');
    if segments.next() != Some("repositories") {
        return None;
    }
    let repository: Option<u64> = segments.next().and_then(|id| id.parse().ok());
    let rest: Vec<&str> = segments.collect();
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
    match (repository, token) {
        (Some(_), None) if is_public(&rest) => None,
        (Some(_), Some(token)) if !token.starts_with(app::PREFIX) && is_public(&rest) => None,
        (Some(repository), Some(token)) => app::refused(github, token, repository),
        _ => Some(refusal(StatusCode::UNAUTHORIZED, "Bad credentials")),
    }
}

/// What anybody may read of a public repository.
fn is_public(path: &[&str]) -> bool {
    matches!(
        path,
        ["commits"]
            | ["commits", _]
            | ["commits", _, "pulls"]
            | ["compare", _]
            | ["pulls", _]
            | ["actions", "runs", _, "attempts", _]
    )
}

/// Everything that is kept, for tests.
async fn everything(State(github): State<GitHub>) -> Json<Value> {
    let kept = github.kept();
    let all = |things: &[Thing]| -> Vec<Value> {
        things.iter().map(|thing| json!({"of": thing.of, "value": thing.value})).collect()
    };
    Json(json!({
        "deployments": all(&kept.deployments),
        "statuses": all(&kept.statuses),
        "check_runs": all(&kept.check_runs),
        "comments": all(&kept.comments),
        "runs": kept.runs,
    }))
}
