//! Workload tokens: a GitHub-shaped issuer, a generic one, and the mint for both.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::signing::{Damage, Issuer, SigningError, SigningKey};
use super::{Identity, refusal};
use crate::randomness;

/// GitHub's own tokens live about this long.
const LIFETIME_SECONDS: i64 = 300;

pub(super) async fn github_discovery(State(identity): State<Identity>) -> Json<Value> {
    discovery(&identity, Issuer::Github)
}

pub(super) async fn agent_discovery(State(identity): State<Identity>) -> Json<Value> {
    discovery(&identity, Issuer::Agent)
}

pub(super) async fn github_keys(State(identity): State<Identity>) -> Response {
    key_set(&identity, Issuer::Github)
}

pub(super) async fn agent_keys(State(identity): State<Identity>) -> Response {
    key_set(&identity, Issuer::Agent)
}

fn discovery(identity: &Identity, issuer: Issuer) -> Json<Value> {
    Json(json!({
        "issuer": identity.url(issuer.path()),
        "jwks_uri": identity.url(&format!("{}/.well-known/jwks", issuer.path())),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [issuer.algorithm()],
    }))
}

pub(super) fn key_set(identity: &Identity, issuer: Issuer) -> Response {
    match identity.keys().key_set(issuer) {
        Ok(keys) => Json(keys).into_response(),
        Err(error) => cannot_sign(&error),
    }
}

pub(super) fn cannot_sign(error: &SigningError) -> Response {
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &error.to_string())
}

/// `POST /tokens`: a token of the claims given, which replace the defaults; null leaves one out.
///
/// Members that are not claims: `issuer` (`github` or `agent`), `header` (merged into the JOSE
/// header, where `alg` also chooses how it is signed), `signature` (`broken`, `absent`, or
/// `foreign` for a key that nobody published) and `payload` (signed as it stands).
pub(super) async fn mint(State(identity): State<Identity>, body: Bytes) -> Response {
    // Whatever type the caller says it is: the body is an object of claims, and nothing at all is
    // the empty one.
    let text = if body.is_empty() { &b"{}"[..] } else { &body[..] };
    let mut request: Map<String, Value> = match serde_json::from_slice(text) {
        Ok(request) => request,
        Err(error) => {
            let problem = format!("the body is no JSON object of claims: {error}");
            return refusal(StatusCode::BAD_REQUEST, "invalid_request", &problem);
        }
    };
    let issuer = match request.remove("issuer") {
        None => Issuer::Github,
        Some(Value::String(name)) if name == "github" => Issuer::Github,
        Some(Value::String(name)) if name == "agent" => Issuer::Agent,
        Some(other) => {
            let problem = format!("issuer is {other}; it must be \"github\" or \"agent\"");
            return refusal(StatusCode::BAD_REQUEST, "invalid_request", &problem);
        }
    };
    let now = identity.now();
    let defaults = match issuer {
        Issuer::Github => github_claims(&identity, now),
        Issuer::Agent | Issuer::Identity => agent_claims(&identity, now),
    };
    match issue(&identity, issuer, defaults, request) {
        Ok(token) => Json(json!({ "token": token })).into_response(),
        Err(IssueError::Request(problem)) => {
            refusal(StatusCode::BAD_REQUEST, "invalid_request", &problem)
        }
        Err(IssueError::Signing(error)) => cannot_sign(&error),
    }
}

#[derive(Deserialize)]
pub(super) struct RunnerQuery {
    audience: Option<String>,
}

/// `GET /github/runner-token?audience=…`: what a runner gives to a job that asks for a token.
pub(super) async fn runner_token(
    State(identity): State<Identity>,
    Query(query): Query<RunnerQuery>,
    headers: HeaderMap,
) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = authorization.and_then(|value| value.split_once(' '));
    if !bearer.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()
    }) {
        let problem = "send the job's request token: Authorization: bearer TOKEN";
        return refusal(StatusCode::UNAUTHORIZED, "invalid_token", problem);
    }
    // Without an audience, GitHub's tokens are for the repository's owner.
    let audience = query.audience.unwrap_or_else(|| "https://github.com/demo".to_owned());
    let changes = Map::from_iter([("aud".to_owned(), Value::String(audience))]);
    let defaults = github_claims(&identity, identity.now());
    match issue(&identity, Issuer::Github, defaults, changes) {
        Ok(token) => Json(json!({ "count": token.len(), "value": token })).into_response(),
        Err(IssueError::Request(problem)) => {
            refusal(StatusCode::BAD_REQUEST, "invalid_request", &problem)
        }
        Err(IssueError::Signing(error)) => cannot_sign(&error),
    }
}

