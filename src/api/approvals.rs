//! Reading, waiting for, listing and cancelling approvals.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::api::bearer::{Reader, authenticate, authenticate_reader};
use crate::api::body::read_body;
use crate::api::problem::{Problem, ProblemBody};
use crate::api::views::{ApprovalList, ApprovalView};
use crate::app::App;
use crate::domain::approval::{Approval, Status};
use crate::domain::ids::ApprovalId;
use crate::gate::cancel::cancel as cancel_approval;
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::storage::{ApprovalFilter, StoredApproval};

/// The longest wait, in seconds: 300 is where platforms, clients and tokens in front of and behind
/// us give up, so we answer well before.
pub const LONGEST_WAIT: u64 = 240;
/// How many approvals a page has, if the caller does not say.
const DEFAULT_LIMIT: u32 = 50;
/// The most that a page has.
const LARGEST_LIMIT: u32 = 200;

/// How to wait.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Seconds to wait for a change, at most 240.
    #[serde(default)]
    wait: u64,
    /// The version that the caller knows; the answer comes as soon as there is a newer one.
    #[serde(default)]
    version: Option<u64>,
}

/// What to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// One status, or several with commas between.
    status: Option<String>,
    /// One environment.
    environment: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many, at most 200.
    limit: Option<u32>,
}

/// Reads an approval, or waits until it changes.
#[utoipa::path(
    get, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "readApproval",
    params(("id" = String, Path), WaitQuery),
    responses(
        (status = 200, description = "The approval", body = ApprovalView),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn read(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<WaitQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| invalid_query(&error))?;
    // Boxed, so that its room is given back before the wait.
    let (id, asked_for_it) = match Box::pin(readable(&app, headers, &id, &query)).await? {
        Readable::Now(body) => return Ok(json_response(body)),
        Readable::Later(id, asked_for_it) => (id, asked_for_it),
    };
    let version = query.version.unwrap_or_default();
    let patience = Duration::from_secs(query.wait.min(LONGEST_WAIT));
    let snapshot = app.watch.wait(&id, version, patience).await?;
    let approval = &snapshot.approval;
    if asked_for_it && may_have_grant(approval) {
        return Ok(json_response(body_for_requester(&app, approval).await));
    }
    let is_news = approval.version > version;
    // What did not change is told as it is now: the sentence may count the hours that are left.
    let shared = || snapshot.body(|approval| body_of(&app, approval));
    Ok(json_response(if is_news { shared() } else { body_of(&app, approval) }))
}

/// Whether the answer is known at once. Thousands may wait, so what is read here is not kept for them.
enum Readable {
    Now(Bytes),
    /// Which one, and whether the caller asked for it.
    Later(ApprovalId, bool),
}

async fn readable(
    app: &App,
    headers: HeaderMap,
    id: &str,
    query: &WaitQuery,
) -> Result<Readable, Problem> {
    let reader = authenticate_reader(app, &headers).await?;
    let approval = find_readable(app, &reader, id).await?.approval;
    let is_newer = query.version.is_none_or(|version| approval.version > version);
    // A workload reads nothing but what its own requester asked for.
    let asked_for_it = matches!(reader, Reader::Workload(_));
    Ok(if query.wait == 0 || is_newer {
        Readable::Now(if asked_for_it && may_have_grant(&approval) {
            body_for_requester(app, &approval).await
        } else {
            body_of(app, &approval)
        })
    } else {
        Readable::Later(approval.id().clone(), asked_for_it)
    })
}

/// Whether its requester gets more than everybody: a grant, which is never shared with other waiters.
fn may_have_grant(approval: &Approval) -> bool {
    approval.status() == Status::Approved && approval.subject.action().is_some()
}

async fn body_for_requester(app: &App, approval: &Approval) -> Bytes {
    let view = ApprovalView::for_requester(app, approval).await;
    serde_json::to_vec(&view).unwrap_or_default().into()
}

fn body_of(app: &App, approval: &Approval) -> Bytes {
    let view = ApprovalView::new(
        approval,
        app.approval_url(approval.id()),
        &app.storage.freezes(),
        app.now(),
    );
    serde_json::to_vec(&view).unwrap_or_default().into()
}

