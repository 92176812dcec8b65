//! Changes that no approval explains: the page, the statement, the signature.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::drift::Finding;
use crate::domain::policy::Policy;
use crate::gate::drift;
use crate::storage::{Scope, Session};
use crate::web::decisions::{SignatureBody, StatementAnswer, answer, require_signer};
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::drift::DriftPage;

/// How somebody explains a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplanationBody {
    explanation: String,
}

/// What was explained.
#[derive(Serialize)]
pub struct ExplainedAnswer {
    entry: u64,
}

/// `GET /drift`: those of the environments that this person may read, the newest first.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<DriftPage, PageError> {
    let visit = visit(&app, &headers, paths::DRIFT).await?;
    let scope = app.scope_of(&visit.session.profile).ok_or_else(Problem::not_found)?;
    let mut findings = app.storage.findings().await.map_err(Problem::from)?;
    findings.retain(|finding| match &scope {
        Scope::Everything => true,
        Scope::Environments(own) => own.contains(&finding.found.environment),
    });
    findings.reverse();
    let may_sign = !visit.viewer.is_auditor;
    let own = if may_sign { app.environments_of(&visit.session.profile) } else { Vec::new() };
    Ok(DriftPage::new(&findings, &own, app.watches_services, visit.surroundings(&app)))
}

/// The change of this entry, and the rules of its environment, if this person may sign there.
async fn find<'a>(
    app: &'a App,
    session: &Session,
    entry: u64,
) -> Result<(Finding, &'a Policy), Problem> {
    let findings = app.storage.findings().await?;
    let finding = findings.into_iter().find(|finding| finding.entry == entry);
    let finding = finding.ok_or_else(Problem::not_found)?;
    let policy = app.authority.policies.get(&finding.found.environment);
    let profile = &session.profile;
    let policy = policy
        .filter(|policy| policy.admits_approver(&profile.person, profile.groups_under(policy)));
    Ok((finding, policy.ok_or_else(Problem::not_found)?))
}

/// `POST /drift/{entry}/statements`: a fresh statement that explains a change.
pub async fn statement(
    State(app): State<App>,
    Path(entry): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, ExplanationBody { explanation }) = read_body(&headers, &body)?;
    let (finding, policy) = find(&app, &session, entry).await?;
    let (storage, trust, now) = (&app.storage, &app.trust, app.now());
    let prepared =
        drift::prepare(storage, trust, &session, policy, &finding, &explanation, now).await?;
    Ok(answer(&app, &prepared.statement, &prepared.keys))
}

/// `POST /drift/{entry}/explanations`: the signed statement.
pub async fn explanation(
    State(app): State<App>,
    Path(entry): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<ExplainedAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let (finding, _) = find(&app, &session, entry).await?;
    let (storage, party) = (&app.storage, &app.relying_party);
    drift::explain(storage, party, &session, &finding, &nonce, &credential, app.now()).await?;
    Ok(Json(ExplainedAnswer { entry }))
}
