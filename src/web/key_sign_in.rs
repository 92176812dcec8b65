//! `/sign-in/key`: signing in with a key alone, while the directory cannot be reached.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::digest::Digest;
use crate::gate::key_alone::{self, Arrival, KeyAloneRefusal};
use crate::gate::{GateError, refusals};
use crate::integrations::login_oidc::DirectoryOutage;
use crate::randomness;
use crate::web::decisions::{SignatureBody, answer};
use crate::web::page::{PageError, outside};
use crate::web::paths;
use crate::web::session::{
    SESSION_COOKIE, SIGN_IN_COOKIE, cookie, removed, session_cookie, sign_in_cookie,
};
use crate::web::sign_in::local_path;
use crate::web::views::key_sign_in::KeySignInPage;

/// Where to go afterwards.
#[derive(Deserialize)]
pub struct KeySignInQuery {
    return_to: Option<String>,
}

/// The same, from the page's script.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginBody {
    return_to: String,
}

/// Where to go on.
#[derive(Serialize)]
pub struct SignedInAnswer {
    #[serde(rename = "continue")]
    continue_to: String,
}

/// That the directory cannot be reached, where the rules let somebody sign in with a key alone then.
async fn require_outage(app: &App) -> Result<DirectoryOutage, GateError> {
    app.authority.longest_outage_grace().ok_or(KeyAloneRefusal::Off)?;
    let outage = app.login.outage(app.now()).await;
    Ok(outage.ok_or(KeyAloneRefusal::DirectoryReachable)?)
}

/// `GET /sign-in/key`: says what such a sign-in does for whom. Where the directory can be reached, leads there.
pub async fn page(
    State(app): State<App>,
    Query(query): Query<KeySignInQuery>,
) -> Result<Response, PageError> {
    let return_to = local_path(query.return_to.as_deref());
    app.authority.longest_outage_grace().ok_or_else(|| problem(KeyAloneRefusal::Off.into()))?;
    match app.login.outage(app.now()).await {
        Some(outage) => {
            Ok(KeySignInPage::new(&return_to, outage.since(), outside(&app)).into_response())
        }
        None => Ok(Redirect::to(&paths::sign_in(&return_to)).into_response()),
    }
}

fn problem(error: GateError) -> Problem {
    error.into()
}

/// `POST /sign-in/key/statements`: a fresh statement for whatever key this browser has.
pub async fn statement(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (_, BeginBody { return_to }) = read_body(&headers, &body)?;
    require_outage(&app).await?;
    let browser = randomness::token::<32>();
    let return_to = local_path(Some(&return_to));
    let (storage, party) = (&app.storage, &app.relying_party);
    let statement =
        key_alone::begin(storage, party, Digest::of(&browser), return_to, app.now()).await?;
    let cookie = [(header::SET_COOKIE, sign_in_cookie(&browser))];
    Ok((cookie, answer(&app, &statement, &[])).into_response())
}

/// `POST /sign-in/key/sessions`: the signed statement opens a session.
pub async fn session(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let outcome = sign_in(&app, &headers, &SignatureBody { nonce, credential }).await;
    let signed_in = outcome.inspect_err(|error| {
        if let Some(code) = error.signature_code() {
            tracing::warn!(code, "a sign-in with a key alone was refused");
            app.storage.note_stranger(refusals::SIGN_IN, code, app.now());
        }
    })?;
    if let Some(earlier) = cookie(&headers, SESSION_COOKIE) {
        app.storage.delete_session(&Digest::of(earlier)).await?;
    }
    let person = &signed_in.session.profile.person.subject;
    tracing::warn!(person, "a person signed in with a key alone: the directory cannot be reached");
    let mut response = Json(SignedInAnswer { continue_to: signed_in.return_to }).into_response();
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, session_cookie(&signed_in.secret));
    headers.append(header::SET_COOKIE, removed(SIGN_IN_COOKIE));
    Ok(response)
}

async fn sign_in(
    app: &App,
    headers: &HeaderMap,
    SignatureBody { nonce, credential }: &SignatureBody,
) -> Result<key_alone::SignedIn, GateError> {
    let browser = cookie(headers, SIGN_IN_COOKIE).ok_or(KeyAloneRefusal::Stale)?;
    let outage = require_outage(app).await?;
    let arrival = Arrival { browser: Digest::of(browser), nonce, assertion: credential, outage };
    let (trust, party) = (&app.trust, &app.relying_party);
    key_alone::finish(&app.storage, &app.authority, trust, party, &arrival, app.now()).await
}
