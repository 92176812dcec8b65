//! Deployments, check runs, comments and pull requests.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::commits::Account;
use super::{GitHub, Kept, Thing, not_found, refusal};

/// A page of a list.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default = "thirty")]
    per_page: usize,
    #[serde(default = "first")]
    page: usize,
    sha: Option<String>,
    task: Option<String>,
}

fn thirty() -> usize {
    30
}

fn first() -> usize {
    1
}

impl ListQuery {
    fn page(&self, values: impl Iterator<Item = Value>) -> Vec<Value> {
        let size = self.per_page.clamp(1, 100);
        values.skip(self.page.saturating_sub(1) * size).take(size).collect()
    }
}

/// What is in a repository and belongs to something, the newest first.
fn newest<'a>(
    things: &'a [Thing],
    repository: u64,
    of: &'a str,
) -> impl Iterator<Item = Value> + 'a {
    let fits = move |thing: &&Thing| thing.repository == repository && thing.of == of;
    things.iter().rev().filter(fits).map(|thing| thing.value.clone())
}

fn own_app(kept: &Kept) -> Value {
    let id = kept.app.as_ref().map_or(0, |app| app.id);
    json!({"id": id, "name": "Countersign", "slug": "countersign"})
}

pub(super) async fn deployments(
    State(github): State<GitHub>,
    Path(repository): Path<u64>,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Value>> {
    let kept = github.kept();
    let found = kept.deployments.iter().rev().filter(|thing| {
        thing.repository == repository
            && query.sha.as_ref().is_none_or(|sha| thing.value["sha"] == sha.as_str())
            && query.task.as_ref().is_none_or(|task| thing.value["task"] == task.as_str())
    });
    Json(query.page(found.map(|thing| thing.value.clone())))
}

pub(super) async fn create_deployment(
    State(github): State<GitHub>,
    Path(repository): Path<u64>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let id = kept.next_id();
    let deployment = json!({
        "id": id,
        "sha": body["ref"],
        "ref": body["ref"],
        "task": body["task"],
        "environment": body["environment"],
        "description": body["description"],
        "payload": body["payload"],
    });
    let of = body["ref"].as_str().unwrap_or_default().to_owned();
    kept.deployments.push(Thing { repository, of, value: deployment.clone() });
    (StatusCode::CREATED, Json(deployment)).into_response()
}

pub(super) async fn statuses(
    State(github): State<GitHub>,
    Path((repository, deployment)): Path<(u64, u64)>,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Value>> {
    let kept = github.kept();
    Json(query.page(newest(&kept.statuses, repository, &deployment.to_string())))
}

pub(super) async fn create_status(
    State(github): State<GitHub>,
    Path((repository, deployment)): Path<(u64, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let is_there =
        |thing: &Thing| thing.repository == repository && thing.value["id"] == deployment;
    if !kept.deployments.iter().any(is_there) {
        return not_found();
    }
    if body["description"].as_str().is_some_and(|text| text.chars().count() > 140) {
        return refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "description is too long (maximum is 140 characters)",
        );
    }
    let mut status = body;
    status["id"] = kept.next_id().into();
    kept.statuses.push(Thing { repository, of: deployment.to_string(), value: status.clone() });
    (StatusCode::CREATED, Json(status)).into_response()
}

pub(super) async fn check_runs(
    State(github): State<GitHub>,
    Path((repository, sha)): Path<(u64, String)>,
    Query(query): Query<ListQuery>,
) -> Json<Value> {
    let kept = github.kept();
    let found = query.page(newest(&kept.check_runs, repository, &sha));
    Json(json!({"total_count": found.len(), "check_runs": found}))
}

pub(super) async fn create_check_run(
    State(github): State<GitHub>,
    Path(repository): Path<u64>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let mut run = body;
    run["id"] = kept.next_id().into();
    run["app"] = own_app(&kept);
    let of = run["head_sha"].as_str().unwrap_or_default().to_owned();
    kept.check_runs.push(Thing { repository, of, value: run.clone() });
    (StatusCode::CREATED, Json(as_answered(run))).into_response()
}

pub(super) async fn update_check_run(
    State(github): State<GitHub>,
    Path((repository, id)): Path<(u64, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let is_it = |thing: &&mut Thing| thing.repository == repository && thing.value["id"] == id;
    let Some(run) = kept.check_runs.iter_mut().find(is_it) else { return not_found() };
    for (name, value) in body.as_object().into_iter().flatten() {
        run.value[name] = value.clone();
    }
    Json(as_answered(run.value.clone())).into_response()
}

/// GitHub's answer counts annotations, which is not what was sent.
fn as_answered(mut run: Value) -> Value {
    run["output"]["annotations_count"] = 0.into();
    run
}

pub(super) async fn pulls(
    State(github): State<GitHub>,
    Path((repository, sha)): Path<(u64, String)>,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Value>> {
    let kept = github.kept();
    Json(query.page(newest(&kept.pulls, repository, &sha)))
}

pub(super) async fn comments(
    State(github): State<GitHub>,
    Path((repository, number)): Path<(u64, u64)>,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Value>> {
    let kept = github.kept();
    let number = number.to_string();
    let mut oldest_first: Vec<Value> = newest(&kept.comments, repository, &number).collect();
    oldest_first.reverse();
    Json(query.page(oldest_first.into_iter()))
}

pub(super) async fn create_comment(
    State(github): State<GitHub>,
    Path((repository, number)): Path<(u64, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let comment = json!({
        "id": kept.next_id(),
        "body": body["body"],
        "performed_via_github_app": own_app(&kept),
    });
    kept.comments.push(Thing { repository, of: number.to_string(), value: comment.clone() });
    (StatusCode::CREATED, Json(comment)).into_response()
}

pub(super) async fn update_comment(
    State(github): State<GitHub>,
    Path((repository, id)): Path<(u64, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut kept = github.kept();
    let is_it = |thing: &&mut Thing| thing.repository == repository && thing.value["id"] == id;
    let Some(comment) = kept.comments.iter_mut().find(is_it) else { return not_found() };
    comment.value["body"] = body["body"].clone();
    Json(comment.value.clone()).into_response()
}

/// A pull request that a commit came with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pull {
    repository: u64,
    sha: String,
    number: u64,
    #[serde(default = "open")]
    state: String,
    /// Who merged it, if it was.
    merged_by: Option<Account>,
}

fn open() -> String {
    "open".to_owned()
}

/// `POST /_sandbox/github/pulls`.
pub(super) async fn add_pull(State(github): State<GitHub>, Json(pull): Json<Pull>) -> StatusCode {
    let value = json!({
        "number": pull.number,
        "state": pull.state,
        "merged_at": pull.merged_by.as_ref().map(|_| "2026-03-02T10:00:00Z"),
        "base": {"ref": "main", "repo": {"id": pull.repository}},
    });
    let mut kept = github.kept();
    kept.mergers.extend(pull.merged_by.map(|account| (pull.number, account)));
    kept.pulls.push(Thing { repository: pull.repository, of: pull.sha, value });
    StatusCode::NO_CONTENT
}

/// Somebody else's comment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StrangersComment {
    repository: u64,
    number: u64,
    body: String,
}

/// `POST /_sandbox/github/comments`.
pub(super) async fn add_comment(
    State(github): State<GitHub>,
    Json(comment): Json<StrangersComment>,
) -> StatusCode {
    let mut kept = github.kept();
    let value = json!({"id": kept.next_id(), "body": comment.body});
    let of = comment.number.to_string();
    kept.comments.push(Thing { repository: comment.repository, of, value });
    StatusCode::NO_CONTENT
}

/// `DELETE /_sandbox/github/comments`.
pub(super) async fn delete_comments(State(github): State<GitHub>) -> StatusCode {
    github.kept().comments.clear();
    StatusCode::NO_CONTENT
}
