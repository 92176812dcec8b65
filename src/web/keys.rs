//! What the keys pages ask for: to begin a registration, to take the new key, to revoke one, to report a loss.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::gate::{CeremonyRefusal, GateError, enrol, loss, own_key, refusals, revoke};
use crate::proof::base64url;
use crate::proof::user_handle::user_handle;
use crate::storage::CredentialStatus;
use crate::web::decisions::{
    SignatureBody, StatementAnswer, answer, refuse_key_alone, require_vouched,
};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::session::registration_cookie;

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 60;

/// How the person calls the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginBody {
    name: String,
}

/// A registration that was begun.
#[derive(Serialize)]
pub struct BeginAnswer {
    id: String,
    /// `PublicKeyCredentialCreationOptions` in its JSON form (WebAuthn Level 3, section 5.4).
    creation_options: Value,
}

/// What comes next, one of both: the person signs with a key that they have, and then the browser goes where
/// the directory vouches for the new one.
#[derive(Serialize)]
pub struct ReceivedAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    own_key: Option<StatementAnswer>,
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    continue_to: Option<String>,
}

impl ReceivedAnswer {
    fn sign_in(ceremony: &str) -> Self {
        Self { own_key: None, continue_to: Some(paths::vouching_sign_in(ceremony)) }
    }
}

/// `POST /keys/ceremonies`: begins a registration for the signed-in person.
pub async fn begin(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<BeginAnswer>, Problem> {
    let session = require_vouched(&app, &headers).await?;
    let (_, BeginBody { name }) = read_body(&headers, &body)?;
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control)
    {
        let detail = format!(
            "Give the key a name of 1 to {LONGEST_NAME} characters that can be seen, so that you can tell it from your other keys."
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_text", detail));
    }
    let profile = &session.profile;
    let known = app.storage.credentials_of(&profile.person).await?;
    // An authenticator whose key was revoked may make another one.
    let known = known.into_iter().filter(|key| key.status != CredentialStatus::Revoked);
    let known: Vec<Vec<u8>> = known.map(|credential| credential.id).collect();
    let login = profile.email.as_deref().unwrap_or(&profile.name);
    let handle = user_handle(&profile.person.issuer, &profile.person.subject);
    let ceremony = app
        .passkeys
        .begin(&handle, login, &profile.name, &known)
        .map_err(|error| Problem::unavailable("The registration could not be begun", &error))?;
    let id = enrol::begin(&app.storage, &session, name, ceremony.state, app.now()).await?;
    Ok(Json(BeginAnswer { id, creation_options: ceremony.creation_options }))
}

/// `POST /keys/ceremonies/{id}`: the browser's answer.
pub async fn receive(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    response: Bytes,
) -> Result<Response, Problem> {
    let session = require_vouched(&app, &headers).await?;
    let (ceremony, state) = enrol::find(&app.storage, &session, &id, app.now()).await?;
    let registered = app.passkeys.finish(&state, &response).map_err(|refusal| {
        let person = &session.profile.person;
        tracing::warn!(person = person.subject, %refusal, "a registration was refused");
        refusals::of_person(&app.storage, refusals::CREDENTIAL, person, refusal.code(), app.now());
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            refusal.code(),
            format!("The key was not registered: {refusal}."),
        )
    })?;
    let (storage, party, now) = (&app.storage, &app.relying_party, app.now());
    let received = enrol::receive(storage, party, &session, ceremony, registered, now).await?;
    let answer = match received.own_key {
        Some((statement, keys)) => {
            let Json(own_key) = answer(&app, &statement, &keys);
            ReceivedAnswer { own_key: Some(own_key), continue_to: None }
        }
        None => ReceivedAnswer::sign_in(&id),
    };
    let cookie = registration_cookie(&received.nonce);
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)).into_response())
}

