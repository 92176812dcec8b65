//! Signing in at the directory, and coming back from it.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::SignedDuration;
use serde::Deserialize;

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::gate::key_alone::is_with_key;
use crate::gate::{CeremonyRefusal, GateError, enrol, loss, refusals, sign_in};
use crate::integrations::login_oidc::{SignInRefusal, VerifiedSignIn};
use crate::randomness;
use crate::storage::Login;
use crate::web::page::PageError;
use crate::web::paths;
use crate::web::session::{
    REGISTRATION_COOKIE, SESSION_COOKIE, SIGN_IN_COOKIE, cookie, find_session, removed,
    session_cookie, sign_in_cookie,
};

/// How long a person may take at the directory.
const SIGN_IN_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// A key is vouched for by a sign-in that happened for it, not by an old one.
const ENROLMENT_MAX_AGE: u64 = 0;

/// Where to go afterwards, or which registration the sign-in vouches for.
#[derive(Deserialize)]
pub struct SignInQuery {
    return_to: Option<String>,
    ceremony: Option<String>,
}

/// What the directory answers.
#[derive(Deserialize)]
pub struct CallbackQuery {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// The path at which the directory sends people back.
pub const CALLBACK_PATH: &str = "/sign-in/callback";

/// `GET /sign-in`: sends the browser to the directory.
pub async fn begin(
    State(app): State<App>,
    Query(query): Query<SignInQuery>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let now = app.now();
    let return_to = local_path(query.return_to.as_deref());
    if query.ceremony.is_none() && can_do_without(&app).await {
        return Ok(Redirect::to(&paths::key_sign_in(&return_to)).into_response());
    }
    let nonce = match &query.ceremony {
        Some(id) => Some(enrolment_nonce(&app, &headers, id).await?),
        None => None,
    };
    let max_age = nonce.as_ref().map(|_| ENROLMENT_MAX_AGE);
    let begun = app.login.begin(&redirect_uri(&app), nonce.as_deref(), max_age, now).await;
    let begun = begun.map_err(|refusal| refused(&refusal))?;
    let browser = randomness::token::<32>();
    let login = Login {
        state: begun.state,
        nonce: begun.nonce,
        pkce_verifier: begun.pkce_verifier,
        browser: Digest::of(&browser),
        return_to,
        ceremony: query.ceremony,
        expires_at: now.saturating_add(SIGN_IN_LIFETIME).unwrap_or(now),
    };
    app.storage.put_login(&login).await.map_err(Problem::from)?;
    let mut response = Redirect::to(&begun.authorization_url).into_response();
    response.headers_mut().append(header::SET_COOKIE, sign_in_cookie(&browser));
    Ok(response)
}

/// Whether the directory cannot be reached now, and the rules let somebody sign in with a key alone then.
async fn can_do_without(app: &App) -> bool {
    app.authority.longest_outage_grace().is_some() && app.login.outage(app.now()).await.is_some()
}

fn redirect_uri(app: &App) -> String {
    format!("{}{CALLBACK_PATH}", app.relying_party.origin)
}

/// The nonce that binds the sign-in to the key that the browser just made in this session.
async fn enrolment_nonce(app: &App, headers: &HeaderMap, id: &str) -> Result<String, PageError> {
    let unknown = || Problem::from(CeremonyRefusal::UnknownEnrolment);
    let session = find_session(app, headers).await?.ok_or_else(unknown)?;
    let ceremony = app.storage.ceremony(id, app.now()).await.map_err(Problem::from)?;
    let ceremony = ceremony.filter(|found| found.session == session.id).ok_or_else(unknown)?;
    let registration = ceremony.registration.ok_or_else(unknown)?;
    let nonce = enrol::nonce_of(&registration);
    if cookie(headers, REGISTRATION_COOKIE) == Some(&nonce) {
        Ok(nonce)
    } else {
        Err(unknown().into())
    }
}

/// A path of our own to return to, and the inbox for anything else: no open redirect.
pub(super) fn local_path(asked: Option<&str>) -> String {
    let is_local = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && path.len() <= 300
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    asked.filter(is_local).unwrap_or("/").to_owned()
}

/// `GET /sign-in/callback`: the browser comes back with a code.
pub async fn callback(
    State(app): State<App>,
    Query(query): Query<CallbackQuery>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    if let Some(error) = query.error {
        tracing::warn!(error, "the directory refused a sign-in");
        let detail = "The directory did not sign you in. Try again, and if it stays so, ask whoever runs the directory whether you may use this gate.";
        let problem = Problem::new(StatusCode::FORBIDDEN, "sign_in_refused", detail);
        return Err(of_nobody(&app, problem).into());
    }
    let stale = || of_nobody(&app, stale());
    let (code, state) = query.code.zip(query.state).ok_or_else(stale)?;
    let login = app.storage.take_login(&state, app.now()).await.map_err(Problem::from)?;
    let login = login.filter(|login| !is_with_key(login)).ok_or_else(stale)?;
    // The state alone could have been planted: it must be the browser that began the sign-in.
    let is_same_browser =
        cookie(&headers, SIGN_IN_COOKIE).is_some_and(|secret| Digest::of(secret) == login.browser);
    if !is_same_browser {
        return Err(stale().into());
    }
    let finished = app
        .login
        .finish(&code, &login.pkce_verifier, &login.nonce, &redirect_uri(&app), app.now())
        .await;
    let is_out = matches!(finished, Err(SignInRefusal::ProviderUnavailable));
    if is_out && login.ceremony.is_none() && can_do_without(&app).await {
        return Ok(Redirect::to(&paths::key_sign_in(&login.return_to)).into_response());
    }
    let verified = finished.map_err(|refusal| of_nobody(&app, refused(&refusal)))?;
    let destination = match &login.ceremony {
        // Rows alone cannot make the directory vouch for a key that this browser did not make.
        Some(_) if cookie(&headers, REGISTRATION_COOKIE) != Some(&login.nonce) => {
            return Err(Problem::from(CeremonyRefusal::UnknownEnrolment).into());
        }
        Some(ceremony) => finish_ceremony(&app, ceremony, &verified).await?,
        None => login.return_to,
    };
    let grace = app.authority.longest_outage_grace();
    let opened = sign_in::open_session(&app.storage, &verified, grace, app.now()).await;
    let (secret, session) = opened.map_err(Problem::from)?;
    // A new session for every sign-in: one that was planted or stolen before is of no use after.
    if let Some(earlier) = cookie(&headers, SESSION_COOKIE) {
        app.storage.delete_session(&Digest::of(earlier)).await.map_err(Problem::from)?;
    }
    tracing::info!(person = session.profile.person.subject, "a person signed in");
    let mut response = Redirect::to(&destination).into_response();
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, session_cookie(&secret));
    headers.append(header::SET_COOKIE, removed(SIGN_IN_COOKIE));
    headers.append(header::SET_COOKIE, removed(REGISTRATION_COOKIE));
    Ok(response)
}

