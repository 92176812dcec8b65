//! Accounts at Google: a metadata server, the exchange of tokens of other issuers (workload identity federation,
//! RFC 8693), and service accounts whose rights may be borrowed.
//!
//! An access token names its account, so that the journal can tell whose rights a call was made with. It is a
//! stand-in for tests of who calls, and no proof of anything.

use axum::Router;
use axum::extract::{Form, Path, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode, header};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Clock;

/// What every access token of the sandbox begins with.
const TOKEN: &str = "sandbox-access-token-of-";
/// The account of the machine that the gate runs on.
const MACHINE: &str = "machine@demo.iam.gserviceaccount.com";
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const BORROW: &str = ":generateAccessToken";

/// The account whose access token came with a call.
pub fn caller(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(value.strip_prefix("Bearer ")?.strip_prefix(TOKEN)?.to_owned())
}

/// The metadata server where Google's libraries look for it, and below `/google` the others.
pub fn routes(clock: Clock) -> Router {
    Router::new()
        .route("/computeMetadata/v1/instance/service-accounts/default/token", get(machine))
        .route("/google/sts/v1/token", post(exchange))
        .route("/google/iam/v1/projects/-/serviceAccounts/{method}", post(borrow))
        .with_state(clock)
}

fn token(account: &str) -> Value {
    json!({
        "access_token": format!("{TOKEN}{account}"),
        "token_type": "Bearer",
        "expires_in": LIFETIME.as_secs(),
    })
}

/// Only a request that says so can have been meant for a metadata server.
async fn machine(headers: HeaderMap) -> Response {
    match headers.get("metadata-flavor").map(|flavor| flavor.as_bytes()) {
        Some(b"Google") => Json(token(MACHINE)).into_response(),
        _ => StatusCode::FORBIDDEN.into_response(),
    }
}

#[derive(Deserialize)]
struct Exchange {
    grant_type: String,
    audience: String,
    subject_token: String,
}

/// The account is the audience and the token that was exchanged: `//iam.googleapis.com/... SUBJECT_TOKEN`.
async fn exchange(Form(asked): Form<Exchange>) -> Response {
    if asked.grant_type != EXCHANGE || asked.subject_token.is_empty() {
        let refusal = json!({
            "error": "invalid_request",
            "error_description": format!("The grant type must be {EXCHANGE}, with a subject token."),
        });
        return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
    }
    let Exchange { audience, subject_token, .. } = asked;
    let mut answer = token(&format!("{audience}/subject/{}", subject_token.trim()));
    answer["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
    Json(answer).into_response()
}

async fn borrow(
    State(clock): State<Clock>,
    Path(method): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(account) = method.strip_suffix(BORROW) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if caller(&headers).is_none() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(json!({
        "accessToken": format!("{TOKEN}{account}"),
        "expireTime": clock.now().saturating_add(LIFETIME).unwrap_or_default().to_string(),
    }))
    .into_response()
}
