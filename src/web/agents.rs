//! Credentials of agents: the page, the statement, the signature, the revocation.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Form, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Redirect;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::gate::{CeremonyRefusal, GateError, agent_credentials};
use crate::storage::{KeptAgentCredential, Session};
use crate::web::decisions::{
    SignatureBody, StatementAnswer, answer, refuse_key_alone, require_signer,
};
use crate::web::keys::RevocationForm;
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::agents::{AgentListing, AgentsPage};

/// What just happened.
#[derive(Deserialize)]
pub struct AgentsQuery {
    revoked: Option<String>,
}

/// Which credential is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantBody {
    agent: String,
    environment: String,
    days: u32,
}

/// A statement, and the secret that it is about. The page keeps it until the person signed.
#[derive(Serialize)]
pub struct GrantAnswer {
    #[serde(flatten)]
    prepared: StatementAnswer,
    secret: String,
}

/// The credential's number: its entry in the ledger.
#[derive(Serialize)]
pub struct IssuedAnswer {
    index: u64,
}

/// The credentials of the environments in which this person may sign.
async fn listings(app: &App, session: &Session) -> Result<Vec<AgentListing>, Problem> {
    let environments = app.environments_of(&session.profile);
    let mut listings = Vec::new();
    for kept in app.storage.agent_credentials().await? {
        if environments.contains(&kept.issued.grant.environment) {
            let is_revoked = app.storage.is_agent_credential_revoked(kept.index).await?
                || app.storage.revoked_at(&kept.issued.signed_with).is_some();
            listings.push(AgentListing { kept, is_revoked });
        }
    }
    Ok(listings)
}

/// `GET /agents`.
pub async fn page(
    State(app): State<App>,
    Query(query): Query<AgentsQuery>,
    headers: HeaderMap,
) -> Result<AgentsPage, PageError> {
    let visit = visit(&app, &headers, paths::AGENTS).await?;
    let listings = listings(&app, &visit.session).await?;
    let policies = app.authority.policies.values();
    let environments = policies
        .filter(|policy| agent_credentials::may_issue(policy, &visit.session))
        .map(|policy| policy.environment.clone())
        .collect();
    let message = query
        .revoked
        .map(|_| "The credential is revoked. Nothing can be asked for with it any more.");
    Ok(AgentsPage::new(&listings, environments, message, visit.surroundings(&app)))
}

/// `POST /agents/statements`: a fresh statement that issues a credential.
pub async fn statement(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<GrantAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, GrantBody { agent, environment, days }) = read_body(&headers, &body)?;
    let impossible = || Problem::from(GateError::from(CeremonyRefusal::AgentGrant));
    let policy = app.authority.policies.get(&environment).ok_or_else(impossible)?;
    let valid_for = SignedDuration::from_hours(i64::from(days) * 24);
    let (storage, trust, now) = (&app.storage, &app.trust, app.now());
    let prepared =
        agent_credentials::prepare(storage, trust, &session, policy, &agent, valid_for, now)
            .await?;
    let Json(statement) = answer(&app, &prepared.statement, &prepared.keys);
    Ok(Json(GrantAnswer { prepared: statement, secret: prepared.secret }))
}

/// `POST /agents/credentials`: the signed statement.
pub async fn credential(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<IssuedAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let party = &app.relying_party;
    let index =
        agent_credentials::issue(&app.storage, party, &session, &nonce, &credential, app.now())
            .await?;
    Ok(Json(IssuedAnswer { index }))
}

/// `POST /agents/{index}/revocations`: ends a credential of an environment in which the person may sign.
pub async fn revocation(
    State(app): State<App>,
    Path(index): Path<u64>,
    headers: HeaderMap,
    Form(RevocationForm { reason }): Form<RevocationForm>,
) -> Result<Redirect, PageError> {
    let visit = visit(&app, &headers, paths::AGENTS).await?;
    refuse_key_alone(&visit.session)?;
    let session = &visit.session;
    let environments = app.environments_of(&session.profile);
    let is_theirs =
        |kept: &KeptAgentCredential| environments.contains(&kept.issued.grant.environment);
    let kept = app.storage.agent_credential(index).await.map_err(Problem::from)?;
    kept.filter(is_theirs).ok_or_else(Problem::not_found)?;
    let revoked = agent_credentials::revoke(&app.storage, session, index, &reason, app.now()).await;
    revoked.map_err(Problem::from)?;
    Ok(Redirect::to(paths::AGENT_REVOKED))
}
