//! The OpenID provider: token endpoint and userinfo.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::codes::Grant;
use super::signing::Issuer;
use super::workload::{self, IssueError, object};
use super::{CLIENT_ID, Identity, hold, refusal};

/// An ID token is read once, right after it was made.
const ID_TOKEN_LIFETIME_SECONDS: i64 = 300;

/// `POST /identity/token` (OpenID Connect Core 1.0, section 3.1.3; RFC 7636, section 4.5).
pub(super) async fn exchange(
    State(identity): State<Identity>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    if let Err(refused) = authenticate(&identity, &headers, &form) {
        return *refused;
    }
    let get = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if get("grant_type") != "authorization_code" {
        let problem = "grant_type must be authorization_code";
        return refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type", problem);
    }
    let now = identity.now();
    let spent = identity.codes().spend(get("code"), get("redirect_uri"), get("code_verifier"), now);
    let (grant, access_token) = match spent {
        Ok(spent) => spent,
        Err(problem) => return refusal(StatusCode::BAD_REQUEST, "invalid_grant", problem),
    };
    match id_token(&identity, &grant) {
        Ok(id_token) => {
            let body = Json(json!({
                "access_token": access_token, "token_type": "Bearer", "expires_in": 300,
                "scope": "openid profile email groups", "id_token": id_token,
            }));
            ([(header::CACHE_CONTROL, "no-store")], body).into_response()
        }
        Err(IssueError::Request(problem)) => {
            refusal(StatusCode::BAD_REQUEST, "invalid_request", &problem)
        }
        Err(IssueError::Signing(error)) => workload::cannot_sign(&error),
    }
}

fn id_token(identity: &Identity, grant: &Grant) -> Result<String, IssueError> {
    let seconds = identity.now().as_second();
    let mut claims: Map<String, Value> = object(grant.person.claims());
    claims.extend(object(json!({
        "iss": identity.url("/identity"),
        "aud": CLIENT_ID,
        "iat": seconds,
        "exp": seconds + ID_TOKEN_LIFETIME_SECONDS,
        "auth_time": grant.auth_time.as_second(),
    })));
    if let Some(nonce) = &grant.nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    let changes = hold(&identity.shared.id_token_changes).take().unwrap_or_default();
    workload::issue(identity, Issuer::Identity, claims, changes)
}

/// The client's secret, by `client_secret_basic` or `client_secret_post`, never by both.
fn authenticate(
    identity: &Identity,
    headers: &HeaderMap,
    form: &HashMap<String, String>,
) -> Result<(), Box<Response>> {
    let posted = form.get("client_secret");
    let basic = headers.get(header::AUTHORIZATION).map(|value| basic(value.as_bytes()));
    let (client, secret) = match (basic, posted) {
        (Some(_), Some(_)) => {
            let problem = "authenticate by header or by form, not by both";
            return Err(Box::new(refusal(StatusCode::BAD_REQUEST, "invalid_request", problem)));
        }
        (Some(pair), None) => pair.unwrap_or_default(),
        (None, Some(secret)) => {
            (form.get("client_id").cloned().unwrap_or_default(), secret.clone())
        }
        (None, None) => Default::default(),
    };
    if client == CLIENT_ID && secret == identity.settings().client_secret {
        return Ok(());
    }
    let refused = refusal(
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        "the client is not registered or its secret is wrong",
    );
    Err(Box::new(
        ([(header::WWW_AUTHENTICATE, "Basic realm=\"sandbox\"")], refused).into_response(),
    ))
}

/// Client id and secret of a Basic header, form-decoded as RFC 6749, section 2.3.1, asks.
fn basic(value: &[u8]) -> Option<(String, String)> {
    let encoded = value.strip_prefix(b"Basic ")?;
    let text = String::from_utf8(BASE64.decode(encoded).ok()?).ok()?;
    let (client, secret) = text.split_once(':')?;
    Some((form_decoded(client)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    let pair = url::form_urlencoded::parse(text.as_bytes()).next()?;
    Some(pair.0.into_owned())
}

/// `GET /identity/userinfo` (OpenID Connect Core 1.0, section 5.3).
pub(super) async fn userinfo(State(identity): State<Identity>, headers: HeaderMap) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    let person = token.and_then(|token| identity.codes().person(token, identity.now()));
    match person {
        Some(person) => {
            let mut claims = object(person.claims());
            let changes = hold(&identity.shared.userinfo_changes).take().unwrap_or_default();
            workload::merge(&mut claims, changes);
            Json(claims).into_response()
        }
        None => {
            let refused =
                refusal(StatusCode::UNAUTHORIZED, "invalid_token", "the access token is not valid");
            ([(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")], refused)
                .into_response()
        }
    }
}
