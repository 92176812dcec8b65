//! `GET /`: what waits, runs and has ended.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::approval::{Approval, Status};
use crate::storage::ApprovalFilter;
use crate::web::keys_page::waiting_for;
use crate::web::page::{PageError, signed_out_page, visit};
use crate::web::paths;
use crate::web::views::inbox::InboxPage;

/// How many approvals that still move are shown.
const MOST_OPEN: u32 = 200;
/// How many that have ended.
const MOST_RECENT: u32 = 20;

/// Shows the inbox, or what this is to somebody who is not signed in.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<Response, PageError> {
    let visit = match visit(&app, &headers, paths::INBOX).await {
        Ok(visit) => visit,
        Err(PageError::SignIn(_)) => {
            return Ok(signed_out_page(&app, false).into_response());
        }
        Err(problem) => return Err(problem),
    };
    let environments = app.readable_environments(&visit.session.profile);
    let (open, ended): (Vec<Status>, Vec<Status>) =
        Status::ALL.into_iter().partition(|status| !status.is_final());
    let (mut approvals, mut newer) = (Vec::new(), 0);
    for (statuses, limit) in [(open, MOST_OPEN), (ended, MOST_RECENT)] {
        let environments = Some(environments.clone());
        let filter =
            ApprovalFilter { requester_keys: None, environments, statuses, cursor: None, limit };
        let page = app.storage.approvals(&filter).await.map_err(Problem::from)?;
        newer += page.newer;
        approvals.extend(page.approvals.into_iter().map(|stored| stored.approval));
    }
    let waiting = waiting_for(&app, &visit.session.profile).await?;
    let pending = approvals.iter().filter(|one| one.status() == Status::Pending);
    let pending: Vec<_> = pending.map(Approval::id).collect();
    let together = app.storage.waiting_together(&pending).await.map_err(Problem::from)?;
    let page = InboxPage::new(&approvals, visit.surroundings(&app))
        .with_batches(&together)
        .with_newer(newer);
    Ok(page.with_waiting_keys(waiting).into_response())
}
