//! Grants: the keys that verify them, and the place where each is used up.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::body::read_body;
use crate::api::problem::{Problem, ProblemBody, sentence};
use crate::app::App;
use crate::domain::approval::{Approval, Status};
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::grant::GRANT_ALGORITHM;
use crate::gate::GateError;
use crate::gate::grants::{Presented, consume as use_up, give};
use crate::gate::refusals;

/// The grant of an approved action, for its requester alone.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct GrantView {
    /// The token, to be shown to whoever does the act or lets it be done.
    pub token: String,
    /// Who takes it.
    pub audience: String,
    /// Until when; read the approval again for a new one.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// What is presented.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumeBody {
    /// The grant.
    grant: String,
    /// Who you are, as the tool's declaration names whoever takes its grants.
    #[schema(example = "https://db-proxy.example.com")]
    audience: String,
    /// What the tool is about to be called with, exactly.
    #[schema(value_type = Object)]
    arguments: Map<String, Value>,
}

/// A grant that was used up by this request.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ConsumedView {
    /// The approval, which ended as succeeded.
    approval: String,
    /// Always `succeeded`.
    status: Status,
    /// The environment.
    environment: String,
    /// The tool.
    tool: String,
    /// What people signed that it is called with.
    #[schema(value_type = Object)]
    arguments: Map<String, Value>,
    /// SHA-256 of the canonical action, hexadecimal.
    action_digest: String,
}

/// Uses a grant up. Call the tool only after a 200, and with the arguments in it.
#[utoipa::path(
    post, path = "/v1/grants/consume", request_body = ConsumeBody, tag = "grants",
    operation_id = "consumeGrant",
    responses(
        (status = 200, description = "Used up, just now and by you", body = ConsumedView),
        (status = "4XX", description = "Refused; the tool may not be called", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn consume(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ConsumedView>, Problem> {
    let (_, ConsumeBody { grant, audience, arguments }): (Value, _) = read_body(&headers, &body)?;
    let keys = app.grant_keys.as_ref().ok_or_else(no_grants)?;
    let verified = keys.verify(&grant, &app.relying_party.origin, app.now()).map_err(|fault| {
        app.storage.note_stranger(refusals::GRANT, fault.code(), app.now());
        Problem::new(StatusCode::FORBIDDEN, fault.code(), sentence(&fault))
    })?;
    let arguments_digest = Digest::of(to_canonical_json(&arguments).map_err(GateError::from)?);
    let presented = Presented { audience: &audience, arguments_digest };
    // The log is whole, and the head that covers it is kept outside, before it is believed and after it
    // was written to: a backup of the database gives no grant back.
    app.log.secure().await?;
    let used = use_up(&app.storage, &app.trust, &verified, &presented, app.now()).await;
    if let Err(GateError::Grant(refusal)) = &used {
        app.storage.note_stranger(refusals::GRANT, refusal.code(), app.now());
    }
    let approval = used?;
    app.log.secure().await?;
    tracing::info!(approval = %approval.id(), grant = verified.claims().jti, "a grant was used");
    let action = approval.subject.action().ok_or_else(Problem::not_found)?;
    Ok(Json(ConsumedView {
        approval: approval.id().to_string(),
        status: approval.status(),
        environment: action.environment.clone(),
        tool: action.tool.clone(),
        arguments: action.arguments.clone(),
        action_digest: approval.subject.digest().to_string(),
    }))
}

fn no_grants() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "invalid_grant",
        "This gate gives no grants: no environment of it declares a tool.",
    )
}

/// The grant of an approval, where it has one: an action that is approved now. `None` for everything else.
///
/// # Errors
/// The sentence that says why there is none although it is approved.
pub async fn grant_of(app: &App, approval: &Approval) -> Option<Result<GrantView, Problem>> {
    let keys = app.grant_keys.as_ref()?;
    if approval.subject.action().is_none() || approval.status() != Status::Approved {
        return None;
    }
    let given = async {
        app.log.secure().await?;
        give(&app.storage, &app.trust, keys, approval.id(), app.now()).await
    };
    Some(match given.await {
        Ok(grant) => Ok(GrantView {
            token: grant.token,
            audience: grant.audience,
            expires_at: grant.expires_at,
        }),
        Err(error) => {
            tracing::warn!(approval = %approval.id(), %error, "no grant was given");
            Err(error.into())
        }
    })
}

/// The keys of grants (RFC 7517).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "grants", operation_id = "readGrantKeys",
    responses((status = 200, description = "A JSON Web Key Set", body = Object))
)]
pub async fn key_set(State(app): State<App>) -> Json<Value> {
    let keys = app.grant_keys.as_ref();
    Json(keys.map_or_else(|| json!({"keys": []}), |keys| keys.key_set()))
}

/// Where enforcement points find the keys of grants (OpenID Connect Discovery 1.0, section 3).
#[utoipa::path(
    get, path = "/.well-known/openid-configuration", tag = "grants", operation_id = "discoverGrants",
    responses((status = 200, description = "The issuer of grants and its keys", body = Object))
)]
pub async fn discovery(State(app): State<App>) -> Json<Value> {
    let origin = &app.relying_party.origin;
    Json(json!({
        "issuer": origin,
        "jwks_uri": format!("{origin}/.well-known/jwks.json"),
        "id_token_signing_alg_values_supported": [GRANT_ALGORITHM],
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
    }))
}
