//! `POST /v1/drift/changes`: Google's audit log says that somebody changed a service.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use crate::api::bearer::bearer_token;
use crate::api::problem::{Problem, sentence};
use crate::app::App;
use crate::gate::refusals;
use crate::integrations::audit_events::AuditEventRefusal;

/// Takes one message of a Pub/Sub push subscription, and looks at the service that it is about.
#[utoipa::path(
    post, path = "/v1/drift/changes", tag = "drift", operation_id = "tellChange",
    request_body(content = Object, description = "A message as Pub/Sub pushes it, with an entry of the audit log"),
    responses(
        (status = 204, description = "Taken: the service is looked at, if it is covered"),
        (status = 400, description = "The body is no such message", body = crate::api::problem::ProblemBody),
        (status = 401, description = "The token is not of the subscription's account", body = crate::api::problem::ProblemBody),
        (status = 404, description = "This gate takes no such messages", body = crate::api::problem::ProblemBody),
    )
)]
pub async fn changes(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let events = app.audit_events.as_ref().ok_or_else(Problem::not_found)?;
    let token = bearer_token(&app, &headers)?;
    let told = events.read(token, &body, app.now()).await.map_err(|refusal| {
        let (status, code) = match &refusal {
            AuditEventRefusal::Token(refusal) => return Problem::from(refusal),
            AuditEventRefusal::OtherAccount => (StatusCode::UNAUTHORIZED, "other_account"),
            AuditEventRefusal::Malformed => (StatusCode::BAD_REQUEST, "malformed_request"),
        };
        app.storage.note_stranger(refusals::TOKEN, code, app.now());
        Problem::new(status, code, sentence(&refusal))
    })?;
    let is_covered = |told: &crate::domain::service::ServiceName| {
        app.authority.policies.values().any(|policy| policy.services.contains(told))
    };
    if let Some(told) = told.filter(|told| is_covered(&told.service)) {
        tracing::info!(
            service = told.service.as_str(),
            who = told.who,
            "the audit log tells of a change"
        );
        app.changes.note(told.service, told.who);
    }
    // What it is not about is taken all the same: Pub/Sub sends again what is refused.
    Ok(StatusCode::NO_CONTENT)
}
