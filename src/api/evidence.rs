//! `GET /v1/approvals/{id}/evidence`: what proves the approval, as one canonical file.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::approvals::find_readable;
use crate::api::bearer::{Reader, authenticate_reader};
use crate::api::problem::{Problem, ProblemBody};
use crate::app::App;
use crate::domain::canonical::to_canonical_json;
use crate::gate::GateError;
use crate::gate::evidence::gather;
use crate::proof::evidence::Evidence;
use crate::storage::StoredApproval;

/// How often the evidence is gathered again because the approval changed meanwhile.
const MOST_TRIES: u32 = 5;

/// The evidence of an approval.
#[utoipa::path(
    get, path = "/v1/approvals/{id}/evidence", tag = "approvals", operation_id = "readEvidence",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The evidence, as one file in canonical JSON (RFC 8785)", body = Evidence),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn evidence(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reader = authenticate_reader(&app, &headers).await?;
    let (stored, evidence) = gather_as(&app, &reader, &id).await?;
    let file = to_canonical_json(&evidence).map_err(GateError::from)?;
    let name = format!("attachment; filename=\"{}.evidence.json\"", stored.approval.id());
    let json = HeaderValue::from_static("application/json");
    let mut response = ([(header::CONTENT_TYPE, json)], file).into_response();
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// The evidence of an approval that the caller may see, and the approval that it is about.
pub async fn gather_as(
    app: &App,
    reader: &Reader,
    id: &str,
) -> Result<(StoredApproval, Evidence), Problem> {
    let mut stored = find_readable(app, reader, id).await?;
    let mut tries = 0;
    loop {
        let evidence = gather(&app.storage, &app.trust, &stored).await?;
        let now = find_readable(app, reader, id).await?;
        tries += 1;
        // Read in several steps: what changed in between would not fit together.
        if now.approval.version == stored.approval.version || tries == MOST_TRIES {
            return Ok((stored, evidence));
        }
        stored = now;
    }
}
