//! `POST /v1/approvals`: a workload asks.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::api::ask::{AskBody, ask, count_refusal, is_idempotency_key};
use crate::api::bearer::authenticate;
use crate::api::body::read_body;
use crate::api::problem::{Problem, ProblemBody};
use crate::api::views::ApprovalView;
use crate::app::App;
use crate::integrations::workload_oidc::VerifiedRequester;

/// Ask for a deployment.
#[utoipa::path(
    post, path = "/v1/approvals", request_body = AskBody, tag = "approvals",
    operation_id = "createApproval",
    params(("Idempotency-Key" = String, Header, description = "Names this request: the same key again gives the same answer")),
    responses(
        (status = 201, description = "Stored as pending", body = ApprovalView),
        (status = 200, description = "Asked before under this key: the same answer", body = ApprovalView),
        (status = "4XX", description = "Refused; nothing was stored", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let verified = authenticate(&app, &headers).await?;
    let answer = ask_as(&app, &verified, &headers, &body).await;
    if let Err(problem) = &answer {
        count_refusal(&app, &verified, problem);
    }
    answer
}

async fn ask_as(
    app: &App,
    verified: &VerifiedRequester,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(headers)?;
    let (json, body): (Value, AskBody) = read_body(headers, body)?;
    let (stored, is_new) = ask(app, verified, &idempotency_key, &json, body).await?;
    let id = stored.approval.id();
    let view = Json(ApprovalView::as_created(&stored.approval, app.approval_url(id)));
    if !is_new {
        return Ok(view.into_response());
    }
    let mut response = (StatusCode::CREATED, view).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/approvals/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let refused = |detail: &str| {
        Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", detail))
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return refused(
            "Send one Idempotency-Key header that names this request, so that a repetition after a lost answer asks only once.",
        );
    };
    match value.to_str() {
        Ok(key) if is_idempotency_key(key) => Ok(key.to_owned()),
        _ => refused("The Idempotency-Key must be 1 to 255 visible ASCII characters."),
    }
}