/// `POST /keys/ceremonies/{id}/signatures`: the person signed with a key that they have for the new one.
pub async fn signature(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReceivedAnswer>, Problem> {
    let session = require_vouched(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let (storage, party, now) = (&app.storage, &app.relying_party, app.now());
    own_key::vouch(storage, party, &session, &id, (&nonce, &credential), now).await?;
    Ok(Json(ReceivedAnswer::sign_in(&id)))
}

/// Since when a key is lost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossForm {
    /// Day and time in UTC, as browsers write it: `2026-11-24T13:45`.
    #[serde(default)]
    pub since: String,
}

/// `POST /keys/{credential}/losses`: takes the report of a loss, for which its owner signs in next. A form, as
/// [`revocation`] is.
pub async fn loss(
    State(app): State<App>,
    Path(credential): Path<String>,
    headers: HeaderMap,
    Form(LossForm { since }): Form<LossForm>,
) -> Result<Response, PageError> {
    let visit = visit(&app, &headers, paths::KEYS).await?;
    refuse_key_alone(&visit.session)?;
    let refused = |refusal: CeremonyRefusal| Problem::from(GateError::from(refusal));
    let id = base64url::decode(&credential)
        .ok_or_else(|| refused(CeremonyRefusal::UnknownCredential))?;
    let since = since.trim().parse::<DateTime>().ok();
    let since = since.and_then(|since| TimeZone::UTC.to_timestamp(since).ok());
    let since = since.ok_or_else(|| refused(CeremonyRefusal::LossAhead))?;
    let (party, now) = (&app.relying_party, app.now());
    let reported = loss::report(&app.storage, party, &visit.session, &id, since, now).await;
    let reported = reported.map_err(Problem::from)?;
    let cookie = [(header::SET_COOKIE, registration_cookie(&reported.nonce))];
    // Forms lead to pages of our own alone: from there the person goes to the directory.
    let next = Redirect::to(&paths::loss(&reported.ceremony));
    Ok((cookie, next).into_response())
}

/// What the page's script asks for: the report says everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossStatementBody {}

/// `POST /keys/losses/{ceremony}/statements`: a statement with which another key of the person reports the loss.
pub async fn loss_statement(
    State(app): State<App>,
    Path(ceremony): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_vouched(&app, &headers).await?;
    let (_, LossStatementBody {}) = read_body(&headers, &body)?;
    let (storage, trust, now) = (&app.storage, &app.trust, app.now());
    let prepared = loss::signed::prepare(storage, trust, &session, &ceremony, now).await?;
    Ok(answer(&app, &prepared.0, &prepared.1))
}

/// `POST /keys/losses/{ceremony}/signatures`: another key of the person signed the report.
pub async fn loss_signature(
    State(app): State<App>,
    Path(ceremony): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ReceivedAnswer>, Problem> {
    let session = require_vouched(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let (storage, party, now) = (&app.storage, &app.relying_party, app.now());
    loss::signed::sign(storage, party, &session, &ceremony, (&nonce, &credential), now).await?;
    Ok(Json(ReceivedAnswer { own_key: None, continue_to: Some(paths::KEY_LOST.to_owned()) }))
}

/// Why a key is revoked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationForm {
    /// In the person's words.
    #[serde(default)]
    pub reason: String,
}

/// `POST /keys/{credential}/revocations`: takes a key out of use, at once and for good. A form, so that
/// it works on whatever browser is at hand when a key is lost.
pub async fn revocation(
    State(app): State<App>,
    Path(credential): Path<String>,
    headers: HeaderMap,
    Form(RevocationForm { reason }): Form<RevocationForm>,
) -> Result<Redirect, PageError> {
    let visit = visit(&app, &headers, paths::KEYS).await?;
    refuse_key_alone(&visit.session)?;
    let session = &visit.session;
    let unknown = || Problem::from(GateError::from(CeremonyRefusal::UnknownCredential));
    let id = base64url::decode(&credential).ok_or_else(unknown)?;
    let is_approver = app.looks_after_keys(&session.profile);
    let revoked = revoke::revoke(&app.storage, session, &id, is_approver, &reason, app.now()).await;
    let revoked = revoked.map_err(Problem::from)?;
    let is_own = revoked.person == session.profile.person;
    Ok(Redirect::to(if is_own { paths::KEY_REVOKED } else { paths::ANOTHERS_KEY_REVOKED }))
}
