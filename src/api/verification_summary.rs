//! `GET /v1/approvals/{id}/verification-summary`: the verdict as a SLSA VSA in a DSSE envelope.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use crate::api::approvals::find_readable;
use crate::api::bearer::authenticate_reader;
use crate::api::problem::{Problem, ProblemBody};
use crate::app::App;
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::statement::PAYLOAD_TYPE;
use crate::domain::verification_summary::{summarise, verdict};
use crate::gate::GateError;
use crate::gate::evidence::{current_log_name, gather};
use crate::proof::envelope::Envelope;

/// The verdict on an approval, for verifiers that know SLSA and not this gate.
#[utoipa::path(
    get, path = "/v1/approvals/{id}/verification-summary", tag = "approvals",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "A DSSE envelope with a SLSA Verification Summary", body = Envelope),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn verification_summary(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Envelope>, Problem> {
    let reader = authenticate_reader(&app, &headers).await?;
    let stored = find_readable(&app, &reader, &id).await?;
    let Some(approved) = verdict(stored.approval.status()) else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "not_decided",
            "There is no verdict on this approval yet: it still waits for people. Ask again when it has ended.",
        ));
    };
    let origin = &app.relying_party.origin;
    let evidence = gather(&app.storage, &app.trust, &stored).await?;
    let evidence = Digest::of(to_canonical_json(&evidence).map_err(GateError::from)?);
    let statement = summarise(&stored.approval, approved, evidence, app.now());
    let statement = statement.map_err(GateError::from)?;
    let signature = app.storage.sign_envelope(PAYLOAD_TYPE, statement.as_bytes());
    let name = current_log_name(&app.storage, origin);
    let keyid = app.storage.log_public_key().verifier_key(&name);
    Ok(Json(Envelope::new(PAYLOAD_TYPE, statement.as_bytes(), keyid, &signature)))
}
