//! The OpenID provider: discovery, keys and the authorization endpoint with its page.

use std::collections::BTreeMap;

use askama::Template;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde_json::{Value, json};
use url::Url;

use super::codes::Grant;
use super::people::{PEOPLE, Person};
use super::signing::Issuer;
use super::{CLIENT_ID, Identity, hold, workload};

/// OpenID Connect Discovery 1.0, section 3.
pub(super) async fn discovery(State(identity): State<Identity>) -> Json<Value> {
    Json(json!({
        "issuer": identity.url("/identity"),
        "authorization_endpoint": identity.url("/identity/authorize"),
        "token_endpoint": identity.url("/identity/token"),
        "userinfo_endpoint": identity.url("/identity/userinfo"),
        "jwks_uri": identity.url("/identity/.well-known/jwks"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": ["openid", "profile", "email", "groups"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce",
            "name", "preferred_username", "email", "email_verified", "groups"
        ],
        "authorization_response_iss_parameter_supported": true,
    }))
}

pub(super) async fn keys(State(identity): State<Identity>) -> Response {
    workload::key_set(&identity, Issuer::Identity)
}

#[derive(Template)]
#[template(path = "sandbox/sign_in.html")]
struct SignInPage<'a> {
    parameters: &'a BTreeMap<String, String>,
    people: &'static [Person],
}

#[derive(Template)]
#[template(path = "sandbox/sign_in_refused.html")]
struct RefusedPage<'a> {
    problem: &'a str,
}

/// `GET /identity/authorize` (OpenID Connect Core 1.0, section 3.1.2).
///
/// Shows the people to sign in as. `login_hint=alice` signs alice in at once, which is what the
/// page's own buttons send. Every sign-in happens now, so that any `max_age` is met.
pub(super) async fn authorize(
    State(identity): State<Identity>,
    RawQuery(query): RawQuery,
) -> Response {
    let (parameters, repeated) = parameters(query.as_deref().unwrap_or_default());
    // Until client and redirect URI are known to be right, nothing may be sent to that URI.
    if parameters.get("client_id").map(String::as_str) != Some(CLIENT_ID) {
        return refused("client_id is not a registered client");
    }
    let registered = &identity.settings().redirect_uri;
    if parameters.get("redirect_uri") != Some(registered) {
        return refused("redirect_uri is not exactly the one that is registered");
    }
    let Ok(callback) = Url::parse(registered) else {
        return refused("the registered redirect URI is not a URL");
    };
    let answer = Answer { callback, issuer: identity.url("/identity"), parameters: &parameters };
    if let Some(name) = repeated {
        return answer.error("invalid_request", &format!("{name} is given twice"));
    }
    if let Err((error, description)) = check(&parameters) {
        return answer.error(error, description);
    }
    let Some(login) = parameters.get("login_hint") else {
        if parameters.get("prompt").is_some_and(|prompt| prompt == "none") {
            return answer.error("login_required", "nobody is signed in; send login_hint");
        }
        return page(StatusCode::OK, &SignInPage { parameters: &parameters, people: &PEOPLE });
    };
    let is_here = !hold(&identity.shared.removed).contains(login);
    let Some(person) = Person::by_login(login).filter(|_| is_here) else {
        return answer.error("access_denied", "login_hint names nobody of this directory");
    };
    let now = identity.now();
    let grant = Grant {
        person,
        redirect_uri: registered.clone(),
        nonce: parameters.get("nonce").cloned(),
        code_challenge: parameters.get("code_challenge").cloned().unwrap_or_default(),
        auth_time: now,
    };
    let code = identity.codes().give(grant, now);
    answer.redirect(&[("code", &code)])
}

/// What must hold before anybody is asked to sign in.
fn check(parameters: &BTreeMap<String, String>) -> Result<(), (&'static str, &'static str)> {
    let get = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    if get("response_type") != "code" {
        return Err(("unsupported_response_type", "response_type must be code"));
    }
    if !get("scope").split(' ').any(|scope| scope == "openid") {
        return Err(("invalid_scope", "scope must include openid"));
    }
    if get("code_challenge_method") != "S256" {
        return Err(("invalid_request", "code_challenge_method must be S256"));
    }
    // A base64url SHA-256 is 43 characters long.
    if get("code_challenge").len() != 43 {
        return Err(("invalid_request", "code_challenge must be the base64url SHA-256"));
    }
    if parameters.get("max_age").is_some_and(|age| age.parse::<u32>().is_err()) {
        return Err(("invalid_request", "max_age must be a number of seconds"));
    }
    Ok(())
}

/// The parameters of a query, and the name of one that was given twice (RFC 6749, section 3.1).
fn parameters(query: &str) -> (BTreeMap<String, String>, Option<String>) {
    let mut parameters = BTreeMap::new();
    let mut repeated = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if parameters.insert(name.to_string(), value.to_string()).is_some() {
            repeated = Some(name.to_string());
        }
    }
    (parameters, repeated)
}

/// How the browser is sent back to the client.
struct Answer<'a> {
    callback: Url,
    issuer: String,
    parameters: &'a BTreeMap<String, String>,
}

impl Answer<'_> {
    fn redirect(mut self, members: &[(&str, &str)]) -> Response {
        {
            let mut query = self.callback.query_pairs_mut();
            query.extend_pairs(members);
            if let Some(state) = self.parameters.get("state") {
                query.append_pair("state", state);
            }
            // RFC 9207: names the issuer, against mixing up two providers.
            query.append_pair("iss", &self.issuer);
        }
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        (no_store, Redirect::to(self.callback.as_str())).into_response()
    }

    fn error(self, error: &str, description: &str) -> Response {
        self.redirect(&[("error", error), ("error_description", description)])
    }
}

fn refused(problem: &str) -> Response {
    page(StatusCode::BAD_REQUEST, &RefusedPage { problem })
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    match template.render() {
        Ok(text) => (status, headers, Html(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
