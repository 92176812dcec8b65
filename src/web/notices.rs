//! `GET /notices`: who is told what happened, and who was not.

use axum::extract::State;
use axum::http::HeaderMap;

use crate::api::problem::Problem;
use crate::app::App;
use crate::web::page::{PageError, visit};
use crate::web::paths;
use crate::web::views::notices::{NoticesPage, ReceiverListing};

/// Shows how each receiver stands, to those who may read the ledger.
pub async fn page(State(app): State<App>, headers: HeaderMap) -> Result<NoticesPage, PageError> {
    let visit = visit(&app, &headers, paths::NOTICES).await?;
    app.scope_of(&visit.session.profile).ok_or_else(Problem::not_found)?;
    let standings = app.storage.notice_standings().await.map_err(Problem::from)?;
    let mut listings: Vec<ReceiverListing> = app
        .receivers
        .settings()
        .map(|one| ReceiverListing {
            name: one.name().to_owned(),
            place: Some(one.shown()),
            events: one.subscription.events.iter().map(|event| event.name()).collect(),
            standing: standings.iter().find(|found| found.receiver == one.name()).cloned(),
        })
        .collect();
    // What stands in the outbox for a receiver that is configured no more is lost to nobody's surprise.
    let is_known = |name: &str| app.receivers.settings().any(|one| one.name() == name);
    let others = standings.into_iter().filter(|found| !is_known(&found.receiver));
    listings.extend(others.map(|standing| ReceiverListing {
        name: standing.receiver.clone(),
        place: None,
        events: Vec::new(),
        standing: Some(standing),
    }));
    Ok(NoticesPage::new(&listings, visit.surroundings(&app)))
}
