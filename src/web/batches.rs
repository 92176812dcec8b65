//! `/approvals/{id}/batch`: the deployments that were asked for together with this one, and one decision on
//! all of them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::api::body::read_body;
use crate::api::problem::{Problem, sentence};
use crate::app::App;
use crate::domain::approval::Approval;
use crate::domain::decision::Verdict;
use crate::domain::ids::ApprovalId;
use crate::gate::batch::{self, Gesture, in_common, keys_for};
use crate::gate::{CeremonyRefusal, GateError};
use crate::storage::{Batch, Session};
use crate::web::decisions::{
    SignatureBody, StatementAnswer, StatusAnswer, answer, find_visible, require_session,
    require_signer,
};
use crate::web::page::{PageError, Visit, visit};
use crate::web::views::batch::{BatchPage, Sorted, state_of};

/// What a person wants to sign.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchStatementBody {
    decision: Verdict,
    /// The approvals that the page shows.
    approvals: Vec<ApprovalId>,
    #[serde(default)]
    reason: Option<String>,
}

/// Whether something happened.
#[derive(Serialize)]
pub struct BatchStateAnswer {
    /// Another text after each change of a member, and after each new one.
    state: String,
}

/// The batch of an approval, with those members that this person may see; absent and forbidden look alike.
async fn find_batch(app: &App, session: &Session, id: &str) -> Result<Batch, Problem> {
    let stored = find_visible(app, session, id).await?;
    let batch = app.storage.batch_of(stored.approval.id()).await?;
    batch.ok_or_else(Problem::not_found)
}

/// The members that this person may see.
fn visible<'a>(app: &'a App, session: &'a Session, batch: &'a Batch) -> Vec<&'a Approval> {
    let seen = batch.members.iter().filter(|one| app.may_see(&session.profile, one));
    seen.map(|one| &one.approval).collect()
}

/// `GET /approvals/{id}/batch`.
pub async fn page(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<BatchPage, PageError> {
    let address = format!("/approvals/{id}/batch");
    let visit = visit(&app, &headers, &address).await?;
    let batch = find_batch(&app, &visit.session, &id).await?;
    let sorted = sort(&app, &visit, &batch).await?;
    Ok(BatchPage::new(&batch, &address, &sorted, visit.surroundings(&app)))
}

/// What the person can sign together, and what not.
async fn sort<'a>(app: &App, visit: &'a Visit, batch: &'a Batch) -> Result<Sorted<'a>, Problem> {
    let profile = &visit.session.profile;
    let (mut members, mut keys, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for stored in &batch.members {
        let approval = &stored.approval;
        if !app.may_see(profile, stored) {
            continue;
        }
        if visit.viewer.is_auditor || approval.status().is_final() {
            others.push((approval, None));
            continue;
        }
        match keys_for(&app.storage, &app.trust, profile, approval, app.now()).await {
            Ok(accepted) => {
                members.push(approval);
                keys.push(accepted);
            }
            Err(GateError::Member(refusal)) => {
                others.push((approval, Some(sentence(&refusal.error))));
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    let keys = in_common(keys);
    let why_not = match (members.len(), keys.is_empty()) {
        _ if visit.viewer.is_auditor => {
            Some("You are one of the auditors, who read everything and sign nothing.".to_owned())
        }
        (0, _) => Some("None of these waits for your signature.".to_owned()),
        (1, _) => {
            Some("One of these waits for your signature: sign it on its own page.".to_owned())
        }
        (_, true) => Some(sentence(&CeremonyRefusal::NoCommonKey)),
        (_, false) => None,
    };
    let keys = keys.into_iter().map(|key| key.name).collect();
    Ok(Sorted { members, others, keys, why_not })
}

/// `GET /approvals/{id}/batch/status`.
pub async fn status(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<BatchStateAnswer>, Problem> {
    let session = require_session(&app, &headers).await?;
    let batch = find_batch(&app, &session, &id).await?;
    Ok(Json(BatchStateAnswer { state: state_of(&batch) }))
}

/// `POST /approvals/{id}/batch/statements`: a fresh statement on several members for this person.
pub async fn statement(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<StatementAnswer>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, BatchStatementBody { decision, approvals, reason }) = read_body(&headers, &body)?;
    let batch = find_batch(&app, &session, &id).await?;
    let seen = visible(&app, &session, &batch);
    if !approvals.iter().all(|one| seen.iter().any(|approval| approval.id() == one)) {
        return Err(GateError::from(CeremonyRefusal::UnknownStatement).into());
    }
    let gesture = Gesture { approvals, verdict: decision, reason };
    let now = app.now();
    let prepared = batch::prepare(&app.storage, &app.trust, &session, &batch, gesture, now).await?;
    Ok(answer(&app, &prepared.statement, &prepared.credentials))
}

/// `POST /approvals/{id}/batch/decisions`: the signed statement.
pub async fn decision(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<StatusAnswer>>, Problem> {
    let session = require_signer(&app, &headers).await?;
    let (_, SignatureBody { nonce, credential }) = read_body(&headers, &body)?;
    let batch = find_batch(&app, &session, &id).await?;
    let now = app.now();
    let (storage, relying_party) = (&app.storage, &app.relying_party);
    let decided =
        batch::decide(storage, relying_party, &session, &batch, &nonce, &credential, now).await?;
    for approval in &decided {
        tracing::info!(approval = %approval.id(), person = session.profile.person.subject, status = approval.status().as_str(), "a decision was signed, with others");
    }
    Ok(Json(decided.iter().map(|approval| StatusAnswer::of(&app, approval, now)).collect()))
}
