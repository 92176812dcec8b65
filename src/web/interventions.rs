//! What the approval page's script asks for when an approver intervenes in a rollout.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::intervention::{Act, Wish};
use crate::gate::intervene::{intervene, prepare};
use crate::web::decisions::{
    SignatureBody, StatementAnswer, StatusAnswer, answer, find_visible, require_signer,
};

/// What a person wants to sign.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterventionBody {
    act: Act,
    #[serde(default)]
    reason: Option<String>,
}

/// `POST /approvals/{id}/interventions/statements`: a fresh statement for this person.
pub async fn statement(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, InterventionBody { act, reason }) = read_body(&headers, &body)?;
    let stored = find_visible(&app, &session, &id).await?;
    let (id, wish) = (stored.approval.id(), Wish { act, reason });
    let (statement, keys) =
        prepare(&app.storage, &app.trust, &session, id, wish, app.now()).await?;
    Ok(answer(&app, &statement, &keys))
}

/// `POST /approvals/{id}/interventions`: the signed statement.
pub async fn intervention(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatusAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let stored = find_visible(&app, &session, &id).await?;
    let (id, now, party) = (stored.approval.id(), app.now(), &app.relying_party);
    let approval = intervene(&app.storage, party, &session, id, &nonce, &credential, now).await?;
    Ok(Json(StatusAnswer::of(&app, &approval, now)))
}