/// The directory vouched for a new key, or for the report that one is lost.
async fn finish_ceremony(
    app: &App,
    ceremony: &str,
    verified: &VerifiedSignIn,
) -> Result<String, PageError> {
    let person =
        Person { issuer: verified.issuer().to_owned(), subject: verified.subject().to_owned() };
    let note = |kind, code| refusals::of_person(&app.storage, kind, &person, code, app.now());
    verified.require_fresh(ENROLMENT_MAX_AGE).map_err(|refusal| {
        note(refusals::SIGN_IN, refusal.code());
        refused(&refusal)
    })?;
    let now = app.now();
    let begun = app.storage.ceremony(ceremony, now).await.map_err(Problem::from)?;
    let (outcome, next) = if begun.is_some_and(|begun| loss::is_of_loss(&begun)) {
        let outcome = loss::finish(&app.storage, &app.trust, ceremony, verified, now).await;
        (outcome, paths::KEY_LOST)
    } else {
        let outcome = enrol::finish(&app.storage, ceremony, verified, now).await;
        (outcome.map(|_| ()), paths::KEY_REGISTERED)
    };
    match outcome {
        Ok(()) => {
            tracing::info!(
                person = person.subject,
                next,
                "the directory vouched for a key or its loss"
            );
            Ok(next.to_owned())
        }
        Err(GateError::Ceremony(refusal)) => {
            tracing::warn!(%refusal, "a registration or the report of a loss was refused");
            note(refusals::CREDENTIAL, refusal.code());
            Err(Problem::from(refusal).into())
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Counts a sign-in that was refused before it was known whose it is.
fn of_nobody(app: &App, problem: Problem) -> Problem {
    app.storage.note_stranger(refusals::SIGN_IN, problem.code, app.now());
    problem
}

fn stale() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "stale_sign_in",
        "This sign-in is over or was begun in another browser. Begin again: open the page you wanted.",
    )
}

fn refused(refusal: &SignInRefusal) -> Problem {
    tracing::warn!(code = refusal.code(), %refusal, "a sign-in was refused");
    let status = match refusal {
        SignInRefusal::ProviderUnavailable | SignInRefusal::GroupsUnavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::FORBIDDEN,
    };
    Problem::new(status, refusal.code(), format!("You were not signed in: {refusal}."))
}

/// `POST /sign-out`: ends the session here, not at the directory.
pub async fn sign_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, PageError> {
    if let Some(secret) = cookie(&headers, SESSION_COOKIE) {
        app.storage.delete_session(&Digest::of(secret)).await.map_err(Problem::from)?;
    }
    let mut response = Redirect::to("/signed-out").into_response();
    response.headers_mut().append(header::SET_COOKIE, removed(SESSION_COOKIE));
    // Nothing of the pages seen so far stays in the browser.
    response.headers_mut().insert("clear-site-data", HeaderValue::from_static("\"cache\""));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_our_own_are_returned_to() {
        assert_eq!(local_path(Some("/approvals/apr_x?y=1")), "/approvals/apr_x?y=1");
        for bad in
            ["", "https://evil.example", "//evil.example", "/\\evil", "evil", "/a\nb", "/a b"]
        {
            assert_eq!(local_path(Some(bad)), "/", "{bad:?}");
        }
    }
}
