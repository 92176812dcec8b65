//! Runs of Actions that wait at environments, and the App's answers.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{GitHub, not_found, refusal};

/// A run, and what it waits for.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    repository: u64,
    id: u64,
    /// The environments that wait for the App's word.
    #[serde(default)]
    waiting: Vec<String>,
    /// What the API says of it beside that.
    #[serde(default)]
    members: Value,
    /// What the App answered.
    #[serde(default, skip_deserializing)]
    answers: Vec<Value>,
}

/// `POST /_sandbox/github/runs`: a run, in the place of the one with this number.
pub(super) async fn add(State(github): State<GitHub>, Json(run): Json<Run>) -> StatusCode {
    let mut kept = github.kept();
    let answers = kept.runs.iter().find(|one| one.id == run.id).map(|one| one.answers.clone());
    kept.runs.retain(|one| one.id != run.id);
    kept.runs.push(Run { answers: answers.unwrap_or_default(), ..run });
    StatusCode::NO_CONTENT
}

pub(super) async fn read(
    State(github): State<GitHub>,
    Path((repository, id)): Path<(u64, u64)>,
) -> Response {
    view(&github, repository, id)
}

/// A run as one of its attempts was: the newest one, which is all that is kept.
pub(super) async fn attempt(
    State(github): State<GitHub>,
    Path((repository, id, _)): Path<(u64, u64, u64)>,
) -> Response {
    view(&github, repository, id)
}

fn view(github: &GitHub, repository: u64, id: u64) -> Response {
    let kept = github.kept();
    let Some(run) = kept.runs.iter().find(|run| (run.repository, run.id) == (repository, id))
    else {
        return not_found();
    };
    let status = if run.waiting.is_empty() { "in_progress" } else { "waiting" };
    let mut answer = json!({
        "id": id,
        "name": "Deploy",
        "display_title": "Send the checkout's address form once",
        "run_number": 17,
        "run_attempt": 1,
        "head_sha": "9b2f6c1d0e3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c",
        "head_branch": "main",
        "event": "push",
        "path": ".github/workflows/deploy.yml",
        "status": status,
        "html_url": format!("https://github.com/demo/web/actions/runs/{id}"),
        "run_started_at": github.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "actor": {"id": 9001, "login": "erin"},
        "triggering_actor": {"id": 9001, "login": "erin"},
        "repository": {"id": repository, "full_name": "demo/web", "name": "web", "owner": {"id": 501, "login": "demo"}},
    });
    for (name, value) in run.members.as_object().into_iter().flatten() {
        answer[name] = value.clone();
    }
    Json(answer).into_response()
}

pub(super) async fn pending(
    State(github): State<GitHub>,
    Path((repository, id)): Path<(u64, u64)>,
) -> Response {
    let kept = github.kept();
    let Some(run) = kept.runs.iter().find(|run| (run.repository, run.id) == (repository, id))
    else {
        return not_found();
    };
    let waiting = run.waiting.iter();
    let waiting: Vec<Value> = waiting
        .map(|name| {
            json!({
                "environment": {"id": 7001, "name": name},
                "wait_timer": 0,
                "wait_timer_started_at": null,
                "current_user_can_approve": false,
                "reviewers": [],
            })
        })
        .collect();
    Json(waiting).into_response()
}

/// The answer counts once: what waits no more cannot be answered.
pub(super) async fn answer(
    State(github): State<GitHub>,
    Path((repository, id)): Path<(u64, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let is_it = |run: &&mut Run| (run.repository, run.id) == (repository, id);
    let Some(run) = kept.runs.iter_mut().find(is_it) else { return not_found() };
    if body["comment"].as_str().is_some_and(|text| text.chars().count() > 1024) {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "comment is too long");
    }
    let name = body["environment_name"].as_str().unwrap_or_default().to_owned();
    let Some(place) = run.waiting.iter().position(|one| *one == name) else {
        return refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "There are no pending deployment requests.",
        );
    };
    run.waiting.remove(place);
    run.answers.push(body);
    StatusCode::NO_CONTENT.into_response()
}
