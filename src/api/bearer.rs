//! Who calls: a workload by its token, or a person by their session.

use axum::http::{HeaderMap, StatusCode, header};

use crate::api::problem::{Problem, sentence};
use crate::app::App;
use crate::gate::agent_credentials::{self, AgentRefusal};
use crate::gate::refusals;
use crate::integrations::workload_oidc::{VerifiedRequester, verify_own};
use crate::storage::{Session, StoredApproval};
use crate::web::session::find_session;

/// What a request without a bearer token is refused with.
const MISSING_TOKEN: &str = "missing_token";

/// A caller who may read.
pub enum Reader {
    /// A workload; it sees what its own requester asked for.
    Workload(Box<VerifiedRequester>),
    /// A signed-in person; they see the environments in which they may sign.
    Person(Box<Session>),
}

/// Verifies the bearer token.
///
/// # Errors
/// 401 with a stable code that says what is wrong with the token.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<VerifiedRequester, Problem> {
    let token = bearer_token(app, headers)?;
    if token.starts_with(agent_credentials::PREFIX) {
        return authenticate_agent(app, token).await;
    }
    app.workloads.verify(token, app.now()).await.map_err(|refused| {
        let refusal = &refused.refusal;
        tracing::warn!(code = refusal.code(), %refusal, "a workload token was refused");
        refusals::of_token(&app.storage, &refused, app.now());
        refusal.into()
    })
}

/// The bearer token of a request, of which nothing is believed yet.
///
/// # Errors
/// 401 if there is none, or more than one.
pub fn bearer_token<'a>(app: &App, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
    let missing = |detail: &str| {
        app.storage.note_stranger(refusals::TOKEN, MISSING_TOKEN, app.now());
        Problem::new(StatusCode::UNAUTHORIZED, MISSING_TOKEN, detail)
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(missing(
            "Send one header Authorization: Bearer with the workload's OpenID Connect token.",
        ));
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.ok_or_else(|| missing("The Authorization header is not of the form Bearer TOKEN."))
}

/// The requester that a credential of the gate's own stands for, with a token made for this request.
async fn authenticate_agent(app: &App, bearer: &str) -> Result<VerifiedRequester, Problem> {
    let now = app.now();
    let refused = |code: &'static str, error: &dyn std::fmt::Display| {
        tracing::warn!(code, %error, "a credential of an agent was refused");
        app.storage.note_stranger(refusals::TOKEN, code, now);
        Problem::new(StatusCode::UNAUTHORIZED, code, sentence(error))
    };
    let Some(issuer) = &app.agents else {
        let refusal = AgentRefusal::Unknown;
        return Err(refused(refusal.code(), &refusal));
    };
    let kept = agent_credentials::present(&app.storage, bearer, now).await?;
    let kept = kept.map_err(|refusal| refused(refusal.code(), &refusal))?;
    let token =
        agent_credentials::own_token(&app.storage, &kept, &issuer.issuer, &issuer.audience, now);
    let key = agent_credentials::own_key(&app.storage);
    verify_own(issuer, &key, &token, now).map_err(|refusal| Problem::from(&refusal))
}

/// Finds out who reads: by token if there is one, else by session.
pub async fn authenticate_reader(app: &App, headers: &HeaderMap) -> Result<Reader, Problem> {
    if !headers.contains_key(header::AUTHORIZATION)
        && let Some(session) = find_session(app, headers).await?
    {
        return Ok(Reader::Person(Box::new(session)));
    }
    Ok(Reader::Workload(Box::new(authenticate(app, headers).await?)))
}

impl Reader {
    /// Whether this caller may see this approval.
    pub fn may_read(&self, app: &App, stored: &StoredApproval) -> bool {
        match self {
            Self::Workload(requester) => stored.requester_key == requester.requester_key(),
            Self::Person(session) => app.may_see(&session.profile, stored),
        }
    }
}
