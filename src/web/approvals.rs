//! `GET /approvals/{id}`: the page on which people decide.

use axum::extract::{Path, State};
use axum::http::HeaderMap;

use crate::api::problem::Problem;
use crate::app::App;
use crate::gate::GateError;
use crate::web::decisions::find_visible;
use crate::web::page::{PageError, visit};
use crate::web::views::approval::ApprovalPage;

/// Shows an approval, drawn from its canonical bytes.
pub async fn page(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<ApprovalPage, PageError> {
    let visit = visit(&app, &headers, &format!("/approvals/{id}")).await?;
    let stored = find_visible(&app, &visit.session, &id).await?;
    let unreadable = |error| Problem::from(GateError::from(error));
    let approval = &stored.approval;
    let calls = app.storage.calls_of(approval.id()).await.map_err(unreadable)?;
    let superseded = app.storage.superseded_by(approval).await.map_err(unreadable)?;
    let earlier = match approval.subject.action() {
        Some(_) => app.storage.asked_before(approval).await.map_err(unreadable)?,
        None => None,
    };
    let earlier = earlier.as_ref().map(|(count, last)| (*count, &last.approval));
    let around = visit.surroundings(&app);
    let page = ApprovalPage::new(approval, &calls, &superseded, around);
    Ok(page.with_earlier(approval, earlier, around))
}