fn json_response(body: Bytes) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Finds an approval that the caller may see; absent and forbidden look alike.
pub async fn find_readable(
    app: &App,
    reader: &Reader,
    id: &str,
) -> Result<StoredApproval, Problem> {
    let id: ApprovalId = id.parse().map_err(|_| Problem::not_found())?;
    let stored = app.storage.approval(&id).await?.ok_or_else(Problem::not_found)?;
    if reader.may_read(app, &stored) { Ok(stored) } else { Err(Problem::not_found()) }
}

/// The query has members that we do not know, or values of another form.
pub(super) fn invalid_query(error: &QueryRejection) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "invalid_query",
        format!("The query is not one that this gate knows: {}.", error.body_text()),
    )
}

/// Lists the caller's approvals, newest first.
#[utoipa::path(
    get, path = "/v1/approvals", tag = "approvals", operation_id = "listApprovals",
    params(ListQuery),
    responses(
        (status = 200, description = "A page of approvals", body = ApprovalList),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn list(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<ApprovalList>, Problem> {
    let Query(query) = query.map_err(|error| invalid_query(&error))?;
    let reader = authenticate_reader(&app, &headers).await?;
    let (requester_keys, own) = match &reader {
        Reader::Workload(requester) => (Some(vec![requester.requester_key().to_owned()]), None),
        Reader::Person(session) => (None, Some(app.readable_environments(&session.profile))),
    };
    let environments = match (query.environment, own) {
        (Some(asked), Some(own)) => Some(own.into_iter().filter(|name| *name == asked).collect()),
        (Some(asked), None) => Some(vec![asked]),
        (None, own) => own,
    };
    let filter = ApprovalFilter {
        requester_keys,
        environments,
        statuses: statuses_of(query.status.as_deref())?,
        cursor: query.cursor,
        limit: query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, LARGEST_LIMIT),
    };
    let page = app.storage.approvals(&filter).await?;
    let (now, freezes) = (app.now(), app.storage.freezes());
    let items = page
        .approvals
        .iter()
        .map(|stored| {
            ApprovalView::new(
                &stored.approval,
                app.approval_url(stored.approval.id()),
                &freezes,
                now,
            )
        })
        .collect();
    let newer = Some(page.newer).filter(|newer| *newer > 0);
    Ok(Json(ApprovalList { items, newer, next_cursor: page.next_cursor }))
}

fn statuses_of(text: Option<&str>) -> Result<Vec<Status>, Problem> {
    let names = text.into_iter().flat_map(|text| text.split(',')).filter(|name| !name.is_empty());
    names
        .map(|name| {
            Status::parse(name).ok_or_else(|| {
                let known = Status::ALL.map(Status::as_str).join(", ");
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "unknown_status",
                    format!("There is no status {name:?}. The statuses are {known}."),
                )
            })
        })
        .collect()
}

/// Nothing: the body of a cancellation is `{}`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelBody {}

/// Takes an approval back before its rollout begins.
#[utoipa::path(
    post, path = "/v1/approvals/{id}/cancel", tag = "approvals", operation_id = "cancelApproval",
    request_body = CancelBody,
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "Cancelled", body = ApprovalView),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ApprovalView>, Problem> {
    let requester = authenticate(&app, &headers).await?;
    if !body.is_empty() {
        let (_, CancelBody {}) = read_body(&headers, &body)?;
    }
    let approval = cancel_as(&app, &requester, &id).await?;
    Ok(Json(ApprovalView::new(
        &approval,
        app.approval_url(approval.id()),
        &app.storage.freezes(),
        app.now(),
    )))
}

/// Takes back what this requester asked for.
pub async fn cancel_as(
    app: &App,
    requester: &VerifiedRequester,
    id: &str,
) -> Result<Approval, Problem> {
    let id: ApprovalId = id.parse().map_err(|_| Problem::not_found())?;
    let approval = cancel_approval(&app.storage, requester, &id, app.now()).await?;
    tracing::info!(approval = %id, "an approval was cancelled by its requester");
    Ok(approval)
}
