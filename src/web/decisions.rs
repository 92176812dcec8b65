//! What the approval page's script asks for: a statement to sign, and to take the signature.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::approval::Approval;
use crate::domain::decision::Verdict;
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::person::Profile;
use crate::domain::sentence::status_sentence;
use crate::domain::statement::{Frozen, Signable};
use crate::gate::GateError;
use crate::gate::decide::{decide, encode, prepare};
use crate::gate::key_alone::KeyAloneRefusal;
use crate::proof::assertion::UnverifiedAssertion;
use crate::storage::{Credential, Session, StoredApproval};
use crate::web::session::find_session;

/// How long the browser lets a person look for their key, in milliseconds: as long as a statement lives.
const CEREMONY_TIMEOUT: u64 = 300_000;
/// How long the page's script may wait for news, in seconds.
const LONGEST_WAIT: u64 = 30;

/// What a person wants to sign.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementBody {
    decision: Verdict,
    #[serde(default)]
    reason: Option<String>,
}

/// A statement to sign.
#[derive(Serialize)]
pub struct StatementAnswer {
    nonce: String,
    /// The canonical statement; the page's script recomputes the challenge from it.
    statement: String,
    /// Unpadded base64url.
    challenge: String,
    /// `PublicKeyCredentialRequestOptions` in its JSON form (WebAuthn Level 3, section 5.5).
    request_options: Value,
}

/// A signature.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureBody {
    /// The statement's.
    pub nonce: String,
    /// The browser's answer.
    pub credential: UnverifiedAssertion,
}

/// Where the approval stands.
#[derive(Serialize)]
pub struct StatusAnswer {
    status: &'static str,
    version: u64,
    status_sentence: String,
}

impl StatusAnswer {
    /// Where this approval stands at this time.
    pub fn of(app: &App, approval: &Approval, now: Timestamp) -> Self {
        Self {
            status: approval.status().as_str(),
            version: approval.version,
            status_sentence: status_sentence(approval, &app.storage.freezes(), now),
        }
    }
}

/// The session, or 401 with a sentence: nothing that was typed is lost.
pub async fn require_session(app: &App, headers: &HeaderMap) -> Result<Session, Problem> {
    find_session(app, headers).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "signed_out",
            "Your session is over: sessions last 15 minutes. Sign in again and come back; nothing was decided.",
        )
    })
}

/// The session of somebody whom the directory signed in, and not their key alone: nobody else changes anything but
/// by breaking the glass.
pub async fn require_vouched(app: &App, headers: &HeaderMap) -> Result<Session, Problem> {
    let session = require_session(app, headers).await?;
    refuse_key_alone(&session)?;
    Ok(session)
}

/// Refuses a session of somebody who signed in with their key alone.
pub fn refuse_key_alone(session: &Session) -> Result<(), Problem> {
    match session.profile.directory_unreachable_since {
        None => Ok(()),
        Some(_) => Err(GateError::from(KeyAloneRefusal::BreaksGlassAlone).into()),
    }
}

/// The session of somebody who may sign something: not of an auditor, whatever else they are, and of nobody who
/// signed in with their key alone.
pub async fn require_signer(app: &App, headers: &HeaderMap) -> Result<Session, Problem> {
    let session = require_vouched(app, headers).await?;
    refuse_auditor(app, &session)?;
    Ok(session)
}

/// The session of somebody who may decide. Who signed in with their key alone may as long as the directory cannot be
/// reached; that they say nothing but that they break the glass, is asked where the statement is made.
async fn require_decider(app: &App, headers: &HeaderMap) -> Result<Session, Problem> {
    let session = require_session(app, headers).await?;
    refuse_auditor(app, &session)?;
    let is_alone = session.profile.directory_unreachable_since.is_some();
    if is_alone && app.login.outage(app.now()).await.is_none() {
        return Err(GateError::from(KeyAloneRefusal::DirectoryReachable).into());
    }
    Ok(session)
}

fn refuse_auditor(app: &App, session: &Session) -> Result<(), Problem> {
    let Profile { person, groups, .. } = &session.profile;
    if app.authority.roles.is_auditor(person, groups) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "auditor_signs_nothing",
            "You are an auditor of this gate ([roles] in its configuration): auditors read everything and sign nothing. Somebody else has to sign.",
        ));
    }
    Ok(())
}

/// The approval, if this person may see it; absent and forbidden look alike.
pub async fn find_visible(
    app: &App,
    session: &Session,
    id: &str,
) -> Result<StoredApproval, Problem> {
    let id: ApprovalId = id.parse().map_err(|_| Problem::not_found())?;
    let stored = app.storage.approval(&id).await?.ok_or_else(Problem::not_found)?;
    if app.may_see(&session.profile, &stored) { Ok(stored) } else { Err(Problem::not_found()) }
}

/// `POST /approvals/{id}/statements`: a fresh statement for this person.
pub async fn statement(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_decider(&app, &headers).await?;
    let (_, StatementBody { decision, reason }) = read_body(&headers, &body)?;
    let stored = find_visible(&app, &session, &id).await?;
    let (id, now) = (stored.approval.id(), app.now());
    let prepared = prepare(&app.storage, &app.trust, &session, id, decision, reason, now).await?;
    Ok(answer(&app, &prepared.statement, &prepared.credentials))
}

/// A statement for the page's script, with the keys that may sign it.
pub fn answer<P: Signable>(
    app: &App,
    statement: &Frozen<P>,
    credentials: &[Credential],
) -> Json<StatementAnswer> {
    let challenge = statement.challenge();
    Json(StatementAnswer {
        nonce: statement.predicate().nonce().to_owned(),
        statement: statement.text().to_owned(),
        request_options: request_options(app, &challenge, credentials),
        challenge: encode(challenge.as_bytes()),
    })
}

/// What the browser's dialog needs to have one of these keys sign a challenge.
pub fn request_options(app: &App, challenge: &Digest, credentials: &[Credential]) -> Value {
    let allowed: Vec<Value> = credentials
        .iter()
        .map(|known| json!({"type": "public-key", "id": encode(&known.id), "transports": known.transports}))
        .collect();
    json!({
        "challenge": encode(challenge.as_bytes()),
        "rpId": app.relying_party.id,
        "allowCredentials": allowed,
        "userVerification": "required",
        "timeout": CEREMONY_TIMEOUT,
    })
}

/// `POST /approvals/{id}/decisions`: the signed statement.
pub async fn decision(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatusAnswer>, Problem> {
    let session = require_decider(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let stored = find_visible(&app, &session, &id).await?;
    let id = stored.approval.id();
    let now = app.now();
    let approval =
        decide(&app.storage, &app.relying_party, &session, id, &nonce, &credential, now).await?;
    tracing::info!(approval = %id, person = session.profile.person.subject, status = approval.status().as_str(), "a decision was signed");
    Ok(Json(StatusAnswer::of(&app, &approval, now)))
}

/// How the page's script waits for news.
#[derive(Deserialize)]
pub struct StatusQuery {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    wait: u64,
}

/// `GET /approvals/{id}/status`: where it stands, as soon as that is news.
pub async fn status(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<StatusQuery>,
    headers: HeaderMap,
) -> Result<Json<StatusAnswer>, Problem> {
    let session = require_session(&app, &headers).await?;
    let id = find_visible(&app, &session, &id).await?.approval.id().clone();
    let patience = std::time::Duration::from_secs(query.wait.min(LONGEST_WAIT));
    let snapshot = app.watch.wait(&id, query.version, patience).await?;
    let approval = &snapshot.approval;
    Ok(Json(StatusAnswer::of(&app, approval, app.now())))
}
