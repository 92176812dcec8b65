//! Levers for tests: key rotation, an outage, an altered ID token.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::signing::Issuer;
use super::workload::cannot_sign;
use super::{Identity, hold, refusal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    issuer: Issuer,
    #[serde(default)]
    withdraw: bool,
}

/// `POST /_sandbox/rotate-keys`: a new signing key for `issuer` (`github`, `agent`, `identity`).
/// The key before stays published, unless `withdraw` is true.
pub(super) async fn rotate_keys(
    State(identity): State<Identity>,
    Json(rotation): Json<Rotation>,
) -> Response {
    let mut keys = identity.keys();
    if let Err(error) = keys.rotate(rotation.issuer, rotation.withdraw) {
        return cannot_sign(&error);
    }
    match keys.current(rotation.issuer) {
        Ok(key) => Json(json!({ "kid": key.key_id() })).into_response(),
        Err(error) => cannot_sign(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outage {
    seconds: Option<u32>,
    off: Option<bool>,
}

/// `POST /_sandbox/identity-outage`: `{"seconds": 30}` begins one, `{"off": true}` ends it.
///
/// Discovery, key sets, the runner's token endpoint and the provider's token endpoint answer 503.
/// `/tokens` goes on: it is the test's own tool, not a part of an issuer.
pub(super) async fn outage(
    State(identity): State<Identity>,
    Json(outage): Json<Outage>,
) -> Response {
    let until = match (outage.seconds, outage.off) {
        (Some(seconds), None) => {
            identity.now().checked_add(SignedDuration::from_secs(i64::from(seconds))).ok()
        }
        (None, Some(true)) => None,
        _ => {
            let problem = "send {\"seconds\": N} to begin an outage or {\"off\": true} to end it";
            return refusal(StatusCode::BAD_REQUEST, "invalid_request", problem);
        }
    };
    *hold(&identity.shared.outage_until) = until;
    Json(json!({ "until": until.map(|until| until.to_string()) })).into_response()
}

/// `POST /_sandbox/id-token`: changes to the next ID token, in the form that `/tokens` takes.
pub(super) async fn change_next_id_token(
    State(identity): State<Identity>,
    Json(changes): Json<Map<String, Value>>,
) -> Response {
    *hold(&identity.shared.id_token_changes) = Some(changes);
    StatusCode::NO_CONTENT.into_response()
}

/// `POST /_sandbox/userinfo`: changes to the next answer of userinfo; null leaves a claim out.
pub(super) async fn change_next_userinfo(
    State(identity): State<Identity>,
    Json(changes): Json<Map<String, Value>>,
) -> Response {
    *hold(&identity.shared.userinfo_changes) = Some(changes);
    StatusCode::NO_CONTENT.into_response()
}

/// `DELETE /_sandbox/people/alice`: the directory knows the person no more.
pub(super) async fn remove_person(
    State(identity): State<Identity>,
    Path(login): Path<String>,
) -> StatusCode {
    hold(&identity.shared.removed).insert(login);
    StatusCode::NO_CONTENT
}