pub(super) enum IssueError {
    Request(String),
    Signing(SigningError),
}

impl From<SigningError> for IssueError {
    fn from(error: SigningError) -> Self {
        Self::Signing(error)
    }
}

/// Signs `claims` after `changes` were made to them.
pub(super) fn issue(
    identity: &Identity,
    issuer: Issuer,
    mut claims: Map<String, Value>,
    mut changes: Map<String, Value>,
) -> Result<String, IssueError> {
    let damage = match changes.remove("signature") {
        None => None,
        Some(Value::String(word)) => Some(word),
        Some(other) => return Err(IssueError::Request(format!("signature is {other}"))),
    };
    let header_changes = match changes.remove("header") {
        None => Map::new(),
        Some(Value::Object(header)) => header,
        Some(other) => return Err(IssueError::Request(format!("header is {other}"))),
    };
    let payload = match changes.remove("payload") {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => return Err(IssueError::Request(format!("payload is {other}"))),
    };
    merge(&mut claims, changes);
    let payload = payload.unwrap_or_else(|| Value::Object(claims).to_string());

    let mut ring = identity.keys();
    let key = ring.current(issuer)?;
    let mut header = Map::from_iter([
        ("alg".to_owned(), json!(issuer.algorithm())),
        ("typ".to_owned(), json!("JWT")),
        ("kid".to_owned(), json!(key.key_id())),
    ]);
    merge(&mut header, header_changes);
    Ok(match damage.as_deref() {
        None => key.compact(&header, &payload, Damage::None)?,
        Some("broken") => key.compact(&header, &payload, Damage::Broken)?,
        Some("absent") => key.compact(&header, &payload, Damage::Absent)?,
        Some("foreign") => {
            SigningKey::generate(issuer)?.compact(&header, &payload, Damage::None)?
        }
        Some(other) => {
            let problem = format!("signature is {other}; it can be broken, absent or foreign");
            return Err(IssueError::Request(problem));
        }
    })
}

/// Members given replace those that are there; null takes one away.
pub(super) fn merge(object: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            object.remove(&name);
        } else {
            object.insert(name, value);
        }
    }
}

/// The claims of a job of `demo/web` that runs on a push to `main`.
/// Source: GitHub's reference of the OIDC token. Constant, but for `jti` and the times.
fn github_claims(identity: &Identity, now: Timestamp) -> Map<String, Value> {
    let seconds = now.as_second();
    let claims = json!({
        "iss": identity.url(Issuer::Github.path()),
        "aud": identity.settings().audience,
        "sub": "repo:demo/web:ref:refs/heads/main",
        "jti": randomness::token::<16>(),
        "iat": seconds, "nbf": seconds, "exp": seconds + LIFETIME_SECONDS,
        "repository": "demo/web",
        "repository_id": "1001",
        "repository_owner": "demo",
        "repository_owner_id": "2001",
        "repository_visibility": "private",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",
        "base_ref": "",
        "head_ref": "",
        "sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "event_name": "push",
        "run_id": "700100",
        "run_number": "42",
        "run_attempt": "1",
        "workflow": "Deploy",
        "workflow_ref": "demo/web/.github/workflows/deploy.yml@refs/heads/main",
        "workflow_sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "job_workflow_ref": "demo/web/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "runner_environment": "github-hosted",
        "actor": "octavia",
        "actor_id": "3001",
    });
    object(claims)
}

/// The claims of an agent that the generic issuer knows.
fn agent_claims(identity: &Identity, now: Timestamp) -> Map<String, Value> {
    let seconds = now.as_second();
    object(json!({
        "iss": identity.url(Issuer::Agent.path()),
        "aud": identity.settings().audience,
        "sub": "agent:release-bot",
        "name": "Release bot",
        "jti": randomness::token::<16>(),
        "iat": seconds, "nbf": seconds, "exp": seconds + LIFETIME_SECONDS,
    }))
}

/// The members of a JSON object.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
