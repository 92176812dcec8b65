//! `GET /approvals/{id}`: the page on which people decide.

use axum::extract::{Path, State};
use axum::http::HeaderMap;

use crate::app::App;
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
    Ok(ApprovalPage::new(&stored.approval, visit.surroundings(&app)))
}
