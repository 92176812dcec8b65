//! The environments: what serves, who has to sign, what is frozen; and freezing and lifting by a signature.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::approval::Status;
use crate::domain::freeze::FreezeChange;
use crate::domain::policy::Policy;
use crate::domain::service::ServiceName;
use crate::gate::freezes;
use crate::gate::rule_changes::waiting;
use crate::storage::{ApprovalFilter, Scope};
use crate::web::decisions::{SignatureBody, StatementAnswer, answer, require_signer};
use crate::web::page::{PageError, Visit, visit};
use crate::web::paths;
use crate::web::views::environments::{EnvironmentListing, EnvironmentsPage, Serving};
use crate::web::views::rules::RulesView;

/// How many approvals of each environment are shown.
const MOST_RECENT: u32 = 5;
/// How long the page waits for Cloud Run: a page without what serves is better than none.
const LONGEST_READ: Duration = Duration::from_secs(4);
/// How long the answer to a signature waits until its entry is verified, which takes about a second.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What just happened.
#[derive(Deserialize)]
pub struct EnvironmentsQuery {
    done: Option<String>,
}

/// What a person wants to sign.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    change: FreezeChange,
}

/// The entry that a signature made.
#[derive(Serialize)]
pub struct FreezeAnswer {
    index: u64,
    /// Whether it has been verified since, so that every page knows of it.
    is_verified: bool,
}

/// `GET /environments`.
pub async fn page(
    State(app): State<App>,
    Query(query): Query<EnvironmentsQuery>,
    headers: HeaderMap,
) -> Result<EnvironmentsPage, PageError> {
    let visit = visit(&app, &headers, paths::ENVIRONMENTS).await?;
    let policies = readable(&app, &visit);
    let mut listings = Vec::with_capacity(policies.len());
    for policy in policies {
        listings.push(listing(&app, policy).await?);
    }
    let may_freeze = |scope: &_| app.may_freeze(&visit.session.profile, scope);
    let message = match query.done.as_deref() {
        Some("frozen") => Some("Frozen. Nothing approved begins there until it is lifted or over."),
        Some("lifted") => Some("Lifted. What is approved begins by itself now."),
        _ => None,
    };
    let around = visit.surroundings(&app);
    let rules = app.storage.rules();
    let waiting = waiting(&app.storage).await.map_err(Problem::from)?;
    let rules = rules.current().filter(|_| visit.viewer.reads_ledger);
    let rules = rules.map(|in_force| RulesView::new(in_force, waiting.as_ref(), around));
    Ok(EnvironmentsPage::new(&listings, &may_freeze, message, around).with_rules(rules))
}

/// The rules of the environments that this person may read of.
fn readable<'a>(app: &'a App, visit: &Visit) -> Vec<&'a Policy> {
    let scope = app.scope_of(&visit.session.profile);
    let is_readable = |policy: &&Policy| match &scope {
        Some(Scope::Everything) => true,
        Some(Scope::Environments(environments)) => environments.contains(&policy.environment),
        None => false,
    };
    app.authority.policies.values().filter(is_readable).collect()
}

async fn listing<'a>(app: &App, policy: &'a Policy) -> Result<EnvironmentListing<'a>, Problem> {
    let filter = ApprovalFilter {
        requester_keys: None,
        environments: Some(vec![policy.environment.clone()]),
        statuses: Status::ALL.to_vec(),
        cursor: None,
        limit: MOST_RECENT,
    };
    let recent = app.storage.approvals(&filter).await?.approvals;
    let now = app.now();
    let mut agents = Vec::new();
    for kept in app.storage.agent_credentials().await? {
        let grant = &kept.issued.grant;
        let is_here = grant.environment == policy.environment && now < grant.valid_until;
        if is_here && !app.storage.is_agent_credential_revoked(kept.index).await? {
            agents.push(grant.agent.clone());
        }
    }
    let serving = join_all(policy.services.iter().map(|service| serving(app, service))).await;
    Ok(EnvironmentListing {
        policy,
        serving,
        recent: recent.into_iter().map(|stored| stored.approval).collect(),
        agents,
    })
}

/// What Cloud Run shows now, or why that is not known.
async fn serving(app: &App, service: &ServiceName) -> Serving {
    match tokio::time::timeout(LONGEST_READ, app.cloud_run.observe_service(service)).await {
        Ok(Ok(Some(observed))) => Serving::Seen(observed.serving),
        Ok(Ok(None)) => Serving::Absent,
        Ok(Err(error)) => {
            tracing::warn!(%service, %error, "what serves cannot be shown");
            Serving::Unknown(error.to_string())
        }
        Err(_) => Serving::Unknown("Cloud Run did not answer in time".to_owned()),
    }
}

/// `POST /environments/statements`: a fresh statement that freezes something or lifts a freeze.
pub async fn statement(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, ChangeBody { change }) = read_body(&headers, &body)?;
    let (storage, trust, authority) = (&app.storage, &app.trust, &app.authority);
    let (statement, keys) =
        freezes::prepare(storage, trust, authority, &session, change, app.now()).await?;
    Ok(answer(&app, &statement, &keys))
}

/// `POST /environments/freezes`: the signed statement.
pub async fn signature(
    State(app): State<App>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<FreezeAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let (storage, party, authority) = (&app.storage, &app.relying_party, &app.authority);
    let now = app.now();
    let index =
        freezes::sign(storage, party, authority, &session, &nonce, &credential, now).await?;
    let is_verified = storage.await_verified(index, LONGEST_WAIT).await;
    Ok(Json(FreezeAnswer { index, is_verified }))
}
