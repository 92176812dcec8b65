//! `GET /approvals/{id}`: the page on which people decide.

use axum::extract::{Path, State};
use axum::http::HeaderMap;

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::approval::{Approval, Status};
use crate::domain::rollout::{recorded_calls, recorded_checks};
use crate::gate::keys::{AcceptedKeys, accepted_keys};
use crate::gate::loss::void_signature;
use crate::gate::{CeremonyRefusal, GateError};
use crate::web::decisions::find_visible;
use crate::web::page::{PageError, Visit, visit};
use crate::web::views::approval::ApprovalPage;

/// Shows an approval, drawn from its canonical bytes.
pub async fn page(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<ApprovalPage, PageError> {
    let mut visit = visit(&app, &headers, &format!("/approvals/{id}")).await?;
    let stored = find_visible(&app, &visit.session, &id).await?;
    look_at_keys(&app, &mut visit, &stored.approval).await?;
    let unreadable = |error| Problem::from(GateError::from(error));
    let approval = &stored.approval;
    let records = app.storage.records_of(approval.id()).await.map_err(unreadable)?;
    let superseded = app.storage.superseded_by(approval).await.map_err(unreadable)?;
    let earlier = match approval.subject.action() {
        Some(_) => app.storage.asked_before(approval).await.map_err(unreadable)?,
        None => None,
    };
    let earlier = earlier.as_ref().map(|(count, last)| (*count, &last.approval));
    let void = match approval.status() {
        Status::Pending | Status::Approved => {
            void_signature(&app.storage, &app.trust, approval).await.map_err(Problem::from)?
        }
        _ => None,
    };
    let around = visit.surroundings(&app);
    let batch = app.storage.batch_of(approval.id()).await.map_err(unreadable)?;
    let page = ApprovalPage::new(approval, &recorded_calls(&records), &superseded, around)
        .with_checks(approval, &recorded_checks(&records), around)
        .with_batch(batch.as_ref())
        .with_void(void.as_ref().map(|(decision, _)| *decision));
    Ok(page.with_earlier(approval, earlier, around))
}

/// The keys that may sign here, which are not all that may sign somewhere.
async fn look_at_keys(app: &App, visit: &mut Visit, approval: &Approval) -> Result<(), Problem> {
    let may_break = approval.policy.break_glass.is_some() && approval.status() == Status::Approved;
    if approval.status() != Status::Pending && !may_break {
        return Ok(());
    }
    let (person, policy) = (&visit.session.profile.person, &approval.policy);
    let viewer = &mut visit.viewer;
    match accepted_keys(&app.storage, &app.trust, policy, person, app.now()).await {
        Ok(AcceptedKeys { keys, until }) => {
            viewer.keys = keys.into_iter().map(|key| key.name).collect();
            viewer.keys_until = until;
        }
        Err(GateError::Ceremony(refusal @ CeremonyRefusal::KeyNotAccepted { .. })) => {
            viewer.keys_refused = Some(refusal.to_string());
        }
        Err(GateError::Ceremony(_)) => viewer.keys.clear(),
        Err(other) => return Err(other.into()),
    }
    Ok(())
}
