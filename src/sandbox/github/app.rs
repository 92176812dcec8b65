//! The App: its registration, and tokens of its installations (GitHub, "Authenticating as a GitHub App").

use std::collections::BTreeSet;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderMap, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{GitHub, refusal};
use crate::randomness;

/// What tokens of installations begin with.
pub(super) const PREFIX: &str = "ghs_";
/// They live for an hour.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// An App's own tokens may live for ten minutes.
const LONGEST_JWT: i64 = 600;

/// An App, as it was registered.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredApp {
    pub id: u64,
    /// The public half of its key, PKCS#1 in base64.
    pub public_key: String,
    /// Its one installation.
    pub installation: u64,
    pub repositories: BTreeSet<u64>,
    /// Where its webhooks go, and what they are signed with.
    pub webhook_url: Option<String>,
    #[serde(default)]
    pub webhook_secret: String,
}

/// A token of the installation.
pub(super) struct Token {
    repositories: BTreeSet<u64>,
    expires_at: Timestamp,
}

/// `POST /_sandbox/github/app`. Tokens of the App before are good no more.
pub(super) async fn register(
    State(github): State<GitHub>,
    Json(app): Json<RegisteredApp>,
) -> StatusCode {
    let mut kept = github.kept();
    kept.tokens.clear();
    kept.app = Some(app);
    StatusCode::NO_CONTENT
}

/// The refusal of a token that is not good for a repository.
pub(super) fn refused(github: &GitHub, token: &str, repository: u64) -> Option<Response> {
    let kept = github.kept();
    let found = kept.tokens.get(token).filter(|found| github.now() < found.expires_at);
    match found {
        None => Some(refusal(StatusCode::UNAUTHORIZED, "Bad credentials")),
        Some(found) if !found.repositories.contains(&repository) => Some(super::not_found()),
        Some(_) => None,
    }
}

#[derive(Deserialize, Default)]
struct Asked {
    repository_ids: Option<BTreeSet<u64>>,
}

/// `POST /app/installations/{id}/access_tokens`.
pub(super) async fn token(
    State(github): State<GitHub>,
    Path(installation): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let bad = |why: &str| refusal(StatusCode::UNAUTHORIZED, why);
    let Some(app) = github.kept().app.clone() else {
        return bad("Integration not found");
    };
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(jwt) = bearer.and_then(|value| value.strip_prefix("Bearer ")) else {
        return bad("A JSON web token could not be decoded");
    };
    if let Err(why) = is_signed_by(&app, jwt, github.now()) {
        return bad(why);
    }
    if installation != app.installation {
        return super::not_found();
    }
    let asked: Asked = serde_json::from_slice(&body).unwrap_or_default();
    let repositories = asked.repository_ids.unwrap_or_else(|| app.repositories.clone());
    if !repositories.is_subset(&app.repositories) {
        return refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        );
    }
    let token = format!("{PREFIX}{}", randomness::token::<24>());
    let expires_at = github.now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
    github.kept().tokens.insert(token.clone(), Token { repositories, expires_at });
    let expires_at = expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let answer = json!({"token": token, "expires_at": expires_at, "permissions": {}});
    (StatusCode::CREATED, Json(answer)).into_response()
}

/// RS256, the App's number as issuer, a minute of patience for clocks, ten minutes at most.
fn is_signed_by(app: &RegisteredApp, jwt: &str, now: Timestamp) -> Result<(), &'static str> {
    let undecodable = "A JSON web token could not be decoded";
    let (input, signature) = jwt.rsplit_once('.').ok_or(undecodable)?;
    let (head, claims) = input.split_once('.').ok_or(undecodable)?;
    let read = |part: &str| {
        let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    let (head, claims) = (read(head).ok_or(undecodable)?, read(claims).ok_or(undecodable)?);
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| undecodable)?;
    let key = BASE64.decode(app.public_key.as_bytes()).map_err(|_| undecodable)?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    key.verify(input.as_bytes(), &signature).map_err(|_| undecodable)?;
    let issuer = claims["iss"].as_u64().or_else(|| claims["iss"].as_str()?.parse().ok());
    let (issued, expires) =
        (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
    let now = now.as_second();
    if head["alg"] != "RS256" || issuer != Some(app.id) {
        return Err("'Issuer' claim ('iss') must be an Integer");
    }
    if issued > now + 60 || expires <= now {
        return Err(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        );
    }
    if expires - now > LONGEST_JWT + 60 {
        return Err("'Expiration time' claim ('exp') is too far in the future");
    }
    Ok(())
}
